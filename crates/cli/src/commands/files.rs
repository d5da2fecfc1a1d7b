//! `hpips files`.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::ls::printable;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::moment::{GoMode, Moment};
use crate::output::message;
use crate::rpc::{Call, Upload};
use crate::table;

/// Files and folders under names that stay while their content changes.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// Write changes through to the root at once; so by default.
    #[arg(
        short,
        long,
        global = true,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    flush: Option<bool>,
    #[command(subcommand)]
    what: What,
}

/// What is done.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// List a folder.
    Ls {
        /// The folder; / by default.
        path: Option<String>,
        /// With CIDs and sizes.
        #[arg(short, long)]
        long: bool,
        /// In the folder's own order.
        #[arg(short = 'U')]
        unsorted: bool,
    },
    /// Copy from /ipfs/CID or another name; no data is copied.
    Cp {
        /// From.
        source: String,
        /// To.
        dest: String,
        /// Replace what is there.
        #[arg(long)]
        force: bool,
        /// Make the folders above.
        #[arg(short, long)]
        parents: bool,
    },
    /// Move.
    Mv {
        /// From.
        source: String,
        /// To.
        dest: String,
    },
    /// Make a folder.
    Mkdir {
        /// The folder.
        path: String,
        /// Make the folders above; one that is there is fine.
        #[arg(short, long)]
        parents: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Print a file.
    Read {
        /// The file.
        path: String,
        /// Begin at this byte.
        #[arg(short, long, value_name = "BYTES")]
        offset: Option<u64>,
        /// Print at most this many bytes.
        #[arg(short = 'n', long, value_name = "BYTES")]
        count: Option<u64>,
    },
    /// Write into a file.
    Write(Write),
    /// Show a file or folder.
    Stat(Stat),
    /// Remove files.
    Rm {
        /// The files.
        #[arg(required = true)]
        paths: Vec<String>,
        /// Folders too, with all that is in them.
        #[arg(short, long)]
        recursive: bool,
        /// Whatever it is; what is not there is fine.
        #[arg(long)]
        force: bool,
    },
    /// Write what is not yet written through to the disk; print the CID.
    Flush {
        /// File or folder; / by default.
        path: Option<String>,
    },
    /// Give a folder another form of CID.
    Chcid {
        /// The folder.
        path: String,
        #[command(flatten)]
        form: Form,
    },
    /// Set the mode of a file or folder.
    Chmod {
        /// In octal, as 0644.
        mode: String,
        /// File or folder.
        path: String,
    },
    /// Set the time of a file or folder.
    Touch {
        /// File or folder.
        path: String,
        /// Seconds since 1970; now by default.
        #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
        mtime: Option<i64>,
        /// Nanoseconds of it.
        #[arg(long, value_name = "NANOSECONDS")]
        mtime_nsecs: Option<u32>,
    },
}

/// The form of new CIDs.
#[derive(Debug, clap::Args)]
struct Form {
    /// Version of the CID.
    #[arg(long, visible_alias = "cid-ver", value_name = "VERSION")]
    cid_version: Option<u8>,
    /// Hash function.
    #[arg(long, value_name = "HASH")]
    hash: Option<String>,
}

/// Write into a file.
#[derive(Debug, clap::Args)]
struct Write {
    /// The file.
    path: String,
    /// What is written; standard input when absent.
    data: Option<PathBuf>,
    /// Begin at this byte.
    #[arg(short, long, value_name = "BYTES")]
    offset: Option<u64>,
    /// Make the file when it is not there.
    #[arg(short = 'e', long)]
    create: bool,
    /// Make the folders above.
    #[arg(short, long)]
    parents: bool,
    /// Empty the file first.
    #[arg(short, long)]
    truncate: bool,
    /// Write at most this many bytes.
    #[arg(short = 'n', long, value_name = "BYTES")]
    count: Option<u64>,
    /// Whether new leaves are raw blocks.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    raw_leaves: Option<bool>,
    #[command(flatten)]
    form: Form,
}

/// Show a file or folder.
#[derive(Debug, clap::Args)]
struct Stat {
    /// Its path.
    path: String,
    /// How to print: <hash> <size> <cumulsize> <type> <childs> <mode> <mode-octal> <mtime> <mtime-secs> <mtime-nsecs>.
    #[arg(long, conflicts_with_all = ["hash", "size"])]
    format: Option<String>,
    /// Print the CID only.
    #[arg(long, conflicts_with = "size")]
    hash: bool,
    /// Print the size of all blocks only.
    #[arg(long)]
    size: bool,
    /// With how much of it is on this machine.
    #[arg(long)]
    with_local: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    entries: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    name: String,
    #[serde(rename = "Type", default)]
    kind: i64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    hash: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    hash: String,
    size: u64,
    cumulative_size: u64,
    blocks: u64,
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    with_locality: bool,
    #[serde(default)]
    local: bool,
    #[serde(default)]
    size_local: u64,
    /// Octal digits of Go's `FileMode`.
    mode: Option<String>,
    mtime: Option<i64>,
    #[serde(default)]
    mtime_nsecs: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Flushed {
    cid: String,
}

const STAT_FORMAT: &str = "<hash>\nSize: <size>\nCumulativeSize: <cumulsize>\nChildBlocks: <childs>\nType: <type>\nMode: <mode> (<mode-octal>)\nMtime: <mtime>";

impl Files {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = |command| Call::new(command).maybe("flush", &self.flush);
        match self.what {
            What::Ls { path, long, unsorted } => {
                let call = call("files/ls").args(path).flag("long", long).flag("U", unsorted);
                context.show(call, |listed: Listed, out| {
                    for entry in listed.entries.unwrap_or_default() {
                        let name = printable(&entry.name);
                        if long {
                            let slash = if entry.kind == 1 { "/" } else { "" };
                            writeln!(out, "{name}{slash}\t{}\t{}", entry.hash, entry.size)?;
                        } else {
                            writeln!(out, "{name}")?;
                        }
                    }
                    Ok(())
                })
            }
            What::Cp { source, dest, force, parents } => {
                let call = call("files/cp").arg(source).arg(dest);
                silent(context, call.flag("force", force).flag("parents", parents))
            }
            What::Mv { source, dest } => silent(context, call("files/mv").arg(source).arg(dest)),
            What::Mkdir { path, parents, form } => {
                silent(context, form.on(call("files/mkdir").arg(path).flag("parents", parents)))
            }
            What::Read { path, offset, count } => context
                .rpc()?
                .pour(call("files/read").arg(path).maybe("offset", &offset).maybe("count", &count)),
            What::Write(write) => {
                let upload = write.data.as_deref().map_or(Upload::Stdin, Upload::of);
                let call = call("files/write")
                    .arg(write.path)
                    .maybe("offset", &write.offset)
                    .maybe("count", &write.count)
                    .maybe("raw-leaves", &write.raw_leaves)
                    .flag("create", write.create)
                    .flag("parents", write.parents)
                    .flag("truncate", write.truncate)
                    .upload(vec![upload]);
                silent(context, write.form.on(call))
            }
            What::Stat(stat) => stat.run(context, call("files/stat")),
            What::Rm { paths, recursive, force } => {
                let call = call("files/rm").args(paths).flag("recursive", recursive).flag("force", force);
                remove(context, call)
            }
            What::Flush { path } => context.show(call("files/flush").args(path), |flushed: Flushed, out| {
                // JSON here too, as Kubo.
                Ok(writeln!(out, "{{\"Cid\":\"{}\"}}", flushed.cid)?)
            }),
            What::Chcid { path, form } => silent(context, form.on(call("files/chcid").arg(path))),
            What::Chmod { mode, path } => silent(context, call("files/chmod").arg(mode).arg(path)),
            What::Touch { path, mtime, mtime_nsecs } => silent(
                context,
                call("files/touch").arg(path).maybe("mtime", &mtime).maybe("mtime-nsecs", &mtime_nsecs),
            ),
        }
    }
}

impl Form {
    fn on(self, call: Call) -> Call {
        call.maybe("cid-version", &self.cid_version).maybe("hash", &self.hash)
    }
}

/// A command with nothing to say when it is done.
fn silent(context: &Context, call: Call) -> anyhow::Result<Exit> {
    context.show(call, |_: Value, _| Ok(()))
}

fn remove(context: &Context, call: Call) -> anyhow::Result<Exit> {
    let mut failed = false;
    context.show(call, |value: Value, out| {
        if let Value::String(text) = &value {
            failed = true;
            writeln!(out, "{}", serde_json::to_string(text)?)?;
        }
        Ok(())
    })?;
    if failed {
        message("hpips: can't remove some files");
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

impl Stat {
    fn run(self, context: &Context, call: Call) -> anyhow::Result<Exit> {
        let format = match (&self.format, self.hash, self.size) {
            (Some(format), ..) => format.clone(),
            (None, true, _) => "<hash>".to_owned(),
            (None, false, true) => "<cumulsize>".to_owned(),
            (None, false, false) => STAT_FORMAT.to_owned(),
        };
        let call = call
            .arg(self.path)
            .maybe("format", &self.format)
            .flag("hash", self.hash)
            .flag("size", self.size)
            .flag("with-local", self.with_local);
        context.show(call, |it: Described, out| {
            writeln!(out, "{}", it.format(&format)?)?;
            if it.with_locality {
                let whole = it.cumulative_size;
                let percent = if whole == 0 { 100.0 } else { it.size_local as f64 * 100.0 / whole as f64 };
                let part = table::size(it.size_local);
                if it.local || whole > 0 {
                    writeln!(out, "Local: {part} of {} ({percent:.2}%)", table::size(whole))?;
                } else {
                    writeln!(out, "Local: {part}")?;
                }
            }
            Ok(())
        })
    }
}

impl Described {
    fn format(&self, format: &str) -> anyhow::Result<String> {
        let unset = || "not set".to_owned();
        let mode = match &self.mode {
            Some(text) => {
                let bits = u32::from_str_radix(text, 8).map_err(|_| {
                    Stop::new(Exit::Failed, format!("the answer is not understood: mode {text:?}"))
                })?;
                Some(GoMode(bits)).filter(|mode| mode.0 != 0)
            }
            None => None,
        };
        let mtime = self.mtime.filter(|seconds| *seconds != 0 || self.mtime_nsecs != 0);
        let values = [
            ("<hash>", self.hash.clone()),
            ("<size>", self.size.to_string()),
            ("<cumulsize>", self.cumulative_size.to_string()),
            ("<childs>", self.blocks.to_string()),
            ("<type>", self.kind.clone()),
            ("<mode>", mode.map_or_else(unset, GoMode::in_go)),
            ("<mode-octal>", mode.map_or_else(unset, |mode| format!("{:04o}", mode.0 & 0o777))),
            ("<mtime>", mtime.map_or_else(unset, |seconds| Moment(seconds).in_full())),
            ("<mtime-secs>", mtime.map_or_else(unset, |seconds| seconds.to_string())),
            ("<mtime-nsecs>", mtime.map_or_else(unset, |_| self.mtime_nsecs.to_string())),
        ];
        Ok(values.iter().fold(format.to_owned(), |text, (token, value)| text.replace(token, value)))
    }
}
