//! `hpips routing`.

use std::io::Write;
use std::path::PathBuf;

use cid::multibase::Base;
use serde::Deserialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::rpc::{Call, Upload};

/// Ask who has what.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Routing {
    /// Print the peers that have blocks.
    Findprovs {
        /// The CIDs.
        #[arg(required = true)]
        keys: Vec<String>,
        /// Addresses too.
        #[arg(short, long)]
        verbose: bool,
        /// Stop after so many; 20 by default.
        #[arg(short, long, value_name = "COUNT")]
        num_providers: Option<i64>,
    },
    /// Print the addresses of peers.
    Findpeer {
        /// Their names.
        #[arg(required = true)]
        peers: Vec<String>,
        /// Names too.
        #[arg(short, long)]
        verbose: bool,
    },
    /// Tell the DHT that this node has blocks.
    Provide {
        /// The CIDs.
        #[arg(required = true)]
        keys: Vec<String>,
        /// Not taken here: whole DAGs are told of by themselves.
        #[arg(short, long)]
        recursive: bool,
        /// Say more; there is no more to say here.
        #[arg(short, long)]
        verbose: bool,
    },
    /// Write the record of a name to standard output.
    Get {
        /// The keys, as /ipns/NAME.
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Publish a record that is signed already.
    Put {
        /// The key, as /ipns/NAME.
        key: String,
        /// The record; - is standard input.
        value: PathBuf,
        /// Keep it in this repo when no daemon runs.
        #[arg(long)]
        allow_offline: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    #[serde(default)]
    extra: String,
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(default)]
    responses: Option<Vec<Peer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Peer {
    #[serde(default)]
    addrs: Option<Vec<String>>,
    #[serde(rename = "ID")]
    id: String,
}

impl Routing {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Findprovs { keys, verbose, num_providers } => {
                let call = Call::new("routing/findprovs").args(keys).maybe("num-providers", &num_providers);
                context.show(call, |event: Event, out| write_peers(event, true, verbose, out))
            }
            Self::Findpeer { peers, verbose } => context
                .show(Call::new("routing/findpeer").args(peers), |event: Event, out| {
                    write_peers(event, verbose, true, out)
                }),
            Self::Provide { keys, recursive, verbose: _ } => {
                let call = Call::new("routing/provide").args(keys).flag("recursive", recursive);
                context.show(call, |(): (), _| Ok(()))
            }
            Self::Get { keys } => context.show(Call::new("routing/get").args(keys), |event: Event, out| {
                Ok(out.write_all(&Base::Base64Pad.decode(&event.extra)?)?)
            }),
            Self::Put { key, value, allow_offline } => {
                let call = Call::new("routing/put").arg(key).flag("allow-offline", allow_offline);
                let call = call.upload(vec![Upload::of(&value)]);
                context.show(call, |event: Event, out| Ok(writeln!(out, "{}", event.id)?))
            }
        }
    }
}

fn write_peers(
    event: Event,
    with_name: bool,
    with_addresses: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    for peer in event.responses.unwrap_or_default() {
        if with_name {
            writeln!(out, "{}", peer.id)?;
        }
        if with_addresses {
            let indent = if with_name { "  " } else { "" };
            peer.addrs
                .unwrap_or_default()
                .iter()
                .try_for_each(|address| writeln!(out, "{indent}{address}"))?;
        }
    }
    Ok(())
}
