//! Sealing: the labels of an empty sector, computed a step at a time in memory that the caller owns.
//!
//! A sector takes two buffers of `32 * 8^h` bytes: the first layer, deleted after activation, and the second,
//! which is the replica. Labels are canonical little-endian elements, node after node, so a buffer may be a
//! mapped file and the replica can be read from disk as it is. Sealing is sequential by design; more lanes
//! mean more sealers.

use hpips_crypto::merkle::{self, Builder};
use hpips_crypto::{Fr, field};
use hpips_types::FieldBytes;
use rayon::prelude::*;

use crate::graph::Graph;
use crate::label::{self, Layer};
use crate::record::{SealedSector, SectorId};
use crate::sector::{SectorTree, stored_level};

/// Bytes of a label.
const LABEL: usize = FieldBytes::LEN;

/// Columns hashed together, by all threads of the current pool: 1.3 MiB of memory at most.
const COLUMNS_TOGETHER: u32 = 8 * 512;

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

/// Seals one sector.
#[derive(Debug)]
pub struct Sealer<'a> {
    id: SectorId,
    height: u8,
    graph: Graph,
    bases: [Fr; 2],
    first: &'a mut [u8],
    second: &'a mut [u8],
    done: u64,
    columns: Builder,
    replica: Builder,
}

impl<'a> Sealer<'a> {
    /// Starts, or goes on from a check-point whose labels are in the buffers. The trees over them are always
    /// computed anew: they take an eighth of the time.
    ///
    /// # Errors
    /// [`SealError::Buffer`].
    ///
    /// # Panics
    /// When the height is not within 2 to 8.
    pub fn new(
        height: u8,
        id: SectorId,
        first: &'a mut [u8],
        second: &'a mut [u8],
        from: Progress,
    ) -> Result<Self, SealError> {
        let graph = Graph::new(height);
        let want = u64::from(graph.nodes()) * LABEL as u64;
        for buffer in [&*first, &*second] {
            if u64::try_from(buffer.len()) != Ok(want) {
                return Err(SealError::Buffer { got: buffer.len(), want });
            }
        }
        let rid = id.replica_id();
        let bases = [Layer::First, Layer::Second].map(|layer| label::lane_base(rid, layer));
        let level = stored_level(height);
        let (columns, replica) = (Builder::keeping(level), Builder::keeping(level));
        let done = from.0.min(2 * u64::from(graph.nodes()));
        Ok(Self { id, height, graph, bases, first, second, done, columns, replica })
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress(self.done)
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.done == Progress::steps(self.height)
    }

    /// Does at least one and about `steps` more steps, each a hash or two, then returns how far it is.
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
                    self.hash_columns(node)?;
                    continue;
                }
            }
            self.done += 1;
        }
        Ok(self.progress())
    }

    /// Does the rest and returns what the sector commits to.
    ///
    /// # Errors
    /// [`SealError::Damaged`].
    pub fn finish(mut self) -> Result<Sealed, SealError> {
        while !self.is_done() {
            self.step(u32::MAX)?;
        }
        let columns = SectorTree::new(self.columns.finish_tree(self.height));
        let replica = SectorTree::new(self.replica.finish_tree(self.height));
        let sector = SealedSector { id: self.id, comm_c: columns.root(), comm_k: replica.root() };
        Ok(Sealed { sector, columns, replica })
    }

    fn label_first(&mut self, node: u32) -> Result<(), SealError> {
        let lane = self.bases[0] + Fr::from(node);
        let mut parents = [Fr::default(); 7];
        if node > 0 {
            read_all(self.first, &self.graph.drg(node), &mut parents)?;
        }
        write(self.first, node, label::label_first(lane, &parents));
        Ok(())
    }

    fn label_second(&mut self, node: u32) -> Result<(), SealError> {
        let lane = self.bases[1] + Fr::from(node);
        let mut drg = [Fr::default(); 5];
        if node > 0 {
            read_all(self.second, &self.graph.drg(node)[..5], &mut drg)?;
        }
        let mut expander = [Fr::default(); 2];
        read_all(self.first, &self.graph.expander(node), &mut expander)?;
        write(self.second, node, label::label_second(lane, &drg, &expander));
        Ok(())
    }

    /// Hashes the columns from a node on, a group at a time.
    fn hash_columns(&mut self, node: u32) -> Result<(), SealError> {
        let stop = node.saturating_add(COLUMNS_TOGETHER).min(self.graph.nodes());
        let second = (node..stop).map(|node| read(self.second, node)).collect::<Result<Vec<Fr>, _>>()?;
        let first = &*self.first;
        let columns = (node..stop)
            .into_par_iter()
            .zip(&second)
            .with_min_len(64)
            .map(|(node, second)| Ok(label::column(read(first, node)?, *second)))
            .collect::<Result<Vec<Fr>, SealError>>()?;
        self.columns.extend(&columns);
        self.replica.extend(&second);
        self.done += u64::from(stop - node);
        Ok(())
    }
}

/// Seals a sector in memory of its own.
///
/// Returns the first layer, the second (the replica) and the commitments; `keep_going` is asked after every
/// thousand steps and ends the work with `None`.
///
/// # Panics
/// When the height is not within 2 to 8.
pub fn seal(height: u8, id: SectorId, mut keep_going: impl FnMut(Progress) -> bool) -> Option<SealedLabels> {
    assert!((2..=8).contains(&height), "sectors have a height of 2 to 8");
    let bytes = LABEL << (3 * u32::from(height));
    let (mut first, mut second) = (vec![0; bytes], vec![0; bytes]);
    let mut sealer = Sealer::new(height, id, &mut first, &mut second, Progress::START)
        .expect("buffers have the size of a sector");
    while !sealer.is_done() {
        let progress = sealer.step(1_000).expect("nobody else writes into the buffers");
        if !keep_going(progress) {
            return None;
        }
    }
    let sealed = sealer.finish().expect("nothing is left to do");
    Some(SealedLabels { sealed, first, second })
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

fn range(node: u32) -> core::ops::Range<usize> {
    let start = usize::try_from(node).expect("nodes are below 2^24") * LABEL;
    start..start + LABEL
}

/// The label of a node in a layer.
pub(crate) fn read(labels: &[u8], node: u32) -> Result<Fr, SealError> {
    labels
        .get(range(node))
        .and_then(FieldBytes::from_slice)
        .and_then(|bytes| field::from_bytes(&bytes))
        .ok_or(SealError::Damaged(node))
}

fn read_all(labels: &[u8], nodes: &[u32], out: &mut [Fr]) -> Result<(), SealError> {
    for (node, out) in nodes.iter().zip(out) {
        *out = read(labels, *node)?;
    }
    Ok(())
}

fn write(labels: &mut [u8], node: u32, label: Fr) {
    labels[range(node)].copy_from_slice(field::to_bytes(&label).as_bytes());
}

#[cfg(test)]
mod tests;
