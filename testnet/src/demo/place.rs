//! What is looked at before anything starts: the files, the folder, the space.

use std::fs;
use std::path::{Path, PathBuf};

use hpips_types::ByteCount;

use super::DemoOptions;
use super::tree::{Tree, TreeError};
use crate::janitor::sweep;
use crate::state::{State, StateError};

/// Folder that is stored when none is named.
const DEFAULT_PATH: &str = "docs";
/// Names of demo folders.
const PREFIX: &str = "demo-";
/// Demos at the same time.
const DEMOS_MAX: u32 = 1_000;
/// Disk for each byte of content: the client's copy, pieces on their way out and at their holders (about two
/// each), rebuilt ones, the copy read back.
const SPACE_FACTOR: u64 = 8;
/// Disk for databases, sealed sectors and logs of nine nodes, and proving keys.
const SPACE_BASE: u64 = 400_000_000;

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Nothing to store.
    #[error("no {DEFAULT_PATH} folder here to show: name a file or folder of your own, hpips demo PATH")]
    NoDefault,
    /// The path cannot be read.
    #[error("cannot store this; nothing started")]
    Path(#[from] TreeError),
    /// The path holds nothing.
    #[error("{0} holds no bytes to store; nothing started")]
    Empty(PathBuf),
    /// Too little disk.
    #[error(
        "demo needs {} free, {} are. Nothing started. Elsewhere: hpips demo --dir DIR",
        ByteCount::new(*needed).to_short(),
        ByteCount::new(*free).to_short()
    )]
    Space {
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The folder to work in is in use.
    #[error("{0} is not empty; nothing started")]
    NotEmpty(PathBuf),
    /// No place for the folder.
    #[error("no cache folder for this user: say where, hpips demo --dir DIR")]
    NoCache,
    /// The file system refused.
    #[error("{path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

/// Where the demo works, and on what.
#[derive(Debug)]
pub(super) struct Place {
    /// What is stored, absolute.
    pub(super) path: PathBuf,
    /// What lies there.
    pub(super) tree: Tree,
    /// The network's folder.
    pub(super) dir: PathBuf,
}

/// Checks everything, then makes the folder.
pub(super) fn prepare(options: &DemoOptions) -> Result<Place, PlaceError> {
    let path = match &options.path {
        Some(path) => path.clone(),
        None if Path::new(DEFAULT_PATH).is_dir() => DEFAULT_PATH.into(),
        None => return Err(PlaceError::NoDefault),
    };
    let tree = Tree::read(&path)?;
    if tree.bytes() == 0 {
        return Err(PlaceError::Empty(path));
    }
    let path = std::path::absolute(&path).map_err(|source| PlaceError::Io { path, source })?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| PlaceError::Io { path, source }
    };
    let parent = match &options.dir {
        Some(dir) => std::path::absolute(dir).map_err(io(dir))?,
        None => hpips_node::cache_dir().ok_or(PlaceError::NoCache)?,
    };
    let needed = tree.bytes().saturating_mul(SPACE_FACTOR).saturating_add(SPACE_BASE);
    let free = free_bytes(&parent).map_err(io(&parent))?;
    if free < needed {
        return Err(PlaceError::Space { needed, free });
    }
    sweep(&parent, PREFIX);
    let was_there = parent.is_dir();
    fs::create_dir_all(&parent).map_err(io(&parent))?;
    let dir = claim(&parent)?;
    // From here on whoever finds the folder knows whose it is.
    let mut state = State::create(&dir).map_err(|error| state_error(&dir, error))?;
    state.around = options.dir.as_ref().filter(|_| !was_there).map(|_| parent);
    state.save().map_err(|error| state_error(&dir, error))?;
    Ok(Place { path, tree, dir })
}

fn state_error(dir: &Path, error: StateError) -> PlaceError {
    PlaceError::Io { path: dir.to_owned(), source: std::io::Error::other(error) }
}

/// Makes the first free numbered folder; of two demos that start together each gets its own.
fn claim(parent: &Path) -> Result<PathBuf, PlaceError> {
    for number in 1..=DEMOS_MAX {
        let dir = parent.join(format!("{PREFIX}{number}"));
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(PlaceError::Io { path: dir, source }),
        }
    }
    Err(PlaceError::NotEmpty(parent.to_owned()))
}

/// Bytes that a user may still write where a folder is, or will be.
fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(existing)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(path: &Path, dir: &Path) -> DemoOptions {
        DemoOptions {
            path: Some(path.into()),
            dir: Some(dir.into()),
            keep: false,
            program: "/bin/true".into(),
        }
    }

    #[test]
    fn bad_paths_start_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (files, work) = (folder.path().join("files"), folder.path().join("work"));
        let missing = prepare(&options(&files, &work));
        assert!(matches!(missing, Err(PlaceError::Path(_))), "{missing:?}");
        fs::create_dir(&files).unwrap();
        fs::write(files.join("nothing"), "").unwrap();
        assert!(matches!(prepare(&options(&files, &work)), Err(PlaceError::Empty(_))));
        assert!(!work.exists());
    }

    #[test]
    fn two_demos_have_two_folders_and_leave_none() {
        let folder = tempfile::tempdir().unwrap();
        let (files, work) = (folder.path().join("files"), folder.path().join("work"));
        fs::create_dir(&files).unwrap();
        fs::write(files.join("one"), "1").unwrap();
        let first = prepare(&options(&files, &work)).unwrap();
        let second = prepare(&options(&files, &work)).unwrap();
        assert_ne!(first.dir, second.dir);
        for place in [second, first] {
            assert!(crate::janitor::clean_up(&place.dir));
        }
        assert!(!work.exists());
    }
}
