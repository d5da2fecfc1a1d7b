//! `hpips add`.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use hpips_api::{ApiClient, view};
use hpips_client::import::{Added, ImportOptions, import, import_reader};
use hpips_dag::Profile;
use hpips_store::{PinKind, Store};
use hpips_types::TokenAmount;
use serde::Serialize;

use super::source::{absolute, open_store};
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::message;

/// Add files or folders; print their CIDs.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// Files or folders; `-` reads one file from standard input.
    #[arg(required = true)]
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
    /// CID version, 0 or 1; on its own, without a profile, as `ipfs add` would.
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u8).range(0..=1))]
    cid_version: Option<u8>,
    /// Whether leaves are raw blocks.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    raw_leaves: Option<bool>,
    /// unixfs-v1-2025 (the default) or unixfs-v0-2015.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Take along names that begin with a dot.
    #[arg(short = 'H', long)]
    hidden: bool,
    /// Store it on the network without asking, whatever it costs.
    #[arg(short, long)]
    yes: bool,
    /// Store it on the network without asking when it costs at most this, in HPIPS.
    #[arg(long, value_name = "AMOUNT")]
    max_price: Option<TokenAmount>,
    /// For how long, in windows of the network.
    #[arg(long = "for", value_name = "WINDOWS")]
    windows: Option<u64>,
}

/// A line of the result.
#[derive(Serialize)]
struct Line {
    cid: String,
    name: String,
    bytes: u64,
}

impl Add {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let options = ImportOptions { profile: self.profile()?, hidden: self.hidden };
        let repo = context.repo()?;
        let node = context.block_on(context.running_node())?;
        let mut lines = Lines { add: &self, json: context.json, last: None };
        let Some(node) = node else {
            let store = open_store(context)?;
            let hold = store.hold()?;
            for path in &self.paths {
                import_into(&store, path, &options, &mut lines)?;
            }
            drop(hold);
            lines.finish()?;
            if repo.genesis()?.is_some() && !self.local {
                let text = "kept on this machine only: no node is running. Start it with hpips daemon";
                return Err(Stop::new(Exit::Funds, text).into());
            }
            return Ok(Exit::Done);
        };
        let joined = repo.genesis()?.is_some() && !self.local;
        for path in &self.paths {
            if path.as_os_str() == "-" {
                return Err(Stop::usage("standard input is read only while no node runs on the repo").into());
            }
            let request = view::AddRequest {
                path: absolute(path)?,
                profile: self.profile_request(),
                hidden: self.hidden,
            };
            let answer: view::AddAnswer =
                context.block_on(async { Ok(node.post("/hpips/v0/add", &request, super::LONG).await?) })?;
            for entry in answer.added {
                lines.print(&entry.cid, &entry.name, entry.bytes)?;
            }
            if joined {
                self.store(context, &node, &answer.root)?;
            }
        }
        lines.finish()?;
        Ok(Exit::Done)
    }

    /// Quotes, asks, and stores what is on this machine already.
    fn store(&self, context: &Context, node: &ApiClient, root: &str) -> anyhow::Result<()> {
        let stored = self.try_store(context, node, root);
        // Whatever went wrong, the person must know that the files are here.
        stored.map_err(|error| error.context(format!("not stored on the network, kept locally as {root}")))
    }

    fn try_store(&self, context: &Context, node: &ApiClient, root: &str) -> anyhow::Result<()> {
        let ask = view::QuoteRequest { root: root.to_owned(), windows: self.windows };
        let quote: view::QuoteAnswer =
            context.block_on(async { Ok(node.post("/hpips/v0/quote", &ask, super::LONG).await?) })?;
        message(format_args!(
            "keeps         {} slots, any {} restore; {} stored ({:.2} x)\nprice         at most {} HPIPS for {} windows; what is not proven comes back to you",
            quote.slots,
            quote.needed,
            hpips_types::ByteCount::new(quote.stored_bytes).to_short(),
            quote.expansion,
            quote.price_max.to_exact(),
            quote.windows,
        ));
        let agreed = self.yes
            || match self.max_price {
                Some(most) => quote.price_max <= most,
                None => io::stdin().is_terminal() && ask_person()?,
            };
        if !agreed {
            let text =
                format!("kept locally as {root}; nothing was spent. To store it: --yes or --max-price");
            return Err(Stop::new(Exit::Funds, text).into());
        }
        let request =
            view::StoreRequest { root: root.to_owned(), windows: self.windows, price_max: quote.price_max };
        let stored: view::StoreAnswer =
            context.block_on(async { Ok(node.post("/hpips/v0/store", &request, super::LONG).await?) })?;
        let deals: Vec<String> = stored.deals.iter().map(ToString::to_string).collect();
        message(format_args!(
            "stored: deal {}, {} of {} slots, every commitment checked, until block {}",
            deals.join(", "),
            stored.held,
            stored.slots,
            stored.ends
        ));
        Ok(())
    }

    fn profile(&self) -> anyhow::Result<Profile> {
        self.profile_request().resolve().map_err(|error| Stop::usage(error.message).into())
    }

    fn profile_request(&self) -> view::ProfileRequest {
        view::ProfileRequest {
            name: self.profile.clone(),
            cid_version: self.cid_version,
            raw_leaves: self.raw_leaves,
        }
    }
}

/// Prints lines as they come, or only the last one.
struct Lines<'a> {
    add: &'a Add,
    json: bool,
    last: Option<Line>,
}

impl Lines<'_> {
    fn print(&mut self, cid: &str, name: &str, bytes: u64) -> io::Result<()> {
        let line = Line { cid: cid.to_owned(), name: name.to_owned(), bytes };
        if !self.add.quieter {
            self.write(&line)?;
        }
        self.last = Some(line);
        Ok(())
    }

    fn write(&self, line: &Line) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, line)?;
            writeln!(out)
        } else if self.add.quiet || self.add.quieter {
            writeln!(out, "{}", line.cid)
        } else {
            writeln!(out, "added {} {}", line.cid, line.name)
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self.last.take() {
            Some(line) if self.add.quieter => self.write(&line),
            _ => Ok(()),
        }
    }
}

fn import_into(
    store: &Store,
    path: &Path,
    options: &ImportOptions,
    lines: &mut Lines<'_>,
) -> anyhow::Result<()> {
    let mut closed = None;
    let mut sink = |blocks| Ok(store.put_built(blocks)?);
    let mut added = |added: Added| {
        // A closed pipe ends the printing, not the adding.
        if let Err(error) = lines.print(&added.cid.to_string(), &added.name, added.bytes) {
            closed.get_or_insert(error);
        }
    };
    let report = if path.as_os_str() == "-" {
        import_reader(&mut io::stdin().lock(), "", options, &mut sink, &mut added)?
    } else {
        import(path, options, &mut sink, &mut added)?
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    store.pin(&report.root, PinKind::Recursive, name.get(..255).unwrap_or(&name))?;
    match closed {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn ask_person() -> io::Result<bool> {
    write!(io::stderr().lock(), "Store? ANYONE with the CID can read it [y, N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
