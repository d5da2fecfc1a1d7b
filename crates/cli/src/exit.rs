//! How the program ends.

use std::process::ExitCode;

use hpips_api::{CallError, ErrorCode};
use hpips_client::{ExportError, GetBlockError};
use hpips_node::{RepoError, RunError};
use hpips_store::OpenError;

use crate::rpc::RpcError;

/// Every exit code there is. Scripts may rely on them; a new meaning gets a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed; what is unknown counts as failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Part of it was done; the message says which.
    Partly = 3,
    /// Not found in time.
    NotFound = 4,
    /// Coins are missing, or nobody agreed to spend them. Nothing was spent.
    Funds = 5,
    /// There is no repo.
    NoRepo = 10,
    /// Another process owns the repo.
    Locked = 11,
    /// Interrupted; safe to repeat, but for what the message names.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An end with its exit code and the words for it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Stop {
    exit: Exit,
    message: String,
}

impl Stop {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

/// The exit code of an error: the first cause that has an opinion decides. It is the same whether a node answers or this
/// process works itself.
pub(crate) fn classify(error: &anyhow::Error) -> Exit {
    error.chain().find_map(opinion).unwrap_or(Exit::Failed)
}

fn opinion(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(stop) = cause.downcast_ref::<Stop>() {
        return Some(stop.exit);
    }
    if let Some(rpc) = cause.downcast_ref::<RpcError>() {
        return Some(rpc.exit());
    }
    if let Some(call) = cause.downcast_ref::<CallError>() {
        return Some(of_call(call));
    }
    if let Some(export) = cause.downcast_ref::<ExportError>() {
        return Some(of_export(export));
    }
    // A transparent error stands for its cause and hides it from the chain.
    let repo = match cause.downcast_ref::<RunError>() {
        Some(RunError::Repo(error)) => Some(error),
        _ => cause.downcast_ref::<RepoError>(),
    };
    if let Some(RepoError::Missing(_) | RepoError::NoPlace) = repo {
        return Some(Exit::NoRepo);
    }
    match cause.downcast_ref::<OpenError>() {
        Some(OpenError::Locked { .. }) => Some(Exit::Locked),
        _ => None,
    }
}

fn of_call(error: &CallError) -> Exit {
    match error.code() {
        Some(ErrorCode::NotFound | ErrorCode::Timeout) => Exit::NotFound,
        Some(ErrorCode::Funds) => Exit::Funds,
        Some(ErrorCode::BadRequest) => Exit::Usage,
        _ if matches!(error, CallError::Deadline(_)) => Exit::NotFound,
        _ => Exit::Failed,
    }
}

/// As the node answers it.
fn of_export(error: &ExportError) -> Exit {
    match error {
        ExportError::Exists(_) => Exit::Usage,
        ExportError::Get { source: GetBlockError::NotFound { .. } | GetBlockError::TooFewSlots { .. } } => {
            Exit::NotFound
        }
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_does_not_depend_on_who_worked() {
        let call = |code| anyhow::Error::new(CallError::Refused(hpips_api::ApiError::new(code, "words")));
        let here = |error: RunError| anyhow::Error::new(error).context("words");
        let exists = anyhow::Error::new(ExportError::Exists("x".into()));
        assert_eq!(classify(&exists), classify(&call(ErrorCode::BadRequest)));
        assert_eq!(classify(&here(RunError::Repo(RepoError::NoPlace))), Exit::NoRepo);
        let locked = OpenError::Locked { path: "x".into(), holder: "?".into() };
        assert_eq!(classify(&here(RunError::Store(locked))), Exit::Locked);
        assert_eq!(
            classify(&anyhow::Error::new(CallError::Deadline(std::time::Duration::ZERO))),
            Exit::NotFound
        );
        assert_eq!(classify(&call(ErrorCode::Funds)), Exit::Funds);
    }
}
