//! `hpips id`.

use std::io::{self, Write};

use hpips_api::view::Identity;
use hpips_crypto::sign::SecretKey;
use serde::Serialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Report, emit};

/// Show this node's names and addresses.
#[derive(Debug, clap::Args)]
pub(crate) struct Id {}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(Identity);

impl Report for Shown {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "peer      {}", self.0.peer_id)?;
        writeln!(out, "account   {}", self.0.account)?;
        self.0.addresses.iter().try_for_each(|address| writeln!(out, "address   {address}"))
    }
}

impl Id {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let identity = match context.block_on(context.running_node())? {
            Some(node) => context.block_on(async { Ok(node.get("/hpips/v0/id").await?) })?,
            None => {
                let account = SecretKey::from_seed(&*context.repo()?.seed()?).account();
                let peer_id = hpips_node::peer_id(&account);
                Identity { peer_id, account: account.to_string(), addresses: Vec::new() }
            }
        };
        emit(&Shown(identity), context.json)
    }
}
