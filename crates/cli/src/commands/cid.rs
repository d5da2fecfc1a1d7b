//! `hpips cid`.

use std::io::{self, BufRead};

use serde::Deserialize;

use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::message;
use crate::rpc::Call;

/// Convert CIDs and show what they say.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Cid {
    /// Print CIDs in other forms.
    Format(Format),
    /// Print CIDs as version 1 in base32.
    Base32 {
        /// CIDs; one a line from standard input when there are none.
        cids: Vec<String>,
    },
    /// List multibases.
    Bases {
        /// With the letter that marks each.
        #[arg(long)]
        prefix: bool,
        /// With numbers.
        #[arg(long)]
        numeric: bool,
    },
    /// List codecs.
    Codecs(Known),
    /// List hash functions.
    Hashes(Known),
    /// Show the parts of a CID.
    Inspect {
        /// The CID.
        cid: String,
    },
}

/// Print CIDs in other forms.
#[derive(Debug, clap::Args)]
pub(crate) struct Format {
    /// CIDs; one a line from standard input when there are none.
    cids: Vec<String>,
    /// Form as of printf: %s CID, %b base name, %B base letter, %v version, %c codec, %h hash function, %d digest, %M multihash.
    #[arg(short = 'f', value_name = "FORMAT")]
    format: Option<String>,
    /// Version to convert to, 0 or 1.
    #[arg(short = 'v', value_name = "VERSION")]
    version: Option<String>,
    /// Codec to convert to.
    #[arg(long, value_name = "CODEC")]
    mc: Option<String>,
    /// Multibase to print in.
    #[arg(short = 'b', value_name = "BASE")]
    base: Option<String>,
}

/// How a list of known codes is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Known {
    /// With numbers.
    #[arg(short, long)]
    numeric: bool,
    /// Those that this program can read or write only.
    #[arg(short, long)]
    supported: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Formatted {
    cid_str: String,
    #[serde(default)]
    formatted: String,
    #[serde(default)]
    error_msg: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Code {
    code: u64,
    name: String,
}

#[derive(Deserialize)]
struct Inspected {
    cid: String,
    version: u64,
    multibase: Base,
    multicodec: Number,
    multihash: Hash,
    #[serde(rename = "cidV0", default)]
    cid_v0: String,
    #[serde(rename = "cidV1", default)]
    cid_v1: String,
    #[serde(rename = "errorMsg", default)]
    error_msg: String,
}

#[derive(Deserialize)]
struct Base {
    prefix: String,
    name: String,
}

#[derive(Deserialize)]
struct Number {
    code: u64,
    name: String,
}

#[derive(Deserialize)]
struct Hash {
    code: u64,
    name: String,
    length: u64,
    digest: String,
}

impl Code {
    /// The character that marks a multibase, or a space where it cannot be printed.
    fn letter(&self) -> char {
        let letter = u32::try_from(self.code).ok().and_then(char::from_u32);
        letter.filter(|letter| !letter.is_control()).unwrap_or(' ')
    }
}

impl Cid {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Format(format) => {
                let call = Call::new("cid/format")
                    .maybe("f", &format.format)
                    .maybe("v", &format.version)
                    .maybe("mc", &format.mc)
                    .maybe("b", &format.base);
                convert(context, call, format.cids)
            }
            Self::Base32 { cids } => convert(context, Call::new("cid/base32"), cids),
            Self::Bases { prefix, numeric } => {
                let call = Call::new("cid/bases").flag("prefix", prefix).flag("numeric", numeric);
                context.repoless()?.show(context.json, call, |mut bases: Vec<Code>, out| {
                    // By letter, the small one of each pair first.
                    bases.sort_by_key(|base| {
                        let letter = base.letter();
                        (!letter.is_ascii(), letter.to_ascii_lowercase(), letter.is_ascii_uppercase())
                    });
                    bases.iter().try_for_each(|base| {
                        let (letter, code, name) = (base.letter(), base.code, &base.name);
                        match (prefix, numeric) {
                            (true, true) => writeln!(out, "{letter} {code:>7}  {name}"),
                            (true, false) => writeln!(out, "{letter}  {name}"),
                            (false, true) => writeln!(out, "{code:>7}  {name}"),
                            (false, false) => writeln!(out, "{name}"),
                        }
                    })?;
                    Ok(())
                })
            }
            Self::Codecs(known) => known.list(context, "cid/codecs"),
            Self::Hashes(known) => known.list(context, "cid/hashes"),
            Self::Inspect { cid } => inspect(context, cid),
        }
    }
}

impl Known {
    fn list(self, context: &Context, command: &'static str) -> anyhow::Result<Exit> {
        let call = Call::new(command).flag("numeric", self.numeric).flag("supported", self.supported);
        context.repoless()?.show(context.json, call, |mut codes: Vec<Code>, out| {
            codes.sort_by_key(|code| code.code);
            codes.iter().try_for_each(|code| {
                if self.numeric {
                    writeln!(out, "{:>5}  {}", code.code, code.name)
                } else {
                    writeln!(out, "{}", code.name)
                }
            })?;
            Ok(())
        })
    }
}

fn convert(context: &Context, call: Call, mut cids: Vec<String>) -> anyhow::Result<Exit> {
    if cids.is_empty() {
        cids = io::stdin().lock().lines().collect::<Result<_, _>>()?;
    }
    let mut wrong = false;
    context.repoless()?.show(context.json, call.args(cids), |one: Formatted, out| {
        if one.error_msg.is_empty() {
            writeln!(out, "{}", one.formatted)?;
        } else {
            wrong = true;
            message(format_args!("{}: {}", one.cid_str, one.error_msg));
        }
        Ok(())
    })?;
    if wrong {
        return Err(Stop::new(Exit::Failed, "errors while displaying some entries").into());
    }
    Ok(Exit::Done)
}

fn inspect(context: &Context, cid: String) -> anyhow::Result<Exit> {
    context.repoless()?.show(context.json, Call::new("cid/inspect").arg(cid), |it: Inspected, out| {
        if !it.error_msg.is_empty() {
            return Err(Stop::usage(it.error_msg).into());
        }
        // In version 0 everything but the digest goes without saying.
        let (letter, implied) = match it.version {
            0 => ("implicit".to_owned(), ", implicit"),
            _ => (it.multibase.prefix, ""),
        };
        writeln!(out, "CID:        {}", it.cid)?;
        writeln!(out, "Version:    {}", it.version)?;
        writeln!(out, "Multibase:  {} ({letter})", it.multibase.name)?;
        writeln!(out, "Multicodec: {} (0x{:x}{implied})", it.multicodec.name, it.multicodec.code)?;
        writeln!(out, "Multihash:  {} (0x{:x}{implied})", it.multihash.name, it.multihash.code)?;
        writeln!(out, "  Length:   {} bytes", it.multihash.length)?;
        writeln!(out, "  Digest:   {}", it.multihash.digest)?;
        if !it.cid_v0.is_empty() {
            writeln!(out, "CIDv0:      {}", it.cid_v0)?;
        }
        Ok(writeln!(out, "CIDv1:      {}", it.cid_v1)?)
    })
}
