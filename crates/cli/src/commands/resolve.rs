//! `hpips resolve`.

use serde::Deserialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::rpc::Call;

/// Print the CID that a path leads to.
#[derive(Debug, clap::Args)]
pub(crate) struct Resolve {
    /// The path, below /ipfs or /ipns.
    path: String,
    /// Go on until it is a CID; so by default.
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    recursive: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resolved {
    path: String,
}

impl Resolve {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = Call::new("resolve").arg(self.path).maybe("recursive", &self.recursive);
        context.show(call, |resolved: Resolved, out| Ok(writeln!(out, "{}", resolved.path)?))
    }
}
