//! Adding in this process: the files are read where they lie.

use std::io;

use hpips_api::{ApiError, parse_mode};
use hpips_client::import::{Added, ImportOptions, Listener};
use hpips_client::{AddOptions, Source, add_all};
use hpips_dag::Mtime;
use hpips_node::Repo;

use super::Add;
use super::lines::{Line, Lines};
use crate::commands::source::open_store;
use crate::context::Context;
use crate::exit::Stop;

/// Prints what is added. A closed pipe ends the printing, not the adding.
struct Printer<'a, 'b> {
    lines: &'a mut Lines<'b>,
    wrap: bool,
    bytes: u64,
    closed: Option<io::Error>,
}

impl Listener for Printer<'_, '_> {
    fn added(&mut self, added: Added) {
        // A file without a name goes by its CID; the folder around all has none, as in Kubo.
        let is_file = added.name.is_empty() && !self.wrap;
        let name = if is_file { added.cid.to_string() } else { added.name };
        let line = Line { name, hash: added.cid.to_string(), size: added.dag_bytes.to_string() };
        if let Err(error) = self.lines.print(line) {
            self.closed.get_or_insert(error);
        }
    }

    fn bytes(&mut self, more: u64) {
        self.bytes += more;
        self.lines.at(self.bytes);
    }
}

/// Adds everything that was named to the repo's own store.
pub(super) fn add(add: &Add, context: &Context, lines: &mut Lines<'_>) -> anyhow::Result<()> {
    let repo = context.repo()?;
    let options = AddOptions {
        import: import_options(add, &repo)?,
        pin: add.pin.unwrap_or(true),
        name: add.pin_name.clone().unwrap_or_default(),
        wrap: add.wrap_with_directory,
        only_hash: add.only_hash,
        repo: Some(repo.path().to_owned()),
        rehash: add.rehash,
    };
    let store = open_store(context)?;
    if lines.wants_bar() {
        lines.begin(None);
    }
    let mut stdin = io::stdin().lock();
    let mut stdin = Some(&mut stdin as &mut dyn io::Read);
    let mut sources = Vec::with_capacity(add.paths.len());
    for path in &add.paths {
        sources.push(if path.as_os_str() == "-" {
            let reader = stdin.take().ok_or_else(|| Stop::usage("standard input can be read only once"))?;
            Source::Stream { name: add.stdin_name.clone().unwrap_or_default(), reader }
        } else {
            Source::Path(path)
        });
    }
    let mut printer = Printer { lines, wrap: add.wrap_with_directory, bytes: 0, closed: None };
    add_all(&store, sources, &options, &mut printer)?;
    printer.closed.map_or(Ok(()), |error| Err(error.into()))
}

fn import_options(add: &Add, repo: &Repo) -> anyhow::Result<ImportOptions> {
    let mtime = match (add.mtime, add.mtime_nsecs) {
        (None, Some(_)) => return Err(Stop::usage("--mtime-nsecs needs --mtime").into()),
        (None, None) => None,
        (Some(seconds), nanoseconds) => Some(
            Mtime::new(seconds, nanoseconds.unwrap_or(0))
                .ok_or_else(|| Stop::usage("--mtime-nsecs is below 1000000000"))?,
        ),
    };
    Ok(ImportOptions {
        profile: add.profile_request().resolve(&repo.config()?.import_profile).map_err(usage)?,
        hidden: add.hidden,
        filter: add.filter()?,
        skip_empty_directories: add.empty_dirs == Some(false),
        follow_named: add.dereference_args || add.dereference_symlinks,
        follow_links: add.dereference_symlinks,
        preserve_mode: add.preserve_mode,
        preserve_mtime: add.preserve_mtime,
        mode: add.mode.as_deref().map(parse_mode).transpose().map_err(usage)?,
        mtime,
        nocopy: add.nocopy,
    })
}

fn usage(error: ApiError) -> Stop {
    Stop::usage(error.message)
}
