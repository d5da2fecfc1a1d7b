//! `hpips testnet`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use hpips_api::{ApiClient, view::Status};
use hpips_testnet::{Network, NodeState, Options, State};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::{Report, emit, message};

/// A network of real nodes on this machine, with test coins.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Testnet {
    /// Start one and leave it running.
    Up {
        /// Nodes that may pledge; the first four are the committee. One client comes on top.
        #[arg(short, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
        nodes: u64,
        #[command(flatten)]
        place: Place,
    },
    /// End it and remove its folder.
    Down {
        #[command(flatten)]
        place: Place,
    },
    /// Show its nodes.
    Status {
        #[command(flatten)]
        place: Place,
    },
    /// End a node at once, as a power cut would.
    Kill {
        /// Its number.
        node: usize,
        #[command(flatten)]
        place: Place,
    },
    /// Print a node's messages.
    Logs {
        /// Its number.
        node: usize,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the network is.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Folder of the network; by default under the user's cache.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Place {
    fn resolve(&self) -> anyhow::Result<PathBuf> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => hpips_node::cache_dir()
                .map(|cache| cache.join("testnet"))
                .ok_or_else(|| Stop::usage("no cache folder for this user: say --dir").into()),
        }
    }

    fn state(&self) -> anyhow::Result<State> {
        Ok(State::load(&self.resolve()?)?)
    }

    fn node(&self, index: usize) -> anyhow::Result<NodeState> {
        let state = self.state()?;
        let node = state.nodes.into_iter().find(|node| node.index == index);
        node.ok_or_else(|| Stop::usage(format!("there is no node {index}")).into())
    }
}

#[derive(Serialize)]
struct Shown {
    dir: PathBuf,
    nodes: Vec<ShownNode>,
}

#[derive(Serialize)]
struct ShownNode {
    #[serde(flatten)]
    node: NodeState,
    is_running: bool,
    status: Option<Status>,
}

impl Report for Shown {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        for shown in &self.nodes {
            let node = &shown.node;
            let kind = match (node.is_validator, node.is_provider) {
                (true, _) => "provider, committee",
                (false, true) => "provider",
                (false, false) => "client",
            };
            let network = shown.status.as_ref().and_then(|status| status.network.as_ref());
            let doing = match (shown.is_running, &shown.status, network) {
                (false, ..) => "ended".to_owned(),
                (true, Some(status), Some(network)) => format!(
                    "block {}, {} peers, {} HPIPS",
                    network.height,
                    status.peers,
                    network.account.balance.to_short()
                ),
                _ => "does not answer".to_owned(),
            };
            writeln!(out, "node {:<3} {kind:<20} {doing}", node.index)?;
        }
        Ok(())
    }
}

impl Testnet {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Up { nodes, place } => {
                let mut options = Options::new(place.resolve()?)?;
                options.providers = usize::try_from(nodes)?;
                options.end_with_us = false;
                let dir = context.block_on(up(options))?;
                message(format_args!("hpips: running in {}; test coins, no value", dir.display()));
                show(&State::load(&dir)?, context)
            }
            Self::Down { place } => {
                let state = place.state()?;
                if hpips_testnet::clean_up(state.dir()) {
                    Ok(Exit::Done)
                } else {
                    Err(Stop::new(Exit::Partly, format!("{} could not be removed", state.dir().display()))
                        .into())
                }
            }
            Self::Status { place } => show(&place.state()?, context),
            Self::Kill { node, place } => {
                let state = place.node(node)?;
                let process = state.process.filter(|process| process.signal(rustix::process::Signal::KILL));
                match process {
                    Some(process) if process.wait_gone(Duration::from_secs(5)) => Ok(Exit::Done),
                    _ => Err(Stop::new(Exit::Failed, format!("node {node} does not run")).into()),
                }
            }
            Self::Logs { node, place } => {
                let mut log = std::fs::File::open(place.node(node)?.repo.join(hpips_testnet::LOG_FILE))?;
                io::copy(&mut log, &mut io::stdout().lock())?;
                Ok(Exit::Done)
            }
        }
    }
}

/// Starts a network; Ctrl-C before it is complete ends what was started.
async fn up(options: Options) -> anyhow::Result<PathBuf> {
    let dir = options.dir.clone();
    let started = tokio::select! {
        network = Network::start(options) => network,
        _ = tokio::signal::ctrl_c() => {
            hpips_testnet::clean_up(&dir);
            return Err(Stop::new(Exit::Interrupted, "interrupted; nothing is left running").into());
        }
    };
    Ok(started?.detach()?)
}

fn show(state: &State, context: &Context) -> anyhow::Result<Exit> {
    let nodes = context.block_on(async {
        let mut nodes = Vec::new();
        for node in state.nodes.clone() {
            let is_running = node.process.as_ref().is_some_and(hpips_testnet::ProcessName::is_running);
            let status = match ApiClient::of_repo(&node.repo) {
                Ok(api) if is_running => api.get("/hpips/v0/status").await.ok(),
                _ => None,
            };
            nodes.push(ShownNode { node, is_running, status });
        }
        Ok(nodes)
    })?;
    emit(&Shown { dir: state.dir().to_owned(), nodes }, context.json)
}
