//! What every command starts from.

use std::path::PathBuf;

use hpips_api::ApiClient;
use hpips_node::{Repo, RepoError};

/// The global flags, and what they lead to.
#[derive(Debug)]
pub(crate) struct Context {
    repo_dir: Option<PathBuf>,
    /// Whether results are printed as JSON.
    pub(crate) json: bool,
}

impl Context {
    pub(crate) fn new(repo_dir: Option<PathBuf>, json: bool) -> Self {
        Self { repo_dir, json }
    }

    /// Where the repo is or will be.
    pub(crate) fn repo_path(&self) -> Result<PathBuf, RepoError> {
        match &self.repo_dir {
            Some(path) => Ok(path.clone()),
            None => Repo::default_path(),
        }
    }

    /// The repo.
    pub(crate) fn repo(&self) -> Result<Repo, RepoError> {
        Repo::open(&self.repo_path()?)
    }

    /// The node that must be running on the repo.
    pub(crate) fn node(&self) -> anyhow::Result<ApiClient> {
        Ok(ApiClient::of_repo(self.repo()?.path())?)
    }

    /// The node that may be running on the repo.
    pub(crate) async fn running_node(&self) -> anyhow::Result<Option<ApiClient>> {
        let repo = self.repo()?;
        let Ok(node) = ApiClient::of_repo(repo.path()) else { return Ok(None) };
        Ok(node.is_alive().await.then_some(node))
    }

    /// Runs asynchronous work to its end on a runtime of its own.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
    }
}
