//! `hpips init`.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use hpips_crypto::sign::SecretKey;
use hpips_node::{Config, Repo, Start};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::{Report, emit, message};
use crate::rpc::Call;

/// Make a repo with a new key.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// Genesis file of the network to join; without one the node is a plain IPFS node.
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Profiles of the configuration, with commas between.
    #[arg(short, long, value_name = "NAMES")]
    profile: Option<String>,
    /// Accepted because Kubo has it; a new repo is always empty.
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true)]
    empty_repo: Option<Option<bool>>,
    /// Kind of the key; there is one.
    #[arg(short, long, hide = true, value_parser = ["ed25519"])]
    algorithm: Option<String>,
}

#[derive(Serialize)]
struct Made {
    repo: PathBuf,
    peer_id: String,
    account: String,
    network: Option<String>,
}

impl Report for Made {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "generating ED25519 keypair...done")?;
        writeln!(out, "peer identity: {}", self.peer_id)?;
        writeln!(out, "initializing HPIPS node at {}", self.repo.display())?;
        if let Some(network) = &self.network {
            writeln!(out, "network   {network}")?;
            writeln!(out, "wallet    {}", self.account)?;
            if network.starts_with("test-") {
                writeln!(out, "          test coins, no value")?;
            }
        }
        Ok(())
    }
}

impl Init {
    /// A repo of a plain IPFS node.
    pub(super) fn with_profile(profile: Option<String>) -> Self {
        Self { network: None, profile, empty_repo: None, algorithm: None }
    }

    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let path = context.repo_path()?;
        let genesis = match &self.network {
            Some(file) => Some(hpips_node::read_genesis(file)?),
            None => None,
        };
        let encoded = genesis.as_ref().map(hpips_ledger::Genesis::encode);
        let start = Start { genesis: encoded.as_deref(), ..Start::default() };
        let repo = Repo::init(&path, &Config::default(), start)?;
        let account = SecretKey::from_seed(&*repo.seed()?).account();
        let made = Made {
            repo: path,
            peer_id: hpips_node::peer_id(&account),
            account: account.to_string(),
            network: genesis.map(|genesis| genesis.params.name),
        };
        emit(&made, context.json)?;
        for profile in self.profile.iter().flat_map(|names| names.split(',')) {
            let call = Call::new("config/profile/apply").arg(profile.trim());
            context.rpc()?.values(call, |_: serde_json::Value| Ok(())).map_err(|error| {
                let what = format!("the repo is made, but without the profile {profile:?}");
                let exit = crate::exit::classify(&error);
                Stop::new(
                    exit,
                    format!(
                        "{what}: {}. Another one: hpips config profile apply NAME",
                        crate::output::chain_text(&error)
                    ),
                )
            })?;
        }
        if io::stdout().is_terminal() && !context.json {
            message("ok. No files leave this machine until you say so; no telemetry.");
            message(match &made.network {
                Some(_) => "Next: hpips daemon, then hpips pledge 100GB (earn) or hpips add PATH (store)",
                None => "Next: hpips add PATH (store)    hpips daemon (share)",
            });
        }
        Ok(Exit::Done)
    }
}
