//! Sealing: the labels of empty sectors, computed a step at a time in memory that the caller owns.
//!
//! A sector takes two buffers of `32 * 8^h` bytes: the first layer, deleted after activation, and the second,
//! which is the replica. Labels are canonical little-endian elements, node after node, so a buffer may be a
//! mapped file and the replica can be read from disk as it is.
//!
//! Sealing is sequential by design: a label needs the one before. What can be done at once is the same node of
//! several sectors, in the [`lanes`] of the machine: eight take little longer than one. [`lanes_within`] says for
//! how many there is memory.

use hpips_crypto::Fr;
use hpips_crypto::lanes::{self, Canonical};
use hpips_crypto::merkle::{self, Builder};
use hpips_types::FieldBytes;
use rayon::prelude::*;

use crate::graph::{DRG_PARENTS_SECOND, Graph};
use crate::label::{self, Layer};
use crate::record::{SealedSector, SectorId};
use crate::sector::{KeptLabels, SectorTree, stored_level};

/// Most sectors sealed at once: the lanes of the widest vectors.
pub const LANES_MAX: usize = 8;

/// Bytes of a label.
const LABEL: usize = FieldBytes::LEN;

/// Columns hashed together, by all threads of the current pool: a mebibyte of memory at most.
const COLUMNS_TOGETHER: u32 = 8 * 512;

/// Columns that one thread hashes at a time.
const COLUMNS_TASK: usize = 64;

/// Memory of a sealer besides its buffers: rows of trees, a [`COLUMNS_TOGETHER`] and the lanes' own.
const OVERHEAD_BYTES: u64 = 16 << 20;

/// How many sectors of `8^height` nodes can be sealed at once within so many bytes, none to [`LANES_MAX`].
///
/// # Panics
/// When the height is not within 2 to 8.
pub fn lanes_within(height: u8, memory_bytes: u64) -> usize {
    let lane = 2 * sector_bytes(height);
    let count = memory_bytes.saturating_sub(OVERHEAD_BYTES) / lane;
    usize::try_from(count).unwrap_or(LANES_MAX).min(LANES_MAX)
}

/// Bytes of one layer of a sector.
fn sector_bytes(height: u8) -> u64 {
    assert!((2..=8).contains(&height), "sectors have a height of 2 to 8");
    merkle::capacity(height) * LABEL as u64
}

/// Why sealing cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A buffer has not exactly the bytes of a sector.
    #[error("a buffer of {got} bytes for a sector of {want}")]
    Buffer {
        /// Bytes given.
        got: usize,
        /// Bytes needed.
        want: u64,
    },
    /// No sectors, or more than [`LANES_MAX`].
    #[error("{0} sectors for one to {LANES_MAX} lanes")]
    Lanes(usize),
    /// A label in the buffers is not a field element: someone else wrote there, or the disk did.
    #[error("label {0} is damaged")]
    Damaged(u32),
}

/// How far a sector is: labels of the first layer, then of the second, then columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Progress(u64);

impl Progress {
    /// Nothing done.
    pub const START: Self = Self(0);

    /// Steps done, of [`Self::steps`].
    pub const fn done(self) -> u64 {
        self.0
    }

    /// A check-point by its number.
    pub const fn at(done: u64) -> Self {
        Self(done)
    }

    /// Steps of a whole sector of `8^height` nodes.
    pub const fn steps(height: u8) -> u64 {
        3 * merkle::capacity(height)
    }
}

/// What sealing gives: the commitments, and the rows that openings need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Name and commitments, for the pre-commitment.
    pub sector: SealedSector,
    /// Over the columns; needed until the sector is active.
    pub columns: SectorTree,
    /// Over the replica; needed as long as it is proven.
    pub replica: SectorTree,
}

/// A sector to be sealed and the memory for it, `32 * 8^h` bytes each.
#[derive(Debug)]
pub struct Lane<'a> {
    /// Which sector.
    pub id: SectorId,
    /// For the labels of the first layer.
    pub first: &'a mut [u8],
    /// For the labels of the second: the replica.
    pub second: &'a mut [u8],
}

/// Seals one to [`LANES_MAX`] sectors at once.
#[derive(Debug)]
pub struct Sealer<'a> {
    height: u8,
    graph: Graph,
    lanes: Vec<Lane<'a>>,
    /// Of each lane: the bases of both layers.
    bases: Vec<[Fr; 2]>,
    /// Of each lane: the trees over columns and replica.
    trees: Vec<[Builder; 2]>,
    done: u64,
}

impl<'a> Sealer<'a> {
    /// Starts, or goes on from a check-point whose labels are in the buffers. The trees over them are always
    /// computed anew: they take an eighth of the time.
    ///
    /// # Errors
    /// [`SealError::Buffer`], [`SealError::Lanes`].
    ///
    /// # Panics
    /// When the height is not within 2 to 8.
    pub fn new(height: u8, lanes: Vec<Lane<'a>>, from: Progress) -> Result<Self, SealError> {
        let want = sector_bytes(height);
        if !(1..=LANES_MAX).contains(&lanes.len()) {
            return Err(SealError::Lanes(lanes.len()));
        }
        for buffer in lanes.iter().flat_map(|lane| [&*lane.first, &*lane.second]) {
            if u64::try_from(buffer.len()) != Ok(want) {
                return Err(SealError::Buffer { got: buffer.len(), want });
            }
        }
        let graph = Graph::new(height);
        let bases = |lane: &Lane<'_>| {
            [Layer::First, Layer::Second].map(|layer| label::lane_base(lane.id.replica_id(), layer))
        };
        let tree = || Builder::keeping(stored_level(height));
        Ok(Self {
            height,
            bases: lanes.iter().map(bases).collect(),
            trees: lanes.iter().map(|_| [tree(), tree()]).collect(),
            done: from.0.min(2 * u64::from(graph.nodes())),
            graph,
            lanes,
        })
    }

    /// How far all lanes are.
    pub fn progress(&self) -> Progress {
        Progress(self.done)
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.done == Progress::steps(self.height)
    }

    /// The buffers as they are, for a check-point: labels before [`Self::progress`] will not change.
    pub fn lanes(&self) -> &[Lane<'a>] {
        &self.lanes
    }

    /// Does at least one and about `steps` more steps, each a hash or two in every lane, then returns how far
    /// it is.
    ///
    /// # Errors
    /// [`SealError::Damaged`].
    pub fn step(&mut self, steps: u32) -> Result<Progress, SealError> {
        let nodes = u64::from(self.graph.nodes());
        let until = (self.done + u64::from(steps.max(1))).min(3 * nodes);
        while self.done < until {
            let node = u32::try_from(self.done % nodes).expect("nodes are below 2^24");
            match self.done / nodes {
                0 => self.label_first(node)?,
                1 => self.label_second(node)?,
                _ => {
                    self.done += u64::from(self.hash_columns(node)?);
                    continue;
                }
            }
            self.done += 1;
        }
        Ok(self.progress())
    }

    /// Does the rest and returns what the sectors commit to, lane by lane.
    ///
    /// # Errors
    /// [`SealError::Damaged`].
    pub fn finish(mut self) -> Result<Vec<Sealed>, SealError> {
        while !self.is_done() {
            self.step(u32::MAX)?;
        }
        let height = self.height;
        let sealed = self.lanes.into_iter().zip(self.trees).map(|(lane, trees)| {
            let [columns, replica] = trees.map(|tree| SectorTree::new(tree.finish_tree(height)));
            let sector = SealedSector { id: lane.id, comm_c: columns.root(), comm_k: replica.root() };
            Sealed { sector, columns, replica }
        });
        Ok(sealed.collect())
    }

    fn label_first(&mut self, node: u32) -> Result<(), SealError> {
        let drg = self.graph.drg(node);
        let mut inputs = [[Canonical::ZERO; 8]; LANES_MAX];
        for (lane, (bases, inputs)) in self.lanes.iter().zip(self.bases.iter().zip(&mut inputs)) {
            inputs[0] = (bases[0] + Fr::from(node)).into();
            if node > 0 {
                read_all(lane.first, &drg, &mut inputs[1..])?;
            }
        }
        let labels = self.compress(&inputs);
        for (lane, label) in self.lanes.iter_mut().zip(labels) {
            write(lane.first, node, label);
        }
        Ok(())
    }

    fn label_second(&mut self, node: u32) -> Result<(), SealError> {
        let (drg, expander) = (self.graph.drg(node), self.graph.expander(node));
        let mut inputs = [[Canonical::ZERO; 8]; LANES_MAX];
        for (lane, (bases, inputs)) in self.lanes.iter().zip(self.bases.iter().zip(&mut inputs)) {
            inputs[0] = (bases[1] + Fr::from(node)).into();
            if node > 0 {
                read_all(lane.second, &drg[..DRG_PARENTS_SECOND], &mut inputs[1..])?;
            }
            read_all(lane.first, &expander, &mut inputs[1 + DRG_PARENTS_SECOND..])?;
        }
        let labels = self.compress(&inputs);
        for (lane, label) in self.lanes.iter_mut().zip(labels) {
            write(lane.second, node, label);
        }
        Ok(())
    }

    fn compress(&self, inputs: &[[Canonical; 8]; LANES_MAX]) -> [Canonical; LANES_MAX] {
        let mut labels = [Canonical::ZERO; LANES_MAX];
        lanes::compress(&inputs[..self.lanes.len()], &mut labels[..self.lanes.len()]);
        labels
    }

    /// Hashes the columns of all lanes from a node on, a group at a time, and returns how many nodes that were.
    fn hash_columns(&mut self, node: u32) -> Result<u32, SealError> {
        let stop = node.saturating_add(COLUMNS_TOGETHER).min(self.graph.nodes());
        for (lane, [columns, replica]) in self.lanes.iter().zip(&mut self.trees) {
            let read = |labels: &[u8]| {
                (node..stop).map(|node| read(labels, node)).collect::<Result<Vec<Canonical>, _>>()
            };
            let (first, second) = (read(lane.first)?, read(lane.second)?);
            columns.extend(&column_row(&first, &second));
            replica.extend(&second);
        }
        Ok(stop - node)
    }
}

/// The columns over consecutive labels of both layers.
pub(crate) fn column_row(first: &[Canonical], second: &[Canonical]) -> Vec<Fr> {
    let mut columns = vec![Fr::default(); first.len()];
    let labels = first.par_chunks(COLUMNS_TASK).zip(second.par_chunks(COLUMNS_TASK));
    columns.par_chunks_mut(COLUMNS_TASK).zip(labels).for_each(|(columns, (first, second))| {
        let pair = |(first, second): (&Canonical, &Canonical)| [*first, *second, Canonical::ZERO];
        let inputs: Vec<[Canonical; 3]> = first.iter().zip(second).map(pair).collect();
        lanes::compress(&inputs, columns);
    });
    columns
}

/// Seals a sector in memory of its own.
///
/// `keep_going` is asked after every thousand steps and ends the work with `None`.
///
/// # Panics
/// When the height is not within 2 to 8.
pub fn seal(height: u8, id: SectorId, keep_going: impl FnMut(Progress) -> bool) -> Option<SealedLabels> {
    seal_all(height, &[id], keep_going)?.pop()
}

/// Seals one to [`LANES_MAX`] sectors at once, each a lane, in memory of its own: two layers of each.
///
/// `keep_going` is asked after every thousand steps and ends the work with `None`.
///
/// # Panics
/// When the height is not within 2 to 8; for no sectors, and more than lanes.
pub fn seal_all(
    height: u8,
    ids: &[SectorId],
    mut keep_going: impl FnMut(Progress) -> bool,
) -> Option<Vec<SealedLabels>> {
    let bytes = usize::try_from(sector_bytes(height)).expect("a sector fits the address space");
    let mut buffers: Vec<[Vec<u8>; 2]> = ids.iter().map(|_| [vec![0; bytes], vec![0; bytes]]).collect();
    let lanes = ids.iter().zip(&mut buffers).map(|(id, [first, second])| Lane { id: *id, first, second });
    let mut sealer =
        Sealer::new(height, lanes.collect(), Progress::START).expect("buffers have the size of a sector");
    while !sealer.is_done() {
        let progress = sealer.step(1_000).expect("nobody else writes into the buffers");
        if !keep_going(progress) {
            return None;
        }
    }
    let sealed = sealer.finish().expect("nothing is left to do");
    let labels = sealed.into_iter().zip(buffers);
    Some(labels.map(|(sealed, [first, second])| SealedLabels { sealed, first, second }).collect())
}

/// A sealed sector with both layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedLabels {
    /// Commitments and rows.
    pub sealed: Sealed,
    /// Labels of the first layer, 32 bytes each.
    pub first: Vec<u8>,
    /// Labels of the second layer: the replica.
    pub second: Vec<u8>,
}

impl SealedLabels {
    /// The view that proves.
    pub fn kept(&self) -> KeptLabels<'_> {
        KeptLabels { sealed: &self.sealed, first: &self.first, second: &self.second }
    }
}

fn range(node: u32) -> core::ops::Range<usize> {
    let start = usize::try_from(node).expect("nodes are below 2^24") * LABEL;
    start..start + LABEL
}

/// The label of a node in a layer.
pub(crate) fn read(labels: &[u8], node: u32) -> Result<Canonical, SealError> {
    labels
        .get(range(node))
        .and_then(|bytes| Canonical::from_bytes(bytes.first_chunk()?))
        .ok_or(SealError::Damaged(node))
}

fn read_all(labels: &[u8], nodes: &[u32], out: &mut [Canonical]) -> Result<(), SealError> {
    for (node, out) in nodes.iter().zip(out) {
        *out = read(labels, *node)?;
    }
    Ok(())
}

fn write(labels: &mut [u8], node: u32, label: Canonical) {
    labels[range(node)].copy_from_slice(&label.to_bytes());
}

#[cfg(test)]
mod tests;
