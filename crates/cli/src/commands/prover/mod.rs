//! `hpips prover`.

mod bench;
mod export;
mod keys;
mod measure;

use std::path::PathBuf;

use hpips_ledger::{GENESIS_BYTES_MAX, Genesis};
use hpips_prover::Config;
use hpips_types::{NetworkParams, cbor};

use crate::context::Context;
use crate::exit::{Exit, Stop};

/// Measure proving, look after its keys, export proofs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Prover {
    /// Measure on this machine: hashes, sealing, proofs, memory, and whether windows would be met.
    ///
    /// Nothing leaves this machine, and no coins are needed. The proofs are real ones, about a sector that is sealed for
    /// the purpose. Ctrl-C ends it at any time.
    Bench(bench::Bench),
    /// List the key files of a network.
    #[command(args_conflicts_with_subcommands = true)]
    Keys(keys::Keys),
    /// Print a window's proof that this node posted as JSON, with all that other programs need to check it.
    Export(export::Export),
}

impl Prover {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Bench(command) => command.run(context),
            Self::Keys(command) => command.run(context),
            Self::Export(command) => command.run(context),
        }
    }
}

/// A network whose parameters are built in.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Named {
    /// One machine.
    Dev,
    /// A public test network.
    Testnet,
    /// A network with coins of value.
    Main,
}

/// Which network, and where its keys lie.
#[derive(Debug, clap::Args)]
struct Place {
    /// The network's parameters; by default those of the network that the repo joined, else dev.
    #[arg(long, value_name = "NETWORK", value_enum)]
    network: Option<Named>,
    /// Folder of the keys; by default Hpips.Keys of the configuration, else keys under the user's cache.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

impl Place {
    /// The parameters, and what a node of this repo would prove with. No repo is needed.
    fn resolve(self, context: &Context) -> anyhow::Result<(NetworkParams, Config)> {
        let repo = if context.has_repo()? { Some(context.repo()?) } else { None };
        let joined = match &repo {
            Some(repo) => repo.genesis()?,
            None => None,
        };
        let params = match (self.network, joined) {
            (Some(Named::Dev), _) | (None, None) => NetworkParams::dev(),
            (Some(Named::Testnet), _) => NetworkParams::testnet(),
            (Some(Named::Main), _) => NetworkParams::main(),
            (None, Some(genesis)) => cbor::decode::<Genesis>(&genesis, GENESIS_BYTES_MAX)?.params,
        };
        let config = match &repo {
            Some(repo) => hpips_node::prover_config(repo, &repo.config()?),
            None => {
                let threads = std::num::NonZeroUsize::MIN;
                let cache = hpips_node::cache_dir().map(|cache| cache.join(hpips_node::KEYS));
                let no_place =
                    || Stop::usage("no place for the keys: set HOME, or name a folder with --keys DIR");
                Config::new(self.keys.clone().or(cache).ok_or_else(no_place)?).threads(threads)
            }
        };
        Ok((params, Config { cache_dir: self.keys.unwrap_or(config.cache_dir.clone()), ..config }))
    }
}
