//! A whole tree, ready to be written to disk.

use bytes::Bytes;
use cid::Cid;

use crate::directory::DirectoryReader;
use crate::inspect::{Kind, inspect};
use crate::name::safe_name;
use crate::reader::FileReader;
use crate::unixfs::Mtime;
use crate::walk::{Step, Walk, WalkError};

/// Directories inside each other at most.
const DEPTH_MAX: usize = 256;
/// Length of a path below the root at most, bytes.
const PATH_BYTES_MAX: usize = 4096;
/// Entries that may wait at once in all open directories: about 150 MB.
const PENDING_MAX: usize = 1 << 20;

/// What comes next in a tree. Paths are relative to the root, which is the empty path; segments are joined by `/` and
/// each passed [`safe_name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A directory; its entries follow.
    Directory {
        /// Path below the root.
        path: String,
        /// Permission bits, where written.
        mode: Option<u32>,
        /// Modification time, where written.
        mtime: Option<Mtime>,
    },
    /// A file; its [`Event::Data`] follow in order, up to the next event of another kind.
    File {
        /// Path below the root.
        path: String,
        /// Its length as its root declares.
        file_bytes: u64,
        /// Permission bits, where written.
        mode: Option<u32>,
        /// Modification time, where written.
        mtime: Option<Mtime>,
    },
    /// Bytes of the last file.
    Data(Bytes),
    /// A symbolic link. Whoever creates it must never follow it while writing.
    Symlink {
        /// Path below the root.
        path: String,
        /// Its target, unchecked.
        target: String,
    },
}

#[derive(Debug)]
struct Frame {
    path: String,
    reader: DirectoryReader,
}

/// Reads a file, a symlink or a directory with everything in it: needs blocks one after the other, yields [`Event`]s,
/// directories before their entries.
#[derive(Debug)]
pub struct Tree {
    /// Something whose kind is not known yet.
    unknown: Option<(String, Cid)>,
    event: Option<Event>,
    file: Option<FileReader>,
    frames: Vec<Frame>,
}

impl Tree {
    /// A walker of what stands at this root.
    pub fn new(root: Cid) -> Self {
        Self { unknown: Some((String::new(), root)), event: None, file: None, frames: Vec::new() }
    }

    fn open(&mut self, path: String, cid: Cid, block: Bytes) -> Result<Event, WalkError> {
        let info =
            inspect(&cid, &block).map_err(|source| WalkError::Decode { cid, source: Box::new(source) })?;
        let (mode, mtime) = (info.mode, info.mtime);
        match info.kind {
            Kind::File => {
                let mut reader = FileReader::new(cid, ..);
                reader.step()?;
                reader.feed(block)?;
                self.file = Some(reader);
                Ok(Event::File { path, file_bytes: info.file_bytes, mode, mtime })
            }
            Kind::Directory => {
                let mut reader = DirectoryReader::new(cid);
                reader.feed(block)?;
                let pending: usize = self.frames.iter().map(|frame| frame.reader.pending()).sum();
                if self.frames.len() == DEPTH_MAX || pending + reader.pending() > PENDING_MAX {
                    return Err(WalkError::TooLarge { cid });
                }
                self.frames.push(Frame { path: path.clone(), reader });
                Ok(Event::Directory { path, mode, mtime })
            }
            Kind::Symlink => Ok(Event::Symlink { path, target: info.target.unwrap_or_default() }),
            Kind::Other => Err(WalkError::NotAFile { cid }),
        }
    }
}

impl Walk for Tree {
    type Item = Event;

    fn step(&mut self) -> Result<Step<Event>, WalkError> {
        if let Some(event) = self.event.take() {
            return Ok(Step::Item(event));
        }
        if let Some((_, cid)) = &self.unknown {
            return Ok(Step::Need(*cid));
        }
        if let Some(file) = &mut self.file {
            match file.step()? {
                Step::Need(cid) => return Ok(Step::Need(cid)),
                Step::Item(data) => return Ok(Step::Item(Event::Data(data))),
                Step::Done => self.file = None,
            }
        }
        while let Some(frame) = self.frames.last_mut() {
            match frame.reader.step()? {
                Step::Need(cid) => return Ok(Step::Need(cid)),
                Step::Done => {
                    self.frames.pop();
                }
                Step::Item(entry) => {
                    if let Err(source) = safe_name(&entry.name) {
                        return Err(WalkError::Name { name: entry.name, source });
                    }
                    let separator = if frame.path.is_empty() { "" } else { "/" };
                    let path = format!("{}{separator}{}", frame.path, entry.name);
                    if path.len() > PATH_BYTES_MAX {
                        return Err(WalkError::TooLarge { cid: entry.cid });
                    }
                    self.unknown = Some((path, entry.cid));
                    return Ok(Step::Need(entry.cid));
                }
            }
        }
        Ok(Step::Done)
    }

    fn feed(&mut self, block: Bytes) -> Result<(), WalkError> {
        if let Some((path, cid)) = self.unknown.take() {
            self.event = Some(self.open(path, cid, block)?);
            return Ok(());
        }
        match (&mut self.file, self.frames.last_mut()) {
            (Some(file), _) => file.feed(block),
            (None, Some(frame)) => frame.reader.feed(block),
            (None, None) => Err(WalkError::NotAsked),
        }
    }

    fn upcoming(&self, count: usize) -> Vec<Cid> {
        let mut found = self.file.as_ref().map_or_else(Vec::new, |file| file.upcoming(count));
        for frame in self.frames.iter().rev() {
            found.extend(frame.reader.upcoming_entries(count - found.len()));
            if found.len() >= count {
                break;
            }
        }
        found
    }
}
