//! Sealing several sectors at once, going on after a restart where it was.
//!
//! ```text
//! sectors/sealing/job                dag-cbor: which sectors, with which ticket
//!                 <number>.first     labels of the first layer, as many as are sure
//!                 <number>.second    labels of the second layer
//! ```
//!
//! The label files only grow, and are synced at each check-point; what they hold is all that tells how far a
//! sector is. Small sectors are done before the first check-point, and nothing is written for them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use hpips_proofs::seal::{Lane, Progress, SealError, Sealer};
use hpips_proofs::{SealedLabels, SectorId, Shape};
use hpips_types::{Height, cbor};
use serde::{Deserialize, Serialize};

use crate::sectors::{SectorError, io_at, write_whole};

/// Labels between two check-points: 32 MiB of disk and a quarter of a minute for eight sectors. What is lost
/// when the machine stops.
const CHECKPOINT_LABELS: u64 = 1 << 20;
/// Labels between two looks at whether to stop.
const STEPS: u32 = 2_048;
/// Longest job file.
const JOB_BYTES_MAX: usize = 4_096;
/// Bytes of a label.
const LABEL: u64 = 32;

/// Sectors that are sealed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Which, by lane.
    pub(crate) ids: Vec<SectorId>,
    /// The opening whose beacon is their ticket.
    pub(crate) ticket: Height,
}

/// Why sectors cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// Files of the sectors.
    #[error(transparent)]
    Sector(#[from] SectorError),
    /// The labels read back from a check-point are not what they were; they are deleted, and sealing begins
    /// anew.
    #[error("the check-point of the sectors being sealed is damaged and was deleted")]
    Checkpoint(#[source] SealError),
}

/// The folder of sectors that are being sealed.
#[derive(Debug)]
pub(crate) struct Sealing {
    dir: PathBuf,
    height: u8,
    nodes: u64,
    every: u64,
}

impl Sealing {
    /// The folder below that of the sectors.
    pub(crate) fn new(sectors: &Path, shape: &Shape) -> Self {
        Self {
            dir: sectors.join("sealing"),
            height: shape.sector_height(),
            nodes: shape.nodes().into(),
            every: CHECKPOINT_LABELS,
        }
    }

    /// The job that a check-point was made of, if any. One that cannot be read is deleted: it is worth the time
    /// it took and nothing more.
    pub(crate) fn pending(&self) -> Result<Option<Job>, SectorError> {
        let path = self.dir.join("job");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io_at(&path))?,
        };
        let job = cbor::decode::<Job>(&bytes, JOB_BYTES_MAX).ok();
        if job.is_none() {
            self.clear()?;
        }
        Ok(job)
    }

    /// Deletes the check-point.
    pub(crate) fn clear(&self) -> Result<(), SectorError> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at(&self.dir)(error)),
            _ => Ok(()),
        }
    }

    /// Seals the sectors of a job, from its check-point if there is one. `go_on` is told the steps done, of
    /// [`Progress::steps`], and ends the work; `None` then, and the check-point stays.
    pub(crate) fn run(
        &self,
        job: &Job,
        mut go_on: impl FnMut(Progress) -> bool,
    ) -> Result<Option<Vec<SealedLabels>>, SealingError> {
        // Label files without their job are of nobody knows which sectors.
        if self.pending()?.as_ref() != Some(job) {
            self.clear()?;
        }
        let bytes = usize::try_from(self.nodes * LABEL).expect("a sector fits the address space");
        let mut buffers: Vec<[Vec<u8>; 2]> =
            job.ids.iter().map(|_| [vec![0; bytes], vec![0; bytes]]).collect();
        let from = self.read(job, &mut buffers)?;
        let lanes = job.ids.iter().zip(&mut buffers);
        let lanes = lanes.map(|(id, [first, second])| Lane { id: *id, first, second }).collect();
        let damaged = |error| {
            // Whatever the disk did to the labels, they are no good; a second failure would say the same.
            let _ = self.clear();
            SealingError::Checkpoint(error)
        };
        let mut sealer = Sealer::new(self.height, lanes, from).map_err(damaged)?;
        let mut saved = from.done();
        while !sealer.is_done() {
            let progress = sealer.step(STEPS).map_err(damaged)?;
            let labels = progress.done().min(2 * self.nodes);
            let stops = !go_on(progress);
            if labels - saved >= self.every || (stops && labels > saved && saved > 0) {
                self.save(job, sealer.lanes(), saved, labels)?;
                saved = labels;
            }
            if stops {
                return Ok(None);
            }
        }
        let sealed = sealer.finish().map_err(damaged)?;
        let labels = sealed.into_iter().zip(buffers);
        Ok(Some(labels.map(|(sealed, [first, second])| SealedLabels { sealed, first, second }).collect()))
    }

    /// Reads what is sure into the buffers, and says how far that is in every lane.
    fn read(&self, job: &Job, buffers: &mut [[Vec<u8>; 2]]) -> Result<Progress, SectorError> {
        let mut done = 2 * self.nodes;
        for (id, buffers) in job.ids.iter().zip(buffers) {
            let mut own = 0;
            for (layer, buffer) in [0, 1].into_iter().zip(buffers) {
                let path = self.file(id, layer);
                let length = match File::open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                    other => {
                        other.and_then(|mut file| read_up_to(&mut file, buffer)).map_err(io_at(&path))?
                    }
                };
                // The second layer counts once the first is whole.
                if own == layer * self.nodes {
                    own += length / LABEL;
                }
            }
            done = done.min(own);
        }
        Ok(Progress::at(done))
    }

    /// Makes labels sure, those after `saved` up to `labels`, counted over both layers.
    fn save(&self, job: &Job, lanes: &[Lane<'_>], saved: u64, labels: u64) -> Result<(), SectorError> {
        if saved == 0 {
            self.clear()?;
            fs::create_dir_all(&self.dir).map_err(io_at(&self.dir))?;
        }
        for lane in lanes {
            for (layer, buffer) in [0, 1].into_iter().zip([&*lane.first, &*lane.second]) {
                let within = |labels: u64| labels.saturating_sub(layer * self.nodes).min(self.nodes);
                let bytes = |labels| usize::try_from(within(labels) * LABEL).expect("bytes of a buffer");
                let path = self.file(&lane.id, layer);
                append_at(&path, within(saved) * LABEL, &buffer[bytes(saved)..bytes(labels)])
                    .map_err(io_at(&path))?;
            }
        }
        let path = self.dir.join("job");
        if saved == 0 {
            write_whole(&path, &cbor::encode(job)).map_err(io_at(&path))?;
        }
        Ok(())
    }

    fn file(&self, id: &SectorId, layer: u64) -> PathBuf {
        let name = if layer == 0 { "first" } else { "second" };
        self.dir.join(format!("{}.{name}", id.number))
    }
}

/// Reads as much of a buffer as there is, whole labels.
fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<u64> {
    let length = file.metadata()?.len().min(u64::try_from(buffer.len()).unwrap_or(u64::MAX)) / LABEL * LABEL;
    let whole = usize::try_from(length).map_err(io::Error::other)?;
    file.read_exact(&mut buffer[..whole])?;
    Ok(length)
}

/// Writes bytes at the end of a file, which may hold more than was sure, and syncs it.
fn append_at(path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.set_len(at)?;
    file.write_all(bytes)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use hpips_proofs::{Beacon, seal};
    use hpips_types::{AccountId, Blake3Hash, NetworkParams};

    use super::*;

    fn parts(folder: &Path) -> (Sealing, Job) {
        let params = NetworkParams { sector_height: 4, ..NetworkParams::dev() };
        let sealing = Sealing { every: 1_000, ..Sealing::new(folder, &Shape::of(&params).unwrap()) };
        let (provider, ticket) = (AccountId::new([1; 32]), Beacon::new(Blake3Hash::new([2; 32])));
        let ids = (0..2).map(|number| SectorId { provider, number, ticket }).collect();
        (sealing, Job { ids, ticket: Height::new(9) })
    }

    /// Stops at many places, cleanly and as if the power failed, and seals the same sectors.
    #[test]
    fn sealing_killed_anywhere_resumes_to_the_same_sectors() {
        let folder = tempfile::tempdir().unwrap();
        let (sealing, job) = parts(folder.path());
        let whole = seal::seal_all(4, &job.ids, |_| true).unwrap();
        for (stop, torn) in [(1, 0), (3_000, 0), (3_000, 900), (5_000, 0), (9_000, 40), (12_000, 0)] {
            sealing.clear().unwrap();
            assert!(sealing.run(&job, |progress| progress.done() < stop).unwrap().is_none());
            if torn > 0 {
                // The last check-point reached one lane's file in part.
                let path = sealing.file(&job.ids[1], u64::from(stop > 4_096));
                let file = OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(file.metadata().unwrap().len() - torn).unwrap();
            }
            let mut began = None;
            let resumed = sealing.run(&job, |progress| {
                began.get_or_insert(progress.done());
                true
            });
            assert_eq!(resumed.unwrap().unwrap(), whole, "stopped at {stop}");
            assert!(
                began.unwrap() >= stop.min(8_192).saturating_sub(2_048 + torn / 32 + 1),
                "stopped at {stop}"
            );
        }
    }

    #[test]
    fn damage_and_other_jobs_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (sealing, job) = parts(folder.path());
        sealing.run(&job, |progress| progress.done() < 3_000).unwrap();
        assert_eq!(sealing.pending().unwrap(), Some(job.clone()));
        fs::write(sealing.file(&job.ids[0], 0), [0xff; 64 * 32]).unwrap();
        assert!(matches!(sealing.run(&job, |_| true), Err(SealingError::Checkpoint(_))));
        assert_eq!(sealing.pending().unwrap(), None);

        sealing.run(&job, |progress| progress.done() < 3_000).unwrap();
        let other = Job { ids: job.ids[..1].to_vec(), ..job.clone() };
        let whole = seal::seal_all(4, &other.ids, |_| true).unwrap();
        assert_eq!(sealing.run(&other, |_| true).unwrap().unwrap(), whole);
        fs::create_dir_all(&sealing.dir).unwrap();
        fs::write(sealing.dir.join("job"), b"not cbor").unwrap();
        assert_eq!(sealing.pending().unwrap(), None);
        assert!(!sealing.dir.exists());
    }
}
