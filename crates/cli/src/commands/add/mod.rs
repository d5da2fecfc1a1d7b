//! `hpips add`.
//!
//! Two ways lead into the store. Whoever can open the files itself reads them where they lie: this process when
//! no node runs, else the node. What that way cannot do, and standard input while a node runs, is uploaded
//! to the RPC, as Kubo's command line does it.

mod here;
mod lines;
mod network;
mod tree;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hpips_api::{ApiClient, CallError, view};
use hpips_client::Filter;
use hpips_types::TokenAmount;
use serde::Deserialize;

use self::lines::{Line, Lines};
use super::LONG;
use super::source::absolute;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::rpc::{Call, Upload};

/// Add files or folders; print their CIDs.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// Files or folders; `-` or none reads one file from standard input.
    paths: Vec<PathBuf>,
    /// Add folders with all that is in them; implied when a path is a folder.
    #[arg(short, long)]
    recursive: bool,
    /// Keep it on this machine only.
    #[arg(long)]
    local: bool,
    /// Print CIDs only.
    #[arg(short, long)]
    quiet: bool,
    /// Print the last CID only.
    #[arg(short = 'Q', long)]
    quieter: bool,
    /// Print nothing.
    #[arg(long)]
    silent: bool,
    /// Show how far it is; by default on a terminal.
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    progress: Option<bool>,
    /// Print what the CIDs would be and store nothing.
    #[arg(short = 'n', long)]
    only_hash: bool,
    /// Put all that is named into one folder.
    #[arg(short, long)]
    wrap_with_directory: bool,
    /// Name of what standard input holds.
    #[arg(long, value_name = "NAME")]
    stdin_name: Option<String>,
    /// Take along names that begin with a dot.
    #[arg(short = 'H', long)]
    hidden: bool,
    /// Read every file, also those that have not changed since they were added last.
    #[arg(long)]
    rehash: bool,
    /// Leave out what this rule of .gitignore matches; may be repeated.
    #[arg(long, value_name = "RULE")]
    ignore: Vec<String>,
    /// Leave out what the rules in this file match.
    #[arg(long, value_name = "FILE")]
    ignore_rules_path: Option<PathBuf>,
    /// Whether folders that are empty are added; so by default.
    #[arg(short = 'E', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    empty_dirs: Option<bool>,
    /// Follow symlinks that are named here.
    #[arg(long)]
    dereference_args: bool,
    /// Follow all symlinks.
    #[arg(long)]
    dereference_symlinks: bool,
    /// Keep it from garbage collection; so by default.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pin: Option<bool>,
    /// A name for the pin.
    #[arg(long, value_name = "NAME")]
    pin_name: Option<String>,
    /// Also put it at this path of `hpips files`.
    #[arg(long, value_name = "PATH")]
    to_files: Option<String>,
    /// unixfs-v1-2025 or unixfs-v0-2015; by default Import.Profile of the configuration.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// CID version, 0 or 1; on its own, without a profile, as `ipfs add` would.
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u8).range(0..=1))]
    cid_version: Option<u8>,
    /// Whether leaves are raw blocks.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    raw_leaves: Option<bool>,
    /// Hash function.
    #[arg(long, value_name = "HASH")]
    hash: Option<String>,
    /// How files are cut: size-BYTES, rabin-MIN-AVG-MAX or buzhash.
    #[arg(short = 's', long, value_name = "CHUNKER")]
    chunker: Option<String>,
    /// Lay files out as trickle DAGs.
    #[arg(short, long)]
    trickle: bool,
    /// Most links of a node of a file.
    #[arg(long, value_name = "COUNT")]
    max_file_links: Option<u64>,
    /// Most links of a folder in one block.
    #[arg(long, value_name = "COUNT")]
    max_directory_links: Option<u64>,
    /// Most links of a node of a folder in many blocks.
    #[arg(long, value_name = "COUNT")]
    max_hamt_fanout: Option<u64>,
    /// Put small blocks into their CIDs.
    #[arg(long)]
    inline: bool,
    /// How small, at most 128 bytes.
    #[arg(long, value_name = "BYTES")]
    inline_limit: Option<u64>,
    /// Refer to the files where they lie instead of copying them.
    #[arg(long)]
    nocopy: bool,
    /// Accepted because Kubo has it; blocks that are here are never written again.
    #[arg(long, hide = true)]
    fscache: bool,
    /// Keep the modes of files and folders.
    #[arg(long)]
    preserve_mode: bool,
    /// Keep the times of files and folders.
    #[arg(long)]
    preserve_mtime: bool,
    /// Give everything this mode, in octal with a leading 0.
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// Give everything this time, seconds since 1970.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    mtime: Option<i64>,
    /// Nanoseconds of that time.
    #[arg(long, value_name = "NANOSECONDS")]
    mtime_nsecs: Option<u32>,
    /// Store it on the network without asking.
    #[arg(short, long)]
    yes: bool,
    /// Store it on the network without asking, and only when it costs at most this with fees, in HPIPS.
    #[arg(long, value_name = "AMOUNT")]
    max_price: Option<TokenAmount>,
    /// For how long, in windows of the network.
    #[arg(long = "for", value_name = "WINDOWS")]
    windows: Option<u64>,
}

/// What the RPC says while it adds.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    #[serde(default)]
    name: String,
    #[serde(default)]
    hash: String,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    size: String,
}

impl Add {
    pub(crate) fn run(mut self: Box<Self>, context: &Context) -> anyhow::Result<Exit> {
        if self.paths.is_empty() {
            self.paths.push("-".into());
        }
        self.check_nocopy(context)?;
        let mut lines = Lines::new(&self, context.json);
        if context.has_api() {
            self.upload(context, &mut lines)?;
            lines.finish()?;
            return Ok(Exit::Done);
        }
        let repo = context.repo()?;
        let node = context.running_node()?;
        let joined = repo.genesis()?.is_some() && !self.local && !self.only_hash;
        let added = match &node {
            _ if self.is_uploaded(node.is_some()) => self.upload(context, &mut lines),
            None => here::add(&self, context, &mut lines),
            Some(node) => {
                self.paths.iter().try_for_each(|path| self.add_by_node(context, node, path, &mut lines))
            }
        };
        // What was added is told before anything else is, also when something else was not.
        lines.finish()?;
        added?;
        match &node {
            Some(node) if joined => self.store_all(context, node, lines.roots()),
            None if joined => {
                let text = "kept on this machine only: no node is running. Start it with hpips daemon";
                Err(Stop::new(Exit::Funds, text).into())
            }
            _ => Ok(Exit::Done),
        }
    }

    /// Files can stay where they are only when whoever keeps their blocks reads them there.
    fn check_nocopy(&self, context: &Context) -> anyhow::Result<()> {
        if !self.nocopy {
            return Ok(());
        }
        if self.raw_leaves == Some(false) {
            return Err(Stop::usage("--nocopy needs raw leaves").into());
        }
        if context.has_api()
            || self.to_files.is_some()
            || self.paths.iter().any(|path| path.as_os_str() == "-")
        {
            let text = "--nocopy refers to files of this machine: it goes neither with --api, --to-files nor standard input";
            return Err(Stop::usage(text).into());
        }
        if self.is_uploaded(true) && context.running_node()?.is_some() {
            let text = "--nocopy goes with no other option but those of the profile while a node is running";
            return Err(Stop::usage(text).into());
        }
        Ok(())
    }

    /// Whether something is asked for that only the RPC does.
    fn is_uploaded(&self, by_node: bool) -> bool {
        let reads_stdin = self.paths.iter().any(|path| path.as_os_str() == "-");
        let only_by_rpc = self.to_files.is_some();
        if !by_node || only_by_rpc {
            return only_by_rpc;
        }
        reads_stdin
            || self.only_hash
            || self.wrap_with_directory
            || self.stdin_name.is_some()
            || !self.ignore.is_empty()
            || self.ignore_rules_path.is_some()
            || self.empty_dirs == Some(false)
            || self.dereference_args
            || self.dereference_symlinks
            || self.pin == Some(false)
            || self.pin_name.is_some()
            || self.preserve_mode
            || self.preserve_mtime
            || self.mode.is_some()
            || self.mtime.is_some()
            || self.mtime_nsecs.is_some()
    }

    fn upload(&self, context: &Context, lines: &mut Lines<'_>) -> anyhow::Result<()> {
        if self.stdin_name.is_none()
            && self.wrap_with_directory
            && self.paths.iter().any(|path| path.as_os_str() == "-")
        {
            return Err(Stop::usage("what is wrapped needs a name: --stdin-name NAME").into());
        }
        let tree = tree::walk(self)?;
        let has_stdin = tree.parts.iter().any(|part| matches!(part.upload, Upload::Stdin));
        if lines.wants_bar() {
            lines.begin((!has_stdin).then_some(tree.bytes));
        }
        let call = self.options(Call::new("add")).flag("progress", lines.wants_bar()).parts(tree.parts);
        let (mut done, mut current) = (0, 0);
        context.rpc()?.values(call, |event: Event| {
            if event.hash.is_empty() {
                current = event.bytes;
                lines.at(done + current);
                return Ok(());
            }
            done += std::mem::take(&mut current);
            Ok(lines.print(Line { name: event.name, hash: event.hash, size: event.size })?)
        })
    }

    fn options(&self, call: Call) -> Call {
        call.maybe("pin", &self.pin)
            .maybe("pin-name", &self.pin_name)
            .maybe("to-files", &self.to_files)
            .maybe("profile", &self.profile)
            .maybe("cid-version", &self.cid_version)
            .maybe("raw-leaves", &self.raw_leaves)
            .maybe("hash", &self.hash)
            .maybe("chunker", &self.chunker)
            .maybe("max-file-links", &self.max_file_links)
            .maybe("max-directory-links", &self.max_directory_links)
            .maybe("max-hamt-fanout", &self.max_hamt_fanout)
            .maybe("inline-limit", &self.inline_limit)
            .maybe("mode", &self.mode)
            .maybe("mtime", &self.mtime)
            .maybe("mtime-nsecs", &self.mtime_nsecs)
            .flag("only-hash", self.only_hash)
            .flag("wrap-with-directory", self.wrap_with_directory)
            .flag("trickle", self.trickle)
            .flag("inline", self.inline)
            .flag("preserve-mode", self.preserve_mode)
            .flag("preserve-mtime", self.preserve_mtime)
    }

    fn add_by_node(
        &self,
        context: &Context,
        node: &ApiClient,
        path: &Path,
        lines: &mut Lines<'_>,
    ) -> anyhow::Result<()> {
        let request = view::AddRequest {
            path: absolute(path)?,
            profile: self.profile_request(),
            hidden: self.hidden,
            nocopy: self.nocopy,
            rehash: self.rehash,
        };
        if lines.wants_bar() {
            lines.begin(None);
        }
        // A closed pipe ends the printing, not the adding.
        let mut closed = None;
        context.ask(node.post_lines("/hpips/v0/add-lines", &request, |line| {
            match line {
                view::AddLine::Bytes(bytes) => lines.at(bytes),
                view::AddLine::Added(view::AddedView { cid, name, dag_bytes, .. }) => {
                    let printed = lines.print(Line { name, hash: cid, size: dag_bytes.to_string() });
                    if let Err(error) = printed {
                        closed.get_or_insert(error);
                    }
                }
                view::AddLine::Done => return ControlFlow::Break(Ok(())),
                view::AddLine::Failed(error) => return ControlFlow::Break(Err(CallError::from(error))),
            }
            ControlFlow::Continue(())
        }))??;
        closed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// What is left out.
    fn filter(&self) -> anyhow::Result<Filter> {
        Filter::new(&self.ignore, self.ignore_rules_path.as_deref())
            .map_err(|error| Stop::usage(hpips_api::chain_text(&error)).into())
    }

    fn profile_request(&self) -> view::ProfileRequest {
        view::ProfileRequest {
            name: self.profile.clone(),
            cid_version: self.cid_version,
            // Only raw leaves can stay where they are.
            raw_leaves: self.raw_leaves.or(self.nocopy.then_some(true)),
            hash: self.hash.clone(),
            chunker: self.chunker.clone(),
            trickle: self.trickle,
            max_file_links: self.max_file_links,
            max_directory_links: self.max_directory_links,
            max_hamt_fanout: self.max_hamt_fanout,
            inline: self.inline,
            inline_limit: self.inline_limit,
        }
    }
}
