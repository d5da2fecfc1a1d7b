//! Carries a response from the blocking thread that makes it to the client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use hpips_client::blocks::{Left, Watch};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Gateway;
use super::answer::{self, ReadRequest};
use super::error::{GatewayError, ReadError};
use super::reply::{Payload, Reply, Writer, response};
use crate::error::chain_text;

/// Parts of a body on their way to the client; each is at most a block.
const PARTS_AHEAD: usize = 4;

/// What the thread has to say first.
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    /// The whole body, unless it comes in parts.
    body: Option<Bytes>,
}

/// A part of a body; `None` is its end, so that a thread that dies is not taken for one that is done.
type Part = Result<Option<Bytes>, ReadError>;

/// Runs a request on a blocking thread and answers what it makes. Dropping the future, or the body of the
/// response, ends the thread at its next block.
pub(super) async fn deliver(gateway: &Arc<Gateway>, request: ReadRequest) -> Response {
    let Ok(permit) = Arc::clone(&gateway.permits).try_acquire_owned() else {
        return GatewayError::Busy.into_reply().into_response();
    };
    let wait = gateway.config.wait;
    let left = Left::default();
    let watch = left.watch();
    let (head, first) = oneshot::channel();
    let (sender, parts) = mpsc::channel(PARTS_AHEAD);
    let source = Arc::clone(&gateway.source);
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let is_head = request.is_head;
        let reply = answer::answer(&*source, request, left).unwrap_or_else(GatewayError::into_reply);
        Outgoing { head: Some(head), sender, handle, wait, held: Vec::new() }.send(reply, is_head);
    });
    let head = match timeout(wait, first).await {
        Ok(Ok(head)) => head,
        Ok(Err(_)) => return GatewayError::Internal.into_reply().into_response(),
        Err(_) => return GatewayError::Timeout { seconds: wait.as_secs() }.into_reply().into_response(),
    };
    let body = match head.body {
        Some(bytes) => Body::from(bytes),
        None => {
            Body::from_stream(futures::stream::unfold(Some((parts, watch)), move |state| next(state, wait)))
        }
    };
    response(head.status, head.headers, body)
}

/// The next part of the body; after an error nothing follows.
async fn next(
    state: Option<(mpsc::Receiver<Part>, Watch)>,
    wait: Duration,
) -> Option<(io::Result<Bytes>, Option<(mpsc::Receiver<Part>, Watch)>)> {
    let (mut parts, watch) = state?;
    match timeout(wait, parts.recv()).await {
        Ok(Some(Ok(Some(bytes)))) => Some((Ok(bytes), Some((parts, watch)))),
        Ok(Some(Ok(None))) => None,
        Ok(Some(Err(error))) => {
            tracing::debug!(error = %chain_text(&error), "a gateway response is cut short");
            Some((Err(io::Error::other(error)), None))
        }
        Ok(None) => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
        Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
    }
}

/// The thread's end.
struct Outgoing {
    head: Option<oneshot::Sender<Head>>,
    sender: mpsc::Sender<Part>,
    handle: Handle,
    wait: Duration,
    /// Parts that wait for the head.
    held: Vec<Bytes>,
}

impl Outgoing {
    fn send(mut self, reply: Reply, is_head: bool) {
        let Reply { status, mut headers, payload } = reply;
        match payload {
            Payload::Bytes(bytes) => {
                // What GET would send; the headers of the two must agree.
                if is_head && !bytes.is_empty() {
                    headers.insert(header::CONTENT_LENGTH, bytes.len().into());
                }
                let body = Some(if is_head { Bytes::new() } else { bytes });
                self.begin(Head { status, headers, body });
            }
            // A body of unknown length, so that nobody adds a length of zero to the headers.
            Payload::Stream { .. } if is_head => {
                self.begin(Head { status, headers, body: None });
                let _ = self.pass(Ok(None));
            }
            Payload::Stream { held_bytes, write } => self.stream(status, headers, held_bytes, write),
        }
    }

    fn stream(&mut self, status: StatusCode, headers: HeaderMap, held_bytes: usize, write: Writer) {
        let mut head = Some(Head { status, headers, body: None });
        let mut held_len = 0;
        if held_bytes == 0 {
            self.begin_with(&mut head);
        }
        let written = write(&mut |part| {
            if head.is_none() {
                return self.pass(Ok(Some(part)));
            }
            held_len += part.len();
            self.held.push(part);
            if held_len >= held_bytes {
                self.begin_with(&mut head);
                return self.release();
            }
            Ok(())
        });
        match (written, head.is_some()) {
            (Ok(()), _) => {
                self.begin_with(&mut head);
                let _ = self.release().and_then(|()| self.pass(Ok(None)));
            }
            (Err(error), true) => {
                let reply =
                    GatewayError::Resolve { path: "the content".to_owned(), source: error }.into_reply();
                let Payload::Bytes(bytes) = reply.payload else { return };
                self.begin(Head { status: reply.status, headers: reply.headers, body: Some(bytes) });
            }
            (Err(error), false) => {
                let _ = self.pass(Err(error));
            }
        }
    }

    fn begin_with(&mut self, head: &mut Option<Head>) {
        if let Some(head) = head.take() {
            self.begin(head);
        }
    }

    fn begin(&mut self, head: Head) {
        if let Some(sender) = self.head.take() {
            let _ = sender.send(head);
        }
    }

    fn release(&mut self) -> Result<(), ReadError> {
        for part in std::mem::take(&mut self.held) {
            self.pass(Ok(Some(part)))?;
        }
        Ok(())
    }

    /// Waits until the client takes a part, but not for ever: a client that stops reading holds a thread.
    fn pass(&self, part: Part) -> Result<(), ReadError> {
        let sent = self.handle.block_on(async { timeout(self.wait, self.sender.send(part)).await });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ReadError::Left),
        }
    }
}
