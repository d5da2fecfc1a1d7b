//! Directories that were imported before, by what the file system says of their files, so that unchanged ones are not read
//! again.
//!
//! A redb database with one row a directory and profile, which is written anew when the directory changed:
//!
//! ```text
//! key      device 8, inode 8, hash of the profile 8; big-endian
//! row      epoch 8, length 1 and CID of the directory (0: not known), tsize 8, entries by name, CRC32C 4 of all before
//! entry    length 2 and name, state 40 (zeroes: none), tsize 8, bytes of the file 8, length 1 and CID
//! state    inode 8, bytes 8, mtime 8 + 4, ctime 8 + 4
//! ```
//!
//! Numbers are little-endian. The epoch is the store's when the blocks were there for certain: it changes when the store
//! loses a block, and what is remembered from another epoch is looked for before it counts. The file is a cache: what is missing, damaged or locked counts as empty, and a file beyond
//! [`FILE_BYTES_MAX`] is begun anew.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use cid::Cid;
use hpips_dag::{Node, Profile};
use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, StorageError, TableDefinition};

use super::stat::{STATE_BYTES, Stat, State};

/// Another form of the rows gets another name.
const DIRECTORIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("directories 1");
/// A larger file is begun anew: rows of directories that are gone are not looked for. About eight million files.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Memory for pages of the database.
const CACHE_BYTES: usize = 8 << 20;
/// What an entry without a state has in its place.
const NO_STATE: State = [0; STATE_BYTES];

/// Names a directory and what decides its CIDs.
pub(super) type Key = [u8; 24];

/// The key of a directory. `choices`: of [`choices`].
pub(super) fn key(directory: &Stat, choices: u64) -> Key {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&directory.device.to_be_bytes());
    key[8..16].copy_from_slice(&directory.inode.to_be_bytes());
    key[16..].copy_from_slice(&choices.to_be_bytes());
    key
}

/// A hash of a profile. Only this machine reads it back; a program with another hasher reads the files once more.
pub(super) fn choices(profile: &Profile) -> u64 {
    let mut hasher = DefaultHasher::new();
    profile.hash(&mut hasher);
    hasher.finish()
}

/// Where the blocks are that were made before.
pub trait Stored: Send + Sync {
    /// A number that is never the same again after a block was removed or lost.
    fn epoch(&self) -> u64;

    /// Whether everything below a root is there.
    fn has_all(&self, root: &Cid) -> bool;
}

/// What was remembered, as those see it who only ask.
#[derive(Clone)]
pub(super) struct Memory {
    db: Arc<RwLock<Option<ReadOnlyDatabase>>>,
    stored: Arc<dyn Stored>,
    /// The store's epoch when the import began.
    epoch: u64,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory(epoch {})", self.epoch)
    }
}

impl Memory {
    /// What is remembered of a directory.
    pub(super) fn row(&self, key: &Key) -> Option<Row> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let table = db.as_ref()?.begin_read().ok()?.open_table(DIRECTORIES).ok()?;
        Row::check(table.get(&key[..]).ok()??.value())
    }

    /// The epoch for rows that are written now.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether nothing was lost since the row was written.
    pub(super) fn trusts(&self, row: &Row) -> bool {
        row.epoch() == Some(self.epoch)
    }

    /// Whether a file is in the state it was in, and its blocks are there.
    pub(super) fn holds(&self, row: &Row, known: &Known<'_>, stat: &Stat) -> bool {
        known.is(stat) && (self.trusts(row) || self.stored.has_all(&known.node.cid))
    }
}

/// Remembered directories. Only the one import that owns it changes it.
#[derive(Debug)]
pub struct Seen {
    path: PathBuf,
    memory: Memory,
    /// Rows to be written.
    pending: Vec<(Key, Vec<u8>)>,
    pending_bytes: usize,
}

impl Seen {
    /// What is remembered in this file; nothing when it is not there or not whole.
    pub fn open(path: impl Into<PathBuf>, stored: Arc<dyn Stored>) -> Self {
        let path = path.into();
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > FILE_BYTES_MAX) {
            let _ = fs::remove_file(&path);
        }
        let epoch = stored.epoch();
        let memory = Memory { db: Arc::new(RwLock::new(read(&path))), stored, epoch };
        Self { path, memory, pending: Vec::new(), pending_bytes: 0 }
    }

    /// Answers nothing any more (`--rehash`); what is read is remembered all the same.
    pub fn clear(&mut self) {
        *self.memory.db.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn remember(&mut self, key: Key, row: Vec<u8>) {
        self.pending_bytes += row.len();
        self.pending.push((key, row));
    }

    /// Bytes that wait to be written.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Writes what waits, all of it or nothing.
    ///
    /// # Errors
    /// Those of the file system and the database; nothing waits any more then.
    pub fn save(&mut self) -> io::Result<()> {
        let pending = core::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        if pending.is_empty() {
            return Ok(());
        }
        let mut db = self.memory.db.write().unwrap_or_else(PoisonError::into_inner);
        let was_asked = db.take().is_some();
        let written = write(&self.path, &pending).map_err(io::Error::other);
        if was_asked {
            *db = read(&self.path);
        }
        written
    }
}

fn read(path: &Path) -> Option<ReadOnlyDatabase> {
    let db = ReadOnlyDatabase::open(path);
    db.inspect_err(|error| tracing::debug!(%error, "files that were added before are not known")).ok()
}

fn write(path: &Path, rows: &[(Key, Vec<u8>)]) -> Result<(), redb::Error> {
    let open = || Database::builder().set_cache_size(CACHE_BYTES).create(path);
    let db = match open() {
        Err(error) if is_broken(&error) => {
            fs::remove_file(path)?;
            open()?
        }
        other => other?,
    };
    let tx = db.begin_write()?;
    let mut table = tx.open_table(DIRECTORIES)?;
    for (key, row) in rows {
        table.insert(&key[..], &row[..])?;
    }
    drop(table);
    Ok(tx.commit()?)
}

fn is_broken(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) | DatabaseError::UpgradeRequired(_) => true,
        DatabaseError::Storage(StorageError::Io(error)) => {
            matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

/// An entry of a directory as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known<'a> {
    pub(super) name: &'a str,
    state: &'a [u8],
    pub(super) node: Node,
}

impl Known<'_> {
    /// Whether the entry was a file in this state.
    pub(super) fn is(&self, stat: &Stat) -> bool {
        *self.state == stat.state() && self.node.file_bytes == stat.bytes
    }
}

/// What is remembered of a directory: bytes whose check was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row(Vec<u8>);

impl Row {
    fn check(bytes: &[u8]) -> Option<Self> {
        let (body, check) = bytes.split_last_chunk::<4>()?;
        (crc32c::crc32c(body) == u32::from_le_bytes(*check)).then(|| Self(body.to_vec()))
    }

    fn epoch(&self) -> Option<u64> {
        number(&mut &self.0[..])
    }

    /// The directory itself, when all of its entries stand in the row.
    pub(super) fn node(&self) -> Option<Node> {
        let mut rest = &self.0[..];
        number(&mut rest)?;
        let cid = take_cid(&mut rest)?;
        Some(Node { cid, tsize: number(&mut rest)?, file_bytes: 0 })
    }

    /// Its entries, by name.
    pub(super) fn entries(&self) -> Entries<'_> {
        let mut rest = &self.0[..];
        let mut head = || {
            number(&mut rest)?;
            let _cid = take_bytes(&mut rest)?;
            number(&mut rest)?;
            Some(rest)
        };
        Entries(head().unwrap_or_default())
    }
}

/// Goes through the entries of a row; ends at the first that is none.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Known<'a>;

    fn next(&mut self) -> Option<Known<'a>> {
        let mut rest = self.0;
        let length = usize::from(u16::from_le_bytes(take(&mut rest, 2)?.try_into().ok()?));
        let name = std::str::from_utf8(take(&mut rest, length)?).ok()?;
        let state = take(&mut rest, STATE_BYTES)?;
        let (tsize, file_bytes) = (number(&mut rest)?, number(&mut rest)?);
        let cid = take_cid(&mut rest)?;
        self.0 = rest;
        Some(Known { name, state, node: Node { cid, tsize, file_bytes } })
    }
}

/// Writes a row.
#[derive(Debug)]
pub(super) struct RowBuilder(Vec<u8>);

impl RowBuilder {
    /// Of a directory; `None` when not all of its entries will stand in the row.
    pub(super) fn new(epoch: u64, node: Option<&Node>) -> Self {
        let mut row = Self(epoch.to_le_bytes().to_vec());
        match node {
            Some(node) => row.put_cid(&node.cid),
            None => row.0.push(0),
        }
        row.0.extend_from_slice(&node.map_or(0, |node| node.tsize).to_le_bytes());
        row
    }

    /// Adds an entry, which has to come after those before by its name. Names of more than 64 KiB do not exist.
    pub(super) fn add(&mut self, name: &str, state: Option<&State>, node: &Node) {
        let length = u16::try_from(name.len()).expect("a file's name");
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(state.unwrap_or(&NO_STATE));
        self.0.extend_from_slice(&node.tsize.to_le_bytes());
        self.0.extend_from_slice(&node.file_bytes.to_le_bytes());
        self.put_cid(&node.cid);
    }

    /// Adds an entry as it stood in a row before.
    pub(super) fn keep(&mut self, known: &Known<'_>) {
        self.add(known.name, known.state.first_chunk(), &known.node);
    }

    fn put_cid(&mut self, cid: &Cid) {
        let length = u8::try_from(cid.encoded_len()).expect("a CID has at most 64 bytes of digest");
        self.0.push(length);
        cid.write_bytes(&mut self.0).expect("memory takes all");
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let check = crc32c::crc32c(&self.0);
        self.0.extend_from_slice(&check.to_le_bytes());
        self.0
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(take(rest, 1)?[0]);
    take(rest, length)
}

/// `None` also for the empty one, which stands for no CID.
fn take_cid(rest: &mut &[u8]) -> Option<Cid> {
    Cid::try_from(take_bytes(rest)?).ok()
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

/// Where a repo keeps it.
pub(crate) fn file_in(repo: &Path) -> PathBuf {
    repo.join("seen.redb")
}

#[cfg(test)]
mod tests {
    use hpips_types::content::{RAW, cid_v1};
    use rustix::fs::FileType;

    use super::*;

    struct Never;

    impl Stored for Never {
        fn epoch(&self) -> u64 {
            8
        }
        fn has_all(&self, _root: &Cid) -> bool {
            false
        }
    }

    fn open(path: &Path) -> Seen {
        Seen::open(path, Arc::new(Never))
    }

    fn stat(inode: u64) -> Stat {
        Stat {
            kind: FileType::RegularFile,
            mode: 0,
            bytes: 7,
            device: 1,
            inode,
            mtime: (2, 3),
            ctime: (4, 5),
        }
    }

    fn node(content: &[u8]) -> Node {
        Node { cid: cid_v1(RAW, content), tsize: 7, file_bytes: 7 }
    }

    fn row() -> Vec<u8> {
        let mut row = RowBuilder::new(7, Some(&node(b"directory")));
        row.add("a", Some(&stat(9).state()), &node(b"content"));
        row.add("b", None, &node(b"link"));
        row.finish()
    }

    #[test]
    fn rows_come_back_and_damage_is_emptiness() {
        let whole = row();
        let row = Row::check(&whole).unwrap();
        assert_eq!(row.node().unwrap().cid, node(b"directory").cid);
        let entries: Vec<_> = row.entries().collect();
        assert_eq!((entries[0].name, entries[0].node, entries.len()), ("a", node(b"content"), 2));
        assert!(entries[0].is(&stat(9)) && !entries[0].is(&stat(10)) && !entries[1].is(&stat(9)));
        let mut again = RowBuilder::new(7, row.node().as_ref());
        entries.iter().for_each(|known| again.keep(known));
        assert_eq!(again.finish(), whole);
        for cut in 0..whole.len() {
            assert_eq!(Row::check(&whole[..cut]), None, "{cut}");
        }
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert_eq!(Row::check(&bad), None, "{at}");
            // Even where a check does not tell, nothing breaks.
            let _ = (Row(bad.clone()).node(), Row(bad).entries().count());
        }
    }

    #[test]
    fn a_damaged_file_is_emptiness_and_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = file_in(folder.path());
        let directory = key(&stat(1), choices(&Profile::default()));
        let save = |row: Vec<u8>| {
            let mut seen = open(&path);
            seen.remember(directory, row);
            seen.save()
        };
        assert_eq!(open(&path).memory().row(&directory), None);
        save(row()).unwrap();
        let seen = open(&path);
        let known = seen.memory().row(&directory).unwrap();
        assert_eq!(Some(&known), Row::check(&row()).as_ref());
        let entry = known.entries().next().unwrap();
        assert!(
            entry.is(&stat(9)) && !seen.memory().holds(&known, &entry, &stat(9)),
            "another epoch, no blocks"
        );
        let other = key(&stat(1), choices(&Profile::unixfs_v0_2015()));
        assert_eq!(seen.memory().row(&other), None, "other choices, other CIDs");
        drop(seen);
        fs::write(&path, "no database, whatever it was").unwrap();
        assert_eq!(open(&path).memory().row(&directory), None);
        save(row()).unwrap();
        assert_eq!(open(&path).memory().row(&directory), Row::check(&row()));
    }

    #[test]
    fn one_that_is_cleared_answers_nothing_and_remembers() {
        let folder = tempfile::tempdir().unwrap();
        let path = file_in(folder.path());
        let directory = key(&stat(1), 0);
        let mut seen = open(&path);
        seen.remember(directory, row());
        seen.save().unwrap();
        let mut seen = open(&path);
        seen.clear();
        assert_eq!(seen.memory().row(&directory), None);
        let empty = RowBuilder::new(7, None).finish();
        seen.remember(directory, empty.clone());
        seen.save().unwrap();
        assert_eq!(open(&path).memory().row(&directory), Row::check(&empty));
    }
}
