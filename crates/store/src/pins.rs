//! Pins: the promises that keep blocks, in a journal of their own (docs/formats/store.md, section 4).
//!
//! They are not in the index because the index may be lost and rebuilt from packs, and collection without pins
//! would take everything.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hpips_types::Cid;

use crate::layer::{Layer, LayerFile};

/// First bytes of the journal.
const MAGIC: &[u8; 8] = b"HPIPSPN1";
/// Longest name of a pin, bytes (as in Kubo).
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Entries that no longer count before the journal is written anew.
const STALE_MAX: usize = 1024;

/// How far a pin reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinKind {
    /// The block alone.
    Direct,
    /// Everything reachable from it.
    Recursive,
}

/// A pinned root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The root.
    pub cid: Cid,
    /// How far it reaches.
    pub kind: PinKind,
    /// A name for people; may be empty.
    pub name: String,
}

/// All pins, in memory, and the journal they are read from.
#[derive(Debug)]
pub(crate) struct Pins {
    file: Arc<dyn LayerFile>,
    end: u64,
    is_poisoned: bool,
    pins: BTreeMap<Cid, (PinKind, String)>,
}

/// Operation bytes of an entry.
const UNPIN: u8 = 0;
const PIN_DIRECT: u8 = 1;
const PIN_RECURSIVE: u8 = 2;

fn entry(cid: &Cid, pin: Option<(PinKind, &str)>) -> Vec<u8> {
    let (operation, name) = match pin {
        None => (UNPIN, ""),
        Some((PinKind::Direct, name)) => (PIN_DIRECT, name),
        Some((PinKind::Recursive, name)) => (PIN_RECURSIVE, name),
    };
    let cid = cid.to_bytes();
    let body_bytes = 2 + cid.len() + name.len();
    let mut out = u16::try_from(body_bytes).expect("CIDs and names are short").to_le_bytes().to_vec();
    out.push(operation);
    out.push(u8::try_from(cid.len()).expect("CIDs have at most 104 bytes"));
    out.extend_from_slice(&cid);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out
}

/// Splits the first entry off; `None` when it is not sound.
#[allow(clippy::type_complexity)]
fn parse(bytes: &[u8]) -> Option<(Cid, Option<(PinKind, String)>, &[u8])> {
    let (len, _) = bytes.split_first_chunk::<2>()?;
    let content = 2 + usize::from(u16::from_le_bytes(*len));
    let (content, rest) = bytes.split_at_checked(content)?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (operation, body) = content[2..].split_first()?;
    let (cid_bytes, body) = body.split_first()?;
    let (cid, name) = body.split_at_checked(usize::from(*cid_bytes))?;
    let cid = Cid::try_from(cid).ok()?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    let pin = match *operation {
        UNPIN => None,
        PIN_DIRECT => Some((PinKind::Direct, name)),
        PIN_RECURSIVE => Some((PinKind::Recursive, name)),
        _ => return None,
    };
    Some((cid, pin, rest))
}

impl Pins {
    /// Reads the journal, cuts off a torn end, and writes it anew when most of it no longer counts.
    pub(crate) fn open(layer: &dyn Layer, dir: &Path) -> io::Result<Self> {
        let path = dir.join("pins");
        let mut bytes = Vec::new();
        let found = layer.open(&path)?;
        if let Some(file) = &found {
            let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
            bytes.resize(len, 0);
            file.read_exact_at(&mut bytes, 0)?;
        }
        let mut pins = BTreeMap::new();
        let mut entries = 0;
        let mut rest = bytes.strip_prefix(MAGIC).unwrap_or(&[]);
        while let Some((cid, pin, after)) = parse(rest) {
            match pin {
                Some(pin) => drop(pins.insert(cid, pin)),
                None => drop(pins.remove(&cid)),
            }
            entries += 1;
            rest = after;
        }
        let sound = u64::try_from(bytes.len() - rest.len()).expect("64 bits");
        match found {
            Some(file) if bytes.starts_with(MAGIC) && entries - pins.len() <= STALE_MAX => {
                if !rest.is_empty() {
                    tracing::warn!(bytes = rest.len(), "cut a torn entry off the journal of pins");
                    file.set_len(sound)?;
                }
                // The last entries may have reached the file without reaching the disk.
                file.sync()?;
                Ok(Self { file, end: sound, is_poisoned: false, pins })
            }
            _ => Self::write_anew(layer, dir, &path, pins),
        }
    }

    fn write_anew(
        layer: &dyn Layer,
        dir: &Path,
        path: &Path,
        pins: BTreeMap<Cid, (PinKind, String)>,
    ) -> io::Result<Self> {
        let mut bytes = MAGIC.to_vec();
        for (cid, (kind, name)) in &pins {
            bytes.extend_from_slice(&entry(cid, Some((*kind, name))));
        }
        let temporary = dir.join("pins.new");
        let file = layer.create(&temporary)?;
        file.write_all_at(&bytes, 0)?;
        file.sync()?;
        layer.rename(&temporary, path)?;
        layer.sync_dir(dir)?;
        let end = u64::try_from(bytes.len()).expect("64 bits");
        Ok(Self { file, end, is_poisoned: false, pins })
    }

    /// Pins, replaces or (with `None`) removes; durable once this returns. Not to be called when poisoned.
    pub(crate) fn set(&mut self, cid: &Cid, pin: Option<(PinKind, &str)>) -> io::Result<()> {
        let bytes = entry(cid, pin);
        if let Err(error) = self.file.write_all_at(&bytes, self.end) {
            // Part of the entry may be there: it has to go before anything is said about pins again.
            let undone = self.file.set_len(self.end).and_then(|()| self.file.sync());
            self.is_poisoned = undone.is_err();
            return Err(error);
        }
        if let Err(error) = self.file.sync() {
            self.is_poisoned = true;
            return Err(error);
        }
        self.end += u64::try_from(bytes.len()).expect("64 bits");
        match pin {
            Some((kind, name)) => drop(self.pins.insert(*cid, (kind, name.to_owned()))),
            None => drop(self.pins.remove(cid)),
        }
        Ok(())
    }

    /// Whether the journal may hold something else than what this says.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    pub(crate) fn get(&self, cid: &Cid) -> Option<Pin> {
        self.pins.get(cid).map(|(kind, name)| Pin { cid: *cid, kind: *kind, name: name.clone() })
    }

    pub(crate) fn list(&self) -> Vec<Pin> {
        self.pins.keys().filter_map(|cid| self.get(cid)).collect()
    }
}
