//! DAGs back to files on disk, never outside the target.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hpips_dag::{DriveError, Event, Metadata, Tree, WalkError};
use hpips_types::{ByteCount, Cid};

use crate::blocks::{BlockGetter, GetBlockError};
use crate::walk::walk;

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
    /// The operating system gives no randomness.
    #[error("no randomness for the name of what is being written")]
    Randomness,
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
/// Permission bits and modification times that the DAG has are set, those of a directory when all in it is written.
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
    // Of its own length, whatever the target's: names have at most 255 bytes.
    let random = getrandom::u64().map_err(|_| ExportError::Randomness)?;
    let partial = target.with_file_name(format!(".hpips-{random:016x}.partial"));
    let mut writer =
        Writer { target: &partial, begun: false, file: None, directories: Vec::new(), files: 0, bytes: 0 };
    let result = writer.write(root, blocks, progress).and_then(|report| {
        move_new(&partial, target)?;
        Ok(report)
    });
    if result.is_err() && writer.begun {
        // Best effort: the error that counts is the one above.
        let _ = remove(&partial);
    }
    result
}

/// Renames, never over what came to stand there meanwhile.
fn move_new(from: &Path, to: &Path) -> Result<(), ExportError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => ExportError::Exists(to.to_path_buf()),
        _ => ExportError::Write { path: to.to_path_buf(), source },
    };
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            // Not every file system can.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    if fs::symlink_metadata(to).is_ok() {
        return Err(ExportError::Exists(to.to_path_buf()));
    }
    fs::rename(from, to).map_err(failed)
}

/// Removes all of it, also out of directories whose mode forbids that.
fn remove(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        remove(&entry?.path())?;
    }
    fs::remove_dir(path)
}

/// Something whose mode and time are set when nothing more is written there: both would change, or forbid it.
struct Open {
    /// Below the root.
    path: String,
    handle: File,
    metadata: Metadata,
}

/// Makes files of events.
struct Writer<'a> {
    target: &'a Path,
    /// Whether the target is there and is its own.
    begun: bool,
    /// The file that data goes to.
    file: Option<Open>,
    /// Directories around the next event, outermost first, as far as they have a mode or a time.
    directories: Vec<Open>,
    files: u64,
    bytes: u64,
}

impl Writer<'_> {
    fn write(
        &mut self,
        root: Cid,
        blocks: &dyn BlockGetter,
        progress: &mut dyn FnMut(u64),
    ) -> Result<ExportReport, ExportError> {
        walk(Tree::new(root), blocks, |event| self.take(event, progress))?;
        self.leave(None)?;
        Ok(ExportReport { files: self.files, bytes: ByteCount::new(self.bytes) })
    }

    fn place(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.target.to_path_buf() } else { self.target.join(path) }
    }

    fn failed(&self, path: &str) -> impl FnOnce(io::Error) -> ExportError {
        let path = self.place(path);
        move |source| ExportError::Write { path, source }
    }

    fn take(&mut self, event: Event, progress: &mut dyn FnMut(u64)) -> Result<(), ExportError> {
        match event {
            Event::Directory { path, mode, mtime } => {
                self.leave(Some(&path))?;
                let place = self.place(&path);
                fs::create_dir(&place).map_err(self.failed(&path))?;
                self.begun = true;
                let metadata = Metadata { mode, mtime };
                if !metadata.is_empty() {
                    let handle = File::open(&place).map_err(self.failed(&path))?;
                    self.directories.push(Open { path, handle, metadata });
                }
            }
            Event::File { path, mode, mtime, .. } => {
                self.leave(Some(&path))?;
                let handle = File::create_new(self.place(&path)).map_err(self.failed(&path))?;
                self.begun = true;
                self.files += 1;
                self.file = Some(Open { path, handle, metadata: Metadata { mode, mtime } });
            }
            Event::Data(data) => {
                let open = self.file.as_mut().expect("data follows its file");
                let written = open.handle.write_all(&data);
                if let Err(source) = written {
                    let path = open.path.clone();
                    return Err(ExportError::Write { path: self.place(&path), source });
                }
                let count = u64::try_from(data.len()).expect("a block's length");
                self.bytes += count;
                progress(count);
            }
            Event::Symlink { path, target } => {
                self.leave(Some(&path))?;
                std::os::unix::fs::symlink(target, self.place(&path)).map_err(self.failed(&path))?;
                self.begun = true;
                self.files += 1;
            }
        }
        Ok(())
    }

    /// Closes the file and the directories that `next` does not lie in; all of them at the end.
    fn leave(&mut self, next: Option<&str>) -> Result<(), ExportError> {
        if let Some(file) = self.file.take() {
            self.close(file)?;
        }
        while let Some(directory) =
            self.directories.pop_if(|last| next.is_none_or(|next| !is_below(next, &last.path)))
        {
            self.close(directory)?;
        }
        Ok(())
    }

    fn close(&self, open: Open) -> Result<(), ExportError> {
        let Open { path, handle, metadata } = open;
        if let Some(mode) = metadata.mode {
            handle.set_permissions(Permissions::from_mode(mode)).map_err(self.failed(&path))?;
        }
        // A time that the system cannot express is left out: it never keeps anybody from the content.
        if let Some(time) = metadata.mtime.and_then(|mtime| system_time(mtime.seconds, mtime.nanoseconds)) {
            handle.set_times(FileTimes::new().set_modified(time)).map_err(self.failed(&path))?;
        }
        Ok(())
    }
}

/// Whether a path lies in a directory; the root is the empty path.
fn is_below(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

fn system_time(seconds: i64, nanoseconds: u32) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    time?.checked_add(Duration::from_nanos(nanoseconds.into()))
}

#[cfg(test)]
mod tests;
