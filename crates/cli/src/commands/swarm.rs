//! Commands about other nodes: `swarm`, `ping`, `bootstrap`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::repo::Repo;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::message;
use crate::rpc::Call;

/// Connections with other nodes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Swarm {
    /// Connect with peers and stay connected.
    Connect {
        /// Multiaddresses that end in /p2p/NAME.
        #[arg(required = true)]
        addresses: Vec<String>,
    },
    /// Close the connections with peers, and do not keep them.
    Disconnect {
        /// Multiaddresses that end in /p2p/NAME, or names.
        #[arg(required = true)]
        peers: Vec<String>,
    },
    /// List connected peers.
    Peers {
        /// With everything that is known of the connections.
        #[arg(short, long)]
        verbose: bool,
        /// With the time of a round trip.
        #[arg(long)]
        latency: bool,
        /// With who dialed whom.
        #[arg(long)]
        direction: bool,
    },
    /// List known addresses of connected peers, or the own ones.
    Addrs {
        #[command(subcommand)]
        whose: Option<Addresses>,
    },
    /// Networks with which no connection is made.
    Filters {
        #[command(subcommand)]
        change: Option<Filters>,
    },
}

/// Which addresses.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Addresses {
    /// Addresses that this node listens on.
    Listen,
    /// As `listen`.
    Local {
        /// With this node's name at the end.
        #[arg(long)]
        id: bool,
    },
}

/// Changes of the filters; they last over restarts.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Filters {
    /// Add networks, as /ip4/192.168.0.0/ipcidr/16. Connections that stand are not closed.
    Add {
        /// The networks.
        #[arg(required = true)]
        networks: Vec<String>,
    },
    /// Remove networks, or `all`.
    Rm {
        /// The networks.
        #[arg(required = true)]
        networks: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Strings {
    strings: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Connected {
    peers: Option<Vec<Peer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Peer {
    addr: String,
    peer: String,
    #[serde(default)]
    latency: String,
    #[serde(default)]
    direction: u8,
    identify: Option<Identified>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Identified {
    #[serde(default)]
    agent_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Known {
    addrs: BTreeMap<String, Vec<String>>,
}

fn lines(context: &Context, call: Call) -> anyhow::Result<Exit> {
    context.show(call, |all: Strings, out| {
        let all = all.strings.unwrap_or_default();
        Ok(all.iter().try_for_each(|line| writeln!(out, "{line}"))?)
    })
}

impl Swarm {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Connect { addresses } => lines(context, Call::new("swarm/connect").args(addresses)),
            Self::Disconnect { peers } => lines(context, Call::new("swarm/disconnect").args(peers)),
            Self::Peers { verbose, latency, direction } => {
                let call = Call::new("swarm/peers").flag("verbose", verbose);
                let call = call.flag("latency", latency).flag("direction", direction);
                context.show(call, move |connected: Connected, out| {
                    for peer in connected.peers.unwrap_or_default() {
                        // The name may stand in the address already.
                        let name = format!("/p2p/{}", peer.peer);
                        let name = if peer.addr.ends_with(&name) { String::new() } else { name };
                        write!(out, "{}{name}", peer.addr)?;
                        if latency || verbose {
                            let latency = if peer.latency.is_empty() { "n/a" } else { &peer.latency };
                            write!(out, " {latency}")?;
                        }
                        if direction || verbose {
                            let direction = ["unknown", "inbound", "outbound"];
                            write!(
                                out,
                                " {}",
                                direction.get(usize::from(peer.direction)).unwrap_or(&"unknown")
                            )?;
                        }
                        if let Some(identified) = &peer.identify {
                            write!(out, " {}", identified.agent_version)?;
                        }
                        writeln!(out)?;
                    }
                    Ok(())
                })
            }
            Self::Addrs { whose: None } => context.show(Call::new("swarm/addrs"), |known: Known, out| {
                for (peer, addresses) in known.addrs {
                    writeln!(out, "{peer} ({})", addresses.len())?;
                    addresses.iter().try_for_each(|address| writeln!(out, "\t{address}"))?;
                }
                Ok(())
            }),
            Self::Addrs { whose: Some(Addresses::Listen) } => lines(context, Call::new("swarm/addrs/listen")),
            Self::Addrs { whose: Some(Addresses::Local { id }) } => {
                lines(context, Call::new("swarm/addrs/local").flag("id", id))
            }
            Self::Filters { change: None } => lines(context, Call::new("swarm/filters")),
            Self::Filters { change: Some(Filters::Add { networks }) } => {
                lines(context, Call::new("swarm/filters/add").args(networks))
            }
            Self::Filters { change: Some(Filters::Rm { networks }) } => {
                lines(context, Call::new("swarm/filters/rm").args(networks))
            }
        }
    }
}

/// The nodes that are connected with first.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bootstrap {
    /// List them.
    List,
    /// Add some; a running node connects with them at once.
    Add {
        /// Multiaddresses that end in /p2p/NAME.
        #[arg(required = true)]
        peers: Vec<String>,
    },
    /// Remove some, or all.
    Rm {
        /// Multiaddresses that end in /p2p/NAME, as listed.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        peers: Vec<String>,
        /// Remove all.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Peers {
    peers: Option<Vec<String>>,
}

impl Bootstrap {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let (call, verb) = match self {
            Self::List => (Call::new("bootstrap/list"), ""),
            Self::Add { peers } => (Call::new("bootstrap/add").args(peers), "added "),
            Self::Rm { all: true, .. } => (Call::new("bootstrap/rm/all"), "removed "),
            Self::Rm { peers, .. } => (Call::new("bootstrap/rm").args(peers), "removed "),
        };
        context.show(call, move |peers: Peers, out| {
            let peers = peers.peers.unwrap_or_default();
            Ok(peers.iter().try_for_each(|peer| writeln!(out, "{verb}{peer}"))?)
        })
    }
}

/// Measure the time of a round trip to a node.
#[derive(Debug, clap::Args)]
pub(crate) struct Ping {
    /// Its name, or a multiaddress that ends in it.
    peer: String,
    /// How many times, one a second.
    #[arg(short = 'n', long, default_value_t = 10)]
    count: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pong {
    #[serde(default)]
    success: bool,
    #[serde(default)]
    time: u64,
    #[serde(default)]
    text: String,
}

impl Ping {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = Call::new("ping").arg(self.peer).option("count", self.count.to_string());
        context.show(call, |pong: Pong, out| {
            if !pong.text.is_empty() && pong.success {
                writeln!(out, "{}", pong.text)?;
            } else if pong.success {
                writeln!(out, "Pong received: time={:.2} ms", pong.time as f64 / 1e6)?;
            } else {
                message(format_args!("{}", pong.text));
            }
            Ok(())
        })
    }
}

/// What a node counts.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Stats {
    /// Bytes that went to and from other nodes since the start.
    Bw {
        /// With one node only.
        #[arg(short, long, value_name = "NAME")]
        peer: Option<String>,
    },
    /// The repo: as `repo stat`.
    Repo {
        /// Sizes in words.
        #[arg(short = 'H', long)]
        human: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bandwidth {
    total_in: u64,
    total_out: u64,
    rate_in: f64,
    rate_out: f64,
}

impl Stats {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Bw { peer } => {
                let call = Call::new("stats/bw").maybe("peer", &peer);
                context.show(call, |all: Bandwidth, out| {
                    writeln!(out, "Bandwidth")?;
                    writeln!(out, "TotalIn: {}", size(all.total_in))?;
                    writeln!(out, "TotalOut: {}", size(all.total_out))?;
                    writeln!(out, "RateIn: {:.1} kB/s", all.rate_in / 1e3)?;
                    Ok(writeln!(out, "RateOut: {:.1} kB/s", all.rate_out / 1e3)?)
                })
            }
            Self::Repo { human } => Repo::Stat { size_only: false, human }.run(context),
        }
    }
}

fn size(bytes: u64) -> String {
    hpips_types::ByteCount::new(bytes).to_short()
}
