//! The journal of what must be kept: pins and the root of the files (docs/formats/store.md, section 4).
//!
//! They are not in the index because the index may be lost and rebuilt from packs, and collection without pins
//! would take everything.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hpips_types::Cid;

use crate::error::OpenError;
use crate::layer::{Layer, LayerFile};
use crate::pins::{Pin, PinKind};

/// First bytes of the journal.
const MAGIC: &[u8; 8] = b"HPIPSPN1";
/// Longest name of a pin, bytes (as in Kubo).
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Longest entry without its CRC, bytes: length, operation, length of the CID, CID and name. Keeps a search for sound
/// entries in a damaged journal from reading 64 kB at every byte.
const ENTRY_BYTES_MAX: usize = 2 + 1 + 1 + 104 + NAME_BYTES_MAX;
/// Entries that no longer count before opening writes the journal anew.
const STALE_MAX: usize = 1024;
/// As [`STALE_MAX`], while the store is open: the journal of a root that changes with every write stays below 6 MB.
const STALE_OPEN_MAX: usize = 64 * 1024;
/// Longest journal that is read, bytes: some ten million pins.
const JOURNAL_BYTES_MAX: u64 = 1 << 32;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Pins a root, or changes its pin.
    Pin(Pin),
    /// Removes a pin.
    Unpin(Cid),
    /// Makes this the root of the files.
    FilesRoot(Cid),
}

/// What the entries come to.
#[derive(Clone, Debug, Default)]
struct Kept {
    pins: BTreeMap<Cid, (PinKind, String)>,
    files_root: Option<Cid>,
}

impl Kept {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Pin(Pin { cid, kind, name }) => drop(self.pins.insert(cid, (kind, name))),
            Change::Unpin(cid) => drop(self.pins.remove(&cid)),
            Change::FilesRoot(cid) => self.files_root = Some(cid),
        }
    }

    /// Entries that say the same.
    fn count(&self) -> usize {
        self.pins.len() + usize::from(self.files_root.is_some())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (cid, (kind, name)) in &self.pins {
            put_entry(operation_of(*kind), cid, name, &mut bytes);
        }
        if let Some(root) = &self.files_root {
            put_entry(FILES_ROOT, root, "", &mut bytes);
        }
        bytes
    }
}

/// All pins and the root of the files, in memory, and the journal they are read from.
#[derive(Debug)]
pub(crate) struct Journal {
    layer: Arc<dyn Layer>,
    dir: PathBuf,
    file: Arc<dyn LayerFile>,
    end: u64,
    /// Entries in the file.
    entries: usize,
    is_poisoned: bool,
    kept: Kept,
}

/// Operation bytes of an entry.
const UNPIN: u8 = 0;
const PIN_DIRECT: u8 = 1;
const PIN_RECURSIVE: u8 = 2;
const FILES_ROOT: u8 = 3;

fn operation_of(kind: PinKind) -> u8 {
    match kind {
        PinKind::Direct => PIN_DIRECT,
        PinKind::Recursive => PIN_RECURSIVE,
    }
}

fn put_entry(operation: u8, cid: &Cid, name: &str, out: &mut Vec<u8>) {
    let start = out.len();
    let cid = cid.to_bytes();
    let body_bytes = 2 + cid.len() + name.len();
    out.extend_from_slice(&u16::try_from(body_bytes).expect("CIDs and names are short").to_le_bytes());
    out.push(operation);
    out.push(u8::try_from(cid.len()).expect("CIDs have at most 104 bytes"));
    out.extend_from_slice(&cid);
    out.extend_from_slice(name.as_bytes());
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Splits the first entry off; `None` when it is not sound.
fn parse(bytes: &[u8]) -> Option<(Change, &[u8])> {
    let (len, _) = bytes.split_first_chunk::<2>()?;
    let content = 2 + usize::from(u16::from_le_bytes(*len));
    if content > ENTRY_BYTES_MAX {
        return None;
    }
    let (content, rest) = bytes.split_at_checked(content)?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (operation, body) = content[2..].split_first()?;
    let (cid_bytes, body) = body.split_first()?;
    let (cid, name) = body.split_at_checked(usize::from(*cid_bytes))?;
    let cid = Cid::try_from(cid).ok()?;
    let pin = |kind| Some(Change::Pin(Pin { cid, kind, name: String::from_utf8(name.to_vec()).ok()? }));
    let change = match *operation {
        UNPIN => Change::Unpin(cid),
        PIN_DIRECT => pin(PinKind::Direct)?,
        PIN_RECURSIVE => pin(PinKind::Recursive)?,
        FILES_ROOT => Change::FilesRoot(cid),
        _ => return None,
    };
    Some((change, rest))
}

/// What stands in a journal.
#[derive(Debug, Default)]
struct Reading {
    kept: Kept,
    entries: usize,
    /// End of the last sound entry before the first damage.
    end: usize,
    /// Whether sound entries follow that damage.
    is_damaged: bool,
}

/// Reads entries, also those behind damage. Entries are synced one by one, so a power cut leaves at most one torn entry
/// and nothing behind it.
fn read(bytes: &[u8]) -> Reading {
    let mut found = Reading::default();
    let mut at = MAGIC.len();
    if !bytes.starts_with(MAGIC) {
        found.is_damaged = !bytes.is_empty();
        at = 0;
    }
    found.end = at.min(bytes.len());
    let mut is_sound = !found.is_damaged;
    while at < bytes.len() {
        match parse(&bytes[at..]) {
            Some((change, rest)) => {
                at = bytes.len() - rest.len();
                found.kept.apply(change);
                found.entries += 1;
                if is_sound {
                    found.end = at;
                }
                found.is_damaged |= !is_sound;
            }
            None => {
                is_sound = false;
                at += 1;
            }
        }
    }
    found
}

impl Journal {
    /// Reads the journal, cuts off a torn end, and writes it anew when most of it no longer counts.
    ///
    /// # Errors
    /// [`OpenError::Pins`] when it is damaged elsewhere, and failures of the disk.
    pub(crate) fn open(layer: &Arc<dyn Layer>, dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("pins");
        let io = |source| OpenError::Io { path: path.clone(), source };
        let file = layer.open(&path).map_err(io)?;
        let bytes = file.as_ref().map_or(Ok(Vec::new()), |file| content(&**file)).map_err(io)?;
        let found = read(&bytes);
        if found.is_damaged {
            return Err(set_aside(&**layer, dir, &bytes, &found));
        }
        let end = found.end;
        Self::begin(layer, dir, file.filter(|_| !bytes.is_empty()), bytes.len(), found)
            .map_err(|source| OpenError::Io { path: dir.join("pins"), source })
            .inspect(|_| {
                if end < bytes.len() {
                    tracing::warn!(bytes = bytes.len() - end, "cut a torn entry off the journal of pins");
                }
            })
    }

    fn begin(
        layer: &Arc<dyn Layer>,
        dir: &Path,
        file: Option<Arc<dyn LayerFile>>,
        len: usize,
        found: Reading,
    ) -> io::Result<Self> {
        let Reading { kept, mut entries, end, .. } = found;
        let (file, end) = match file {
            Some(file) if entries - kept.count() <= STALE_MAX => {
                let bytes = u64::try_from(end).expect("64 bits");
                if end < len {
                    file.set_len(bytes)?;
                }
                // The last entries may have reached the file without reaching the disk.
                file.sync()?;
                (file, bytes)
            }
            _ => {
                entries = kept.count();
                write_anew(&**layer, dir, "pins", &kept)?
            }
        };
        let (layer, dir) = (Arc::clone(layer), dir.to_owned());
        Ok(Self { layer, dir, file, end, entries, is_poisoned: false, kept })
    }

    /// Makes changes, durable once this returns. Not to be called when poisoned. Of several changes a failure or a crash
    /// may keep only the first ones: each is synced before the next is written, so that nothing but a torn entry at
    /// the very end can come from a crash.
    pub(crate) fn apply(&mut self, changes: Vec<Change>) -> io::Result<()> {
        changes.into_iter().try_for_each(|change| self.append(change))?;
        if self.entries - self.kept.count() > STALE_OPEN_MAX {
            self.shorten();
        }
        Ok(())
    }

    fn append(&mut self, change: Change) -> io::Result<()> {
        let mut bytes = Vec::new();
        match &change {
            Change::Pin(pin) => put_entry(operation_of(pin.kind), &pin.cid, &pin.name, &mut bytes),
            Change::Unpin(cid) => put_entry(UNPIN, cid, "", &mut bytes),
            Change::FilesRoot(cid) => put_entry(FILES_ROOT, cid, "", &mut bytes),
        }
        if let Err(error) = self.file.write_all_at(&bytes, self.end) {
            // Part of the entries may be there: they have to go before anything is said about pins again.
            let undone = self.file.set_len(self.end).and_then(|()| self.file.sync());
            self.is_poisoned = undone.is_err();
            return Err(error);
        }
        if let Err(error) = self.file.sync() {
            self.is_poisoned = true;
            return Err(error);
        }
        self.end += u64::try_from(bytes.len()).expect("64 bits");
        self.entries += 1;
        self.kept.apply(change);
        Ok(())
    }

    /// Writes the journal anew. What was acknowledged is in the old one, so a failure only stops later changes.
    fn shorten(&mut self) {
        match write_anew(&*self.layer, &self.dir, "pins", &self.kept) {
            Ok((file, end)) => (self.file, self.end, self.entries) = (file, end, self.kept.count()),
            Err(error) => {
                // Nobody knows which of the two files has the name now.
                tracing::error!(%error, "cannot write the journal of pins anew");
                self.is_poisoned = true;
            }
        }
    }

    /// Whether the journal may hold something else than what this says.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    pub(crate) fn files_root(&self) -> Option<Cid> {
        self.kept.files_root
    }

    pub(crate) fn get(&self, cid: &Cid) -> Option<Pin> {
        let (kind, name) = self.kept.pins.get(cid)?;
        Some(Pin { cid: *cid, kind: *kind, name: name.clone() })
    }

    pub(crate) fn list(&self) -> Vec<Pin> {
        let pins = self.kept.pins.iter();
        pins.map(|(cid, (kind, name))| Pin { cid: *cid, kind: *kind, name: name.clone() }).collect()
    }
}

fn content(file: &dyn LayerFile) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    if len > JOURNAL_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Writes a journal under a temporary name and then puts it in the place of an old one.
fn write_anew(
    layer: &dyn Layer,
    dir: &Path,
    name: &str,
    kept: &Kept,
) -> io::Result<(Arc<dyn LayerFile>, u64)> {
    let bytes = kept.encode();
    let file = replace(layer, dir, name, &bytes)?;
    Ok((file, u64::try_from(bytes.len()).expect("64 bits")))
}

fn replace(layer: &dyn Layer, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<Arc<dyn LayerFile>> {
    let temporary = dir.join("pins.new");
    let file = layer.create(&temporary)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    layer.rename(&temporary, &dir.join(name))?;
    layer.sync_dir(dir)?;
    Ok(file)
}

/// Keeps a copy of a damaged journal and writes what can be read of it beside it; says so. The journal itself stays as
/// it is, so that the store is refused until somebody has decided.
fn set_aside(layer: &dyn Layer, dir: &Path, bytes: &[u8], found: &Reading) -> OpenError {
    let (broken, salvaged) = ("pins.broken", "pins.salvaged");
    let written =
        replace(layer, dir, broken, bytes).and_then(|_| write_anew(layer, dir, salvaged, &found.kept));
    if let Err(source) = written {
        return OpenError::Io { path: dir.join(broken), source };
    }
    OpenError::Pins {
        path: dir.join("pins"),
        at: u64::try_from(found.end).expect("64 bits"),
        broken: dir.join(broken),
        salvaged: dir.join(salvaged),
        entries: found.kept.count(),
    }
}

#[cfg(test)]
mod tests {
    use hpips_types::content::{RAW, cid_v1};
    use proptest::prelude::*;

    use super::*;

    use crate::mocks::MemoryDisk;

    fn pin(number: u8) -> Change {
        let name = format!("name of {number}");
        Change::Pin(Pin { cid: cid_v1(RAW, &[number]), kind: PinKind::Recursive, name })
    }

    fn bytes_of(disk: &MemoryDisk, name: &str) -> Vec<u8> {
        content(&*disk.open(&Path::new("/store").join(name)).unwrap().unwrap()).unwrap()
    }

    fn open(disk: &MemoryDisk) -> Result<Journal, OpenError> {
        let layer: Arc<dyn Layer> = Arc::new(disk.clone());
        Journal::open(&layer, Path::new("/store"))
    }

    /// Whatever byte rots: only the last entry may be taken for torn, anything else refuses the store and keeps what
    /// there is. A journal that is cut anywhere is read as far as it goes.
    #[test]
    fn damage_is_told_from_a_torn_end() {
        let whole = MemoryDisk::new(1);
        let mut journal = open(&whole).unwrap();
        (0..4).for_each(|number| journal.apply(vec![pin(number)]).unwrap());
        let bytes = bytes_of(&whole, "pins");
        let last = bytes.len() - (bytes.len() - MAGIC.len()) / 4;
        for at in 0..bytes.len() {
            let disk = MemoryDisk::new(1);
            drop(open(&disk).unwrap());
            let mut rotten = bytes.clone();
            rotten[at] ^= 0x41;
            disk.edit(Path::new("/store/pins"), |pins| pins.clone_from(&rotten));
            match open(&disk) {
                Ok(journal) => {
                    assert!(at >= last, "byte {at}");
                    assert_eq!(journal.list().len(), 3);
                }
                Err(OpenError::Pins { at: told, entries, .. }) => {
                    assert!(at < last && told <= at as u64, "byte {at}, told {told}");
                    assert_eq!(entries, if at < MAGIC.len() { 4 } else { 3 }, "byte {at}");
                    assert_eq!(bytes_of(&disk, "pins"), rotten, "left alone");
                    assert_eq!(bytes_of(&disk, "pins.broken"), rotten);
                    open(&disk).unwrap_err();
                    // What the message says to do.
                    let [from, to] = ["pins.salvaged", "pins"].map(|name| Path::new("/store").join(name));
                    disk.rename(&from, &to).unwrap();
                    assert_eq!(open(&disk).unwrap().list().len(), entries);
                }
                Err(error) => panic!("{error}"),
            }
            let disk = MemoryDisk::new(1);
            drop(open(&disk).unwrap());
            disk.edit(Path::new("/store/pins"), |pins| *pins = bytes[..at].to_vec());
            match open(&disk) {
                Ok(journal) => assert_eq!(
                    journal.list().len(),
                    at.saturating_sub(MAGIC.len()) * 4 / (bytes.len() - MAGIC.len())
                ),
                Err(OpenError::Pins { .. }) => assert!((1..MAGIC.len()).contains(&at)),
                Err(error) => panic!("{error}"),
            }
        }
    }

    proptest! {
        /// Whatever stands in the file, reading ends, and what was written before the damage is there.
        #[test]
        fn damage_costs_at_most_what_follows_it(at: prop::sample::Index, value: u8) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for number in 0..20u8 {
                put_entry(number % 4, &cid_v1(RAW, &[number]), "name", &mut bytes);
                ends.push(bytes.len());
            }
            let at = at.index(bytes.len());
            bytes[at] = value;
            let mut rest = &bytes[..];
            let mut read = 0;
            while let Some((_, after)) = parse(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
                read += 1;
            }
            prop_assert!(read >= ends.iter().filter(|end| **end <= at).count());
        }

        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
