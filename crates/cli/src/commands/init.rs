//! `hpips init`.

use std::io::{self, Write};
use std::path::PathBuf;

use hpips_crypto::sign::SecretKey;
use hpips_node::{Config, Repo, Start};
use serde::Serialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Report, emit, message};

/// Make a repo with a new key.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// Genesis file of the network to join; without one the node is a plain IPFS node.
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
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
        writeln!(out, "peer identity: {}", self.peer_id)?;
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
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let path = context.repo_path()?;
        let genesis = match &self.network {
            Some(file) => Some(hpips_node::read_genesis(file)?),
            None => None,
        };
        let encoded = genesis.as_ref().map(hpips_ledger::Genesis::encode);
        message("generating ED25519 keypair...done");
        let start = Start { genesis: encoded.as_deref(), ..Start::default() };
        let repo = Repo::init(&path, &Config::default(), start)?;
        let account = SecretKey::from_seed(&*repo.seed()?).account();
        let made = Made {
            repo: path,
            peer_id: hpips_node::peer_id(&account),
            account: account.to_string(),
            network: genesis.map(|genesis| genesis.params.name),
        };
        emit(&made, context.json)
    }
}
