//! A refusal as the specification has it: a word for programs and a sentence for people.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    status: StatusCode,
    reason: &'static str,
    details: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Words<'a>,
}

#[derive(Serialize)]
struct Words<'a> {
    reason: &'static str,
    details: &'a str,
}

impl Failure {
    fn new(status: StatusCode, reason: &'static str, details: impl Into<String>) -> Self {
        Self { status, reason, details: details.into() }
    }

    /// The request is wrong.
    pub(crate) fn bad_request(details: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", details)
    }

    /// No token, or a wrong one.
    pub(crate) fn unauthorized() -> Self {
        let details = "the access token is missing or wrong: it is in the file pins-token of the node's repo";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", details)
    }

    /// The caller may not call at all.
    pub(crate) fn forbidden(details: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", details)
    }

    /// No request has this id.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "no pin request has this requestid")
    }

    /// A method that means nothing here.
    pub(crate) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "this method means nothing here")
    }

    /// A body that is too long.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let details = format!("a pin has at most {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", details)
    }

    /// More requests than are kept.
    pub(crate) fn full() -> Self {
        let details = "no more pin requests are kept here: remove some that are no longer needed";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "TOO_MANY_PINS", details)
    }

    /// The node failed.
    pub(crate) fn internal(details: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", details)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Body { error: Words { reason: self.reason, details: &self.details } };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
