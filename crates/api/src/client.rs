//! The other end of the API: what the command line, test networks and tests call.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::endpoint::{Endpoint, EndpointError};
use crate::error::{ApiError, ErrorCode};

/// Largest answer that is held in memory. The longest is a page of events.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// How long a node on this machine may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an ordinary question may take.
const QUESTION: Duration = Duration::from_secs(30);

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The repo names no running node.
    #[error("no node is running on this repo: start it with hpips daemon")]
    NoNode,
    /// The repo's endpoint file cannot be read.
    #[error("the node's address cannot be read")]
    Endpoint(#[from] EndpointError),
    /// Nothing listens, or it is not HTTP.
    #[error("the node does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Too late.
    #[error("the node did not answer within {0:?}")]
    Deadline(Duration),
    /// The node refused, in its own words.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// An answer that is not what this program expects.
    #[error("the node's answer is not understood")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl CallError {
    /// The node's own class of error, when it was the node that refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(error) => Some(error.code),
            _ => None,
        }
    }
}

/// Speaks to one node. Cheap to clone; a connection is made for each call, so a client outlives
/// restarts of anything but its address.
#[derive(Clone, Debug)]
pub struct ApiClient {
    endpoint: Endpoint,
}

impl ApiClient {
    /// A client of a known endpoint.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// A client of the node that runs on a repo.
    ///
    /// # Errors
    /// [`CallError::NoNode`] when no file says so; whether the node lives shows at the first call.
    pub fn of_repo(repo: &Path) -> Result<Self, CallError> {
        Endpoint::read(repo)?.map(Self::new).ok_or(CallError::NoNode)
    }

    /// The endpoint it speaks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether a node of this token answers.
    pub async fn is_alive(&self) -> bool {
        self.get::<serde_json::Value>("/hpips/v0/version").await.is_ok()
    }

    /// Reads: `path` carries the query.
    ///
    /// # Errors
    /// [`CallError`] by variant.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.get_within(path, QUESTION).await
    }

    /// As [`Self::get`] with another deadline, for questions that wait.
    ///
    /// # Errors
    /// [`CallError`] by variant.
    pub async fn get_within<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Result<T, CallError> {
        within(limit, async { parse(self.send(Method::GET, path, Bytes::new()).await?).await }).await
    }

    /// Changes something.
    ///
    /// # Errors
    /// [`CallError`] by variant. After [`CallError::Deadline`] the node may still do it.
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        limit: Duration,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| CallError::Answer(error.into()))?;
        within(limit, async { parse(self.send(Method::POST, path, body.into()).await?).await }).await
    }

    /// Changes something that says how it goes, one JSON value a line; waits as long as it takes. What `take` returns
    /// ends it: dropping the answer stops the node's work.
    ///
    /// # Errors
    /// [`CallError`] by variant; [`CallError::Answer`] when the answer ends before `take` did.
    pub async fn post_lines<B: Serialize, L: DeserializeOwned, T>(
        &self,
        path: &str,
        body: &B,
        mut take: impl FnMut(L) -> ControlFlow<T>,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| CallError::Answer(error.into()))?;
        let response = self.send(Method::POST, path, body.into()).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let mut body = response.into_body();
        let mut begun = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| CallError::Answer(error.into()))?;
            let Some(mut rest) = frame.data_ref().map(Bytes::as_ref) else { continue };
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                begun.extend_from_slice(&rest[..end]);
                rest = &rest[end + 1..];
                let line = serde_json::from_slice(&begun).map_err(|error| CallError::Answer(error.into()))?;
                begun.clear();
                if let ControlFlow::Break(done) = take(line) {
                    return Ok(done);
                }
            }
            begun.extend_from_slice(rest);
            if begun.len() > ANSWER_BYTES_MAX {
                return Err(CallError::Answer("a line of the answer is too long".into()));
            }
        }
        Err(CallError::Answer("the answer ends too early".into()))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, CallError> {
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(self.endpoint.address))
            .await
            .map_err(|_| CallError::Deadline(CONNECT))?
            .map_err(|error| CallError::Unreachable(error.into()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| CallError::Unreachable(error.into()))?;
        // The connection ends by itself when the answer was read or the sender is dropped.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.endpoint.address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.endpoint.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(body))
            .map_err(|error| CallError::Answer(error.into()))?;
        sender.send_request(request).await.map_err(|error| CallError::Unreachable(error.into()))
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    tokio::time::timeout(limit, call).await.unwrap_or(Err(CallError::Deadline(limit)))
}

async fn parse<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, CallError> {
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    let bytes = collect(response).await?;
    serde_json::from_slice(&bytes).map_err(|error| CallError::Answer(error.into()))
}

async fn refusal(response: Response<Incoming>) -> CallError {
    let status = response.status();
    match collect(response).await {
        Ok(bytes) => match serde_json::from_slice::<ApiError>(&bytes) {
            Ok(error) => error.into(),
            Err(_) => {
                let code = if status.is_client_error() { ErrorCode::BadRequest } else { ErrorCode::Failed };
                ApiError::new(code, format!("the node answered {status}")).into()
            }
        },
        Err(error) => error,
    }
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, CallError> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    Ok(body.collect().await.map_err(CallError::Answer)?.to_bytes())
}

/// Makes a value safe inside a query: everything but unreserved characters becomes `%XX` (RFC 3986, 2.3).
pub fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte))
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn queries_are_escaped() {
        assert_eq!(super::escape("a/b c&d=\u{e9}"), "a%2Fb%20c%26d%3D%C3%A9");
    }
}
