//! What lies in a folder, and whether another folder holds the same.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use hpips_types::Sha256Digest;
use sha2::{Digest, Sha256};

/// Directories inside each other at most.
const DEPTH_MAX: usize = 256;

/// Why a folder cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Something in it cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// Deeper than is followed.
    #[error("{0} lies too deep")]
    Depth(PathBuf),
    /// Another set of names, or another kind of thing under a name.
    #[error("{path} differs between source and copy")]
    Differs {
        /// The path below the root; empty for the root itself.
        path: PathBuf,
    },
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    File { bytes: u64 },
    Symlink { target: PathBuf },
    Directory,
}

/// Everything below a path, by relative path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    root: PathBuf,
    items: BTreeMap<PathBuf, Item>,
}

impl Tree {
    /// Reads names and sizes, and opens every file once, so that an unreadable one is found before.
    pub(super) fn read(root: &Path) -> Result<Self, TreeError> {
        let mut tree = Self { root: root.to_owned(), items: BTreeMap::new() };
        // The path named is followed where it is a link itself; links below are kept as links.
        let meta = fs::metadata(root).map_err(|source| TreeError::Read { path: root.to_owned(), source })?;
        tree.add(PathBuf::new(), &meta, 0)?;
        Ok(tree)
    }

    fn add(&mut self, path: PathBuf, meta: &fs::Metadata, depth: usize) -> Result<(), TreeError> {
        let full = self.full(&path);
        let read = |source| TreeError::Read { path: full.clone(), source };
        if depth > DEPTH_MAX {
            return Err(TreeError::Depth(full));
        }
        let item = if meta.is_symlink() {
            Item::Symlink { target: fs::read_link(&full).map_err(read)? }
        } else if meta.is_dir() {
            for entry in fs::read_dir(&full).map_err(read)? {
                let entry = entry.map_err(read)?;
                let meta = fs::symlink_metadata(entry.path()).map_err(read)?;
                self.add(path.join(entry.file_name()), &meta, depth + 1)?;
            }
            Item::Directory
        } else {
            fs::File::open(&full).map_err(read)?;
            Item::File { bytes: meta.len() }
        };
        self.items.insert(path, item);
        Ok(())
    }

    fn full(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.items.values().map(|item| if let Item::File { bytes } = item { *bytes } else { 0 }).sum()
    }

    /// Paths of all files.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.items
            .iter()
            .filter(|(_, item)| matches!(item, Item::File { .. }))
            .map(|(path, _)| path.as_path())
    }

    /// Checks that another folder holds the same names, links and bytes.
    pub(super) fn equals(&self, other: &Path) -> Result<(), TreeError> {
        let other = Self::read(other)?;
        self.same_names(&other)?;
        for path in self.files() {
            if !same_bytes(&self.full(path), &other.full(path))? {
                return Err(TreeError::Differs { path: path.to_owned() });
            }
        }
        Ok(())
    }

    /// Checks that another folder holds the same names, links and SHA-256 sums; returns how many files.
    pub(super) fn equals_by_sum(&self, other: &Path) -> Result<u64, TreeError> {
        let other = Self::read(other)?;
        self.same_names(&other)?;
        let mut files = 0;
        for path in self.files() {
            if sum(&self.full(path))? != sum(&other.full(path))? {
                return Err(TreeError::Differs { path: path.to_owned() });
            }
            files += 1;
        }
        Ok(files)
    }

    fn same_names(&self, other: &Self) -> Result<(), TreeError> {
        let differing = |left: &Self, right: &Self| {
            left.items
                .iter()
                .find(|(path, item)| right.items.get(*path) != Some(item))
                .map(|(path, _)| path.clone())
        };
        match differing(self, other).or_else(|| differing(other, self)) {
            Some(path) => Err(TreeError::Differs { path }),
            None => Ok(()),
        }
    }
}

fn open(path: &Path) -> Result<fs::File, TreeError> {
    fs::File::open(path).map_err(|source| TreeError::Read { path: path.to_owned(), source })
}

fn fill(file: &mut fs::File, path: &Path, buffer: &mut [u8]) -> Result<usize, TreeError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(TreeError::Read { path: path.to_owned(), source }),
        }
    }
    Ok(filled)
}

fn same_bytes(left: &Path, right: &Path) -> Result<bool, TreeError> {
    let (mut left_file, mut right_file) = (open(left)?, open(right)?);
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let (in_a, in_b) = (fill(&mut left_file, left, &mut a)?, fill(&mut right_file, right, &mut b)?);
        if a[..in_a] != b[..in_b] {
            return Ok(false);
        }
        if in_a == 0 {
            return Ok(true);
        }
    }
}

fn sum(path: &Path) -> Result<Sha256Digest, TreeError> {
    let mut file = open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match fill(&mut file, path, &mut buffer)? {
            0 => return Ok(Sha256Digest::new(hasher.finalize().into())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let (left, right) = (folder.path().join("left"), folder.path().join("right"));
        for root in [&left, &right] {
            fs::create_dir_all(root.join("deep")).unwrap();
            fs::write(root.join("deep/a"), vec![1; 3_000_000]).unwrap();
            fs::write(root.join("b"), "b").unwrap();
            std::os::unix::fs::symlink("b", root.join("link")).unwrap();
        }
        let tree = Tree::read(&left).unwrap();
        assert_eq!((tree.bytes(), tree.files().count()), (3_000_001, 2));
        tree.equals(&right).unwrap();
        assert_eq!(tree.equals_by_sum(&right).unwrap(), 2);
        let mut changed = vec![1; 3_000_000];
        changed[2_999_999] = 2;
        fs::write(right.join("deep/a"), changed).unwrap();
        assert!(matches!(tree.equals(&right), Err(TreeError::Differs { path }) if path.ends_with("deep/a")));
        assert!(tree.equals_by_sum(&right).is_err());
        fs::write(right.join("deep/a"), vec![1; 3_000_000]).unwrap();
        fs::write(right.join("extra"), "").unwrap();
        assert!(matches!(tree.equals(&right), Err(TreeError::Differs { path }) if path.ends_with("extra")));
    }
}
