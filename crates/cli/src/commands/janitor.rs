//! `hpips janitor`: the process that cleans up behind a demo that was killed.

use std::path::PathBuf;

use crate::exit::Exit;

/// Waits until standard input closes, then ends the network in a folder and removes it.
#[derive(Debug, clap::Args)]
pub(crate) struct Janitor {
    /// The network's folder.
    dir: PathBuf,
}

impl Janitor {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        hpips_testnet::watch(&self.dir);
        Ok(Exit::Done)
    }
}
