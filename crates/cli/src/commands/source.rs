//! Where a command reads content: the running node, or the repo itself.

use std::path::PathBuf;

use hpips_api::ApiClient;
use hpips_api::content::{ContentError, ContentPath};
use hpips_client::blocks::Local;
use hpips_store::Store;

use crate::context::Context;
use crate::exit::{Exit, Stop};

/// The running node, or the store of a repo without one.
pub(crate) enum Source {
    Node(ApiClient),
    Local(Local<Store>),
}

impl Source {
    pub(crate) fn open(context: &Context) -> anyhow::Result<Self> {
        if let Some(node) = context.running_node()? {
            return Ok(Self::Node(node));
        }
        Ok(Self::Local(Local(open_store(context)?)))
    }
}

/// Opens the store of a repo that no node runs on.
pub(crate) fn open_store(context: &Context) -> anyhow::Result<Store> {
    Ok(hpips_node::open_store(&context.repo()?)?)
}

/// Parses what a person typed as a path.
pub(crate) fn parse_path(text: &str) -> anyhow::Result<ContentPath> {
    text.parse().map_err(|error| Stop::usage(hpips_api::chain_text(&error)).into())
}

/// A reading error with the exit code it deserves.
pub(crate) fn reading(path: &ContentPath, error: ContentError) -> anyhow::Error {
    if error.is_not_found() {
        let text = hpips_api::chain_text(&error);
        return Stop::new(
            Exit::NotFound,
            format!("not found here: {path}. {text}; a running node could look further"),
        )
        .into();
    }
    if error.is_wrong_path() {
        return Stop::new(Exit::NotFound, hpips_api::chain_text(&error)).into();
    }
    anyhow::Error::new(error).context(format!("cannot read {path}"))
}

/// A path as the node, which has another working directory, must be told it.
pub(crate) fn absolute(path: &std::path::Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}
