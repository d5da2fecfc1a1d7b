//! Walks a tree in order and builds its DAG from the leaves up.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use cid::Cid;
use hpips_dag::{Block, DirectoryBuilder, FileBuilder, Node, symlink_with};
use hpips_types::ByteCount;
use hpips_types::content::{IDENTITY, RAW};
use rayon::prelude::*;

use super::large;
use super::pipe::Pipe;
use super::scan::{Entry, Folder, Listing, Made, SMALL_BYTES, Scanner, Ticket, is_small};
use super::scan::{read_error, stat_of, target_of};
use super::seen::{self, Key, Row, RowBuilder};
use super::stat::{Stat, State, now};
use super::{Added, DEPTH_MAX, ImportError, ImportOptions, ImportReport, Lent, Listener, Seen};

/// Files that are told and stored together, by number and by bytes that are still to be read.
const WINDOW_FILES: usize = 1024;
const WINDOW_BYTES: u64 = 16 << 20;
/// Bytes read between two times that what was seen is made durable.
const SAVE_BYTES: u64 = 1 << 30;
/// Bytes of what was seen that wait to be made durable.
const SAVE_ROW_BYTES: usize = 16 << 20;

/// What a directory will hold.
struct Child {
    name: String,
    node: Node,
    /// Of a file that was not changed just now.
    state: Option<State>,
}

/// A directory while its entries are gathered.
struct Gathered {
    /// By name.
    children: Vec<Child>,
    /// Whether every file in it can be recognised again.
    is_whole: bool,
    /// Whether a file was read.
    is_changed: bool,
}

pub(super) struct Importer<'a, 'scope> {
    options: &'a ImportOptions,
    seen: Option<&'a mut Seen>,
    pipe: Pipe<'scope>,
    /// There is none for streams.
    scanner: Option<Scanner>,
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
        scanner: Option<Scanner>,
        listener: &'a mut dyn Listener,
    ) -> Self {
        Self {
            options,
            seen,
            pipe,
            scanner,
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
        let stat = stat_of(path, follow)?;
        self.below = name.len() + 1;
        if stat.is_directory() {
            let folder = Folder { path: path.to_path_buf(), below: String::new(), follow };
            let mut tickets = self.ask([folder].into_iter());
            let listing = self.wait(tickets.pop_front())?;
            let node = self.directory(path, listing, name, 0)?;
            return node.ok_or_else(|| read_error(path, io::ErrorKind::NotFound.into()));
        }
        if stat.is_file() {
            return self.named_file(path, &stat, name);
        }
        self.other(path, &stat, name)
    }

    /// Waits until everything is stored, whatever happened before.
    pub(super) fn finish(mut self, node: Result<Node, ImportError>) -> Result<ImportReport, ImportError> {
        // What is complete is kept for the next run, also when something failed.
        let stored = self.pipe.finish();
        if let (Ok(()), Some(seen)) = (&stored, &mut self.seen) {
            save(seen);
        }
        let node = node?;
        stored?;
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

    fn ask(&mut self, folders: impl DoubleEndedIterator<Item = Folder>) -> VecDeque<Ticket> {
        self.scanner.as_mut().map(|scanner| scanner.ask(folders)).unwrap_or_default()
    }

    fn wait(&mut self, ticket: Option<Ticket>) -> Result<Listing, ImportError> {
        let waited = self.scanner.as_mut().zip(ticket).map(|(scanner, ticket)| scanner.wait(&ticket));
        waited.unwrap_or(Err(ImportError::Interrupted))
    }

    /// What is neither a file nor a directory.
    fn other(&mut self, path: &Path, stat: &Stat, name: String) -> Result<Node, ImportError> {
        if !stat.is_symlink() {
            return Err(ImportError::Special { path: path.to_path_buf() });
        }
        let target = target_of(path)?;
        let mtime = self.options.kept(stat).mtime;
        let (block, node) = symlink_with(&self.options.profile, &target, mtime);
        self.pipe.take([block])?;
        self.tell(name, node);
        Ok(node)
    }

    fn tell(&mut self, name: String, node: Node) {
        self.files += 1;
        self.bytes += node.file_bytes;
        self.listener.added(Added { cid: node.cid, name, bytes: node.file_bytes, dag_bytes: node.tsize });
    }

    fn tell_known(&mut self, name: String, node: Node) {
        self.unread += 1;
        self.listener.bytes(node.file_bytes);
        self.tell(name, node);
    }

    /// A file that was named itself: it is remembered among the others of its directory.
    fn named_file(&mut self, path: &Path, stat: &Stat, name: String) -> Result<Node, ImportError> {
        let Some((memory, entry)) = self
            .seen
            .as_ref()
            .map(|seen| seen.memory().clone())
            .zip(path.file_name().and_then(|name| name.to_str()))
        else {
            return self.file(path, stat, name);
        };
        let asked = now();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = stat_of(parent.unwrap_or(Path::new(".")), true)?;
        let key = seen::key(&parent, seen::choices(&self.options.profile));
        let row = memory.row(&key);
        if let Some(row) = &row
            && let Some(known) = row.entries().find(|known| known.name == entry)
            && memory.holds(row, &known, stat)
        {
            self.tell_known(name, known.node);
            return Ok(known.node);
        }
        let node = self.file(path, stat, name)?;
        if let Some(state) = state_of(stat, asked, &node) {
            let mut rows = RowBuilder::new(memory.epoch(), None);
            // Others of another epoch would have to be looked for.
            let others = row.iter().filter(|row| memory.trusts(row)).flat_map(Row::entries);
            let mut others = others.filter(|known| known.name != entry).peekable();
            while let Some(known) = others.next_if(|known| known.name < entry) {
                rows.keep(&known);
            }
            rows.add(entry, Some(&state), &node);
            others.for_each(|known| rows.keep(&known));
            self.remember(key, rows.finish());
        }
        Ok(node)
    }

    /// Reads a file part by part.
    fn file(&mut self, path: &Path, stat: &Stat, name: String) -> Result<Node, ImportError> {
        let file = File::open(path).map_err(|source| read_error(path, source))?;
        let builder = FileBuilder::new(self.options.profile).with(self.options.kept(stat));
        let mut lending = self.lending(path)?;
        let mut take = |blocks, bytes| self.take_part(blocks, bytes, lending.as_mut());
        let node = if stat.bytes > SMALL_BYTES {
            large::build_ahead(file, path, builder, &mut take)?
        } else {
            large::build(&mut { file }, path, builder, &mut take)?
        };
        self.lend(lending)?;
        self.tell(name, node);
        self.unsaved_bytes += node.file_bytes;
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
        let node =
            large::build(reader, path, builder, &mut |blocks, bytes| self.take_part(blocks, bytes, None))?;
        self.tell(name, node);
        Ok(node)
    }

    fn take_part(
        &mut self,
        mut blocks: Vec<Block>,
        bytes: u64,
        lending: Option<&mut Lending>,
    ) -> Result<(), ImportError> {
        self.go_on()?;
        self.listener.bytes(bytes);
        if let Some(lending) = lending {
            lending.keep(&mut blocks);
        }
        self.pipe.take(blocks)
    }

    fn go_on(&self) -> Result<(), ImportError> {
        if self.listener.is_cancelled() { Err(ImportError::Interrupted) } else { Ok(()) }
    }

    /// Where a file's leaves are noted, if they are to stay in it.
    fn lending(&self, path: &Path) -> Result<Option<Lending>, ImportError> {
        if !self.options.nocopy {
            return Ok(None);
        }
        let path = std::path::absolute(path).map_err(|source| read_error(path, source))?;
        Ok(Some(Lending { lent: Lent { path, rows: Vec::new() }, offset: 0 }))
    }

    fn lend(&mut self, lending: Option<Lending>) -> Result<(), ImportError> {
        match lending {
            Some(lending) if !lending.lent.rows.is_empty() => self.pipe.lend(lending.lent),
            _ => Ok(()),
        }
    }

    fn directory(
        &mut self,
        path: &Path,
        mut listing: Listing,
        name: String,
        depth: usize,
    ) -> Result<Option<Node>, ImportError> {
        self.go_on()?;
        let entries = core::mem::take(&mut listing.entries);
        if entries.is_empty() && self.options.skip_empty_directories && depth > 0 {
            return Ok(None);
        }
        let mut gathered =
            Gathered { children: Vec::with_capacity(entries.len()), is_whole: true, is_changed: false };
        let outcome = self.gather(path, &mut listing, entries, &mut gathered, &name, depth);
        if let Err(error) = outcome {
            self.remember_part(&listing, &gathered);
            return Err(error);
        }
        let node = match self.known_directory(&listing, &gathered) {
            Some(node) => node,
            None => {
                gathered.is_changed = true;
                self.build(path, &listing, &gathered)?
            }
        };
        if gathered.is_changed
            && let Some(seen) = &self.seen
        {
            let row = RowBuilder::new(seen.memory().epoch(), gathered.is_whole.then_some(&node));
            self.remember(listing.key, gathered.put(row).finish());
            self.save_if_due()?;
        }
        self.directories.push(Added { cid: node.cid, name, bytes: 0, dag_bytes: node.tsize });
        Ok(Some(node))
    }

    fn build(&mut self, path: &Path, listing: &Listing, gathered: &Gathered) -> Result<Node, ImportError> {
        let failed = |source| ImportError::Directory { path: path.to_path_buf(), source };
        let mut builder = DirectoryBuilder::new(self.options.profile).with(self.options.kept(&listing.stat));
        for child in &gathered.children {
            builder.add(&child.name, child.node).map_err(failed)?;
        }
        let mut blocks = Vec::new();
        let node = builder.finish(&mut blocks).map_err(failed)?;
        self.pipe.take(blocks)?;
        Ok(node)
    }

    /// The directory as it is remembered, if it holds just what it did then.
    fn known_directory(&self, listing: &Listing, gathered: &Gathered) -> Option<Node> {
        let memory = self.seen.as_ref()?.memory();
        let row = listing.row.as_ref().filter(|row| memory.trusts(row))?;
        let node = row.node()?;
        let mut known = row.entries();
        let mut children = gathered.children.iter();
        let is_same = |(child, known): (&Child, seen::Known<'_>)| {
            child.name == known.name && child.node.cid == known.node.cid
        };
        let all = children.by_ref().zip(known.by_ref()).all(is_same);
        (all && children.next().is_none() && known.next().is_none()).then_some(node)
    }

    /// Takes all entries of a directory.
    fn gather(
        &mut self,
        path: &Path,
        listing: &mut Listing,
        entries: Vec<Entry>,
        gathered: &mut Gathered,
        name: &str,
        depth: usize,
    ) -> Result<(), ImportError> {
        let mut folders: VecDeque<Folder> = entries
            .iter()
            .filter(|entry| entry.stat.is_directory())
            .map(|entry| Folder {
                path: path.join(&entry.name),
                below: format!("{name}/{}", entry.name).get(self.below..).unwrap_or_default().to_owned(),
                follow: self.options.follow_links,
            })
            .collect();
        let mut ahead = self.ask_ahead(&mut folders, 0);
        let mut window = Vec::new();
        let mut window_bytes = 0;
        for entry in entries {
            let is_short = entry.stat.is_file() && entry.stat.bytes <= SMALL_BYTES;
            if is_short || !matches!(entry.made, Made::Not) {
                window_bytes += if is_small(&entry) { entry.stat.bytes } else { 0 };
                window.push(entry);
                if window.len() >= WINDOW_FILES || window_bytes >= WINDOW_BYTES {
                    window_bytes = 0;
                    self.window(path, listing, &mut window, gathered, name)?;
                }
                continue;
            }
            self.window(path, listing, &mut window, gathered, name)?;
            let below = path.join(&entry.name);
            let full = format!("{name}/{}", entry.name);
            if entry.stat.is_file() {
                let node = self.file(&below, &entry.stat, full)?;
                gathered.file(entry, node, listing);
                self.save_now_and_then(listing, gathered)?;
            } else if entry.stat.is_directory() {
                if depth + 1 == DEPTH_MAX {
                    return Err(ImportError::TooDeep { path: below });
                }
                let least = usize::from(ahead.is_empty());
                ahead.extend(self.ask_ahead(&mut folders, least));
                let listing = self.wait(ahead.pop_front())?;
                if let Some(node) = self.directory(&below, listing, full, depth + 1)? {
                    gathered.children.push(Child { name: entry.name, node, state: None });
                }
            } else {
                let node = self.other(&below, &entry.stat, full)?;
                gathered.children.push(Child { name: entry.name, node, state: None });
            }
        }
        self.window(path, listing, &mut window, gathered, name)?;
        listing.release();
        Ok(())
    }

    /// Asks for as many of the next directories as keep the threads busy.
    fn ask_ahead(&mut self, folders: &mut VecDeque<Folder>, least: usize) -> VecDeque<Ticket> {
        let room = self.scanner.as_ref().map_or(0, Scanner::room).max(least);
        let next = folders.drain(..room.min(folders.len())).collect::<Vec<_>>();
        self.ask(next.into_iter())
    }

    /// Reads what is still to be read of a window of files, on all cores; tells of all and stores them in order.
    fn window(
        &mut self,
        path: &Path,
        listing: &Listing,
        window: &mut Vec<Entry>,
        gathered: &mut Gathered,
        name: &str,
    ) -> Result<(), ImportError> {
        if window.is_empty() {
            return Ok(());
        }
        self.go_on()?;
        let mut unread: Vec<&mut Entry> = window.iter_mut().filter(|entry| is_small(entry)).collect();
        unread.par_iter_mut().try_for_each(|entry| {
            entry.made = listing.read(path, entry, self.options)?;
            Ok(())
        })?;
        let mut bytes = 0;
        for mut entry in window.drain(..) {
            let full = format!("{name}/{}", entry.name);
            match core::mem::replace(&mut entry.made, Made::Not) {
                Made::Known(node) => {
                    self.tell_known(full, node);
                    gathered.children.push(Child { name: entry.name, node, state: Some(entry.stat.state()) });
                }
                Made::Built(node, mut blocks) => {
                    bytes += node.file_bytes;
                    if let Some(mut lending) = self.lending(&path.join(&entry.name))? {
                        lending.keep(&mut blocks);
                        self.lend(Some(lending))?;
                    }
                    self.pipe.take(blocks)?;
                    self.tell(full, node);
                    gathered.file(entry, node, listing);
                }
                Made::Not | Made::Grown => {
                    let node = self.file(&path.join(&entry.name), &entry.stat, full)?;
                    gathered.file(entry, node, listing);
                }
            }
        }
        self.listener.bytes(bytes);
        self.unsaved_bytes += bytes;
        self.save_now_and_then(listing, gathered)
    }

    fn remember(&mut self, key: Key, row: Vec<u8>) {
        if let Some(seen) = &mut self.seen {
            seen.remember(key, row);
        }
    }

    /// Remembers what is gathered so far, and what was known of the rest.
    fn remember_part(&mut self, listing: &Listing, gathered: &Gathered) {
        let Some(seen) = &mut self.seen else { return };
        let (true, Some(last)) = (gathered.is_changed, gathered.children.last()) else { return };
        let mut row = gathered.put(RowBuilder::new(seen.memory().epoch(), None));
        let known = listing.row.iter().filter(|row| seen.memory().trusts(row)).flat_map(Row::entries);
        known.filter(|known| *known.name > *last.name).for_each(|known| row.keep(&known));
        seen.remember(listing.key, row.finish());
    }

    fn save_now_and_then(&mut self, listing: &Listing, gathered: &Gathered) -> Result<(), ImportError> {
        if self.unsaved_bytes >= SAVE_BYTES {
            self.remember_part(listing, gathered);
        }
        self.save_if_due()
    }

    fn save_if_due(&mut self) -> Result<(), ImportError> {
        let Some(seen) = &mut self.seen else { return Ok(()) };
        if self.unsaved_bytes < SAVE_BYTES && seen.pending_bytes() < SAVE_ROW_BYTES {
            return Ok(());
        }
        self.unsaved_bytes = 0;
        self.pipe.barrier()?;
        save(seen);
        Ok(())
    }
}

impl Gathered {
    /// A file that was read.
    fn file(&mut self, entry: Entry, node: Node, listing: &Listing) {
        let state = state_of(&entry.stat, listing.asked, &node);
        self.is_changed = true;
        self.is_whole &= state.is_some();
        self.children.push(Child { name: entry.name, node, state });
    }

    /// Writes all into a row; a file without a state is not recognised by it.
    fn put(&self, mut row: RowBuilder) -> RowBuilder {
        for child in &self.children {
            row.add(&child.name, child.state.as_ref(), &child.node);
        }
        row
    }
}

/// What a file that was read is recognised by; none if it changed meanwhile, or may have.
fn state_of(stat: &Stat, asked: std::time::Duration, node: &Node) -> Option<State> {
    (!stat.is_racy(asked) && stat.bytes == node.file_bytes).then(|| stat.state())
}

/// A file whose leaves stay in it.
struct Lending {
    lent: Lent,
    /// Where the next leaf begins.
    offset: u64,
}

impl Lending {
    /// Notes raw leaves and takes them out of the blocks to be stored.
    fn keep(&mut self, blocks: &mut Vec<Block>) {
        blocks.retain(|block| {
            let (true, Ok(bytes)) = (block.cid.codec() == RAW, u32::try_from(block.bytes.len())) else {
                return true;
            };
            if !is_inline(&block.cid) {
                self.lent.rows.push((block.cid, self.offset, bytes));
            }
            self.offset += u64::from(bytes);
            is_inline(&block.cid)
        });
    }
}

fn is_inline(cid: &Cid) -> bool {
    cid.hash().code() == IDENTITY
}

fn save(seen: &mut Seen) {
    if let Err(error) = seen.save() {
        tracing::warn!(%error, "what was read cannot be remembered; the next add reads it again");
    }
}
