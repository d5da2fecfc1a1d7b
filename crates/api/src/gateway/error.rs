//! Why a request is not answered with content.

use axum::http::{HeaderValue, StatusCode, header};
use cid::Cid;
use hpips_client::GetBlockError;
use hpips_dag::{DecodeError, DriveError, WalkError};

use super::redirects::RedirectsError;
use super::reply::Reply;
use crate::error::chain_text;
use crate::names::NamingError;

/// Seconds after which a client may try again.
const RETRY_SECONDS: u16 = 30;

/// Why a request fails, each with its status.
#[derive(Debug, thiserror::Error)]
pub(super) enum GatewayError {
    #[error(
        "{host:?} is not answered here: call this gateway as localhost or 127.0.0.1, or name the host in its config"
    )]
    ForeignHost { host: String },
    #[error("method {method} not allowed: this gateway is read-only, use GET or HEAD")]
    Method { method: String },
    #[error("nothing is at {path:?}: content is at /ipfs/CID or /ipfs/CID/path")]
    NoContentPath { path: String },
    #[error("invalid path {path:?}: {root:?} is no CID")]
    Root {
        path: String,
        root: String,
        #[source]
        source: cid::Error,
    },
    #[error("invalid path: {reason}")]
    Path { reason: &'static str },
    #[error("CID incompatible with DNS label length limit of 63: {cid}: use /ipfs/{cid} at 127.0.0.1")]
    LongLabel { cid: Cid },
    #[error(
        "{name:?} is not looked up here: only names of keys (k51...) are, not domains (DNSLink). Open the /ipfs/CID path \
         that it stands for"
    )]
    Names { name: String },
    #[error("failed to resolve {path}")]
    Naming {
        path: String,
        #[source]
        source: NamingError,
    },
    #[error("invalid {name} in the URL: {reason}")]
    Parameter { name: &'static str, reason: &'static str },
    #[error("invalid Accept header: {reason}")]
    Accept { reason: &'static str },
    #[error("navigator.serviceWorker: registration is not allowed for this scope")]
    ServiceWorker,
    #[error("only trustless requests are accepted on this gateway: ask with ?format=raw or ?format=car")]
    TrustlessOnly,
    #[error("{path} is not in the local store")]
    NotCached { path: String },
    #[error("invalid range request: {reason}")]
    RangeSyntax { reason: &'static str },
    #[error(
        "{wanted} was asked for, but {cid} has codec {codec:#x}: fetch it with ?format=raw and convert it yourself"
    )]
    NotAcceptable { wanted: &'static str, cid: Cid, codec: u64 },
    #[error("{remainder:?} below {cid} is not a link, and only links can be followed: open {cid} instead")]
    Remainder { remainder: String, cid: Cid },
    #[error("index.html in {cid} is not a file")]
    Index { cid: Cid },
    #[error("failed to resolve {path}")]
    Resolve {
        path: String,
        #[source]
        source: ReadError,
    },
    #[error("trouble processing _redirects file below {root}")]
    Redirects {
        root: Cid,
        #[source]
        source: RedirectsFailure,
    },
    #[error("nothing arrived within {seconds} seconds: try again later")]
    Timeout { seconds: u64 },
    #[error("too many requests at once: try again later")]
    Busy,
    #[error("the gateway failed; the log says why")]
    Internal,
}

/// Why content could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// A block cannot be had.
    #[error(transparent)]
    Get(#[from] GetBlockError),
    /// The DAG has no such path, or is no UnixFS.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A block cannot be decoded.
    #[error("cannot decode {cid}")]
    Document {
        cid: Cid,
        #[source]
        source: DecodeError,
    },
    /// The client takes nothing any more.
    #[error("the client has left")]
    Left,
}

impl From<DriveError<GetBlockError>> for ReadError {
    fn from(error: DriveError<GetBlockError>) -> Self {
        match error {
            DriveError::Walk(source) => Self::Walk(source),
            DriveError::Get(_, source) => Self::Get(source),
        }
    }
}

impl ReadError {
    /// Whether the path itself does not exist, so that `_redirects` may answer.
    pub(super) fn is_absent(&self) -> bool {
        matches!(
            self,
            Self::Walk(
                WalkError::NotFound { .. } | WalkError::NotADirectory { .. } | WalkError::NotAFile { .. }
            )
        )
    }

    fn status(&self) -> StatusCode {
        match self {
            // Nobody was asked: it is known that the content is not here.
            Self::Get(GetBlockError::NotFound { peers: None, .. }) => StatusCode::NOT_FOUND,
            Self::Get(GetBlockError::NotFound { .. } | GetBlockError::TooFewSlots { .. }) => {
                StatusCode::GATEWAY_TIMEOUT
            }
            _ if self.is_absent() => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Why a `_redirects` file does not help.
#[derive(Debug, thiserror::Error)]
pub(super) enum RedirectsFailure {
    #[error("could not parse _redirects")]
    Parse(#[from] RedirectsError),
    #[error("cannot read what it points at")]
    Read(#[from] ReadError),
}

impl GatewayError {
    /// What failed while the content path was followed or read.
    pub(super) fn resolve(path: &str, source: impl Into<ReadError>) -> Self {
        Self::Resolve { path: path.to_owned(), source: source.into() }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::ForeignHost { .. } => StatusCode::FORBIDDEN,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoContentPath { .. } => StatusCode::NOT_FOUND,
            Self::Root { .. }
            | Self::Path { .. }
            | Self::LongLabel { .. }
            | Self::Parameter { .. }
            | Self::Accept { .. }
            | Self::RangeSyntax { .. }
            | Self::ServiceWorker => StatusCode::BAD_REQUEST,
            Self::Names { .. } | Self::Remainder { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::TrustlessOnly | Self::NotAcceptable { .. } => StatusCode::NOT_ACCEPTABLE,
            Self::NotCached { .. } => StatusCode::PRECONDITION_FAILED,
            Self::Index { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Resolve { source, .. } => source.status(),
            Self::Redirects { source: RedirectsFailure::Read(source), .. } => source.status(),
            Self::Naming { source: NamingError::NotFound(_), .. } => StatusCode::NOT_FOUND,
            Self::Naming { source: NamingError::Domain(_), .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Naming { source: NamingError::Records(_), .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Naming { .. } => StatusCode::BAD_GATEWAY,
            Self::Redirects { .. } | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// Plain text that says what happened and what to do.
    pub(super) fn into_reply(self) -> Reply {
        let status = self.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(error = %chain_text(&self), "gateway request failed");
        }
        let mut reply = Reply::text(status, &format!("{}\n", chain_text(&self)));
        if matches!(status, StatusCode::GATEWAY_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) {
            reply.headers.insert(header::RETRY_AFTER, RETRY_SECONDS.into());
        }
        if matches!(self, Self::Method { .. }) {
            reply.headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        }
        reply
    }
}
