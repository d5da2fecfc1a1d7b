//! What every command starts from.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hpips_api::{ApiClient, CallError, Endpoint};
use hpips_node::{Repo, RepoError};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::exit::{Exit, Stop};
use crate::rpc::{Call, Common, Rpc, Way, api_host};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Encoding {
    /// For people, as Kubo prints.
    #[default]
    Text,
    /// As the RPC answers: one JSON value a line.
    Json,
}

/// What stands above them in a help text.
pub(crate) const EVERY_COMMAND: &str = "Options of every command";

/// The flags of every command; those that Kubo has are named as there.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = EVERY_COMMAND)]
pub(crate) struct Global {
    /// Folder of the repo; by default HPIPS_PATH, then ~/.hpips.
    #[arg(long, global = true, value_name = "DIR")]
    repo_dir: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How to print the result.
    #[arg(long, visible_alias = "encoding", global = true, value_enum, value_name = "ENC")]
    enc: Option<Encoding>,
    /// Speak to the RPC API at this multiaddress, not to the node of the repo.
    #[arg(long, global = true, value_name = "ADDR")]
    api: Option<String>,
    /// Ask no other node for blocks.
    #[arg(long, global = true)]
    offline: bool,
    /// Give up after this long, as 30s, 5m or 1h30m.
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Multibase of CIDs in the output, as base32 or base58btc.
    #[arg(long, global = true, value_name = "BASE")]
    cid_base: Option<String>,
    /// Print CIDs of version 0 as version 1.
    #[arg(long, global = true, hide = true)]
    upgrade_cidv0_in_output: bool,
    /// Accepted because Kubo has it; output is always streamed.
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true)]
    stream_channels: Option<Option<bool>>,
}

/// The global flags, and what they lead to.
#[derive(Debug)]
pub(crate) struct Context {
    global: Global,
    /// Whether results are printed as JSON.
    pub(crate) json: bool,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        let json = global.json || global.enc == Some(Encoding::Json);
        Self { global, json }
    }

    /// Where the repo is or will be.
    pub(crate) fn repo_path(&self) -> Result<PathBuf, RepoError> {
        match &self.global.repo_dir {
            Some(path) => Ok(path.clone()),
            None => Repo::default_path(),
        }
    }

    /// The repo.
    pub(crate) fn repo(&self) -> Result<Repo, RepoError> {
        Repo::open(&self.repo_path()?)
    }

    /// Whether there is a repo.
    pub(crate) fn has_repo(&self) -> Result<bool, RepoError> {
        match self.repo() {
            Ok(_) => Ok(true),
            Err(RepoError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether nobody else may be asked.
    pub(crate) fn is_offline(&self) -> bool {
        self.global.offline
    }

    /// Whether the results asked for are JSON by Kubo's `--enc`; `--json` alone has a meaning of its own in
    /// `config`.
    pub(crate) fn is_json_by_encoding(&self) -> bool {
        self.global.enc == Some(Encoding::Json)
    }

    /// Whether the caller named another API than that of the repo's node.
    pub(crate) fn has_api(&self) -> bool {
        self.global.api.is_some()
    }

    /// The node that must be running on the repo, for what no other program's API has.
    pub(crate) fn node(&self) -> anyhow::Result<ApiClient> {
        let node = ApiClient::of_repo(self.repo()?.path())?;
        if let Some(api) = &self.global.api
            && !is_same(&api_host(api)?, node.endpoint())
        {
            let text = format!(
                "this command speaks to the node of the repo only, and that is not at {api}. Without --api, or with \
                 another --repo-dir. Nothing was changed"
            );
            return Err(Stop::usage(text).into());
        }
        Ok(node)
    }

    /// Waits for what the running node answers: to its end, to Ctrl-C, or until `--timeout` is up.
    pub(crate) fn ask<T>(&self, work: impl Future<Output = Result<T, CallError>>) -> anyhow::Result<T> {
        self.block_on(async {
            tokio::select! {
                done = in_time(self.global.timeout, work) => Ok(done?),
                _ = tokio::signal::ctrl_c() => Err(Stop::new(Exit::Interrupted, "interrupted").into()),
            }
        })
    }

    /// The node that may be running on the repo.
    pub(crate) fn running_node(&self) -> anyhow::Result<Option<ApiClient>> {
        running_on(&self.repo_path()?)
    }

    /// The way to the commands that Kubo also has: the API the caller names, the running node, or this process.
    pub(crate) fn rpc(&self) -> anyhow::Result<Rpc> {
        if let Some(rpc) = self.rpc_elsewhere()? {
            return Ok(rpc);
        }
        let repo = self.repo()?;
        match running_on(repo.path())? {
            Some(node) => {
                let endpoint = node.endpoint();
                let (host, token) = (endpoint.address.to_string(), Some(endpoint.token.clone()));
                Ok(Rpc::new(runtime()?, Way::Node { host, token }, self.common()))
            }
            None => Ok(Rpc::new(runtime()?, Way::Here(hpips_node::offline(&repo)?), self.common())),
        }
    }

    /// As [`Self::rpc`], for commands that need no repo.
    pub(crate) fn repoless(&self) -> anyhow::Result<Rpc> {
        if let Some(rpc) = self.rpc_elsewhere()? {
            return Ok(rpc);
        }
        Ok(Rpc::new(runtime()?, Way::Here(hpips_api::rpc::repoless_router()), self.common()))
    }

    /// Takes a request and prints each value of its answer: as JSON the way it came, or as `human` writes it.
    pub(crate) fn show<T: DeserializeOwned>(
        &self,
        call: Call,
        human: impl FnMut(T, &mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<Exit> {
        self.rpc()?.show(self.json, call, human)
    }

    fn rpc_elsewhere(&self) -> anyhow::Result<Option<Rpc>> {
        let Some(api) = &self.global.api else { return Ok(None) };
        let host = api_host(api)?;
        // The repo's own node may want the token that its owner has.
        let own = self.repo_path().ok().and_then(|repo| ApiClient::of_repo(&repo).ok());
        let token = own.map(|node| node.endpoint().clone()).filter(|own| is_same(&host, own));
        let way = Way::Node { host, token: token.map(|own| own.token) };
        Ok(Some(Rpc::new(runtime()?, way, self.common())))
    }

    fn common(&self) -> Common {
        Common {
            offline: self.global.offline,
            cid_base: self.global.cid_base.clone(),
            upgrade_cid: self.global.upgrade_cidv0_in_output,
            timeout: self.global.timeout,
        }
    }

    /// Runs asynchronous work to its end on a runtime of its own.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
    }
}

async fn in_time<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or(Err(CallError::Deadline(limit))),
        None => work.await,
    }
}

/// Whether `host:port` is where this endpoint listens.
fn is_same(host: &str, endpoint: &Endpoint) -> bool {
    let address = endpoint.address;
    host == address.to_string() || host == format!("localhost:{}", address.port())
}

/// The node that runs on the repo of this folder, if one does and answers.
fn running_on(repo: &Path) -> anyhow::Result<Option<ApiClient>> {
    let Ok(node) = ApiClient::of_repo(repo) else { return Ok(None) };
    Ok(runtime()?.block_on(node.is_alive()).then_some(node))
}

/// One thread: a command asks and prints, nothing more, and starts at once.
fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A duration as Go and Kubo write it: numbers with units, `1h30m`, `2.5s`, `300ms`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Stop> {
    hpips_api::rpc::parse_duration(text)
        .ok_or_else(|| Stop::usage(format!("{text:?} is no time: write for example 30s, 5m or 1h30m")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_own_address_is_known_under_its_names() {
        let endpoint = Endpoint { address: "127.0.0.1:5001".parse().unwrap(), token: String::new(), pid: 1 };
        for (host, same) in [
            ("127.0.0.1:5001", true),
            ("localhost:5001", true),
            ("127.0.0.1:5002", false),
            ("[::1]:5001", false),
        ] {
            assert_eq!(is_same(host, &endpoint), same, "{host}");
        }
    }

    #[test]
    fn durations_as_kubo_writes_them() {
        for (text, ms) in [("30s", 30_000), ("1h30m", 5_400_000), ("2.5s", 2500), ("300ms", 300), ("0s", 0)] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-1s", "1.2.3s", "5d", "99999999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
