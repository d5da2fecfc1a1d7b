//! What a refused request says: a code to choose by and a sentence that is safe to show.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// The class of a failure; callers choose by it, never by the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request itself is wrong.
    BadRequest,
    /// Foreign origin, foreign host or no token.
    Forbidden,
    /// No such thing.
    NotFound,
    /// Not found within the time given.
    Timeout,
    /// Coins are missing, or nobody agreed to spend them.
    Funds,
    /// This node joined no network.
    NoNetwork,
    /// Something else of the same kind is under way.
    Busy,
    /// The node failed; its log says more.
    Failed,
}

impl ErrorCode {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Funds => StatusCode::PAYMENT_REQUIRED,
            Self::NoNetwork | Self::Busy => StatusCode::CONFLICT,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Its class.
    pub code: ErrorCode,
    /// One sentence for people, lowercase, no full stop.
    pub message: String,
}

impl ApiError {
    /// An error of a class.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A wrong request.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// Any failure of the node, with its causes in one line.
    pub fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(ErrorCode::Failed, chain_text(error))
    }
}

/// An error and its causes in one line, each cause once.
pub fn chain_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.code.status(), Json(self)).into_response()
    }
}
