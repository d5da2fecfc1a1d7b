//! Files into the local store, pinned.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hpips_dag::{DirectoryBuilder, DirectoryError};
use hpips_store::{Hold, PinKind, Store, WriteError};
use hpips_types::{ByteCount, Cid};

use crate::client::Client;
use crate::import::{
    Added, Batch, ImportError, ImportOptions, ImportReport, Listener, Seen, SinkError, Stored, import,
    import_reader, seen_in,
};
use crate::progress::{Reporter, Stage};

/// How something is added.
#[derive(Clone, Debug)]
pub struct AddOptions {
    /// What decides the CIDs.
    pub import: ImportOptions,
    /// Whether the roots are pinned recursively.
    pub pin: bool,
    /// Name of the pins; empty takes the last part of each path.
    pub name: String,
    /// Whether everything is put into one directory, which alone is pinned (`--wrap-with-directory`).
    pub wrap: bool,
    /// Whether CIDs are only computed and nothing is stored (`--only-hash`).
    pub only_hash: bool,
    /// The repo whose memory of unchanged files is used; `None` reads every file.
    pub repo: Option<PathBuf>,
    /// Whether that memory is made anew (`--rehash`).
    pub rehash: bool,
}

impl Default for AddOptions {
    fn default() -> Self {
        Self {
            import: ImportOptions::default(),
            pin: true,
            name: String::new(),
            wrap: false,
            only_hash: false,
            repo: None,
            rehash: false,
        }
    }
}

/// What is added.
pub enum Source<'a> {
    /// A file, or a folder with all that is in it.
    Path(&'a Path),
    /// A stream, as one file of this name; without a name its CID is its name.
    Stream {
        /// The name; may be empty.
        name: String,
        /// The bytes.
        reader: &'a mut dyn Read,
    },
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "Path({})", path.display()),
            Self::Stream { name, .. } => write!(f, "Stream({name})"),
        }
    }
}

/// What was added.
#[derive(Clone, Debug)]
pub struct AddedLocally {
    /// Root and counts.
    pub report: ImportReport,
    /// Everything in it, as Kubo prints it.
    pub added: Vec<Added>,
}

/// Why nothing was added. Blocks that were stored before are collected with the next `repo gc`.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// Reading or storing.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Storing what is not a file.
    #[error("cannot store what is added")]
    Store(#[source] WriteError),
    /// Pinning.
    #[error("cannot pin what was added")]
    Pin(#[source] WriteError),
    /// The directory around everything.
    #[error("cannot put everything into one directory")]
    Wrap(#[from] DirectoryError),
    /// The task was stopped.
    #[error("adding was stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Adds files, directories and streams to a store, pinned recursively unless the options say otherwise. Blocks for as
/// long as reading takes. Returns a report a source, or one for the directory around them all.
///
/// Killed at any moment it leaves a sound store; run again, it does not write again what is there, and does not read
/// again what the repo remembers.
///
/// # Errors
/// [`AddError`] by variant.
pub fn add_all(
    store: &Store,
    sources: Vec<Source<'_>>,
    options: &AddOptions,
    listener: &mut dyn Listener,
) -> Result<Vec<ImportReport>, AddError> {
    // Until the pins stand, nobody collects what is stored here.
    let hold = store.hold().map_err(AddError::Store)?;
    let mut seen = options.repo.as_deref().filter(|_| !options.only_hash).map(|repo| {
        let mut seen = Seen::open(seen_in(repo), Arc::new(Kept(store.clone())));
        if options.rehash {
            seen.clear();
        }
        seen
    });
    let mut reports = Vec::new();
    let mut wrapped = DirectoryBuilder::new(options.import.profile);
    for source in sources {
        let (name, report) = match source {
            Source::Path(path) => add_path(store, &hold, path, options, seen.as_mut(), listener)?,
            Source::Stream { name, reader } => {
                let mut named = Named { listener, prefix: options.wrap, last: String::new() };
                let mut sink = sink(store, options);
                let report = import_reader(reader, &name, &options.import, &mut sink, &mut named)?;
                (if name.is_empty() { report.root.to_string() } else { name }, report)
            }
        };
        if options.wrap {
            let node = hpips_dag::Node { cid: report.root, tsize: report.dag_bytes, file_bytes: 0 };
            wrapped.add(&name, node)?;
        } else if options.pin && !options.only_hash {
            let name = if options.name.is_empty() { &name } else { &options.name };
            store.pin(&report.root, PinKind::Recursive, clip(name)).map_err(AddError::Pin)?;
        }
        reports.push(report);
    }
    if options.wrap {
        let mut blocks = Vec::new();
        let node = wrapped.finish(&mut blocks)?;
        if !options.only_hash {
            store.put_built(blocks).map_err(AddError::Store)?;
            if options.pin {
                store.pin(&node.cid, PinKind::Recursive, clip(&options.name)).map_err(AddError::Pin)?;
            }
        }
        listener.added(Added { cid: node.cid, name: String::new(), bytes: 0, dag_bytes: node.tsize });
        let sum = |count: fn(&ImportReport) -> u64| reports.iter().map(count).sum::<u64>();
        reports = vec![ImportReport {
            root: node.cid,
            files: sum(|report| report.files),
            bytes: ByteCount::new(sum(|report| report.bytes.get())),
            dag_bytes: node.tsize,
            unread: sum(|report| report.unread),
        }];
    }
    Ok(reports)
}

/// Hands blocks to the store, or to nobody.
fn sink<'a>(
    store: &'a Store,
    options: &AddOptions,
) -> impl FnMut(Batch) -> Result<(), SinkError> + Send + 'a {
    let only_hash = options.only_hash;
    move |batch| {
        if !only_hash {
            store.put_built(batch.blocks)?;
            let lent: Vec<_> = batch.lent.into_iter().map(|lent| (lent.path, lent.rows)).collect();
            if !lent.is_empty() {
                store.add_user_files(&lent)?;
            }
        }
        Ok(())
    }
}

fn add_path(
    store: &Store,
    hold: &Hold,
    path: &Path,
    options: &AddOptions,
    seen: Option<&mut Seen>,
    listener: &mut dyn Listener,
) -> Result<(String, ImportReport), AddError> {
    let mut named = Named { listener, prefix: options.wrap, last: String::new() };
    let Some(seen) = seen else {
        let report = import(path, &options.import, None, &mut sink(store, options), &mut named)?;
        return Ok((named.last, report));
    };
    let kept = Kept(store.clone());
    let before = kept.epoch();
    let mut report = import(path, &options.import, Some(seen), &mut sink(store, options), &mut named)?;
    if report.unread > 0 {
        // What was not read is not under the lease of this add yet, and may have been collected since it was looked for.
        hold.keep(&report.root);
        if kept.epoch() != before && !kept.has_all(&report.root) {
            tracing::info!(path = %path.display(), "what was added before is no longer here: reading it again");
            seen.clear();
            let mut nobody = Quiet(&named);
            report = import(path, &options.import, Some(seen), &mut sink(store, options), &mut nobody)?;
        }
    }
    Ok((named.last, report))
}

/// The store as the memory of unchanged files asks it.
struct Kept(Store);

impl Stored for Kept {
    fn epoch(&self) -> u64 {
        // An index that fails now will fail again where it can be told.
        self.0.epoch().unwrap_or_default()
    }

    fn has_all(&self, root: &Cid) -> bool {
        let mut walk = hpips_dag::DepthFirst::new(*root, usize::MAX);
        while let Some(cid) = walk.next_cid() {
            if hpips_dag::is_leaf_codec(&cid) {
                if !self.0.has(&cid).unwrap_or(false) {
                    return false;
                }
                continue;
            }
            // A block that cannot be read is as good as none.
            let Ok(Some(block)) = self.0.get(&cid) else { return false };
            if walk.feed(&cid, &block).is_err() {
                return false;
            }
        }
        true
    }
}

/// Tells nothing, and stops when another listener says so.
struct Quiet<'a, 'b>(&'a Named<'b>);

impl Listener for Quiet<'_, '_> {
    fn added(&mut self, _added: Added) {}

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// Passes on what an import tells, and remembers the name of its root, which comes last.
struct Named<'a> {
    listener: &'a mut dyn Listener,
    /// Whether a directory stands around everything; a stream without a name is then called by its CID.
    prefix: bool,
    last: String,
}

impl Listener for Named<'_> {
    fn added(&mut self, mut added: Added) {
        if added.name.is_empty() && self.prefix {
            added.name = added.cid.to_string();
        }
        self.last.clone_from(&added.name);
        self.listener.added(added);
    }

    fn bytes(&mut self, more: u64) {
        self.listener.bytes(more);
    }

    fn is_cancelled(&self) -> bool {
        self.listener.is_cancelled()
    }
}

/// Adds one file or directory, and keeps what was added in memory.
///
/// # Errors
/// [`AddError`] by variant.
pub fn add_local(
    store: &Store,
    path: &Path,
    options: &AddOptions,
    report: &Reporter,
) -> Result<AddedLocally, AddError> {
    struct Collect<'a> {
        added: Vec<Added>,
        done: u64,
        report: &'a Reporter,
    }
    impl Listener for Collect<'_> {
        fn added(&mut self, added: Added) {
            self.added.push(added);
        }
        fn bytes(&mut self, more: u64) {
            self.done += more;
            self.report.at(Stage::Reading, self.done, 0);
        }
    }
    let mut listener = Collect { added: Vec::new(), done: 0, report };
    let mut reports = add_all(store, vec![Source::Path(path)], options, &mut listener)?;
    let report = reports.pop().expect("one report a source");
    Ok(AddedLocally { report, added: listener.added })
}

/// A pin's name has at most 255 bytes.
fn clip(name: &str) -> &str {
    let mut end = name.len().min(255);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

impl Client {
    /// As [`add_local()`], on a thread that may block.
    ///
    /// # Errors
    /// [`AddError`] by variant.
    pub async fn add_local(
        &self,
        path: &Path,
        options: AddOptions,
        report: &Reporter,
    ) -> Result<AddedLocally, AddError> {
        let (store, path, report) = (self.parts.store.clone(), path.to_owned(), report.clone());
        tokio::task::spawn_blocking(move || add_local(&store, &path, &options, &report)).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path) -> Store {
        Store::open(folder.join("store"), hpips_store::Config::default()).unwrap()
    }

    #[test]
    fn what_is_added_is_stored_and_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("a"), vec![3; 100_000]).unwrap();
        let store = store(folder.path());
        let added = add_local(&store, &path, &AddOptions::default(), &Reporter::none()).unwrap();
        assert_eq!(added.added.len(), 2);
        let pin = store.pin_of(&added.report.root).unwrap();
        assert_eq!((pin.kind, pin.name.as_str()), (PinKind::Recursive, "letters"));
        assert!(store.has(&added.report.root).unwrap());
    }

    #[test]
    fn several_can_be_wrapped_and_nothing_need_be_stored() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let one = folder.path().join("one");
        std::fs::write(&one, "1").unwrap();
        let mut stream = &b"from a stream"[..];
        let mut told = Vec::new();
        let options = AddOptions { wrap: true, only_hash: true, ..AddOptions::default() };
        let sources = vec![Source::Path(&one), Source::Stream { name: String::new(), reader: &mut stream }];
        let reports = add_all(&store, sources, &options, &mut |added: Added| told.push(added)).unwrap();
        assert_eq!((reports.len(), reports[0].files, told.len()), (1, 2, 3));
        assert_eq!((told[0].name.as_str(), told[2].name.as_str()), ("one", ""));
        assert_eq!(told[1].name, told[1].cid.to_string());
        assert!(!store.has(&reports[0].root).unwrap() && store.pins().is_empty());
    }

    #[test]
    fn what_was_collected_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let path = folder.path().join("tree");
        std::fs::create_dir(&path).unwrap();
        for index in 0..20 {
            std::fs::write(path.join(format!("f{index}")), format!("content {index}")).unwrap();
        }
        let options = AddOptions { repo: Some(folder.path().to_owned()), ..AddOptions::default() };
        let add = || add_local(&store, &path, &options, &Reporter::none()).unwrap();
        let first = add();
        // What was written just now is not trusted.
        let is_old = || add().report.unread == 20;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !is_old() {
            assert!(std::time::Instant::now() < deadline, "files never grow old");
        }
        let again = add();
        assert_eq!((again.report.root, again.added.len()), (first.report.root, 21));
        // Something else is removed: what is here is still known.
        let other =
            add_local(&store, &folder.path().join("tree/f3"), &AddOptions::default(), &Reporter::none());
        store.unpin(&other.unwrap().report.root).unwrap();
        let gone = hpips_dag::Block { cid: hpips_types::content::cid_v1(0x55, b"x"), bytes: "x".into() };
        store.put_built([gone]).unwrap();
        store.collect(&[]).unwrap();
        assert_eq!(add().report.unread, 20);
        store.unpin(&first.report.root).unwrap();
        store.collect(&[]).unwrap();
        assert!(!store.has(&first.report.root).unwrap());
        let after = add();
        assert_eq!((after.report.root, after.report.unread), (first.report.root, 0));
        assert_eq!(after.added.len(), 21, "told once");
        let child = after.added[0].cid;
        assert!(store.has(&child).unwrap());
    }

    #[test]
    fn long_names_are_clipped_between_characters() {
        assert_eq!(clip("short"), "short");
        assert_eq!(clip(&"\u{e4}".repeat(200)).len(), 254);
    }
}
