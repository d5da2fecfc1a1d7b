//! Sealed sectors on disk.
//!
//! ```text
//! sectors/<number>/meta      dag-cbor: commitments and identity; its presence says the sector is complete
//!                  replica   labels of the second layer, node after node
//!                  rows      the replica's tree from level 3 up
//!                  first     labels of the first layer   } until the sector is active
//!                  columns   the columns' tree           }
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hpips_crypto::merkle::Path as MerklePath;
use hpips_proofs::vanilla::{ColumnOpening, LeafOpening, activation};
use hpips_proofs::{Element, Sealed, SealedLabels, SealedSector, SectorTree, Shape};
use hpips_types::{Height, cbor};
use serde::{Deserialize, Serialize};

/// Longest metadata file.
const META_BYTES_MAX: usize = 4096;

/// Why a sector cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SectorError {
    /// The disk.
    #[error("sector file {} failed", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The bytes are not those committed to.
    #[error("sector {number} is damaged at node {node}")]
    Damaged {
        /// Which sector.
        number: u64,
        /// Where.
        node: u32,
    },
    /// A file of a sector is not what it should be.
    #[error("{} is damaged", .0.display())]
    Malformed(PathBuf),
    /// No such sector here.
    #[error("the sector is not on this disk")]
    Missing,
}

/// What names a sector on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Identity and commitments.
    pub sector: SealedSector,
    /// The opening whose beacon was the ticket.
    pub ticket: Height,
}

/// A sector that is complete on disk.
#[derive(Clone, Debug)]
pub struct Sector {
    /// What it is.
    pub meta: Meta,
    rows: SectorTree,
    dir: PathBuf,
}

/// All sectors of a provider, by number.
#[derive(Debug)]
pub struct Sectors {
    dir: PathBuf,
    height: u8,
    by_number: BTreeMap<u64, Sector>,
}

pub(crate) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> SectorError {
    let path = path.to_path_buf();
    move |source| SectorError::Io { path, source }
}

/// Writes a file so that it is complete or absent.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

impl Sectors {
    /// Opens the folder; sectors that were not finished are removed.
    ///
    /// # Errors
    /// [`SectorError`] when the folder cannot be read or a complete sector is damaged.
    pub fn open(dir: PathBuf, shape: &Shape) -> Result<Self, SectorError> {
        fs::create_dir_all(&dir).map_err(io_at(&dir))?;
        let mut by_number = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(io_at(&dir))? {
            let path = entry.map_err(io_at(&dir))?.path();
            let number =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok());
            let Some(number) = number else { continue };
            if path.join("meta").exists() {
                by_number.insert(number, Sector::load(path, shape.sector_height())?);
            } else {
                fs::remove_dir_all(&path).map_err(io_at(&path))?;
            }
        }
        Ok(Self { dir, height: shape.sector_height(), by_number })
    }

    /// The sectors, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Sector)> {
        self.by_number.iter().map(|(number, sector)| (*number, sector))
    }

    /// The least number never used here.
    pub fn next_number(&self) -> u64 {
        self.by_number.last_key_value().map_or(0, |(number, _)| number + 1)
    }

    /// Stores what was sealed. Durable when it returns.
    ///
    /// # Errors
    /// [`SectorError::Io`].
    pub fn insert(&mut self, ticket: Height, labels: &SealedLabels) -> Result<(), SectorError> {
        let meta = Meta { sector: labels.sealed.sector, ticket };
        let number = meta.sector.id.number;
        let dir = self.dir.join(number.to_string());
        fs::create_dir_all(&dir).map_err(io_at(&dir))?;
        let files: [(&str, &[u8]); 5] = [
            ("replica", &labels.second),
            ("rows", &labels.sealed.replica.to_bytes()),
            ("first", &labels.first),
            ("columns", &labels.sealed.columns.to_bytes()),
            ("meta", &cbor::encode(&meta)),
        ];
        for (name, bytes) in files {
            let path = dir.join(name);
            write_whole(&path, bytes).map_err(io_at(&path))?;
        }
        self.by_number.insert(number, Sector::load(dir, self.height)?);
        Ok(())
    }

    /// Deletes a sector.
    ///
    /// # Errors
    /// [`SectorError::Io`].
    pub fn remove(&mut self, number: u64) -> Result<(), SectorError> {
        if let Some(sector) = self.by_number.remove(&number) {
            // The metadata first: what is left without it is no sector.
            let meta = sector.dir.join("meta");
            fs::remove_file(&meta).map_err(io_at(&meta))?;
            fs::remove_dir_all(&sector.dir).map_err(io_at(&sector.dir))?;
        }
        Ok(())
    }

    /// The sector whose replica has this name.
    pub fn by_replica(&self, replica_id: Element) -> Option<&Sector> {
        self.by_number.values().find(|sector| Element::from(sector.meta.sector.id.replica_id()) == replica_id)
    }
}

impl Sector {
    fn load(dir: PathBuf, height: u8) -> Result<Self, SectorError> {
        let path = dir.join("meta");
        let bytes = fs::read(&path).map_err(io_at(&path))?;
        let meta = cbor::decode(&bytes, META_BYTES_MAX).map_err(|_| SectorError::Malformed(path))?;
        let rows = read_tree(&dir.join("rows"), height)?;
        Ok(Self { meta, rows, dir })
    }

    /// A leaf and its path, read from the replica.
    ///
    /// # Errors
    /// [`SectorError::Damaged`] when the bytes are not those committed to.
    pub fn open(&self, node: u32) -> Result<LeafOpening, SectorError> {
        let path = self.dir.join("replica");
        let file = File::open(&path).map_err(io_at(&path))?;
        let group = read_group(&self.rows, node, &(path, file))?;
        let number = self.meta.sector.id.number;
        self.rows.open(node, &group).ok_or(SectorError::Damaged { number, node })
    }

    /// What the activation opens, read from disk as it is asked for.
    ///
    /// # Errors
    /// [`SectorError`] when the files are not there.
    pub fn labels(&self) -> Result<LabelFiles, SectorError> {
        let open = |name: &str| {
            let path = self.dir.join(name);
            File::open(&path).map_err(io_at(&path)).map(|file| (path, file))
        };
        let columns = read_tree(&self.dir.join("columns"), self.rows.height())?;
        let (sector, replica) = (self.meta.sector, self.rows.clone());
        Ok(LabelFiles {
            sealed: Sealed { sector, columns, replica },
            first: open("first")?,
            second: open("replica")?,
        })
    }

    /// Deletes what only the activation needed.
    ///
    /// # Errors
    /// [`SectorError::Io`].
    pub fn drop_labels(&self) -> Result<(), SectorError> {
        for name in ["first", "columns"] {
            let path = self.dir.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_at(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_tree(path: &Path, height: u8) -> Result<SectorTree, SectorError> {
    let bytes = fs::read(path).map_err(io_at(path))?;
    SectorTree::from_bytes(&bytes, height).ok_or_else(|| SectorError::Malformed(path.to_path_buf()))
}

/// Both layers of a sector on disk: half a gibibyte each at full size, of which an activation opens groups.
#[derive(Debug)]
pub struct LabelFiles {
    sealed: Sealed,
    first: (PathBuf, File),
    second: (PathBuf, File),
}

impl LabelFiles {
    fn damaged(&self, node: u32) -> SectorError {
        SectorError::Damaged { number: self.sealed.sector.id.number, node }
    }
}

impl activation::SectorLabels for LabelFiles {
    type Error = SectorError;

    fn column(&self, node: u32) -> Result<ColumnOpening, SectorError> {
        let columns = &self.sealed.columns;
        let (first, second) =
            (read_group(columns, node, &self.first)?, read_group(columns, node, &self.second)?);
        columns.open_column(node, &first, &second).map_err(|_| self.damaged(node))
    }

    fn replica_path(&self, node: u32) -> Result<MerklePath, SectorError> {
        let replica = &self.sealed.replica;
        let group = read_group(replica, node, &self.second)?;
        replica.open(node, &group).map(|opening| opening.path).ok_or_else(|| self.damaged(node))
    }
}

/// The labels that a node opens with.
fn read_group(tree: &SectorTree, node: u32, (path, file): &(PathBuf, File)) -> Result<Vec<u8>, SectorError> {
    let range = tree.group(node);
    let bytes = usize::try_from(range.end - range.start).expect("a group is at most 16 KiB");
    let mut group = vec![0; bytes];
    file.read_exact_at(&mut group, range.start).map_err(io_at(path))?;
    Ok(group)
}

#[cfg(test)]
mod tests {
    use hpips_proofs::vanilla::activation::SectorLabels as _;
    use hpips_proofs::{Beacon, SectorId, seal};
    use hpips_types::{AccountId, Blake3Hash, NetworkParams};

    use super::*;

    #[test]
    fn a_sector_survives_a_restart_and_shows_damage() {
        let folder = tempfile::tempdir().unwrap();
        let params = NetworkParams { sector_height: 2, ..NetworkParams::dev() };
        let shape = Shape::of(&params).unwrap();
        let id = SectorId {
            provider: AccountId::new([1; 32]),
            number: 7,
            ticket: Beacon::new(Blake3Hash::new([2; 32])),
        };
        let labels = seal::seal(2, id, |_| true).unwrap();
        let mut sectors = Sectors::open(folder.path().join("sectors"), &shape).unwrap();
        sectors.insert(Height::new(3), &labels).unwrap();
        // One that a crash cut short has no metadata.
        fs::create_dir(folder.path().join("sectors/8")).unwrap();

        let sectors = Sectors::open(folder.path().join("sectors"), &shape).unwrap();
        assert_eq!(sectors.next_number(), 8);
        let sector = sectors.by_replica(id.replica_id().into()).unwrap();
        assert_eq!(sector.meta, Meta { sector: labels.sealed.sector, ticket: Height::new(3) });
        let opened = sector.open(9).unwrap();
        let (files, kept) = (sector.labels().unwrap(), labels.kept());
        for node in [0, 17, 63] {
            assert_eq!(files.column(node).unwrap(), kept.column(node).unwrap());
            assert_eq!(files.replica_path(node).unwrap(), kept.replica_path(node).unwrap());
        }
        sector.drop_labels().unwrap();
        sector.drop_labels().unwrap();
        assert_eq!(sector.open(9).unwrap(), opened);

        let replica = folder.path().join("sectors/7/replica");
        let mut bytes = fs::read(&replica).unwrap();
        bytes[9 * 32] ^= 1;
        fs::write(&replica, bytes).unwrap();
        assert!(matches!(sector.open(9), Err(SectorError::Damaged { number: 7, node: 9 })));
    }
}
