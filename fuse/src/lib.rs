//! A folder that shows `/ipfs`: `ipfs/<cid>/...` for any CID there is, read-only, fetched on demand.
//!
//! The kernel asks, blocks are fetched through a [`BlockFetcher`] and read as UnixFS by `dag`. Nothing is
//! downloaded that nobody reads, except a few blocks ahead of a file that is read in order. The room
//! knows neither networks nor stores; it refuses to write.
//!
//! [`mount`] returns a [`Mounted`] whose drop or [`Mounted::close`] unmounts.

mod blocks;
mod filesystem;
mod nodes;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use fuser::{BackgroundSession, MountOption};

use crate::blocks::Blocks;
use crate::filesystem::Ipfs;

/// Threads that answer the kernel. Each may wait for a block; more let more files be read at once.
const THREADS: usize = 4;

/// Why a block is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Nobody has it, or nobody answered in time.
    #[error("not found in time")]
    NotFound,
    /// It was found and cannot be read, or the node is stopping.
    #[error("cannot be read")]
    Failed,
}

/// Where blocks come from.
///
/// Implementations block the calling thread, never longer than a deadline of their own, and return only
/// bytes that match the CID.
pub trait BlockFetcher: Send + Sync + 'static {
    /// The block of a CID. `root` is the CID right below `/ipfs` that led to it: holders are known by roots.
    ///
    /// # Errors
    /// [`FetchError`]; asking again later is allowed.
    fn fetch(&self, root: &Cid, cid: &Cid) -> Result<Bytes, FetchError>;
}

/// Why nothing was mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// This system has no FUSE, or it is not given to this container.
    #[error("cannot mount: /dev/fuse is missing. Nothing mounted")]
    NoDevice,
    /// Only root may mount without the helper.
    #[error("cannot mount as a user: fusermount3 not found. Debian: sudo apt install fuse3. Nothing mounted")]
    NoHelper,
    /// Not a folder that can be mounted on.
    #[error("cannot mount on {path}: make it first, an empty folder")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The folder holds files, which the mount would hide.
    #[error("{0} is not empty. Nothing mounted")]
    NotEmpty(PathBuf),
    /// The system refused.
    #[error("cannot mount on {path}")]
    System {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// A mounted folder. Dropping it unmounts.
pub struct Mounted {
    path: PathBuf,
    session: Option<BackgroundSession>,
}

impl std::fmt::Debug for Mounted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mounted").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Mounts on an empty folder.
///
/// # Errors
/// [`MountError`] by variant; nothing stays mounted.
pub fn mount(path: &Path, fetcher: Arc<dyn BlockFetcher>) -> Result<Mounted, MountError> {
    let folder = |source| MountError::Folder { path: path.to_owned(), source };
    let path = &path.canonicalize().map_err(folder)?;
    if std::fs::read_dir(path).map_err(folder)?.next().is_some() {
        return Err(MountError::NotEmpty(path.clone()));
    }
    if !Path::new("/dev/fuse").exists() {
        return Err(MountError::NoDevice);
    }
    // SAFETY: geteuid has no preconditions and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root && !has_helper() {
        return Err(MountError::NoHelper);
    }
    let system = |source| MountError::System { path: path.clone(), source };
    let mut config = fuser::Config::default();
    config.mount_options = vec![MountOption::FSName("hpips".into()), MountOption::RO, MountOption::NoAtime];
    config.n_threads = Some(THREADS);
    let blocks = Blocks::start(fetcher).map_err(system)?;
    let session = fuser::spawn_mount(Ipfs::new(blocks), path, &config).map_err(system)?;
    Ok(Mounted { path: path.clone(), session: Some(session) })
}

impl Mounted {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts. Files still open are cut off: the folder is free afterwards in any case.
    ///
    /// # Errors
    /// When the system keeps the folder mounted all the same.
    pub fn close(mut self) -> io::Result<()> {
        self.unmount()
    }

    fn unmount(&mut self) -> io::Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        match session.umount_and_join() {
            Ok(()) => Ok(()),
            Err(error) => detach(&self.path).map_err(|_| error),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            tracing::warn!(path = %self.path.display(), %error, "left mounted");
        }
    }
}

/// Frees a folder from a mount whose process is gone or busy; says so when it was none.
///
/// # Errors
/// The system's, for example when nothing is mounted there.
pub fn detach(path: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStrExt;
        let text = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: `text` is a valid C string that outlives the call.
        if unsafe { libc::umount2(text.as_ptr(), libc::MNT_DETACH) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::PermissionDenied {
            return Err(error);
        }
    }
    let status =
        std::process::Command::new("fusermount3").args(["-u", "-z", "-q", "--"]).arg(path).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("fusermount3 could not unmount it")) }
}

fn has_helper() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .chain(["/bin".into(), "/usr/bin".into()])
        .any(|folder| folder.join("fusermount3").is_file())
}
