//! A file system in memory whose power can be cut.
//!
//! What was written but not synced may be on the disk after a cut, or not, or in part, whatever the order it was
//! written in; names that were changed in folders not synced go back in order.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::layer::{Layer, LayerFile};

/// Numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }
}

/// What the next faults are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Power goes at the operation after so many.
    CutAfter(u64),
    /// One operation fails after so many, and leaves part of its work.
    FailAfter(u64),
    /// Nothing can be written.
    ReadOnly,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Clone, Debug, Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameChange {
    fn folder(&self) -> &Path {
        let path = match self {
            Self::Create(path, _) | Self::Remove(path) => path,
            Self::Rename(from, to) => {
                assert_eq!(from.parent(), to.parent(), "both folders would have to be synced");
                to
            }
        };
        path.parent().unwrap()
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
    match change {
        NameChange::Create(path, id) => drop(names.insert(path.clone(), *id)),
        NameChange::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        NameChange::Remove(path) => drop(names.remove(path)),
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, bytes) => {
            let offset = usize::try_from(*offset).unwrap();
            if content.len() < offset + bytes.len() {
                content.resize(offset + bytes.len(), 0);
            }
            content[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        Change::SetLen(len) => content.resize(usize::try_from(*len).unwrap(), 0),
    }
}

#[derive(Debug)]
struct State {
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending_names: Vec<NameChange>,
    contents: HashMap<u64, Content>,
    next: u64,
    fault: Option<Fault>,
    is_off: bool,
    dice: Dice,
    operations: u64,
    free_bytes: u64,
    /// File and range of bytes that cannot be read.
    unreadable: Option<(u64, Range<usize>)>,
}

/// The disk; clones share it, files that were opened before a cut stay dead.
#[derive(Clone, Debug)]
pub(crate) struct MemoryDisk {
    state: Arc<Mutex<State>>,
    /// Which boot this handle belongs to: after [`MemoryDisk::boot`] older ones fail.
    boot: u64,
    boots: Arc<Mutex<u64>>,
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    id: u64,
}

fn off() -> io::Error {
    io::Error::other("power is off")
}

impl MemoryDisk {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            contents: HashMap::new(),
            next: 0,
            fault: None,
            is_off: false,
            dice: Dice(seed),
            operations: 0,
            free_bytes: u64::MAX,
            unreadable: None,
        };
        Self { state: Arc::new(Mutex::new(state)), boot: 0, boots: Arc::new(Mutex::new(0)) }
    }

    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        self.state.lock().unwrap().fault = fault;
    }

    pub(crate) fn set_free_bytes(&self, bytes: u64) {
        self.state.lock().unwrap().free_bytes = bytes;
    }

    /// Reads of these bytes fail from now on; `None` mends the disk.
    pub(crate) fn set_unreadable(&self, bytes: Option<(&Path, Range<usize>)>) {
        let mut state = self.state.lock().unwrap();
        state.unreadable = bytes.map(|(path, range)| (state.names[path], range));
    }

    pub(crate) fn is_off(&self) -> bool {
        self.state.lock().unwrap().is_off
    }

    /// Operations so far that change the disk.
    pub(crate) fn operations(&self) -> u64 {
        self.state.lock().unwrap().operations
    }

    /// Cuts the power, if it is not off yet, and starts again with what a real disk might hold then.
    pub(crate) fn boot(&self) -> Self {
        let mut state = self.state.lock().unwrap();
        let state = &mut *state;
        // In each folder some of the first changes have reached the disk.
        while let Some(folder) = state.pending_names.first().map(|change| change.folder().to_owned()) {
            let here: Vec<_> =
                state.pending_names.extract_if(.., |change| change.folder() == folder).collect();
            for change in &here[..state.dice.index(here.len() + 1)] {
                apply_name(&mut state.durable_names, change);
            }
        }
        state.names = state.durable_names.clone();
        let mut ids: Vec<_> = state.contents.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let content = state.contents.get_mut(&id).unwrap();
            let mut disk = std::mem::take(&mut content.durable);
            for change in std::mem::take(&mut content.pending) {
                match (state.dice.below(3), change) {
                    (0, _) => {}
                    (1, Change::Write(offset, mut bytes)) => {
                        bytes.truncate(state.dice.index(bytes.len() + 1));
                        apply(&mut disk, &Change::Write(offset, bytes));
                    }
                    (_, change) => apply(&mut disk, &change),
                }
            }
            *content = Content { durable: disk.clone(), current: disk, pending: Vec::new() };
        }
        state.fault = None;
        state.is_off = false;
        let mut boots = self.boots.lock().unwrap();
        *boots += 1;
        Self { state: Arc::clone(&self.state), boot: *boots, boots: Arc::clone(&self.boots) }
    }

    /// Changes a file's content behind everybody's back.
    pub(crate) fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock().unwrap();
        let id = state.names[path];
        let content = state.contents.get_mut(&id).unwrap();
        edit(&mut content.current);
        content.durable = content.current.clone();
        content.pending.clear();
    }

    fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock().unwrap();
        if state.is_off || *self.boots.lock().unwrap() != self.boot {
            return Err(off());
        }
        Ok(state)
    }

    /// As [`Self::lock`], for operations that change something: they may be the one that fails. `partial` does a part
    /// of the work then.
    fn change(&self, partial: impl FnOnce(&mut State)) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock()?;
        state.operations += 1;
        match &mut state.fault {
            Some(Fault::CutAfter(0)) => {
                partial(&mut state);
                state.is_off = true;
                return Err(off());
            }
            Some(Fault::FailAfter(0)) => {
                partial(&mut state);
                state.fault = None;
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            Some(Fault::CutAfter(left) | Fault::FailAfter(left)) => *left -= 1,
            Some(Fault::ReadOnly) => return Err(io::ErrorKind::PermissionDenied.into()),
            None => {}
        }
        Ok(state)
    }

    fn rename_now(state: &mut State, change: NameChange) {
        apply_name(&mut state.names, &change);
        state.pending_names.push(change);
    }
}

impl Layer for MemoryDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn LayerFile>>> {
        let state = self.lock()?;
        let id = state.names.get(path).copied();
        Ok(id.map(|id| Arc::new(MemoryFile { disk: self.clone(), id }) as Arc<dyn LayerFile>))
    }

    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn LayerFile>>> {
        self.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn LayerFile>> {
        let mut state = self.change(|_| {})?;
        let id = state.next;
        state.next += 1;
        state.contents.insert(id, Content::default());
        Self::rename_now(&mut state, NameChange::Create(path.to_owned(), id));
        Ok(Arc::new(MemoryFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change(|_| {})?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Self::rename_now(&mut state, NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change(|_| {})?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Self::rename_now(&mut state, NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.change(|_| {})?;
        let State { durable_names, pending_names, .. } = &mut *state;
        let is_here = |change: &mut NameChange| change.folder() == dir;
        for change in pending_names.extract_if(.., is_here) {
            apply_name(durable_names, &change);
        }
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.lock()?.free_bytes)
    }
}

impl MemoryFile {
    fn push(state: &mut State, id: u64, change: Change) {
        let content = state.contents.get_mut(&id).unwrap();
        apply(&mut content.current, &change);
        content.pending.push(change);
    }
}

impl LayerFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock()?.contents[&self.id].current.len() as u64)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.lock()?;
        let offset = usize::try_from(offset).unwrap();
        if let Some((id, range)) = &state.unreadable
            && *id == self.id
            && range.start < offset + bytes.len()
            && offset < range.end
        {
            return Err(io::Error::other("a bad spot"));
        }
        let found = state.contents[&self.id].current.get(offset..offset + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn read_vec_at(&self, len: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let partial = |state: &mut State| {
            let some = state.dice.index(bytes.len() + 1);
            Self::push(state, self.id, Change::Write(offset, bytes[..some].to_vec()));
        };
        let mut state = self.disk.change(partial)?;
        Self::push(&mut state, self.id, Change::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.change(|_| {})?;
        Self::push(&mut state, self.id, Change::SetLen(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.change(|_| {})?;
        let content = state.contents.get_mut(&self.id).unwrap();
        content.durable = content.current.clone();
        content.pending.clear();
        Ok(())
    }
}
