//! Statements: what a proof claims, built by the ledger from chain state alone.
//!
//! A statement carries everything that a verifier needs to recompute challenges and public inputs; nothing
//! in a proof says where it was asked to look.
//!
//! Public inputs, in order:
//!
//! | circuit | 0 | 1 | 2 | 3 |
//! |---|---|---|---|---|
//! | activation | batch root | challenge digest | tag | |
//! | window | set root | challenge digest | leaf commitment | tag |
//!
//! The tag binds network, provider, payee, set, window or batch, and partition. No constraint computes it; it
//! stands among the inputs so that a proof verifies for this provider and payee and no other, although
//! Groth16 proofs can be re-randomized.

use hpips_crypto::draw::Draw;
use hpips_crypto::{Fr, field};
use hpips_types::{AccountId, ChainId, RecordIndex, SetId, WindowIndex};
use serde::{Deserialize, Serialize};

use crate::challenge::{
    ActivationChallenge, WindowChallenge, challenge_digest, pack_activation, pack_window,
};
use crate::element::Element;
use crate::graph::Graph;
use crate::record::{Beacon, DataExtent, RecordLayout};
use crate::shape::{DATA_BYTES, NODE_BYTES, Shape};

/// What one proof claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statement {
    /// A batch of sectors is sealed (PoRep).
    Activation(ActivationStatement),
    /// A proving set's leaves were known when a window challenged them (PoSt).
    Window(WindowStatement),
}

/// Which circuit, and so which key, a statement belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CircuitKind {
    /// [`ActivationStatement`].
    Activation,
    /// [`WindowStatement`].
    Window,
}

impl CircuitKind {
    /// Number of public inputs.
    pub const fn inputs(self) -> usize {
        match self {
            Self::Activation => 3,
            Self::Window => 4,
        }
    }
}

/// Why a statement cannot be true for anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// There is no byte to challenge.
    #[error("nothing to challenge")]
    Nothing,
    /// More records than the set, or the batch, has places.
    #[error("{got} records are more than {max}")]
    Records {
        /// Records given.
        got: usize,
        /// Places.
        max: u32,
    },
    /// The activation has fewer partitions.
    #[error("partition {got} of {count}")]
    Partition {
        /// Partition given, from 0.
        got: u16,
        /// Partitions there are.
        count: u16,
    },
    /// A piece reaches over the end of its bundle.
    #[error("record {0} has a piece outside the bundle")]
    Extent(RecordIndex),
    /// An entry proof is asked for a piece that is not there.
    #[error("record {0} has no such piece")]
    Entry(RecordIndex),
}

impl Statement {
    /// The circuit that proves it.
    pub const fn kind(&self) -> CircuitKind {
        match self {
            Self::Activation(_) => CircuitKind::Activation,
            Self::Window(_) => CircuitKind::Window,
        }
    }

    /// The sizes it is made for.
    pub const fn shape(&self) -> &Shape {
        match self {
            Self::Activation(statement) => &statement.shape,
            Self::Window(statement) => &statement.terms.shape,
        }
    }

    /// The public inputs, in the order of the module's table.
    ///
    /// # Errors
    /// [`StatementError`] when the statement asks for nothing that exists.
    pub fn public_inputs(&self) -> Result<Vec<Fr>, StatementError> {
        match self {
            Self::Activation(statement) => Ok(statement.public_inputs()?.to_vec()),
            Self::Window(statement) => Ok(statement.public_inputs()?.to_vec()),
        }
    }
}

/// A batch of sectors is sealed: challenged nodes carry the labels that the scheme gives them.
///
/// One statement is one partition; an activation is complete when every partition is proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationStatement {
    /// Sizes of the network.
    pub shape: Shape,
    /// The chain.
    pub network: ChainId,
    /// Who sealed, and the set that the sectors enter.
    pub set: SetId,
    /// Who is paid for the proof.
    pub payee: AccountId,
    /// The pre-commitment's number, unique for the provider.
    pub batch: u64,
    /// Root over the batch, see [`crate::set::batch_root`].
    pub batch_root: Element,
    /// Sectors in the batch.
    pub sectors: u16,
    /// Drawn after the pre-commitment was final.
    pub beacon: Beacon,
    /// Which partition, from 0.
    pub partition: u16,
}

impl ActivationStatement {
    /// The challenged nodes: uniform over the batch's sectors and over their nodes but node 0, which has no
    /// parents.
    ///
    /// # Errors
    /// [`StatementError::Nothing`] for an empty batch, [`StatementError::Records`] for one that no set holds,
    /// [`StatementError::Partition`].
    pub fn challenges(&self) -> Result<Vec<ActivationChallenge>, StatementError> {
        let shape = &self.shape;
        if self.sectors == 0 {
            return Err(StatementError::Nothing);
        }
        if u32::from(self.sectors) > shape.records() {
            return Err(StatementError::Records { got: self.sectors.into(), max: shape.records() });
        }
        if self.partition >= shape.activation_partitions() {
            return Err(StatementError::Partition {
                got: self.partition,
                count: shape.activation_partitions(),
            });
        }
        let mut draw = Draw::new(
            "hpips/proofs/activation/v1",
            &[
                self.network.as_bytes(),
                self.set.provider.as_bytes(),
                &self.set.number.to_le_bytes(),
                &self.batch.to_le_bytes(),
                &self.batch_root.to_bytes().to_bytes(),
                self.beacon.as_bytes(),
                &self.partition.to_le_bytes(),
            ],
        );
        let graph = Graph::new(shape.sector_height());
        let challenge = |_| {
            let record = narrow_record(draw.below(self.sectors.into()));
            let node = 1 + narrow(draw.below(u64::from(shape.nodes()) - 1));
            ActivationChallenge { record, node, parents: graph.parents(node) }
        };
        Ok((0..shape.activation_challenges()).map(challenge).collect())
    }

    /// Batch root, challenge digest, tag.
    ///
    /// # Errors
    /// As [`Self::challenges`].
    pub fn public_inputs(&self) -> Result<[Fr; 3], StatementError> {
        let digest = challenge_digest(&pack_activation(&self.shape, &self.challenges()?));
        Ok([self.batch_root.fr(), digest, self.tag()])
    }

    /// The tag: see the module's table.
    pub fn tag(&self) -> Fr {
        field::from_hash(
            "hpips/proofs/activation-tag/v1",
            &[
                self.network.as_bytes(),
                self.set.provider.as_bytes(),
                self.payee.as_bytes(),
                &self.set.number.to_le_bytes(),
                &self.batch.to_le_bytes(),
                &self.partition.to_le_bytes(),
            ],
        )
    }
}

/// All that fixes the challenges of a window, before the leaves are committed to.
///
/// The answer to a missed window has that window's number, beacon, set root and layouts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowTerms {
    /// Sizes of the network.
    pub shape: Shape,
    /// The chain.
    pub network: ChainId,
    /// Whose set.
    pub set: SetId,
    /// Who is paid for the proof.
    pub payee: AccountId,
    /// Which window.
    pub window: WindowIndex,
    /// Root over the set's records, see [`crate::set::SetTree`].
    pub set_root: Element,
    /// Where the records have bytes, by record index. Records beyond the end are empty.
    pub layouts: Vec<RecordLayout>,
    /// The window's beacon.
    pub beacon: Beacon,
    /// For an entry proof: all challenges fall inside this one piece.
    pub entry: Option<Entry>,
}

/// The piece that an entry proof is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The bundle.
    pub record: RecordIndex,
    /// The piece's first leaf.
    pub offset: u32,
}

/// A proving set's leaves were known when a window challenged them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowStatement {
    /// What fixes the challenges.
    pub terms: WindowTerms,
    /// `Sponge8` over the challenged leaves, as posted within `T_commit`.
    pub leaf_commitment: Element,
}

impl WindowTerms {
    /// The statement, once the leaves are committed to.
    pub fn commit(self, leaf_commitment: Element) -> WindowStatement {
        WindowStatement { terms: self, leaf_commitment }
    }

    /// The challenged leaves.
    ///
    /// A challenge is a byte, uniform over the bytes of its kind; the leaf is the one that holds it. Where the
    /// set has data and sealed space, challenges 0, 2, 4 .. fall on data and 1, 3, 5 .. on sealed space;
    /// otherwise all fall on what there is. An entry proof's fall on one piece.
    ///
    /// # Errors
    /// [`StatementError::Nothing`] without bytes; `Records`, `Extent`, `Entry` for layouts that no set has.
    pub fn challenges(&self) -> Result<Vec<WindowChallenge>, StatementError> {
        let (data, sealed) = self.segments()?;
        if data.bytes() == 0 && sealed.bytes() == 0 {
            return Err(StatementError::Nothing);
        }
        let entry = self.entry.map_or([0; 7], |entry| {
            let ([a, b], [c, d, e, f]) = (entry.record.get().to_le_bytes(), entry.offset.to_le_bytes());
            [1, a, b, c, d, e, f]
        });
        let mut draw = Draw::new(
            "hpips/proofs/window/v1",
            &[
                self.network.as_bytes(),
                self.set.provider.as_bytes(),
                &self.set.number.to_le_bytes(),
                &self.window.get().to_le_bytes(),
                self.beacon.as_bytes(),
                &entry,
            ],
        );
        let challenge = |index: u16| {
            let on_data = sealed.bytes() == 0 || (data.bytes() > 0 && index.is_multiple_of(2));
            let segments = if on_data { &data } else { &sealed };
            segments.leaf(draw.below(segments.bytes()))
        };
        Ok((0..self.shape.window_challenges()).map(challenge).collect())
    }

    /// The bytes of the set by kind, or those of the entry's piece alone.
    fn segments(&self) -> Result<(Segments, Segments), StatementError> {
        let max = self.shape.records();
        if u32::try_from(self.layouts.len()).map_or(true, |count| count > max) {
            return Err(StatementError::Records { got: self.layouts.len(), max });
        }
        let (mut data, mut sealed) = (Segments::new(DATA_BYTES), Segments::new(NODE_BYTES));
        if let Some(entry) = self.entry {
            let extents = match self.layouts.get(usize::from(entry.record.get())) {
                Some(RecordLayout::Bundle(extents)) => extents.as_slice(),
                _ => &[],
            };
            let extent = extents.iter().find(|extent| extent.offset == entry.offset);
            data.push_extent(entry.record, extent.ok_or(StatementError::Entry(entry.record))?)?;
            return Ok((data, sealed));
        }
        for (index, layout) in (0..=u16::MAX).zip(&self.layouts) {
            let record = RecordIndex::new(index);
            match layout {
                RecordLayout::Empty => {}
                RecordLayout::Sealed => sealed.push(record, 0, self.shape.sector_bytes()),
                RecordLayout::Bundle(extents) => {
                    extents.iter().try_for_each(|extent| data.push_extent(record, extent))?;
                }
            }
        }
        Ok((data, sealed))
    }
}

impl WindowStatement {
    /// Set root, challenge digest, leaf commitment, tag.
    ///
    /// # Errors
    /// As [`WindowTerms::challenges`].
    pub fn public_inputs(&self) -> Result<[Fr; 4], StatementError> {
        let terms = &self.terms;
        let digest = challenge_digest(&pack_window(&terms.shape, &terms.challenges()?));
        Ok([terms.set_root.fr(), digest, self.leaf_commitment.fr(), self.tag()])
    }

    /// The tag: see the module's table.
    pub fn tag(&self) -> Fr {
        let terms = &self.terms;
        field::from_hash(
            "hpips/proofs/window-tag/v1",
            &[
                terms.network.as_bytes(),
                terms.set.provider.as_bytes(),
                terms.payee.as_bytes(),
                &terms.set.number.to_le_bytes(),
                &terms.window.get().to_le_bytes(),
                &[u8::from(terms.entry.is_some())],
            ],
        )
    }
}

/// Runs of bytes of one kind, laid end to end.
#[derive(Debug)]
struct Segments {
    leaf_bytes: u64,
    /// Where each run ends, its record and first leaf.
    runs: Vec<(u64, RecordIndex, u32)>,
}

impl Segments {
    const fn new(leaf_bytes: u64) -> Self {
        Self { leaf_bytes, runs: Vec::new() }
    }

    fn bytes(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.0)
    }

    /// Totals cannot overflow: at most 4,096 records of at most 2^29 bytes for each piece, of which a bundle
    /// has at most 2^24.
    fn push(&mut self, record: RecordIndex, first_leaf: u32, bytes: u64) {
        self.runs.push((self.bytes() + bytes, record, first_leaf));
    }

    fn push_extent(&mut self, record: RecordIndex, extent: &DataExtent) -> Result<(), StatementError> {
        if !extent.is_within_bundle() {
            return Err(StatementError::Extent(record));
        }
        self.push(record, extent.offset, extent.bytes);
        Ok(())
    }

    /// The leaf that holds a byte below [`Self::bytes`].
    fn leaf(&self, byte: u64) -> WindowChallenge {
        let index = self.runs.partition_point(|run| run.0 <= byte);
        let (_, record, first_leaf) = self.runs[index];
        let start = index.checked_sub(1).map_or(0, |before| self.runs[before].0);
        WindowChallenge { record, leaf: first_leaf + narrow((byte - start) / self.leaf_bytes) }
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).expect("leaves and nodes are below 2^24")
}

fn narrow_record(value: u64) -> RecordIndex {
    RecordIndex::new(u16::try_from(value).expect("a set has at most 4,096 records"))
}

#[cfg(test)]
mod tests;
