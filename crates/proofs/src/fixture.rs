//! A provider with two sectors and a bundle, for tests.

use hpips_crypto::draw::Draw;
use hpips_types::{AccountId, Blake3Hash, ChainId, SetId, WindowIndex};

use crate::bundle::Bundle;
use crate::challenge::WindowChallenge;
use crate::piece::PieceTree;
use crate::record::{Beacon, Record, RecordLayout, SealedSector, SectorId};
use crate::seal::{SealedLabels, seal};
use crate::sector::KeptLabels;
use crate::set::{SetTree, batch_root};
use crate::shape::Shape;
use crate::statement::{ActivationStatement, WindowStatement, WindowTerms};
use crate::vanilla::window::{self, ProveError};
use crate::vanilla::{LeafOpening, VanillaActivation, VanillaWindow, activation};

pub(crate) const PROVIDER: AccountId = AccountId::new([3; 32]);
pub(crate) const PAYEE: AccountId = AccountId::new([4; 32]);
pub(crate) const NETWORK: ChainId = ChainId::new([5; 32]);
pub(crate) const SET: SetId = SetId { provider: PROVIDER, number: 2 };

pub(crate) fn beacon(seed: u8) -> Beacon {
    Beacon::new(Blake3Hash::new([seed; 32]))
}

pub(crate) fn sector_id(number: u64) -> SectorId {
    SectorId { provider: PROVIDER, number, ticket: beacon(7) }
}

pub(crate) fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    Draw::new("hpips/proofs/test/v1", &[&seed.to_le_bytes()]).fill(&mut bytes);
    bytes
}

#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) shape: Shape,
    pub(crate) sectors: Vec<SealedLabels>,
    pub(crate) bundle: Bundle,
    /// By offset.
    pub(crate) pieces: Vec<(u32, Vec<u8>, PieceTree)>,
    pub(crate) records: Vec<Record>,
    pub(crate) tree: SetTree,
}

impl Provider {
    /// Sectors in records 0 and 1, nothing in 2, the bundle in 3.
    pub(crate) fn new(height: u8) -> Self {
        let shape = Shape::new(height, 2, 12, 3, 2).unwrap();
        let sectors: Vec<SealedLabels> =
            (0..2).map(|number| seal(height, sector_id(number), |_| true).unwrap()).collect();
        let mut bundle = Bundle::new();
        let mut pieces = Vec::new();
        for (seed, count) in [(1, 40_000), (2, 1_000), (3, 15_872)] {
            let data = bytes(seed, count);
            let tree = PieceTree::of(&data).unwrap();
            let offset = bundle.add(tree.bytes(), tree.comm_p()).unwrap();
            pieces.push((offset, data, tree));
        }
        let mut records: Vec<Record> =
            sectors.iter().map(|sector| sector.sealed.sector.record(&shape)).collect();
        records.push(Record::Empty);
        records.push(bundle.record());
        let tree = SetTree::from_records(&shape, &records).unwrap();
        Self { shape, sectors, bundle, pieces, records, tree }
    }

    pub(crate) fn batch(&self) -> Vec<SealedSector> {
        self.sectors.iter().map(|sector| sector.sealed.sector).collect()
    }

    pub(crate) fn activation(&self, partition: u16) -> ActivationStatement {
        ActivationStatement {
            shape: self.shape,
            network: NETWORK,
            set: SET,
            payee: PAYEE,
            batch: 9,
            batch_root: batch_root(&self.shape, &self.batch()).unwrap(),
            sectors: 2,
            beacon: beacon(1),
            partition,
        }
    }

    pub(crate) fn prove_activation(&self, statement: &ActivationStatement) -> VanillaActivation {
        let labels = |index: usize| {
            let SealedLabels { sealed, first, second } = self.sectors.get(index)?;
            Some(KeptLabels { sealed, first, second })
        };
        activation::prove(statement, &self.batch(), labels).unwrap()
    }

    pub(crate) fn terms(&self) -> WindowTerms {
        WindowTerms {
            shape: self.shape,
            network: NETWORK,
            set: SET,
            payee: PAYEE,
            window: WindowIndex::new(11),
            set_root: self.tree.root(),
            layouts: vec![
                RecordLayout::Sealed,
                RecordLayout::Sealed,
                RecordLayout::Empty,
                self.bundle.layout(),
            ],
            beacon: beacon(2),
            entry: None,
        }
    }

    pub(crate) fn open(&self, challenge: &WindowChallenge) -> Result<LeafOpening, &'static str> {
        let slice = |data: &[u8], range: core::ops::Range<u64>| {
            data[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
        };
        if let Some(sector) = self.sectors.get(usize::from(challenge.record.get())) {
            let tree = &sector.sealed.replica;
            let group = slice(&sector.second, tree.group(challenge.leaf));
            return tree.open(challenge.leaf, &group).ok_or("damaged replica");
        }
        let place = self.bundle.piece_at(challenge.leaf).ok_or("no piece")?;
        let (offset, data, tree) =
            self.pieces.iter().find(|(offset, ..)| *offset == place.offset).ok_or("no piece")?;
        let inner = challenge.leaf - offset;
        let (leaf, path) = tree.open(inner, &slice(data, tree.group(inner))).ok_or("damaged piece")?;
        self.bundle.open(challenge.leaf, leaf, path).ok_or("no piece")
    }

    pub(crate) fn commit(&self, terms: WindowTerms) -> WindowStatement {
        let lc =
            window::commit(&terms, |challenge| self.open(challenge).map(|opening| opening.leaf)).unwrap();
        terms.commit(lc)
    }

    pub(crate) fn prove_window(
        &self,
        statement: &WindowStatement,
    ) -> Result<VanillaWindow, ProveError<&'static str>> {
        window::prove(statement, &self.records, &self.tree, |challenge| self.open(challenge))
    }
}
