//! Directories listed ahead of the walk, on threads of their own: their entries, what is remembered of them, and the blocks of
//! small files.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use bytes::Bytes;
use hpips_dag::{Block, FileBuilder, Node};
use rayon::prelude::*;
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::seen::{self, Key, Memory, Row};
use super::stat::{Stat, now};
use super::{ImportError, ImportOptions};

/// Files up to this size are opened, read and hashed several at once.
pub(super) const SMALL_BYTES: u64 = 1 << 20;
/// Bytes of small files that one listing reads; the walk reads the rest, on all cores.
const JOB_BYTES: u64 = 4 << 20;
/// Bytes of small files in listings that the walk has not come to yet.
const AHEAD_BYTES: u64 = 32 << 20;
/// Small files are read one behind the other into buffers of this size, which their blocks then share.
const BUFFER_BYTES: usize = 256 << 10;
/// Threads at most: more than a disk answers at once.
const THREADS_MAX: usize = 16;
/// Entries of a directory from which their metadata is asked for on all cores.
const MANY_ENTRIES: usize = 4096;

/// What became of an entry while it was listed.
#[derive(Debug)]
pub(super) enum Made {
    /// Nothing yet.
    Not,
    /// It is remembered and unchanged.
    Known(Node),
    /// It was read.
    Built(Node, Vec<Block>),
    /// It is no longer small.
    Grown,
}

/// An entry of a directory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) stat: Stat,
    pub(super) made: Made,
}

/// A directory as it was found.
#[derive(Debug)]
pub(super) struct Listing {
    /// By name.
    pub(super) entries: Vec<Entry>,
    /// When their metadata was asked for.
    pub(super) asked: Duration,
    /// What the directory is remembered by.
    pub(super) key: Key,
    /// What was remembered of it.
    pub(super) row: Option<Row>,
    /// Of the directory itself.
    pub(super) stat: Stat,
    /// The directory, while small files of it are still to be read.
    directory: Option<OwnedFd>,
    /// Bytes that [`Made::Built`] entries hold.
    held: Held,
}

impl Listing {
    /// Says that the blocks of its entries went on.
    pub(super) fn release(&mut self) {
        self.held = Held::default();
    }

    /// Reads a small file and makes its blocks.
    pub(super) fn read(
        &self,
        path: &Path,
        entry: &Entry,
        options: &ImportOptions,
    ) -> Result<Made, ImportError> {
        let directory = self.directory.as_ref().expect("kept while files are to be read");
        let mut buffer = Vec::with_capacity(capacity_for(&entry.stat));
        let is_whole = read_into(directory.as_fd(), &entry.name, options.follow_links, &mut buffer)
            .map_err(|source| read_error(&path.join(&entry.name), source))?;
        Ok(if is_whole { build(options, &entry.stat, buffer.into()) } else { Made::Grown })
    }
}

/// A share of [`AHEAD_BYTES`], given back when it is dropped.
#[derive(Debug, Default)]
struct Held(Option<(Arc<AtomicU64>, u64)>);

impl Held {
    fn of(total: &Arc<AtomicU64>) -> Self {
        Self(Some((Arc::clone(total), 0)))
    }

    /// Whether so many bytes more may be held.
    fn take(&mut self, bytes: u64) -> bool {
        let Some((total, own)) = &mut self.0 else { return false };
        if *own + bytes > JOB_BYTES || total.fetch_add(bytes, Ordering::Relaxed) + bytes > AHEAD_BYTES {
            // What was added too much is taken back with all of it.
            if *own + bytes <= JOB_BYTES {
                total.fetch_sub(bytes, Ordering::Relaxed);
            }
            return false;
        }
        *own += bytes;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((total, own)) = &self.0 {
            total.fetch_sub(*own, Ordering::Relaxed);
        }
    }
}

/// A listing that was asked for.
#[derive(Debug)]
pub(super) struct Ticket(Receiver<Result<Listing, ImportError>>);

/// A directory to be listed.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Path below the root, for the rules.
    pub(super) below: String,
    /// Whether it may be a link.
    pub(super) follow: bool,
}

struct Job {
    path: PathBuf,
    below: String,
    follow: bool,
    answer: SyncSender<Result<Listing, ImportError>>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    more: Condvar,
    is_closed: AtomicBool,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Job({})", self.path.display())
    }
}

/// Lists directories on threads of its own, which end with it.
#[derive(Debug)]
pub(super) struct Scanner {
    queue: Arc<Queue>,
    threads: usize,
    waiting: usize,
}

impl Scanner {
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        options: &'scope ImportOptions,
        memory: Option<Memory>,
    ) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, Into::into).min(THREADS_MAX);
        let queue = Arc::new(Queue::default());
        let held = Arc::new(AtomicU64::new(0));
        for _ in 0..threads {
            let worker = Worker {
                options,
                memory: memory.clone(),
                choices: seen::choices(&options.profile),
                held: Arc::clone(&held),
            };
            let queue = Arc::clone(&queue);
            scope.spawn(move || {
                while let Some(job) = queue.next() {
                    // Nobody waits any more when the walk has failed.
                    let _ = job.answer.send(worker.list(&job));
                }
            });
        }
        Self { queue, threads, waiting: 0 }
    }

    /// How many more listings keep the threads busy.
    pub(super) fn room(&self) -> usize {
        (2 * self.threads).saturating_sub(self.waiting)
    }

    /// Asks for listings in this order, before those asked for earlier: a walk goes down first.
    pub(super) fn ask(&mut self, folders: impl DoubleEndedIterator<Item = Folder>) -> VecDeque<Ticket> {
        let mut tickets = VecDeque::new();
        let mut jobs = self.queue.lock();
        for Folder { path, below, follow } in folders.rev() {
            let (answer, ticket) = sync_channel(1);
            jobs.push_front(Job { path, below, follow, answer });
            tickets.push_front(Ticket(ticket));
        }
        drop(jobs);
        self.waiting += tickets.len();
        self.queue.more.notify_all();
        tickets
    }

    /// Waits for a listing.
    pub(super) fn wait(&mut self, ticket: &Ticket) -> Result<Listing, ImportError> {
        self.waiting -= 1;
        ticket.0.recv().unwrap_or(Err(ImportError::Interrupted))
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        let mut jobs = self.queue.lock();
        jobs.clear();
        self.queue.is_closed.store(true, Ordering::Relaxed);
        drop(jobs);
        self.queue.more.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if self.is_closed.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(job) = jobs.pop_front() {
                return Some(job);
            }
            jobs = self.more.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Worker<'a> {
    options: &'a ImportOptions,
    memory: Option<Memory>,
    choices: u64,
    held: Arc<AtomicU64>,
}

impl Worker<'_> {
    fn list(&self, job: &Job) -> Result<Listing, ImportError> {
        let path = &job.path;
        let failed = |source: Errno| read_error(path, source.into());
        let no_follow = if job.follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | no_follow;
        let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        let stat = Stat::of(&rustix::fs::fstat(&directory).map_err(failed)?);
        let asked = now();
        let entries = self.entries(job, directory.as_fd())?;
        let key = seen::key(&stat, self.choices);
        let row = self.memory.as_ref().and_then(|memory| memory.row(&key));
        let mut listing =
            Listing { entries, asked, key, row, stat, directory: None, held: Held::of(&self.held) };
        if let Some((memory, row)) = self.memory.as_ref().zip(listing.row.as_ref()) {
            recognise(&mut listing.entries, row, memory);
        }
        if !self.read_small(job, &mut listing, directory.as_fd())? {
            listing.directory = Some(directory);
        }
        Ok(listing)
    }

    /// Entries that are taken along, by name.
    fn entries(&self, job: &Job, directory: BorrowedFd<'_>) -> Result<Vec<Entry>, ImportError> {
        let failed = |source: Errno| read_error(&job.path, source.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_str().map_err(|_| ImportError::NotUtf8 {
                path: job.path.join(entry.file_name().to_string_lossy().as_ref()),
            })?;
            if !matches!(name, "." | "..") && (self.options.hidden || !name.starts_with('.')) {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        let flags = if self.options.follow_links { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        let ask = |name: String| match rustix::fs::statat(directory, &name, flags) {
            Ok(stat) => Ok(Entry { name, stat: Stat::of(&stat), made: Made::Not }),
            Err(source) => Err(read_error(&job.path.join(&name), source.into())),
        };
        let mut entries: Vec<Entry> = if names.len() >= MANY_ENTRIES {
            names.into_par_iter().map(ask).collect::<Result<_, _>>()?
        } else {
            names.into_iter().map(ask).collect::<Result<_, _>>()?
        };
        let filter = &self.options.filter;
        if !filter.is_empty() {
            let folder = &job.below;
            entries.retain(|entry| {
                let slash = if folder.is_empty() { "" } else { "/" };
                !filter.leaves_out(format!("{folder}{slash}{}", entry.name), entry.stat.is_directory())
            });
        }
        Ok(entries)
    }

    /// Reads small files as far as the limits go. Returns whether none is left.
    fn read_small(
        &self,
        job: &Job,
        listing: &mut Listing,
        directory: BorrowedFd<'_>,
    ) -> Result<bool, ImportError> {
        let mut buffer = Vec::new();
        // Entries whose bytes lie in the buffer, and where they end there.
        let mut filled: Vec<(usize, usize)> = Vec::new();
        let mut is_complete = true;
        let Listing { entries, held, .. } = listing;
        for index in 0..entries.len() {
            let entry = &entries[index];
            if !is_small(entry) {
                continue;
            }
            if !held.take(entry.stat.bytes) {
                is_complete = false;
                break;
            }
            let needed = capacity_for(&entry.stat);
            if buffer.capacity() - buffer.len() < needed {
                self.build_all(&mut filled, core::mem::take(&mut buffer), entries);
                buffer.reserve_exact(needed.max(BUFFER_BYTES));
            }
            let entry = &mut entries[index];
            let is_whole = read_into(directory, &entry.name, self.options.follow_links, &mut buffer)
                .map_err(|source| read_error(&job.path.join(&entry.name), source))?;
            if is_whole {
                filled.push((index, buffer.len()));
            } else {
                entry.made = Made::Grown;
            }
        }
        self.build_all(&mut filled, buffer, entries);
        Ok(is_complete)
    }

    fn build_all(&self, filled: &mut Vec<(usize, usize)>, buffer: Vec<u8>, entries: &mut [Entry]) {
        let buffer = Bytes::from(buffer);
        let mut start = 0;
        for (index, end) in filled.drain(..) {
            let entry = &mut entries[index];
            entry.made = build(self.options, &entry.stat, buffer.slice(start..end));
            start = end;
        }
    }
}

/// Marks the files that are what they were. Both sides are sorted by name.
fn recognise(entries: &mut [Entry], row: &Row, memory: &Memory) {
    let mut known = row.entries().peekable();
    for entry in entries.iter_mut().filter(|entry| entry.stat.is_file()) {
        while known.next_if(|known| known.name < entry.name.as_str()).is_some() {}
        if let Some(known) = known.next_if(|known| known.name == entry.name)
            && memory.holds(row, &known, &entry.stat)
        {
            entry.made = Made::Known(known.node);
        }
    }
}

/// Whether this is a small file that is still to be read.
pub(super) fn is_small(entry: &Entry) -> bool {
    entry.stat.is_file() && entry.stat.bytes <= SMALL_BYTES && matches!(entry.made, Made::Not)
}

fn build(options: &ImportOptions, stat: &Stat, content: Bytes) -> Made {
    let mut blocks = Vec::with_capacity(1);
    let node = FileBuilder::whole(options.profile, options.kept(stat), content, &mut blocks);
    Made::Built(node, blocks)
}

/// One byte more than expected shows the end in the same call.
fn capacity_for(stat: &Stat) -> usize {
    usize::try_from(stat.bytes).expect("a small file") + 1
}

/// Appends a file's content to a buffer that has room for what is expected and a byte more. Returns whether it fitted; if
/// not, the buffer is as before.
fn read_into(directory: BorrowedFd<'_>, name: &str, follow: bool, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let no_follow = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    // A pipe that took the file's place must not hold the import up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | no_follow;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let start = buffer.len();
    loop {
        let room = buffer.capacity() - buffer.len();
        match rustix::io::read(&file, spare_capacity(buffer)) {
            // A regular file reads short only at its end.
            Ok(count) if count < room => return Ok(true),
            Ok(_) => {
                buffer.truncate(start);
                return Ok(false);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) fn read_error(path: &Path, source: io::Error) -> ImportError {
    ImportError::Read { path: path.to_path_buf(), source }
}

/// The metadata of what was named itself.
pub(super) fn stat_of(path: &Path, follow: bool) -> Result<Stat, ImportError> {
    let stat = if follow { rustix::fs::stat(path) } else { rustix::fs::lstat(path) };
    stat.map(|stat| Stat::of(&stat)).map_err(|source| read_error(path, source.into()))
}

/// Where a link leads.
pub(super) fn target_of(path: &Path) -> Result<String, ImportError> {
    let target = fs::read_link(path).map_err(|source| read_error(path, source))?;
    target.into_os_string().into_string().map_err(|_| ImportError::NotUtf8 { path: path.to_path_buf() })
}
