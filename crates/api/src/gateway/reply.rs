//! A response before it is sent.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use super::error::ReadError;

/// Takes the parts of a body in order; fails when the client has left.
pub(super) type Sink<'a> = dyn FnMut(Bytes) -> Result<(), ReadError> + 'a;

/// Writes a body on the blocking thread of its request.
pub(super) type Writer = Box<dyn FnOnce(&mut Sink<'_>) -> Result<(), ReadError> + Send>;

/// The body of a response.
pub(super) enum Payload {
    /// All of it.
    Bytes(Bytes),
    /// Written while it is sent. An error within the first `held_bytes` becomes the answer; a later one cuts
    /// the body short, which the client notices.
    Stream { held_bytes: usize, write: Writer },
}

/// A response: status, headers, body.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
}

impl Reply {
    /// No headers, no body.
    pub(super) fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), payload: Payload::Bytes(Bytes::new()) }
    }

    /// Plain text.
    pub(super) fn text(status: StatusCode, text: &str) -> Self {
        let mut reply = Self::new(status);
        reply.payload = Payload::Bytes(Bytes::copy_from_slice(text.as_bytes()));
        reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        reply.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        reply
    }

    /// A redirect. Characters that may not stand in a header make it a bare status; callers encode them before.
    pub(super) fn redirect(status: StatusCode, location: &str) -> Self {
        let mut reply = Self::new(status);
        if let Ok(location) = HeaderValue::from_str(location) {
            reply.headers.insert(header::LOCATION, location);
        }
        reply
    }

    /// Sets a header whose value was made here; one that is not visible ASCII is left out, since
    /// others arrive garbled (RFC 9110, section 5.5).
    pub(super) fn set(&mut self, name: header::HeaderName, value: &str) {
        let is_plain = value.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte));
        if let Some(value) = HeaderValue::from_str(value).ok().filter(|_| is_plain) {
            self.headers.insert(name, value);
        }
    }

    /// The response without a stream's body, which `deliver` adds.
    pub(super) fn into_response(self) -> Response {
        let body = match self.payload {
            Payload::Bytes(bytes) => Body::from(bytes),
            Payload::Stream { .. } => Body::empty(),
        };
        response(self.status, self.headers, body)
    }
}

/// Puts a response together.
pub(super) fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
