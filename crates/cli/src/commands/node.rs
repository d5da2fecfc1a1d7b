//! Commands that ask the running node: `status`, `shutdown`, `mount`, `unmount`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use hpips_api::view::{Done, MountRequest, Status};
use hpips_types::ByteCount;
use serde::Serialize;

use super::source::absolute;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Report, emit};
use crate::rpc::Call;

/// How long the node may take for what it does itself.
const QUICK: Duration = Duration::from_secs(60);

/// Show how the node is.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusCommand {}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(Status);

impl Report for Shown {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let memory = self
            .0
            .memory_bytes
            .map_or(String::new(), |bytes| format!("; {} memory", ByteCount::new(bytes).to_short()));
        let Some(network) = &self.0.network else {
            return writeln!(
                out,
                "node     online, {} peers; {} blocks{memory}",
                self.0.peers, self.0.blocks
            );
        };
        let age =
            network.block_age_ms.map_or(String::new(), |age| format!(" ({:.1} s ago)", age as f64 / 1000.0));
        writeln!(
            out,
            "node     online, {} peers; {} block {}{age}{memory}",
            self.0.peers, network.name, network.height
        )?;
        if let Some(pledge) = &network.pledge {
            writeln!(
                out,
                "pledge   {} sealed and proven, {} open; {} of {} windows proven",
                ByteCount::new(pledge.sealed_bytes).to_short(),
                ByteCount::new(pledge.open_bytes).to_short(),
                pledge.windows_proven,
                pledge.windows_due
            )?;
            if let Some(trouble) = pledge.work.as_ref().and_then(|work| work.trouble.as_ref()) {
                writeln!(out, "         last trouble: {trouble}")?;
            }
        }
        writeln!(out, "stored   {} objects", network.stored)?;
        writeln!(
            out,
            "balance  {} HPIPS free, {} locked",
            network.account.balance.to_short(),
            network.account.locked.to_short()
        )
    }
}

impl StatusCommand {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let node = context.node()?;
        emit(&Shown(context.ask(node.get("/hpips/v0/status"))?), context.json)
    }
}

/// Stop the node in order.
#[derive(Debug, clap::Args)]
pub(crate) struct Shutdown {}

impl Shutdown {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        context.show(Call::new("shutdown"), |_: serde_json::Value, _| Ok(()))
    }
}

/// Show content as files: DIR/ipfs/CID/...
#[derive(Debug, clap::Args)]
pub(crate) struct Mount {
    /// An empty folder.
    dir: PathBuf,
}

impl Mount {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let path = absolute(&self.dir)?;
        tell(context, "/hpips/v0/mount", &MountRequest { path: path.clone() })?;
        writeln!(io::stdout(), "IPFS mounted at: {}", path.join("ipfs").display())?;
        Ok(Exit::Done)
    }
}

/// Unmount what `mount` mounted.
#[derive(Debug, clap::Args)]
pub(crate) struct Unmount {}

impl Unmount {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        tell(context, "/hpips/v0/unmount", &Done {})
    }
}

fn tell(context: &Context, path: &str, body: &impl Serialize) -> anyhow::Result<Exit> {
    let node = context.node()?;
    let _: Done = context.ask(node.post(path, body, QUICK))?;
    Ok(Exit::Done)
}
