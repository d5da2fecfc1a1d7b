//! `hpips name`.

use std::io::Write;
use std::path::PathBuf;

use serde::Deserialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::rpc::{Call, Upload};

/// Names of keys, which point at content and can be moved.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Name {
    /// Let a name point at a path.
    Publish(Publish),
    /// Print what a name points at.
    Resolve(Resolve),
    /// Write the signed record of a name to standard output.
    Get {
        /// The name.
        name: String,
    },
    /// Take in a record that is signed already, and publish it.
    Put(Put),
    /// Show what a record says.
    Inspect(Inspect),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Publish {
    /// The path, below /ipfs or /ipns.
    path: String,
    /// The key: its name, or what it prints as. `self` by default.
    #[arg(short, long)]
    key: Option<String>,
    /// Make sure that the path leads somewhere; so by default.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    resolve: Option<bool>,
    /// How long the record holds, as 48h, which is the default. The daemon prolongs it.
    #[arg(short = 't', long, value_name = "TIME")]
    lifetime: Option<String>,
    /// How long others may remember it before they ask again; 5m by default.
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
    /// Print the name only.
    #[arg(short = 'Q', long)]
    quieter: bool,
    /// Write what programs from before 2021 read too; so by default.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    v1compat: Option<bool>,
    /// Publish in this repo when no daemon runs; the daemon tells others later.
    #[arg(long)]
    allow_offline: bool,
    /// Do without a DHT, as routers of the configuration are told in any case.
    #[arg(long)]
    allow_delegated: bool,
    /// The number of the record; the next one by default.
    #[arg(long, value_name = "NUMBER")]
    sequence: Option<u64>,
    /// How to print the name: b58mh, base36 or another multibase.
    #[arg(long, value_name = "BASE")]
    ipns_base: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Resolve {
    /// The name; this node's own by default.
    name: Option<String>,
    /// Go on until it is content; so by default.
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    recursive: Option<bool>,
    /// Ask again, whatever is remembered.
    #[arg(short, long)]
    nocache: bool,
    /// Records to ask for; all that come are looked at.
    #[arg(long, visible_alias = "dhtrc", value_name = "COUNT")]
    dht_record_count: Option<u64>,
    /// How long to ask, as 30s.
    #[arg(long, visible_alias = "dhtt", value_name = "TIME")]
    dht_timeout: Option<String>,
    /// Print what is found as it is found.
    #[arg(short, long)]
    stream: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// The name.
    name: String,
    /// The record; - is standard input.
    record: PathBuf,
    /// Not taken here: records are always checked.
    #[arg(short, long)]
    force: bool,
    /// Keep it in this repo when no daemon runs.
    #[arg(long)]
    allow_offline: bool,
    /// Do without a DHT.
    #[arg(long)]
    allow_delegated: bool,
    /// Print nothing.
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// The record; standard input by default.
    record: Option<PathBuf>,
    /// Check it against this name.
    #[arg(long, value_name = "NAME")]
    verify: Option<String>,
    /// Show its bytes too; so by default.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dump: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Published {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resolved {
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    value: String,
    validity_type: u64,
    validity: String,
    sequence: u64,
    #[serde(rename = "TTL")]
    ttl: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Validation {
    valid: bool,
    reason: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    entry: Entry,
    pb_size: usize,
    signature_type: String,
    #[serde(default)]
    public_key: Option<String>,
    hex_dump: String,
    validation: Option<Validation>,
}

impl Name {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Publish(publish) => publish.run(context),
            Self::Resolve(resolve) => resolve.run(context),
            Self::Get { name } => {
                let mut out = std::io::stdout().lock();
                context.rpc()?.bytes(Call::new("name/get").arg(name), |part| Ok(out.write_all(part)?))?;
                out.flush()?;
                Ok(Exit::Done)
            }
            Self::Put(put) => put.run(context),
            Self::Inspect(inspect) => inspect.run(context),
        }
    }
}

impl Publish {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = Call::new("name/publish")
            .arg(self.path)
            .maybe("key", &self.key)
            .maybe("resolve", &self.resolve)
            .maybe("lifetime", &self.lifetime)
            .maybe("ttl", &self.ttl)
            .maybe("v1compat", &self.v1compat)
            .flag("allow-offline", self.allow_offline)
            .flag("allow-delegated", self.allow_delegated)
            .maybe("sequence", &self.sequence)
            .maybe("ipns-base", &self.ipns_base);
        context.show(call, |published: Published, out| {
            if self.quieter {
                return Ok(writeln!(out, "{}", published.name)?);
            }
            Ok(writeln!(out, "Published to {}: {}", published.name, published.value)?)
        })
    }
}

impl Resolve {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = Call::new("name/resolve")
            .args(self.name)
            .maybe("recursive", &self.recursive)
            .flag("nocache", self.nocache)
            .maybe("dht-record-count", &self.dht_record_count)
            .maybe("dht-timeout", &self.dht_timeout)
            .flag("stream", self.stream);
        context.show(call, |resolved: Resolved, out| Ok(writeln!(out, "{}", resolved.path)?))
    }
}

impl Put {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = Call::new("name/put")
            .arg(self.name)
            .flag("force", self.force)
            .flag("allow-offline", self.allow_offline)
            .flag("allow-delegated", self.allow_delegated)
            .upload(vec![Upload::of(&self.record)]);
        context.show(
            call,
            |published: Published, out| {
                if self.quiet { Ok(()) } else { Ok(writeln!(out, "{}", published.name)?) }
            },
        )
    }
}

impl Inspect {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let record = self.record.unwrap_or_else(|| PathBuf::from("-"));
        let call = Call::new("name/inspect")
            .maybe("verify", &self.verify)
            .maybe("dump", &self.dump)
            .upload(vec![Upload::of(&record)]);
        context.show(call, write_inspected)
    }
}

fn write_inspected(record: Inspected, out: &mut dyn Write) -> anyhow::Result<()> {
    let entry = &record.entry;
    writeln!(out, "Value:          {:?}", entry.value)?;
    writeln!(out, "Validity Type:  {}", entry.validity_type)?;
    writeln!(out, "Validity:       {:?}", entry.validity)?;
    writeln!(out, "Sequence:       {}", entry.sequence)?;
    writeln!(out, "TTL:            {}", go_duration(entry.ttl))?;
    if let Some(key) = &record.public_key {
        writeln!(out, "PublicKey:      {key:?}")?;
    }
    writeln!(out, "Protobuf Size:  {}", record.pb_size)?;
    writeln!(out, "Signature Type: {}", record.signature_type)?;
    match &record.validation {
        None => writeln!(out, "\nThis record was not verified. Pass '--verify k51...' to verify.")?,
        Some(validation) => {
            writeln!(out, "\nValidation results:\n Valid: {}", validation.valid)?;
            if !validation.reason.is_empty() {
                writeln!(out, " Reason: {}", validation.reason)?;
            }
            writeln!(out, " Name:  {}", validation.name)?;
        }
    }
    if !record.hex_dump.is_empty() {
        write!(out, "\nHex Dump:\n{}", record.hex_dump)?;
    }
    Ok(())
}

/// As Go prints a duration of so many nanoseconds.
fn go_duration(nanoseconds: u64) -> String {
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    if seconds == 0 && rest != 0 {
        let (unit, scale) = match rest {
            1_000_000.. => ("ms", 1_000_000),
            1000.. => ("\u{b5}s", 1000),
            _ => ("ns", 1),
        };
        return format!("{}{}{unit}", rest / scale, fraction(rest % scale, scale));
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let last = format!("{}{}s", seconds % 60, fraction(rest, 1_000_000_000));
    match (hours, minutes) {
        (0, 0) => last,
        (0, minutes) => format!("{minutes}m{last}"),
        (hours, minutes) => format!("{hours}h{minutes}m{last}"),
    }
}

/// A part of a unit of `scale`, a power of ten, behind the point; nothing when there is none.
fn fraction(part: u64, scale: u64) -> String {
    if part == 0 {
        return String::new();
    }
    let width = scale.to_string().len() - 1;
    format!(".{}", format!("{part:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_go_does() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1500, "1.5\u{b5}s"),
            (20_000_000, "20ms"),
            (300_000_000_000, "5m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (61_050_000_000, "1m1.05s"),
        ] {
            assert_eq!(go_duration(nanoseconds), expected);
        }
    }
}
