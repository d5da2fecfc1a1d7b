//! The file system as the store uses it, behind a trait so that tests can cut the power.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// An open file, read and written at positions.
pub(crate) trait LayerFile: Debug + Send + Sync + 'static {
    fn len(&self) -> io::Result<u64>;
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// As [`Self::read_exact_at`], into new memory that is not cleared before.
    fn read_vec_at(&self, len: usize, offset: u64) -> io::Result<Vec<u8>>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Content and length survive a power cut once this returns.
    fn sync(&self) -> io::Result<()>;
}

/// A file system. Names that were created, renamed or removed survive a power cut after [`Layer::sync_dir`].
pub(crate) trait Layer: Debug + Send + Sync + 'static {
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// File names in a directory, unordered.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens for reading and writing; `None` when there is no such file.
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn LayerFile>>>;
    /// Opens for reading only; `None` when there is no such file.
    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn LayerFile>>>;
    /// Makes an empty file in place of whatever was there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn LayerFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that can still be written to the file system of a folder.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// The real file system.
#[derive(Debug)]
pub(crate) struct Disk;

fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Layer for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn LayerFile>>> {
        let file = absent(OpenOptions::new().read(true).write(true).open(path))?;
        Ok(file.map(|file| Arc::new(file) as Arc<dyn LayerFile>))
    }

    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn LayerFile>>> {
        Ok(absent(File::open(path))?.map(|file| Arc::new(file) as Arc<dyn LayerFile>))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn LayerFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(dir)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

impl LayerFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, offset)
    }

    fn read_vec_at(&self, len: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = offset.checked_add(u64::try_from(bytes.len()).expect("64 bits"));
            let at = at.ok_or(io::ErrorKind::UnexpectedEof)?;
            // The vector may have got more room than was asked for: what is read beyond `len` is cut off below.
            match rustix::io::pread(self, rustix::buffer::spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
