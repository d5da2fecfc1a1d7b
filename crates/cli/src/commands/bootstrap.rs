//! `hpips bootstrap`.

use serde::Deserialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::rpc::Call;

/// The nodes that are asked first.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bootstrap {
    /// List them.
    List,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Peers {
    peers: Option<Vec<String>>,
}

impl Bootstrap {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Self::List = self;
        context.show(Call::new("bootstrap/list"), |peers: Peers, out| {
            let peers = peers.peers.unwrap_or_default();
            Ok(peers.iter().try_for_each(|peer| writeln!(out, "{peer}"))?)
        })
    }
}
