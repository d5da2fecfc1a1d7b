//! `hpips daemon`.

use std::io::{self, Write};

use super::init::Init;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::message;

/// Run the node until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(crate) struct Daemon {
    /// Make the repo first where there is none.
    #[arg(long)]
    init: bool,
    /// Profiles of the configuration of a repo that is made, with commas between.
    #[arg(long, value_name = "NAMES", requires = "init")]
    init_profile: Option<String>,
    /// Accepted because Kubo has it; an older repo is taken over without asking.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    migrate: Option<Option<bool>>,
    /// Also end when this process, which must be the parent, ends.
    #[arg(long, value_name = "PID", hide = true)]
    end_with: Option<u32>,
}

impl Daemon {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        if context.is_offline() {
            let text = "a daemon is for others to reach, so it cannot run with --offline. Commands need no daemon for what \
                        is on this machine. Nothing was started";
            return Err(Stop::usage(text).into());
        }
        if self.init && !context.has_repo()? {
            Init::with_profile(self.init_profile).run(context)?;
        }
        let repo = context.repo()?;
        if let Some(parent) = self.end_with {
            end_with(parent)?;
        }
        let filter = tracing_subscriber::EnvFilter::try_from_env("HPIPS_LOG");
        let filter = filter.unwrap_or_else(|_| {
            "info,libp2p=warn,libp2p_gossipsub=error,libp2p_kad=error,commonware=warn".into()
        });
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();
        let result = context.block_on(async {
            Ok(hpips_node::run(repo, |endpoint| {
                // A closed stdout must not end a node.
                let _ =
                    writeln!(io::stdout(), "API server listening on {}\nDaemon is ready", endpoint.address);
            })
            .await)
        })?;
        match result {
            Ok(()) => {
                message("hpips: stopped");
                Ok(Exit::Done)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Asks the system for a signal when the parent is gone; it may be gone already.
#[cfg(target_os = "linux")]
fn end_with(parent: u32) -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let now = getppid().map(|pid| pid.as_raw_nonzero().get());
    if now.and_then(|pid| u32::try_from(pid).ok()) != Some(parent) {
        return Err(Stop::new(Exit::Interrupted, "the parent process is gone").into());
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn end_with(_parent: u32) -> anyhow::Result<()> {
    Ok(())
}
