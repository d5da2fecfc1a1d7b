//! Walks a tree and builds its DAG from the leaves up.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use bytes::{Bytes, BytesMut};
use hpips_dag::{Block, DirectoryBuilder, FileBuilder, Mtime, Node, symlink_with};
use hpips_types::ByteCount;
use rayon::prelude::*;

use super::pipe::Pipe;
use super::{Added, DEPTH_MAX, ImportError, ImportOptions, ImportReport, Listener, Seen};

/// Files up to this size are opened, read and hashed several at once.
const SMALL_BYTES: u64 = 1 << 20;
/// Small files in one window, by number and by bytes.
const WINDOW_FILES: usize = 1024;
const WINDOW_BYTES: u64 = 16 << 20;
/// Entries of a directory from which their metadata is asked for on all cores.
const MANY_ENTRIES: usize = 64;
/// Bytes of a large file read at once: as many chunks are hashed in parallel.
const READ_BYTES: usize = 8 << 20;
/// Buffers of a large file that wait to be hashed.
const READS_AHEAD: usize = 2;
/// Bytes read between two times that what was seen is made durable.
const SAVE_BYTES: u64 = 1 << 30;

/// A small file of the window.
struct Small {
    path: PathBuf,
    name: String,
    child: String,
    metadata: Metadata,
    /// Known from before.
    node: Option<Node>,
}

pub(super) struct Importer<'a, 'scope> {
    options: &'a ImportOptions,
    seen: Option<&'a mut Seen>,
    pipe: Pipe<'scope>,
    listener: &'a mut dyn Listener,
    /// Directories are told last.
    directories: Vec<Added>,
    /// Length of the root's name and the slash behind it: rules see what is below.
    below: usize,
    files: u64,
    bytes: u64,
    unread: u64,
    unsaved_bytes: u64,
}

impl<'a, 'scope> Importer<'a, 'scope> {
    pub(super) fn new(
        options: &'a ImportOptions,
        seen: Option<&'a mut Seen>,
        pipe: Pipe<'scope>,
        listener: &'a mut dyn Listener,
    ) -> Self {
        // Mode and times make content that the size and the times of a file do not tell apart.
        let is_plain = !options.preserve_mode
            && !options.preserve_mtime
            && options.mode.is_none()
            && options.mtime.is_none();
        Self {
            options,
            seen: seen.filter(|_| is_plain),
            pipe,
            listener,
            directories: Vec::new(),
            below: 0,
            files: 0,
            bytes: 0,
            unread: 0,
            unsaved_bytes: 0,
        }
    }

    /// Imports what was named.
    pub(super) fn root(&mut self, path: &Path, name: String) -> Result<Node, ImportError> {
        let follow = self.options.follow_named || self.options.follow_links;
        let metadata = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        let metadata = metadata.map_err(|source| read_error(path, source))?;
        self.below = name.len() + 1;
        let node = self.entry(path, &metadata, name, 0)?;
        node.ok_or_else(|| read_error(path, io::ErrorKind::NotFound.into()))
    }

    /// Waits until everything is stored, whatever happened before.
    pub(super) fn finish(mut self, node: Result<Node, ImportError>) -> Result<ImportReport, ImportError> {
        let node = match node {
            Ok(node) => node,
            Err(error) => {
                // What is complete is kept for the next run.
                let stored = self.pipe.finish();
                if let (Ok(()), Some(seen)) = (&stored, &mut self.seen) {
                    save(seen);
                }
                return Err(error);
            }
        };
        self.pipe.finish()?;
        if let Some(seen) = &mut self.seen {
            save(seen);
        }
        for added in self.directories {
            self.listener.added(added);
        }
        Ok(ImportReport {
            root: node.cid,
            files: self.files,
            bytes: ByteCount::new(self.bytes),
            dag_bytes: node.tsize,
            unread: self.unread,
        })
    }

    fn entry(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        name: String,
        depth: usize,
    ) -> Result<Option<Node>, ImportError> {
        if metadata.is_file() {
            self.file(path, metadata, name).map(Some)
        } else if metadata.is_dir() {
            self.directory(path, metadata, name, depth)
        } else if metadata.is_symlink() {
            self.link(path, metadata, name).map(Some)
        } else {
            Err(ImportError::Special { path: path.to_path_buf() })
        }
    }

    fn link(&mut self, path: &Path, metadata: &Metadata, name: String) -> Result<Node, ImportError> {
        let target = fs::read_link(path).map_err(|source| read_error(path, source))?;
        let target = target.to_str().ok_or(ImportError::NotUtf8 { path: path.to_path_buf() })?;
        let mtime = self.kept(metadata).mtime;
        let (block, node) = symlink_with(&self.options.profile, target, mtime);
        self.pipe.take([block])?;
        self.tell(name, node);
        Ok(node)
    }

    /// Mode and time that are kept of a file or directory.
    fn kept(&self, metadata: &Metadata) -> hpips_dag::Metadata {
        let options = self.options;
        let mode = options.mode.or(options.preserve_mode.then(|| metadata.mode() & 0o7777));
        let mtime = || Mtime {
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
        };
        hpips_dag::Metadata {
            mode: mode.filter(|mode| *mode != 0),
            mtime: options.mtime.or_else(|| options.preserve_mtime.then(mtime)),
        }
    }

    fn tell(&mut self, name: String, node: Node) {
        self.files += 1;
        self.bytes += node.file_bytes;
        self.listener.added(Added { cid: node.cid, name, bytes: node.file_bytes, dag_bytes: node.tsize });
    }

    fn file(&mut self, path: &Path, metadata: &Metadata, name: String) -> Result<Node, ImportError> {
        let profile = &self.options.profile;
        if let Some(node) = self.seen.as_mut().and_then(|seen| seen.find(metadata, profile)) {
            self.unread += 1;
            self.listener.bytes(node.file_bytes);
            self.tell(name, node);
            return Ok(node);
        }
        let mut file = File::open(path).map_err(|source| read_error(path, source))?;
        let builder = FileBuilder::new(self.options.profile).with(self.kept(metadata));
        let node = if metadata.len() > SMALL_BYTES {
            self.build_ahead(file, path, builder)?
        } else {
            self.build(&mut file, path, builder)?
        };
        if let Some(seen) = &mut self.seen {
            seen.remember(metadata, profile, &node);
        }
        self.tell(name, node);
        self.save_now_and_then(node.file_bytes)?;
        Ok(node)
    }

    /// Imports what a reader yields.
    pub(super) fn stream(
        &mut self,
        reader: &mut dyn Read,
        path: &Path,
        name: String,
    ) -> Result<Node, ImportError> {
        let options = self.options;
        let kept = hpips_dag::Metadata { mode: options.mode, mtime: options.mtime };
        let builder = FileBuilder::new(options.profile).with(kept);
        let node = self.build(reader, path, builder)?;
        self.tell(name, node);
        Ok(node)
    }

    fn build(
        &mut self,
        reader: &mut dyn Read,
        path: &Path,
        mut builder: FileBuilder,
    ) -> Result<Node, ImportError> {
        let mut blocks = Vec::new();
        loop {
            let part = read_part(reader).map_err(|source| read_error(path, source))?;
            let is_last = part.len() < READ_BYTES;
            self.push(part, &mut builder, &mut blocks)?;
            if is_last {
                let node = builder.finish(&mut blocks);
                self.pipe.take(blocks)?;
                return Ok(node);
            }
        }
    }

    /// As [`Self::build`], with a thread that reads on while leaves are hashed.
    fn build_ahead(
        &mut self,
        mut file: File,
        path: &Path,
        mut builder: FileBuilder,
    ) -> Result<Node, ImportError> {
        let mut blocks = Vec::new();
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(READS_AHEAD);
            scope.spawn(move || {
                loop {
                    let part = read_part(&mut file);
                    let is_last = part.as_ref().map_or(true, |part| part.len() < READ_BYTES);
                    if sender.send(part).is_err() || is_last {
                        return;
                    }
                }
            });
            for part in receiver {
                let part = part.map_err(|source| read_error(path, source))?;
                self.push(part, &mut builder, &mut blocks)?;
            }
            Ok(())
        })?;
        let node = builder.finish(&mut blocks);
        self.pipe.take(blocks)?;
        Ok(node)
    }

    fn push(
        &mut self,
        part: Bytes,
        builder: &mut FileBuilder,
        blocks: &mut Vec<Block>,
    ) -> Result<(), ImportError> {
        self.go_on()?;
        let count = u64::try_from(part.len()).expect("a buffer's length");
        builder.push_shared(part, blocks);
        self.listener.bytes(count);
        self.pipe.take(core::mem::take(blocks))
    }

    fn go_on(&self) -> Result<(), ImportError> {
        if self.listener.is_cancelled() { Err(ImportError::Interrupted) } else { Ok(()) }
    }

    fn save_now_and_then(&mut self, bytes: u64) -> Result<(), ImportError> {
        self.unsaved_bytes += bytes;
        if self.unsaved_bytes < SAVE_BYTES || self.seen.is_none() {
            return Ok(());
        }
        self.unsaved_bytes = 0;
        self.pipe.barrier()?;
        if let Some(seen) = &mut self.seen {
            save(seen);
        }
        Ok(())
    }

    fn directory(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        name: String,
        depth: usize,
    ) -> Result<Option<Node>, ImportError> {
        if depth == DEPTH_MAX {
            return Err(ImportError::TooDeep { path: path.to_path_buf() });
        }
        self.go_on()?;
        let failed = |source| ImportError::Directory { path: path.to_path_buf(), source };
        let mut builder = DirectoryBuilder::new(self.options.profile).with(self.kept(metadata));
        let mut window = Vec::new();
        let mut window_bytes = 0;
        let entries = self.entries(path, &name)?;
        let had_entries = !entries.is_empty();
        for (child, metadata) in entries {
            let below = path.join(&child);
            let full = format!("{name}/{child}");
            if metadata.is_file() && metadata.len() <= SMALL_BYTES {
                let profile = &self.options.profile;
                let node = self.seen.as_mut().and_then(|seen| seen.find(&metadata, profile));
                window_bytes += if node.is_some() { 0 } else { metadata.len() };
                window.push(Small { path: below, name: full, child, metadata, node });
                if window.len() >= WINDOW_FILES || window_bytes >= WINDOW_BYTES {
                    window_bytes = 0;
                    for (child, node) in self.small(core::mem::take(&mut window))? {
                        builder.add(&child, node).map_err(failed)?;
                    }
                }
                continue;
            }
            for (child, node) in self.small(core::mem::take(&mut window))? {
                builder.add(&child, node).map_err(failed)?;
            }
            if let Some(node) = self.entry(&below, &metadata, full, depth + 1)? {
                builder.add(&child, node).map_err(failed)?;
            }
        }
        for (child, node) in self.small(window)? {
            builder.add(&child, node).map_err(failed)?;
        }
        if !had_entries && self.options.skip_empty_directories && depth > 0 {
            return Ok(None);
        }
        let mut blocks = Vec::new();
        let node = builder.finish(&mut blocks).map_err(failed)?;
        self.pipe.take(blocks)?;
        self.directories.push(Added { cid: node.cid, name, bytes: 0, dag_bytes: node.tsize });
        Ok(Some(node))
    }

    /// Entries that are taken along, by name.
    fn entries(&self, path: &Path, name: &str) -> Result<Vec<(String, Metadata)>, ImportError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(|source| read_error(path, source))? {
            let entry = entry.map_err(|source| read_error(path, source))?;
            let child =
                entry.file_name().into_string().map_err(|_| ImportError::NotUtf8 { path: entry.path() })?;
            if self.options.hidden || !child.starts_with('.') {
                names.push(child);
            }
        }
        names.sort_unstable();
        let follow = self.options.follow_links;
        let ask = |child: String| {
            let below = path.join(&child);
            let metadata = if follow { fs::metadata(&below) } else { fs::symlink_metadata(&below) };
            metadata.map(|metadata| (child, metadata)).map_err(|source| read_error(&below, source))
        };
        let mut entries: Vec<_> = if names.len() >= MANY_ENTRIES {
            names.into_par_iter().map(ask).collect::<Result<_, _>>()?
        } else {
            names.into_iter().map(ask).collect::<Result<_, _>>()?
        };
        let folder = name.get(self.below..).unwrap_or_default();
        entries.retain(|(child, metadata)| {
            let below = if folder.is_empty() { child.clone() } else { format!("{folder}/{child}") };
            !self.options.filter.leaves_out(&below, metadata.is_dir())
        });
        Ok(entries)
    }

    /// Reads and hashes a window of small files on all cores; tells of them and stores them in order.
    fn small(&mut self, window: Vec<Small>) -> Result<Vec<(String, Node)>, ImportError> {
        if window.is_empty() {
            return Ok(Vec::new());
        }
        self.go_on()?;
        let kept: Vec<hpips_dag::Metadata> = window.iter().map(|small| self.kept(&small.metadata)).collect();
        let profile = self.options.profile;
        let make = |(small, kept): (&Small, &hpips_dag::Metadata)| match small.node {
            Some(node) => Ok((node, Vec::new())),
            None => read_small(small, FileBuilder::new(profile).with(*kept)),
        };
        let made: Vec<(Node, Vec<Block>)> = if window.iter().all(|small| small.node.is_some()) {
            window.iter().zip(&kept).map(make).collect::<Result<_, _>>()?
        } else {
            window.par_iter().zip(&kept).map(make).collect::<Result<_, _>>()?
        };
        let mut nodes = Vec::with_capacity(window.len());
        let mut bytes = 0;
        for (small, (node, blocks)) in window.into_iter().zip(made) {
            if small.node.is_some() {
                self.unread += 1;
            } else if let Some(seen) = &mut self.seen {
                seen.remember(&small.metadata, &profile, &node);
            }
            bytes += node.file_bytes;
            self.pipe.take(blocks)?;
            self.tell(small.name, node);
            nodes.push((small.child, node));
        }
        self.listener.bytes(bytes);
        self.save_now_and_then(bytes)?;
        Ok(nodes)
    }
}

fn read_error(path: &Path, source: io::Error) -> ImportError {
    ImportError::Read { path: path.to_path_buf(), source }
}

fn save(seen: &mut Seen) {
    if let Err(error) = seen.save() {
        tracing::warn!(%error, "what was read cannot be remembered; the next add reads it again");
    }
}

fn read_small(small: &Small, mut builder: FileBuilder) -> Result<(Node, Vec<Block>), ImportError> {
    let failed = |source| read_error(&small.path, source);
    let mut file = File::open(&small.path).map_err(failed)?;
    // One byte more than expected shows the end in the same call: exactly what was expected, and no more of it.
    let expected = usize::try_from(small.metadata.len()).expect("a small file");
    let mut bytes = vec![0; expected + 1];
    let mut filled = file.read(&mut bytes).map_err(failed)?;
    if filled != expected {
        filled += fill(&mut file, &mut bytes[filled..]).map_err(failed)?;
    }
    while filled == bytes.len() {
        // It grew meanwhile.
        bytes.resize(filled + READ_BYTES, 0);
        filled += fill(&mut file, &mut bytes[filled..]).map_err(failed)?;
    }
    bytes.truncate(filled);
    let mut blocks = Vec::new();
    builder.push_shared(bytes.into(), &mut blocks);
    let node = builder.finish(&mut blocks);
    Ok((node, blocks))
}

/// The next part of a large file; shorter than [`READ_BYTES`] at its end.
fn read_part(reader: &mut dyn Read) -> io::Result<Bytes> {
    let mut part = BytesMut::zeroed(READ_BYTES);
    let filled = fill(reader, &mut part)?;
    part.truncate(filled);
    Ok(part.freeze())
}

/// Reads until the buffer is full or the input ends; returns how much came.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
