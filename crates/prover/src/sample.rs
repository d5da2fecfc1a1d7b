//! Statements to measure and test with: a sector that is really sealed, under a name that nobody has.

use hpips_circuits::Witness;
use hpips_proofs::seal::{self, Progress, SealedLabels};
use hpips_proofs::vanilla::{LeafOpening, activation, window};
use hpips_proofs::{
    ActivationStatement, Beacon, RecordLayout, SectorId, SetTree, Shape, Statement, WindowChallenge,
    WindowTerms, batch_root,
};
use hpips_types::{AccountId, Blake3Hash, ChainId, SetId, WindowIndex};

/// An account without a key: what is proven of it is worth nothing on any network.
const PROVIDER: AccountId = AccountId::new([8; 32]);
const SET: SetId = SetId { provider: PROVIDER, number: 0 };
const NETWORK: ChainId = ChainId::new([6; 32]);

/// The smallest thing that both statements can be about.
#[derive(Debug)]
pub struct Sample {
    shape: Shape,
    sector: SealedLabels,
}

fn beacon(seed: u8) -> Beacon {
    Beacon::new(Blake3Hash::new([seed; 32]))
}

impl Sample {
    /// Seals one sector: a tenth of a second of a core at `dev` parameters, ten minutes and 1 GiB at those of `main`.
    ///
    /// `keep_going` is asked after every thousand steps and ends the work with `None`.
    pub fn seal(shape: Shape, keep_going: impl FnMut(Progress) -> bool) -> Option<Self> {
        let id = SectorId { provider: PROVIDER, number: 1, ticket: beacon(1) };
        let sector = seal::seal(shape.sector_height(), id, keep_going)?;
        Some(Self { shape, sector })
    }

    /// The first partition of the sector's activation, and its witness. Another seed gives other challenges.
    ///
    /// # Panics
    /// Never: the sector was sealed as the scheme wants it.
    pub fn activation(&self, seed: u8) -> (Statement, Witness) {
        let sectors = [self.sector.sealed.sector];
        let statement = ActivationStatement {
            shape: self.shape,
            network: NETWORK,
            set: SET,
            payee: PROVIDER,
            batch: 1,
            batch_root: batch_root(&self.shape, &sectors).expect("a batch of one sector"),
            sectors: 1,
            beacon: beacon(seed),
            partition: 0,
        };
        let witness = activation::prove(&statement, &sectors, |_| Some(self.sector.kept()))
            .expect("the sector was sealed honestly");
        (Statement::Activation(statement), witness.into())
    }

    /// A window over the sector, and its witness. Another seed gives other challenges.
    ///
    /// # Panics
    /// Never: the sector was sealed as the scheme wants it.
    pub fn window(&self, seed: u8) -> (Statement, Witness) {
        let records = [self.sector.sealed.sector.record(&self.shape)];
        let tree = SetTree::from_records(&self.shape, &records).expect("a set of one record");
        let terms = WindowTerms {
            shape: self.shape,
            network: NETWORK,
            set: SET,
            payee: PROVIDER,
            window: WindowIndex::new(4),
            set_root: tree.root(),
            layouts: vec![RecordLayout::Sealed],
            beacon: beacon(seed),
            entry: None,
        };
        let leaf = |challenge: &WindowChallenge| self.open(challenge).map(|opening| opening.leaf);
        let commitment = window::commit(&terms, leaf).expect("the sector was sealed honestly");
        let statement = terms.commit(commitment);
        let witness = window::prove(&statement, &records, &tree, |challenge| self.open(challenge))
            .expect("the sector was sealed honestly");
        (Statement::Window(statement), witness.into())
    }

    fn open(&self, challenge: &WindowChallenge) -> Result<LeafOpening, &'static str> {
        let replica = &self.sector.sealed.replica;
        let group = replica.group(challenge.leaf);
        let at = |byte| usize::try_from(byte).expect("the sector is in memory");
        let bytes = &self.sector.second[at(group.start)..at(group.end)];
        replica.open(challenge.leaf, bytes).ok_or("damaged")
    }
}
