//! What a failed command answers.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cid::Cid;
use hpips_client::GetBlockError;
use serde::Serialize;

use crate::error::chain_text;

/// A failure with a sentence for people, in Kubo's form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct RpcError {
    status: StatusCode,
    /// Kubo's class: 0 failed, 1 the request is wrong, 4 forbidden.
    code: u8,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    message: &'a str,
    code: u8,
    r#type: &'static str,
}

impl RpcError {
    /// The command failed.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: 0, message: message.into() }
    }

    /// The request is wrong.
    pub(crate) fn client(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: 1, message: message.into() }
    }

    /// Too much is under way.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: 0, message: message.into() }
    }

    /// The caller did not show the token.
    pub(crate) fn not_owner(what: &str) -> Self {
        let message = format!(
            "{what} takes the token of the repo's api file, as the header Authorization: Bearer TOKEN; nothing was changed"
        );
        Self { status: StatusCode::FORBIDDEN, code: 0, message }
    }

    /// An error with its causes.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(chain_text(error))
    }

    /// The command needs a running node.
    pub(crate) fn offline() -> Self {
        Self::new("this command must be run in online mode. Try running 'hpips daemon' first")
    }

    /// A block that is not in the store, of a command that asks nobody else.
    pub(crate) fn not_local(cid: &Cid) -> Self {
        Self::new(format!("block was not found locally (offline): ipld: could not find {cid}"))
    }

    /// A block that could not be had.
    pub(crate) fn get(error: &GetBlockError) -> Self {
        match error {
            GetBlockError::NotFound { cid, peers: None } => Self::not_local(cid),
            GetBlockError::NotFound { cid, peers: Some(0) } => {
                Self::new(format!("ipld: could not find {cid} (no peer to ask: hpips swarm connect)"))
            }
            GetBlockError::NotFound { cid, peers: Some(peers) } => {
                let s = if *peers == 1 { "" } else { "s" };
                Self::new(format!("ipld: could not find {cid} ({peers} peer{s} asked)"))
            }
            error => Self::of(error),
        }
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn gone() -> Self {
        Self::new("context canceled")
    }

    /// The caller's time is up.
    pub(crate) fn late() -> Self {
        Self::new("context deadline exceeded")
    }

    /// The sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for RpcError {
    fn into_response(self) -> Response {
        if self.status == StatusCode::BAD_REQUEST {
            let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            return (self.status, text, format!("{}\n", self.message)).into_response();
        }
        let body = Body { message: &self.message, code: self.code, r#type: "error" };
        (self.status, Json(body)).into_response()
    }
}

macro_rules! from {
    ($($error:ty)*) => {
        $(impl From<$error> for RpcError {
            fn from(error: $error) -> Self {
                Self::of(&error)
            }
        })*
    };
}

from! {
    hpips_store::WriteError hpips_store::IndexError hpips_store::ReadError
    hpips_dag::WalkError hpips_dag::DecodeError hpips_dag::EnumerateError hpips_dag::DirectoryError
    hpips_dag::document::EncodeError hpips_dag::car::CarError
    std::io::Error serde_json::Error tokio::task::JoinError
}

impl From<hpips_dag::DriveError<GetBlockError>> for RpcError {
    fn from(error: hpips_dag::DriveError<GetBlockError>) -> Self {
        match error {
            hpips_dag::DriveError::Walk(error) => Self::of(&error),
            hpips_dag::DriveError::Get(_, error) => Self::get(&error),
        }
    }
}

impl From<crate::error::ApiError> for RpcError {
    fn from(error: crate::error::ApiError) -> Self {
        Self { status: error.code.status(), code: 1, message: error.message }
    }
}

impl From<GetBlockError> for RpcError {
    fn from(error: GetBlockError) -> Self {
        Self::get(&error)
    }
}
