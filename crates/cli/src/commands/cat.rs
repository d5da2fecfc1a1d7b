//! `hpips cat`.

use crate::context::Context;
use crate::exit::Exit;
use crate::rpc::Call;

/// Print files.
#[derive(Debug, clap::Args)]
pub(crate) struct Cat {
    /// CIDs, or paths below them.
    #[arg(required = true)]
    paths: Vec<String>,
    /// Begin at this byte.
    #[arg(short, long, value_name = "BYTES")]
    offset: Option<u64>,
    /// Print at most this many bytes.
    #[arg(short, long, value_name = "BYTES")]
    length: Option<u64>,
    /// Accepted because Kubo has it; the bytes show how far it is.
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true)]
    progress: Option<Option<bool>>,
}

impl Cat {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call =
            Call::new("cat").args(self.paths).maybe("offset", &self.offset).maybe("length", &self.length);
        context.rpc()?.pour(call)
    }
}
