//! How the program ends.

use std::process::ExitCode;

use hpips_api::{CallError, ErrorCode};
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
    /// Interrupted; safe to repeat.
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

/// The exit code of an error: the first cause that has an opinion decides.
pub(crate) fn classify(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(stop) = cause.downcast_ref::<Stop>() {
            return stop.exit;
        }
        if let Some(RepoError::Missing(_) | RepoError::NoPlace) = cause.downcast_ref() {
            return Exit::NoRepo;
        }
        if let Some(OpenError::Locked { .. }) = cause.downcast_ref() {
            return Exit::Locked;
        }
        if let Some(RunError::Store(OpenError::Locked { .. })) = cause.downcast_ref() {
            return Exit::Locked;
        }
        if let Some(rpc) = cause.downcast_ref::<RpcError>() {
            return rpc.exit();
        }
        if let Some(call) = cause.downcast_ref::<CallError>() {
            return match call.code() {
                Some(ErrorCode::NotFound | ErrorCode::Timeout) => Exit::NotFound,
                Some(ErrorCode::Funds) => Exit::Funds,
                Some(ErrorCode::BadRequest) => Exit::Usage,
                _ => Exit::Failed,
            };
        }
    }
    Exit::Failed
}
