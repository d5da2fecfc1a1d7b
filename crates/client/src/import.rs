//! Files and directories from disk into blocks.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hpips_dag::{Block, DirectoryBuilder, DirectoryError, FileBuilder, Node, Profile, symlink};
use hpips_types::{ByteCount, Cid};

/// Blocks handed to the sink at once, bytes: enough that one fsync serves many, small beside the memory limit.
const BATCH_BYTES: usize = 32 << 20;
/// Chunks read at once, so that as many are hashed in parallel.
const CHUNKS_AT_ONCE: usize = 8;
/// Directories inside each other at most; a deeper tree is refused before the stack is short.
const DEPTH_MAX: usize = 256;

/// What decides the CIDs and what is taken along.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// Chunking, links, CID version.
    pub profile: Profile,
    /// Whether names that start with a dot are taken along below the root.
    pub hidden: bool,
}

/// Something that was added, in the order Kubo prints it: entries before their directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its CID.
    pub cid: Cid,
    /// Its name, from the name of what was added down.
    pub name: String,
    /// Bytes of a file; zero for directories and symlinks.
    pub bytes: u64,
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
    Sink(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The error type of a sink.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Imports a file, a symlink or a directory with all in it. Blocks go to `sink` in batches, children before
/// parents; what was added goes to `added`, entries before their directory, directories sorted by name.
///
/// # Errors
/// [`ImportError`]; names the path.
pub fn import(
    path: &Path,
    options: &ImportOptions,
    sink: &mut dyn FnMut(Vec<Block>) -> Result<(), SinkError>,
    added: &mut dyn FnMut(Added),
) -> Result<ImportReport, ImportError> {
    let name = base_name(path)?;
    let mut importer =
        Importer { options, sink, added, batch: Vec::new(), batch_bytes: 0, files: 0, bytes: 0 };
    // The path typed is followed where it is a link itself; links below are kept as links.
    let metadata =
        fs::metadata(path).map_err(|source| ImportError::Read { path: path.to_path_buf(), source })?;
    let node = importer.entry(path, &metadata, name, 0)?;
    importer.flush()?;
    Ok(ImportReport { root: node.cid, files: importer.files, bytes: ByteCount::new(importer.bytes) })
}

/// Imports what a reader yields, as one file.
///
/// # Errors
/// [`ImportError`]; a failed read names `name`.
pub fn import_reader(
    reader: &mut dyn Read,
    name: &str,
    options: &ImportOptions,
    sink: &mut dyn FnMut(Vec<Block>) -> Result<(), SinkError>,
    added: &mut dyn FnMut(Added),
) -> Result<ImportReport, ImportError> {
    let mut importer =
        Importer { options, sink, added, batch: Vec::new(), batch_bytes: 0, files: 0, bytes: 0 };
    let node = importer.file(reader, Path::new(name), name.to_owned())?;
    importer.flush()?;
    Ok(ImportReport { root: node.cid, files: importer.files, bytes: ByteCount::new(importer.bytes) })
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
    let full =
        fs::canonicalize(path).map_err(|source| ImportError::Read { path: path.to_path_buf(), source })?;
    of(&full).unwrap_or_else(|| Ok("/".into()))
}

struct Importer<'a> {
    options: &'a ImportOptions,
    sink: &'a mut dyn FnMut(Vec<Block>) -> Result<(), SinkError>,
    added: &'a mut dyn FnMut(Added),
    batch: Vec<Block>,
    batch_bytes: usize,
    files: u64,
    bytes: u64,
}

impl Importer<'_> {
    fn entry(
        &mut self,
        path: &Path,
        metadata: &fs::Metadata,
        name: String,
        depth: usize,
    ) -> Result<Node, ImportError> {
        let read = |source| ImportError::Read { path: path.to_path_buf(), source };
        if metadata.is_file() {
            let mut file = File::open(path).map_err(read)?;
            self.file(&mut file, path, name)
        } else if metadata.is_dir() {
            self.directory(path, name, depth)
        } else if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(read)?;
            let target = target.to_str().ok_or(ImportError::NotUtf8 { path: path.to_path_buf() })?;
            let (block, node) = symlink(&self.options.profile, target);
            self.take(vec![block])?;
            self.files += 1;
            (self.added)(Added { cid: node.cid, name, bytes: 0 });
            Ok(node)
        } else {
            Err(ImportError::Special { path: path.to_path_buf() })
        }
    }

    fn file(&mut self, reader: &mut dyn Read, path: &Path, name: String) -> Result<Node, ImportError> {
        let mut builder = FileBuilder::new(self.options.profile);
        let mut buffer = vec![0; self.options.profile.chunk_bytes() * CHUNKS_AT_ONCE];
        let mut blocks = Vec::new();
        loop {
            let filled = fill(reader, &mut buffer)
                .map_err(|source| ImportError::Read { path: path.to_path_buf(), source })?;
            builder.push(&buffer[..filled], &mut blocks);
            self.take(core::mem::take(&mut blocks))?;
            if filled < buffer.len() {
                break;
            }
        }
        let node = builder.finish(&mut blocks);
        self.take(blocks)?;
        self.files += 1;
        self.bytes += node.file_bytes;
        (self.added)(Added { cid: node.cid, name, bytes: node.file_bytes });
        Ok(node)
    }

    fn directory(&mut self, path: &Path, name: String, depth: usize) -> Result<Node, ImportError> {
        if depth == DEPTH_MAX {
            return Err(ImportError::TooDeep { path: path.to_path_buf() });
        }
        let read = |source| ImportError::Read { path: path.to_path_buf(), source };
        let directory = |source| ImportError::Directory { path: path.to_path_buf(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(read)? {
            let entry = entry.map_err(read)?;
            let child =
                entry.file_name().into_string().map_err(|_| ImportError::NotUtf8 { path: entry.path() })?;
            if self.options.hidden || !child.starts_with('.') {
                names.push(child);
            }
        }
        names.sort_unstable();
        let mut builder = DirectoryBuilder::new(self.options.profile);
        for child in names {
            let below = path.join(&child);
            let metadata = fs::symlink_metadata(&below)
                .map_err(|source| ImportError::Read { path: below.clone(), source })?;
            let node = self.entry(&below, &metadata, format!("{name}/{child}"), depth + 1)?;
            builder.add(&child, node).map_err(directory)?;
        }
        let mut blocks = Vec::new();
        let node = builder.finish(&mut blocks).map_err(directory)?;
        self.take(blocks)?;
        (self.added)(Added { cid: node.cid, name, bytes: 0 });
        Ok(node)
    }

    fn take(&mut self, blocks: Vec<Block>) -> Result<(), ImportError> {
        self.batch_bytes += blocks.iter().map(|block| block.bytes.len()).sum::<usize>();
        self.batch.extend(blocks);
        if self.batch_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ImportError> {
        self.batch_bytes = 0;
        if self.batch.is_empty() {
            return Ok(());
        }
        (self.sink)(core::mem::take(&mut self.batch)).map_err(ImportError::Sink)
    }
}

/// Reads until the buffer is full or the input ends; returns how much came.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(path: &Path, options: &ImportOptions) -> (ImportReport, Vec<Added>) {
        let mut all = Vec::new();
        let report = import(path, options, &mut |_| Ok(()), &mut |added| all.push(added)).unwrap();
        (report, all)
    }

    #[test]
    fn a_folder_has_the_published_cid_and_prints_as_kubo_does() {
        let folder = tempfile::tempdir().unwrap();
        let planets = folder.path().join("planets");
        fs::create_dir(&planets).unwrap();
        fs::write(planets.join("venus.txt"), "Hello Venus!\n").unwrap();
        fs::write(planets.join("mars.txt"), "Hello Mars!\n").unwrap();
        fs::write(planets.join(".hidden"), "not taken").unwrap();
        let options = ImportOptions { profile: Profile::unixfs_v0_2015(), hidden: false };
        let (report, added) = run(&planets, &options);
        assert_eq!(report.root.to_string(), "QmWSgS32xQEcXMeqd3YPJLrNBLSdsfYCep2U7CFkyrjXwY");
        let names: Vec<_> = added.iter().map(|added| added.name.as_str()).collect();
        assert_eq!(names, ["planets/mars.txt", "planets/venus.txt", "planets"]);
        assert_eq!((report.files, report.bytes.get()), (2, 25));
        let (with_hidden, _) = run(&planets, &ImportOptions { hidden: true, ..options });
        assert_ne!(with_hidden.root, report.root);
    }

    #[test]
    fn bad_paths_say_which() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("nowhere");
        let error = import(&missing, &ImportOptions::default(), &mut |_| Ok(()), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
        let refuse =
            import(folder.path(), &ImportOptions::default(), &mut |_| Err("full".into()), &mut |_| {});
        assert!(matches!(refuse, Err(ImportError::Sink(_))));
    }
}
