//! Paths, listings and files out of any [`BlockGetter`]. Everything here blocks.

use std::io;
use std::ops::RangeBounds;

use bytes::Bytes;
use hpips_dag::{DirectoryReader, DriveError, Entry, FileReader, Resolved, Resolver, WalkError};
use hpips_types::Cid;

use crate::blocks::{BlockGetter, GetBlockError};
use crate::walk::walk;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A block cannot be had.
    #[error(transparent)]
    Get {
        /// Which, and why not.
        source: GetBlockError,
    },
    /// It is not what was asked for: no file, no directory, no such name.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// Whoever takes the bytes refused.
    #[error("cannot pass the bytes on")]
    Sink(#[source] io::Error),
}

impl From<DriveError<GetBlockError>> for ReadError {
    fn from(error: DriveError<GetBlockError>) -> Self {
        match error {
            DriveError::Walk(source) => Self::Walk(source),
            DriveError::Get(_, source) => Self::Get { source },
        }
    }
}

/// Follows a path below a root; [`hpips_dag::split_path`] makes segments of one.
///
/// # Errors
/// [`ReadError`] by variant.
pub fn resolve(blocks: &dyn BlockGetter, root: Cid, segments: Vec<String>) -> Result<Resolved, ReadError> {
    let mut found = Resolved { cid: root, name: None };
    walk::<_, ReadError>(Resolver::new(root, segments), blocks, |resolved| {
        found = resolved;
        Ok(())
    })?;
    Ok(found)
}

/// The entries of a directory, in its order.
///
/// # Errors
/// [`ReadError`] by variant.
pub fn list(blocks: &dyn BlockGetter, directory: Cid) -> Result<Vec<Entry>, ReadError> {
    let mut entries = Vec::new();
    walk::<_, ReadError>(DirectoryReader::new(directory), blocks, |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

/// Bytes of a file in order, part by part; `..` is all of it.
///
/// # Errors
/// [`ReadError`] by variant.
pub fn read(
    blocks: &dyn BlockGetter,
    file: Cid,
    range: impl RangeBounds<u64>,
    sink: &mut dyn FnMut(Bytes) -> io::Result<()>,
) -> Result<(), ReadError> {
    walk(FileReader::new(file, range), blocks, |part| sink(part).map_err(ReadError::Sink))
}

#[cfg(test)]
mod tests {
    use hpips_dag::split_path;
    use hpips_store::Store;

    use super::*;
    use crate::blocks::Local;
    use crate::{AddOptions, Reporter, add_local};

    #[test]
    fn paths_listings_and_ranges() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photos");
        std::fs::create_dir_all(path.join("lake")).unwrap();
        let bytes: Vec<u8> = (0..2_500_000u32).map(|index| (index % 241) as u8).collect();
        std::fs::write(path.join("lake/one"), &bytes).unwrap();
        let store = Store::open(folder.path().join("store"), hpips_store::Config::default()).unwrap();
        let root = add_local(&store, &path, &AddOptions::default(), &Reporter::none()).unwrap().report.root;
        let blocks = Local(store);
        let names: Vec<String> = list(&blocks, root).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["lake"]);
        let file = resolve(&blocks, root, split_path("lake/one").unwrap()).unwrap().cid;
        let mut got = Vec::new();
        read(&blocks, file, 999_999..2_000_001, &mut |part| {
            got.extend_from_slice(&part);
            Ok(())
        })
        .unwrap();
        assert!(got == bytes[999_999..2_000_001]);
        let missing = resolve(&blocks, root, vec!["sea".into()]);
        assert!(matches!(missing, Err(ReadError::Walk(WalkError::NotFound { .. }))));
    }
}
