//! Adding in this process: the files are read where they lie.

use std::io;

use hpips_client::import::{Added, ImportOptions, Listener};
use hpips_client::{AddOptions, Source, add_all};
use hpips_dag::{Chunking, Layout, Mtime, Profile};
use hpips_types::content::HASHES;

use super::Add;
use super::lines::{Line, Lines};
use crate::commands::source::open_store;
use crate::context::Context;
use crate::exit::Stop;

/// What `--inline` inlines unless `--inline-limit` says otherwise, as Kubo.
const INLINE_BYTES: usize = 32;

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
    let options = AddOptions {
        import: import_options(add)?,
        pin: add.pin.unwrap_or(true),
        name: add.pin_name.clone().unwrap_or_default(),
        wrap: add.wrap_with_directory,
        only_hash: add.only_hash,
        repo: Some(context.repo()?.path().to_owned()),
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

fn import_options(add: &Add) -> anyhow::Result<ImportOptions> {
    let mtime = match (add.mtime, add.mtime_nsecs) {
        (None, Some(_)) => return Err(Stop::usage("--mtime-nsecs needs --mtime").into()),
        (None, None) => None,
        (Some(seconds), nanoseconds) => Some(Mtime { seconds, nanoseconds: nanoseconds.unwrap_or(0) }),
    };
    if mtime.is_some_and(|mtime| mtime.nanoseconds >= 1_000_000_000) {
        return Err(Stop::usage("--mtime-nsecs is below 1000000000").into());
    }
    Ok(ImportOptions {
        profile: profile(add)?,
        hidden: add.hidden,
        filter: add.filter()?,
        skip_empty_directories: add.empty_dirs == Some(false),
        follow_named: add.dereference_args || add.dereference_symlinks,
        follow_links: add.dereference_symlinks,
        preserve_mode: add.preserve_mode,
        preserve_mtime: add.preserve_mtime,
        mode: add.mode.as_deref().map(mode).transpose()?,
        mtime,
        nocopy: add.nocopy,
    })
}

/// Permission bits as Kubo reads them: octal with a leading 0, else decimal.
fn mode(text: &str) -> anyhow::Result<u32> {
    let parsed = match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal.trim_start_matches('o'), 8),
        _ => text.parse(),
    };
    match parsed {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => {
            Err(Stop::usage(format!("{text} is no mode: write it in octal with a leading 0, as 0644")).into())
        }
    }
}

fn profile(add: &Add) -> anyhow::Result<Profile> {
    let usage = |error: &(dyn std::error::Error + 'static)| Stop::usage(hpips_api::chain_text(error));
    let mut profile = add.profile()?;
    if let Some(name) = &add.hash {
        let code = HASHES.iter().find(|(_, known)| known == name).map(|(code, _)| *code);
        let unknown = || Stop::usage(format!("no hash function {name:?}: hpips cid hashes lists them"));
        let was_v0 = profile.is_cid_v0();
        profile = profile.with_hash(code.ok_or_else(unknown)?).map_err(|error| usage(&error))?;
        // Version 1 has raw leaves unless they were refused.
        if was_v0 && !profile.is_cid_v0() && add.raw_leaves.is_none() {
            profile = profile.with_raw_leaves();
        }
    }
    if let Some(chunker) = &add.chunker {
        profile = profile.with_chunking(chunker.parse::<Chunking>().map_err(|error| usage(&error))?);
    }
    if add.trickle {
        profile = profile.with_layout(Layout::Trickle);
    }
    let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    if let Some(links) = add.max_file_links {
        profile = profile.with_file_links(count(links)).map_err(|error| usage(&error))?;
    }
    if let Some(links) = add.max_directory_links {
        profile = profile.with_directory_links(count(links));
    }
    if let Some(fanout) = add.max_hamt_fanout {
        profile = profile.with_hamt_fanout(count(fanout)).map_err(|error| usage(&error))?;
    }
    if add.inline {
        let limit = add.inline_limit.map_or(INLINE_BYTES, count);
        profile = profile.with_inline(limit).map_err(|error| usage(&error))?;
    }
    Ok(profile)
}

#[cfg(test)]
mod tests {
    #[test]
    fn modes_are_read_as_kubo_reads_them() {
        for (text, mode) in [
            ("0644", Some(0o644)),
            ("0o755", Some(0o755)),
            ("420", Some(0o644)),
            ("0", Some(0)),
            ("9x", None),
        ] {
            assert_eq!(super::mode(text).ok(), mode, "{text}");
        }
    }
}
