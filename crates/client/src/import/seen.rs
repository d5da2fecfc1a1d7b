//! Files that were imported before, by what the file system says of them, so that an unchanged one is not read again.
//!
//! ```text
//! magic    8   "HPIPSSN1"
//! count    8   little-endian
//! records      device 8, inode 8, choices 8, bytes 8, mtime 16, ctime 16, tsize 8, used 4, CID length 1, CID
//! check    8   of everything before: first bytes of its BLAKE3 hash
//! ```
//!
//! The file is a cache: one that is missing, damaged or of another version counts as empty.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File, Metadata};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cid::Cid;
use hpips_dag::{Node, Profile};

const MAGIC: &[u8; 8] = b"HPIPSSN1";
/// Files remembered at most, about 130 bytes of memory each; the ones not met for longest go first.
const FILES_MAX: usize = 2_000_000;
/// A file that changed less than this before it was looked at may change again without its times telling: file systems
/// with fine times tick every few milliseconds.
const RACY: Duration = Duration::from_millis(100);
/// The same for file systems that keep whole seconds, or two of them.
const RACY_COARSE: Duration = Duration::from_secs(3);

/// Which content of which choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
    /// A hash of the profile.
    choices: u64,
}

/// What the file system said, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    bytes: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    tsize: u64,
    cid: Cid,
    /// Run in which it was met last.
    used: u32,
}

/// Remembered files. Only the one import that owns it changes it.
#[derive(Debug)]
pub struct Seen {
    path: PathBuf,
    records: HashMap<Key, Record>,
    run: u32,
    is_changed: bool,
    /// Roots answered from memory in this run, to be checked before they are relied on.
    answered: Vec<Cid>,
    /// The profile asked for last and its hash.
    choices: Option<(Profile, u64)>,
}

impl Seen {
    /// What is remembered in this file; nothing when it is not there or not whole.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let records = fs::read(&path).ok().and_then(|bytes| decode(&bytes)).unwrap_or_default();
        let run = records.values().map(|record| record.used).max().map_or(0, |last| last.wrapping_add(1));
        Self { path, records, run, is_changed: false, answered: Vec::new(), choices: None }
    }

    /// Forgets everything (`--rehash`).
    pub fn clear(&mut self) {
        self.is_changed |= !self.records.is_empty();
        self.records.clear();
        self.answered.clear();
    }

    /// Roots of files that were not read in this run.
    pub fn answered(&self) -> &[Cid] {
        &self.answered
    }

    fn key(&mut self, metadata: &Metadata, profile: &Profile) -> Key {
        let choices = match self.choices {
            Some((known, hash)) if known == *profile => hash,
            _ => {
                // Only this machine reads it back; a version with another hasher reads the files once more.
                let mut hasher = DefaultHasher::new();
                profile.hash(&mut hasher);
                self.choices.insert((*profile, hasher.finish())).1
            }
        };
        Key { device: metadata.dev(), inode: metadata.ino(), choices }
    }

    pub(super) fn find(&mut self, metadata: &Metadata, profile: &Profile) -> Option<Node> {
        let key = self.key(metadata, profile);
        let record = self.records.get_mut(&key)?;
        if (record.bytes, record.mtime, record.ctime) != state(metadata) {
            return None;
        }
        record.used = self.run;
        let node = Node { cid: record.cid, tsize: record.tsize, file_bytes: record.bytes };
        self.answered.push(node.cid);
        Some(node)
    }

    /// Remembers a file that was read after `metadata` was taken, unless it changed so shortly before that it may have
    /// changed again unnoticed.
    pub(super) fn remember(&mut self, metadata: &Metadata, profile: &Profile, node: &Node) {
        if is_racy(metadata, now()) || metadata.len() != node.file_bytes {
            return;
        }
        let (bytes, mtime, ctime) = state(metadata);
        let record = Record { bytes, mtime, ctime, tsize: node.tsize, cid: node.cid, used: self.run };
        let key = self.key(metadata, profile);
        self.records.insert(key, record);
        self.is_changed = true;
    }

    /// Writes what is remembered, all at once, if anything changed.
    ///
    /// # Errors
    /// Those of the file system; the old file stays then.
    pub fn save(&mut self) -> io::Result<()> {
        if !self.is_changed {
            return Ok(());
        }
        if self.records.len() > FILES_MAX {
            let mut ages: Vec<u32> = self.records.values().map(|record| record.used).collect();
            ages.sort_unstable();
            let oldest = ages[ages.len() - FILES_MAX];
            self.records.retain(|_, record| record.used >= oldest);
        }
        let temporary = self.path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(&encode(&self.records))?;
        file.sync_data()?;
        fs::rename(&temporary, &self.path)?;
        self.is_changed = false;
        Ok(())
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn is_racy(metadata: &Metadata, now: Duration) -> bool {
    let is_coarse = metadata.mtime_nsec() == 0 && metadata.ctime_nsec() == 0;
    let margin = if is_coarse { RACY_COARSE } else { RACY };
    let time = |seconds: i64, nanoseconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Duration::new(seconds, u32::try_from(nanoseconds).unwrap_or(0))
    };
    let changed = time(metadata.ctime(), metadata.ctime_nsec());
    // Times of the future say nothing about when the file changes.
    changed + margin > now
}

fn state(metadata: &Metadata) -> (u64, (i64, i64), (i64, i64)) {
    let mtime = (metadata.mtime(), metadata.mtime_nsec());
    (metadata.len(), mtime, (metadata.ctime(), metadata.ctime_nsec()))
}

fn check(bytes: &[u8]) -> [u8; 8] {
    blake3::hash(bytes).as_bytes()[..8].try_into().expect("a hash has 32 bytes")
}

fn encode(records: &HashMap<Key, Record>) -> Vec<u8> {
    let mut out = Vec::with_capacity(24 + records.len() * 117);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&u64::try_from(records.len()).unwrap_or(u64::MAX).to_le_bytes());
    for (key, record) in records {
        for number in [key.device, key.inode, key.choices, record.bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [record.mtime.0, record.mtime.1, record.ctime.0, record.ctime.1] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&record.tsize.to_le_bytes());
        out.extend_from_slice(&record.used.to_le_bytes());
        let cid = record.cid.to_bytes();
        out.push(u8::try_from(cid.len()).expect("a CID has at most 64 bytes of digest"));
        out.extend_from_slice(&cid);
    }
    let check = check(&out);
    out.extend_from_slice(&check);
    out
}

/// `None` for anything but a whole file of this version.
fn decode(bytes: &[u8]) -> Option<HashMap<Key, Record>> {
    let (body, wanted) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
    if check(body) != wanted {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let count = usize::try_from(number(&mut rest)?).ok()?;
    // A record has at least 100 bytes, so a count beyond the input is a lie.
    let mut records = HashMap::with_capacity(count.min(rest.len() / 100 + 1));
    for _ in 0..count {
        let key = Key { device: number(&mut rest)?, inode: number(&mut rest)?, choices: number(&mut rest)? };
        let bytes = number(&mut rest)?;
        let mut signed = || Some(number(&mut rest)?.cast_signed());
        let mtime = (signed()?, signed()?);
        let ctime = (signed()?, signed()?);
        let tsize = number(&mut rest)?;
        let used = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
        let length = usize::from(take(&mut rest, 1)?[0]);
        let cid = Cid::try_from(take(&mut rest, length)?).ok()?;
        records.insert(key, Record { bytes, mtime, ctime, tsize, cid, used });
    }
    rest.is_empty().then_some(records)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

/// Where a repo keeps it.
pub(crate) fn file_in(repo: &Path) -> PathBuf {
    repo.join("seen")
}

#[cfg(test)]
mod tests {
    use hpips_types::content::{RAW, cid_v1};

    use super::*;

    #[test]
    fn damage_is_emptiness() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        let file = folder.path().join("file");
        fs::write(&file, "content").unwrap();
        let metadata = fs::metadata(&file).unwrap();
        let node = Node { cid: cid_v1(RAW, b"content"), tsize: 7, file_bytes: 7 };
        let mut seen = Seen::open(&path);
        assert_eq!(seen.find(&metadata, &Profile::default()), None);
        // As if it had been written long ago.
        let (bytes, mtime, ctime) = state(&metadata);
        let record = Record { bytes, mtime, ctime, tsize: 7, cid: node.cid, used: 0 };
        let key = seen.key(&metadata, &Profile::default());
        seen.records.insert(key, record);
        seen.is_changed = true;
        seen.save().unwrap();
        let mut again = Seen::open(&path);
        assert_eq!(again.find(&metadata, &Profile::default()), Some(node));
        assert_eq!(again.find(&metadata, &Profile::unixfs_v0_2015()), None, "other choices, other CIDs");
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            assert_eq!(decode(&whole[..cut]), None, "{cut}");
        }
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad), None, "{at}");
        }
    }

    #[test]
    fn what_changed_just_now_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "content").unwrap();
        let metadata = fs::metadata(&file).unwrap();
        let changed = Duration::new(metadata.ctime().cast_unsigned(), 0);
        assert!(is_racy(&metadata, changed));
        assert!(!is_racy(&metadata, changed + Duration::from_secs(10)));
    }
}
