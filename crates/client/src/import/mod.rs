//! Files and directories from disk into blocks.
//!
//! Reading, cutting, hashing, and storing overlap. Threads of the scanner list directories ahead and read the small files in
//! them; this thread walks the tree in order and reads large files, whose leaves all cores hash; a thread of the
//! pipe hands finished batches to the sink, which writes and syncs. Queues between them are bounded in bytes, so memory
//! stays below 256 MiB for content of any size, and some 300 bytes for each entry of the directories that are open.

mod filter;
mod large;
mod pipe;
mod scan;
mod seen;
mod stat;
mod walk;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hpips_dag::{Block, DirectoryError, Mtime, Profile};
use hpips_types::{ByteCount, Cid};

pub use filter::{Filter, FilterError};
pub(crate) use seen::file_in as seen_in;
pub use seen::{Seen, Stored};

use pipe::Pipe;
use scan::Scanner;
use stat::Stat;
use walk::Importer;

/// Directories inside each other at most; a deeper tree is refused before the stack is short.
const DEPTH_MAX: usize = 256;

/// What decides the CIDs and what is taken along.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Chunking, links, CID version.
    pub profile: Profile,
    /// Whether names that start with a dot are taken along below the root.
    pub hidden: bool,
    /// Names that are left out.
    pub filter: Filter,
    /// Whether directories without entries are left out (`--empty-dirs=false`).
    pub skip_empty_directories: bool,
    /// Whether a link that was named itself is followed, not kept (`--dereference-args`).
    pub follow_named: bool,
    /// Whether links below are followed, not kept (`--dereference-symlinks`).
    pub follow_links: bool,
    /// Whether permission bits are kept (`--preserve-mode`).
    pub preserve_mode: bool,
    /// Whether modification times are kept (`--preserve-mtime`).
    pub preserve_mtime: bool,
    /// Permission bits for all files and directories (`--mode`).
    pub mode: Option<u32>,
    /// Modification time for everything (`--mtime`).
    pub mtime: Option<Mtime>,
    /// Whether raw leaves stay in the files they come from (`--nocopy`).
    pub nocopy: bool,
}

impl ImportOptions {
    /// Whether content alone decides the CIDs and all blocks are copied: only then an unchanged file need not be read.
    fn is_plain(&self) -> bool {
        !self.preserve_mode
            && !self.preserve_mtime
            && self.mode.is_none()
            && self.mtime.is_none()
            && !self.nocopy
    }

    /// Mode and time that are kept of a file or directory.
    fn kept(&self, stat: &Stat) -> hpips_dag::Metadata {
        let mode = self.mode.or(self.preserve_mode.then_some(stat.mode));
        hpips_dag::Metadata {
            mode: mode.filter(|mode| *mode != 0),
            mtime: self.mtime.or_else(|| self.preserve_mtime.then(|| stat.mtime())),
        }
    }
}

/// Something that was added. Files and links come in the order they are found, directories after all of them, inner
/// ones first, as Kubo prints them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its CID.
    pub cid: Cid,
    /// Its name, from the name of what was added down.
    pub name: String,
    /// Bytes of a file; zero for directories and symlinks.
    pub bytes: u64,
    /// Bytes of its DAG, what Kubo calls its size.
    pub dag_bytes: u64,
}

/// What an import came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// The CID of all.
    pub root: Cid,
    /// Files and symlinks.
    pub files: u64,
    /// Their bytes.
    pub bytes: ByteCount,
    /// Bytes of the root's DAG.
    pub dag_bytes: u64,
    /// Files whose content was known from before and was not read.
    pub unread: u64,
}

/// Why an import ended. What was handed to the sink before stays there.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A name that is not UTF-8 cannot stand in UnixFS.
    #[error("the name of {} is not UTF-8: rename it", path.display())]
    NotUtf8 {
        /// Which.
        path: PathBuf,
    },
    /// Neither file nor directory nor symlink.
    #[error("{} is neither a file, a directory nor a symbolic link", path.display())]
    Special {
        /// Which.
        path: PathBuf,
    },
    /// More directories inside each other than are followed.
    #[error("{} lies more than {DEPTH_MAX} directories deep", path.display())]
    TooDeep {
        /// Which.
        path: PathBuf,
    },
    /// The directory cannot be written as UnixFS.
    #[error("cannot make a directory of {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: DirectoryError,
    },
    /// The sink did not take the blocks.
    #[error("cannot store blocks")]
    Sink(#[source] SinkError),
    /// The caller asked to stop.
    #[error("interrupted; run it again to go on")]
    Interrupted,
}

/// The error type of a sink.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// A file that holds blocks itself (`--nocopy`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lent {
    /// The file; absolute.
    pub path: PathBuf,
    /// Its blocks with the offset and length of each in the file, bytes.
    pub rows: Vec<(Cid, u64, u32)>,
}

/// Blocks that are finished, children before parents.
#[derive(Debug, Default)]
pub struct Batch {
    /// To be stored.
    pub blocks: Vec<Block>,
    /// To be remembered where they lie.
    pub lent: Vec<Lent>,
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.lent.is_empty()
    }
}

/// Takes batches of blocks, on one thread.
pub type Sink<'a> = dyn FnMut(Batch) -> Result<(), SinkError> + Send + 'a;

/// What an import tells while it runs; every function returns at once.
pub trait Listener {
    /// Something was added. It is durable when the import has ended.
    fn added(&mut self, added: Added);

    /// So many more bytes of content were read or found unchanged.
    fn bytes(&mut self, _more: u64) {}

    /// Whether to stop as soon as possible.
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl<F: FnMut(Added)> Listener for F {
    fn added(&mut self, added: Added) {
        self(added);
    }
}

/// Imports a file, a symlink or a directory with all in it. Blocks go to `sink` in batches, children before
/// parents. Files that `seen` knows unchanged are not read; what is read is remembered there.
///
/// Symbolic links are kept as links unless the options say otherwise.
///
/// # Errors
/// [`ImportError`]; names the path.
pub fn import(
    path: &Path,
    options: &ImportOptions,
    seen: Option<&mut Seen>,
    sink: &mut Sink<'_>,
    listener: &mut dyn Listener,
) -> Result<ImportReport, ImportError> {
    let name = base_name(path)?;
    std::thread::scope(|scope| {
        let pipe = Pipe::start(scope, sink);
        let seen = seen.filter(|_| options.is_plain());
        let scanner = Scanner::start(scope, options, seen.as_ref().map(|seen| seen.memory().clone()));
        let mut importer = Importer::new(options, seen, pipe, Some(scanner), listener);
        let node = importer.root(path, name);
        importer.finish(node)
    })
}

/// Imports what a reader yields, as one file.
///
/// # Errors
/// [`ImportError`]; a failed read names `name`.
pub fn import_reader(
    reader: &mut dyn Read,
    name: &str,
    options: &ImportOptions,
    sink: &mut Sink<'_>,
    listener: &mut dyn Listener,
) -> Result<ImportReport, ImportError> {
    std::thread::scope(|scope| {
        let pipe = Pipe::start(scope, sink);
        let mut importer = Importer::new(options, None, pipe, None, listener);
        let node = importer.stream(reader, Path::new(name), name.to_owned());
        importer.finish(node)
    })
}

/// The last part of a path as it is typed; of `.` and `..` that of the folder meant.
fn base_name(path: &Path) -> Result<String, ImportError> {
    let of = |path: &Path| {
        path.file_name().map(|name| {
            name.to_str().map(str::to_owned).ok_or(ImportError::NotUtf8 { path: path.to_path_buf() })
        })
    };
    if let Some(name) = of(path) {
        return name;
    }
    let full = std::fs::canonicalize(path)
        .map_err(|source| ImportError::Read { path: path.to_path_buf(), source })?;
    of(&full).unwrap_or_else(|| Ok("/".into()))
}

#[cfg(test)]
mod tests;
