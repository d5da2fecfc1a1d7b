//! DAGs back to files on disk, never outside the target.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hpips_dag::{DriveError, Event, Step, Tree, Walk, WalkError};
use hpips_types::{ByteCount, Cid};

use crate::blocks::{BlockGetter, GetBlockError};

/// Blocks announced ahead of the reader.
const AHEAD: usize = 32;

/// What an export wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportReport {
    /// Files and symlinks.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: ByteCount,
}

/// Why an export ended. Nothing stands at the target then.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something stands there already.
    #[error("{} exists: choose another target with -o, or remove it", .0.display())]
    Exists(PathBuf),
    /// A block cannot be had.
    #[error(transparent)]
    Get {
        /// Which, and why not.
        source: GetBlockError,
    },
    /// The DAG is not a tree of files.
    #[error("not a tree of files")]
    Walk(#[source] WalkError),
    /// The disk refused.
    #[error("cannot write {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Walks a DAG with announced look-ahead and hands every item to `item`.
///
/// # Errors
/// As [`DriveError`], or what `item` returns.
pub fn walk<W: Walk, E: From<DriveError<GetBlockError>>>(
    mut walk: W,
    blocks: &dyn BlockGetter,
    mut item: impl FnMut(W::Item) -> Result<(), E>,
) -> Result<(), E> {
    loop {
        match walk.step().map_err(DriveError::Walk)? {
            Step::Item(found) => item(found)?,
            Step::Done => return Ok(()),
            Step::Need(cid) => {
                let ahead = walk.upcoming(AHEAD);
                blocks.prefetch(&ahead);
                let block = blocks.get(&cid).map_err(|error| DriveError::Get(cid, error))?;
                walk.feed(block).map_err(DriveError::Walk)?;
            }
        }
    }
}

impl From<DriveError<GetBlockError>> for ExportError {
    fn from(error: DriveError<GetBlockError>) -> Self {
        match error {
            DriveError::Walk(source) => Self::Walk(source),
            DriveError::Get(_, source) => Self::Get { source },
        }
    }
}

/// Writes what stands at `root` to `target`, which must not exist.
///
/// Everything is written beside the target first and renamed into place when complete. Every file and
/// directory is created new, so that a hostile DAG with the same name twice cannot write through a symlink.
/// `progress` gets the bytes of each part written.
///
/// # Errors
/// [`ExportError`]; what was written so far is removed.
pub fn export(
    root: Cid,
    blocks: &dyn BlockGetter,
    target: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<ExportReport, ExportError> {
    if fs::symlink_metadata(target).is_ok() {
        return Err(ExportError::Exists(target.to_path_buf()));
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let partial = target.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    let result = write_tree(root, blocks, &partial, progress).and_then(|report| {
        let moved = fs::rename(&partial, target);
        moved.map_err(|source| ExportError::Write { path: target.to_path_buf(), source })?;
        Ok(report)
    });
    if result.is_err() {
        // Best effort: the error that counts is the one above.
        let _ = fs::remove_dir_all(&partial).or_else(|_| fs::remove_file(&partial));
    }
    result
}

fn write_tree(
    root: Cid,
    blocks: &dyn BlockGetter,
    target: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<ExportReport, ExportError> {
    let mut open: Option<(File, PathBuf)> = None;
    let (mut files, mut bytes) = (0, 0u64);
    let place = |path: &str| if path.is_empty() { target.to_path_buf() } else { target.join(path) };
    walk(Tree::new(root), blocks, |event| {
        let (path, result) = match event {
            Event::Directory { path, .. } => {
                open = None;
                let path = place(&path);
                let made = fs::create_dir(&path);
                (path, made)
            }
            Event::File { path, .. } => {
                files += 1;
                let path = place(&path);
                let made = File::create_new(&path);
                (path.clone(), made.map(|file| open = Some((file, path))))
            }
            Event::Data(data) => {
                let (file, path) = open.as_mut().expect("data follows its file");
                bytes += u64::try_from(data.len()).expect("a block's length");
                progress(u64::try_from(data.len()).expect("a block's length"));
                (path.clone(), file.write_all(&data))
            }
            Event::Symlink { path, target } => {
                files += 1;
                open = None;
                let path = place(&path);
                let made = std::os::unix::fs::symlink(target, &path);
                (path, made)
            }
        };
        result.map_err(|source| ExportError::Write { path, source })
    })?;
    Ok(ExportReport { files, bytes: ByteCount::new(bytes) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::os::unix::fs::symlink;
    use std::sync::Mutex;

    use bytes::Bytes;
    use hpips_dag::{DirectoryBuilder, Profile};

    use super::*;
    use crate::import::{ImportOptions, import};

    #[derive(Default)]
    struct Map(Mutex<HashMap<Cid, Bytes>>);

    impl BlockGetter for Map {
        fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
            self.0.lock().unwrap().get(cid).cloned().ok_or(GetBlockError::NotFound { cid: *cid, peers: 0 })
        }
    }

    impl Map {
        fn put(&self, blocks: Vec<hpips_dag::Block>) {
            self.0.lock().unwrap().extend(blocks.into_iter().map(|block| (block.cid, block.bytes)));
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir_all(source.join("deep/er")).unwrap();
        fs::write(source.join("a"), vec![7; 3_000_000]).unwrap();
        fs::write(source.join("deep/er/empty"), "").unwrap();
        symlink("../a", source.join("deep/link")).unwrap();
        let map = Map::default();
        let root = import(
            &source,
            &ImportOptions::default(),
            None,
            &mut |blocks| {
                map.put(blocks);
                Ok(())
            },
            &mut |_: crate::import::Added| {},
        )
        .unwrap()
        .root;
        let target = folder.path().join("target");
        let report = export(root, &map, &target, &mut |_| {}).unwrap();
        assert_eq!((report.files, report.bytes.get()), (3, 3_000_000));
        assert_eq!(fs::read(target.join("a")).unwrap(), vec![7; 3_000_000]);
        assert_eq!(fs::read(target.join("deep/er/empty")).unwrap(), b"");
        assert_eq!(fs::read_link(target.join("deep/link")).unwrap(), Path::new("../a"));
        assert!(matches!(export(root, &map, &target, &mut |_| {}), Err(ExportError::Exists(_))));
    }

    #[test]
    fn a_missing_block_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut blocks = Vec::new();
        let mut builder = DirectoryBuilder::new(Profile::default());
        let (_, node) = hpips_dag::symlink(&Profile::default(), "/etc");
        builder.add("gone", node).unwrap();
        let root = builder.finish(&mut blocks).unwrap().cid;
        let map = Map::default();
        map.put(blocks);
        let target = folder.path().join("out");
        assert!(matches!(export(root, &map, &target, &mut |_| {}), Err(ExportError::Get { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
