//! `hpips key`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::Deserialize;

use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::rpc::{Call, Upload};

/// The longest encoded key is some kilobytes, of RSA.
const KEY_BYTES_MAX: usize = 64 << 10;

/// Keys for names; the node's own is `self`.
#[derive(Debug, clap::Args)]
pub(crate) struct Key {
    /// How to print keys: b58mh, base36 or another multibase.
    #[arg(long, global = true, value_name = "BASE")]
    ipns_base: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key.
    Gen {
        /// Its name.
        name: String,
        /// ed25519, which is the default.
        #[arg(short = 't', long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Size in bits, of types that have one.
        #[arg(short, long, value_name = "BITS")]
        size: Option<u32>,
    },
    /// List keys.
    #[command(visible_alias = "ls")]
    List {
        /// With what they print as.
        #[arg(short)]
        long: bool,
    },
    /// Give a key another name.
    Rename {
        /// Its name.
        name: String,
        /// The new name.
        new_name: String,
        /// Replace a key of that name.
        #[arg(short, long)]
        force: bool,
    },
    /// Remove keys. Without another copy they are lost.
    Rm {
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
        /// With what they print as.
        #[arg(short)]
        long: bool,
    },
    /// Write a key to a file that only you can read.
    Export {
        /// Its name.
        name: String,
        /// The file; NAME.key by default.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// libp2p-protobuf-cleartext, which is the default, or pem-pkcs8-cleartext.
        #[arg(short, long)]
        format: Option<String>,
    },
    /// Take in a key from a file.
    Import {
        /// The name it gets.
        name: String,
        /// The file; - is standard input.
        key: PathBuf,
        /// libp2p-protobuf-cleartext, which is the default, or pem-pkcs8-cleartext.
        #[arg(short, long)]
        format: Option<String>,
        /// Other types than ed25519 and RSA too.
        #[arg(long)]
        allow_any_key_type: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Names {
    keys: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Renamed {
    now: String,
    id: String,
    #[serde(default)]
    overwrite: bool,
}

impl Key {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = |command| Call::new(command).maybe("ipns-base", &self.ipns_base);
        match self.what {
            What::Gen { name, kind, size } => {
                let call = call("key/gen").arg(name).maybe("type", &kind).maybe("size", &size);
                context.show(call, |key: Named, out| Ok(writeln!(out, "{}", key.id)?))
            }
            What::List { long } => context
                .show(call("key/list").flag("l", long), |names: Names, out| write_names(&names, long, out)),
            What::Rename { name, new_name, force } => {
                let call = call("key/rename").arg(name).arg(new_name).flag("force", force);
                context.show(call, |key: Renamed, out| {
                    let over = if key.overwrite { " with overwriting" } else { "" };
                    Ok(writeln!(out, "Key {} renamed to {}{over}", key.id, key.now)?)
                })
            }
            What::Rm { names, long } => {
                let call = call("key/rm").args(names).flag("l", long);
                context.show(call, |names: Names, out| write_names(&names, long, out))
            }
            What::Export { name, output, format } => export(context, name, output, format),
            What::Import { name, key, format, allow_any_key_type } => {
                let call = call("key/import")
                    .arg(name)
                    .maybe("format", &format)
                    .flag("allow-any-key-type", allow_any_key_type)
                    .upload(vec![Upload::of(&key)]);
                context.show(call, |key: Named, out| Ok(writeln!(out, "{}", key.id)?))
            }
        }
    }
}

fn write_names(names: &Names, long: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let width = |text: fn(&Named) -> &str| names.keys.iter().map(|key| text(key).len()).max().unwrap_or(0);
    let (ids, texts) = (width(|key| &key.id), width(|key| &key.name));
    for key in &names.keys {
        if long {
            writeln!(out, "{:<ids$} {:<texts$} ", key.id, key.name)?;
        } else {
            writeln!(out, "{}", key.name)?;
        }
    }
    Ok(())
}

fn export(
    context: &Context,
    name: String,
    output: Option<PathBuf>,
    format: Option<String>,
) -> anyhow::Result<Exit> {
    let ending = if format.as_deref() == Some("pem-pkcs8-cleartext") { "pem" } else { "key" };
    let path = output.unwrap_or_else(|| PathBuf::from(format!("{}.{ending}", name.replace('/', "_"))));
    let mut key = zeroize::Zeroizing::new(Vec::new());
    context.rpc()?.bytes(Call::new("key/export").arg(name).maybe("format", &format), |part| {
        if key.len() + part.len() > KEY_BYTES_MAX {
            return Err(Stop::new(Exit::Failed, "the answer is no key: too long. Nothing was written").into());
        }
        key.extend_from_slice(part);
        Ok(())
    })?;
    let mut file = fs::OpenOptions::new();
    // Never over another file: it may be the only copy of a key.
    let file = file.write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(&key)).map_err(|error| {
        Stop::new(
            Exit::Failed,
            format!(
                "cannot write {}: {error}. The key is still in the repo. Elsewhere: -o FILE",
                path.display()
            ),
        )
    })?;
    Ok(Exit::Done)
}
