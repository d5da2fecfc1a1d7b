//! `hpips ls`.

use std::io::Write;

use serde::Deserialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::moment::{GoMode, Moment};
use crate::rpc::Call;
use crate::table::write_table;

/// UnixFS' number of a folder in Kubo's answers.
const DIRECTORY: i64 = 1;
/// How wide the column of sizes is when they are not all known yet.
const STREAMED_SIZE: usize = 9;

/// List folders.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// CIDs, or paths below them.
    #[arg(required = true)]
    paths: Vec<String>,
    /// Print what the columns are.
    #[arg(short = 'v', long)]
    headers: bool,
    /// Look into the entries for their type; so by default.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    resolve_type: Option<bool>,
    /// Look into the entries for their size; so by default.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    size: Option<bool>,
    /// Print entries as they come, unsorted.
    #[arg(short, long)]
    stream: bool,
    /// With modes and times.
    #[arg(short, long)]
    long: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    hash: String,
    #[serde(default)]
    links: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    name: String,
    hash: String,
    #[serde(default)]
    size: u64,
    #[serde(rename = "Type", default)]
    kind: i64,
    #[serde(default)]
    mode: u32,
    #[serde(default)]
    mod_time: String,
}

impl Ls {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = Call::new("ls")
            .args(self.paths.iter().cloned())
            .maybe("resolve-type", &self.resolve_type)
            .maybe("size", &self.size)
            .flag("long", self.long)
            .flag("stream", self.stream);
        let mut shown: Option<String> = None;
        context.show(call, |listed: Listed, out| {
            for object in listed.objects {
                let is_new = shown.as_ref() != Some(&object.hash);
                if is_new && self.paths.len() > 1 {
                    if shown.is_some() {
                        writeln!(out)?;
                    }
                    writeln!(out, "{}:", object.hash)?;
                }
                self.write(&object.links.unwrap_or_default(), is_new, out)?;
                shown = Some(object.hash);
            }
            Ok(())
        })
    }

    fn write(&self, entries: &[Entry], is_first: bool, out: &mut dyn Write) -> anyhow::Result<()> {
        let now = Moment::now();
        let mut rows = Vec::new();
        if self.headers && is_first {
            let names = ["Mode", "Hash", "Size", "ModTime", "Name"].map(str::to_owned);
            rows.push(self.columns(names));
        }
        for entry in entries {
            let is_directory = entry.kind == DIRECTORY;
            let mode = if entry.mode == 0 { "-".to_owned() } else { GoMode(entry.mode).to_string() };
            let time = Moment::parse(&entry.mod_time).map_or("-".to_owned(), |time| time.in_list(now));
            let mut size = if is_directory { "-".to_owned() } else { entry.size.to_string() };
            if self.stream {
                size = format!("{size:<STREAMED_SIZE$}");
            }
            let slash = if is_directory { "/" } else { "" };
            let name = format!("{}{slash}", printable(&entry.name));
            rows.push(self.columns([mode, entry.hash.clone(), size, time, name]));
        }
        Ok(write_table(out, &rows)?)
    }

    /// Those of the five columns that are asked for.
    fn columns(&self, [mode, hash, size, time, name]: [String; 5]) -> Vec<String> {
        let mut row = Vec::new();
        if self.long {
            row.push(mode);
        }
        row.push(hash);
        if self.size != Some(false) {
            row.push(size);
        }
        if self.long {
            row.push(time);
        }
        row.push(name);
        row
    }
}

/// A name as Kubo prints it: control characters escaped, so that a name cannot draw on a terminal.
pub(crate) fn printable(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_control() { text.extend(character.escape_default()) } else { text.push(character) }
    }
    text
}
