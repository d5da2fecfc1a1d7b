//! `hpips bitswap`.

use serde::Deserialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::rpc::Call;

/// Blocks exchanged with other nodes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bitswap {
    /// What was exchanged since the node started.
    Stat {
        /// With the names of the peers and of the blocks that are wanted.
        #[arg(short, long)]
        verbose: bool,
        /// Sizes in words.
        #[arg(long)]
        human: bool,
    },
    /// Blocks that are wanted of others now.
    Wantlist {
        /// What another node wants of this one.
        #[arg(short, long, value_name = "NAME")]
        peer: Option<String>,
    },
    /// What was exchanged with one node.
    Ledger {
        /// Its name.
        peer: String,
    },
}

#[derive(Deserialize)]
struct Link {
    #[serde(rename = "/")]
    cid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    wantlist: Option<Vec<Link>>,
    peers: Option<Vec<String>>,
    blocks_received: u64,
    data_received: u64,
    dup_blks_received: u64,
    dup_data_received: u64,
    blocks_sent: u64,
    data_sent: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wantlist {
    keys: Option<Vec<Link>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ledger {
    peer: String,
    value: f64,
    sent: u64,
    recv: u64,
    exchanged: u64,
}

impl Bitswap {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Stat { verbose, human } => {
                let size = move |bytes: u64| {
                    if human { hpips_types::ByteCount::new(bytes).to_short() } else { bytes.to_string() }
                };
                context.show(Call::new("bitswap/stat"), move |stat: Stat, out| {
                    let (wants, peers) = (stat.wantlist.unwrap_or_default(), stat.peers.unwrap_or_default());
                    writeln!(out, "bitswap status")?;
                    writeln!(out, "\tblocks received: {}", stat.blocks_received)?;
                    writeln!(out, "\tblocks sent: {}", stat.blocks_sent)?;
                    writeln!(out, "\tdata received: {}", size(stat.data_received))?;
                    writeln!(out, "\tdata sent: {}", size(stat.data_sent))?;
                    writeln!(out, "\tdup blocks received: {}", stat.dup_blks_received)?;
                    writeln!(out, "\tdup data received: {}", size(stat.dup_data_received))?;
                    writeln!(out, "\twantlist [{} keys]", wants.len())?;
                    if verbose {
                        wants.iter().try_for_each(|want| writeln!(out, "\t\t{}", want.cid))?;
                    }
                    writeln!(out, "\tpartners [{}]", peers.len())?;
                    if verbose {
                        peers.iter().try_for_each(|peer| writeln!(out, "\t\t{peer}"))?;
                    }
                    Ok(())
                })
            }
            Self::Wantlist { peer } => {
                let call = Call::new("bitswap/wantlist").maybe("peer", &peer);
                context.show(call, |list: Wantlist, out| {
                    let keys = list.keys.unwrap_or_default();
                    Ok(keys.iter().try_for_each(|want| writeln!(out, "{}", want.cid))?)
                })
            }
            Self::Ledger { peer } => {
                context.show(Call::new("bitswap/ledger").arg(peer), |ledger: Ledger, out| {
                    writeln!(out, "Ledger for {}", ledger.peer)?;
                    writeln!(out, "Debt ratio:\t{:.6}", ledger.value)?;
                    writeln!(out, "Exchanges:\t{}", ledger.exchanged)?;
                    writeln!(out, "Bytes sent:\t{}", ledger.sent)?;
                    Ok(writeln!(out, "Bytes received:\t{}\n", ledger.recv)?)
                })
            }
        }
    }
}
