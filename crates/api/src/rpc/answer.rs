//! Results on their way from the thread that works to the caller.

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use cid::Cid;
use hpips_client::{BlockGetter, GetBlockError};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::call::Call;
use super::error::RpcError;

/// Results that wait for the caller. Parts of files are at most a block each.
const RESULTS_AHEAD: usize = 16;
/// Small results that go out together.
const TOGETHER: usize = 16;
/// Tells of a failure after part of the answer was sent.
pub(crate) const FAILED: HeaderName = HeaderName::from_static("x-stream-error");
/// No caller waits longer than this for one answer to begin or end.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the body of an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON values, one a line.
    Json,
    /// Bytes as they are.
    Raw,
    /// A tar archive.
    Tar,
    /// A gzip stream.
    Gzip,
    /// A CAR.
    Car,
}

/// One JSON value.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<Response, RpcError> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// No value.
pub(crate) fn nothing() -> Response {
    Response::new(Body::empty())
}

/// Takes results from the thread that works. Every call waits while the caller is slower.
#[derive(Clone, Debug)]
pub(crate) struct Sink(mpsc::Sender<Result<Bytes, RpcError>>);

impl Sink {
    /// Hands on one JSON value.
    ///
    /// # Errors
    /// When the caller has left.
    pub(crate) fn json<T: Serialize>(&self, value: &T) -> Result<(), RpcError> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        self.bytes(text.into())
    }

    /// Hands on bytes.
    ///
    /// # Errors
    /// When the caller has left.
    pub(crate) fn bytes(&self, bytes: Bytes) -> Result<(), RpcError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.0.blocking_send(Ok(bytes)).map_err(|_| RpcError::gone())
    }

    /// Ends the work when the caller has left.
    ///
    /// # Errors
    /// When it has.
    pub(crate) fn check(&self) -> Result<(), RpcError> {
        if self.0.is_closed() { Err(RpcError::gone()) } else { Ok(()) }
    }

    /// Waits for what a task does, as long as the caller waits for the answer.
    ///
    /// # Errors
    /// When the caller has left.
    pub(crate) fn wait<T>(&self, runtime: &Handle, work: impl Future<Output = T>) -> Result<T, RpcError> {
        runtime.block_on(async {
            tokio::select! {
                done = work => Ok(done),
                () = self.0.closed() => Err(RpcError::gone()),
            }
        })
    }

    /// Blocks that are no longer fetched when the caller has left.
    pub(crate) fn guard<'a>(&'a self, blocks: &'a dyn BlockGetter) -> Guarded<'a> {
        Guarded { sink: self, blocks }
    }
}

/// See [`Sink::guard`].
pub(crate) struct Guarded<'a> {
    sink: &'a Sink,
    blocks: &'a dyn BlockGetter,
}

impl BlockGetter for Guarded<'_> {
    fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
        self.get_while(cid, &|| true)
    }

    fn get_while(&self, cid: &Cid, is_wanted: &dyn Fn() -> bool) -> Result<Bytes, GetBlockError> {
        self.blocks.get_while(cid, &|| is_wanted() && self.sink.check().is_ok())
    }

    fn prefetch(&self, cids: &[Cid]) {
        self.blocks.prefetch(cids);
    }

    fn at_hand(&self, cids: &[Cid]) -> Vec<(Cid, Bytes)> {
        // The get that follows tells why.
        if self.sink.check().is_err() { Vec::new() } else { self.blocks.at_hand(cids) }
    }
}

/// Answers with what `work` produces on a thread that may block. The answer begins with the first result, so that
/// a failure before it is an answer of its own; a later one is told after the body, or cuts it short where the
/// caller would not read it there. When the caller leaves, the next result ends the work.
pub(crate) async fn stream(
    call: &Call,
    form: Form,
    work: impl FnOnce(&Sink) -> Result<(), RpcError> + Send + 'static,
) -> Result<Response, RpcError> {
    let takes_trailers = call.takes_trailers;
    let deadline = deadline(call)?;
    let slot = call.slot()?;
    let watch = call.left.watch();
    let (sender, mut receiver) = mpsc::channel(RESULTS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let _slot = slot;
        let sink = Sink(sender);
        if let Err(error) = work(&sink) {
            // Nobody to tell when the caller has left.
            let _ = sink.0.blocking_send(Err(error));
        }
    });
    let first = match tokio::time::timeout_at(deadline, receiver.recv()).await {
        Err(_) => return Err(RpcError::late()),
        Ok(Some(Err(error))) => return Err(error),
        Ok(first) => first.and_then(Result::ok),
    };
    let frames = futures::stream::unfold((first, Some(receiver)), move |(first, receiver)| {
        // It lasts as long as the body: whoever drops that has left.
        let _watch = &watch;
        async move {
            let mut receiver = receiver?;
            if let Some(first) = first {
                return Some((Ok(Frame::data(first)), (None, Some(receiver))));
            }
            let next = tokio::time::timeout_at(deadline, receiver.recv()).await;
            let next = next.unwrap_or_else(|_| Some(Err(RpcError::late())));
            match next? {
                Ok(part) => {
                    let mut joined = BytesMut::new();
                    for _ in 0..TOGETHER {
                        // Large parts are not worth a copy.
                        if part.len() > 4096 {
                            break;
                        }
                        match receiver.try_recv() {
                            Ok(Ok(more)) => {
                                if joined.is_empty() {
                                    joined.extend_from_slice(&part);
                                }
                                joined.extend_from_slice(&more);
                            }
                            Ok(Err(error)) => {
                                let data = if joined.is_empty() { part } else { joined.freeze() };
                                let (late, rest) = mpsc::channel(1);
                                let _ = late.try_send(Err(error));
                                return Some((Ok(Frame::data(data)), (None, Some(rest))));
                            }
                            Err(_) => break,
                        }
                    }
                    let data = if joined.is_empty() { part } else { joined.freeze() };
                    Some((Ok(Frame::data(data)), (None, Some(receiver))))
                }
                Err(error) => Some((failed(&error, takes_trailers), (None, None))),
            }
        }
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    let headers = response.headers_mut();
    let (media, marker) = match form {
        Form::Json => ("application/json", "x-chunked-output"),
        Form::Raw => ("text/plain", "x-stream-output"),
        Form::Tar => ("application/x-tar", "x-stream-output"),
        Form::Gzip => ("application/gzip", "x-stream-output"),
        Form::Car => ("application/vnd.ipld.car", "x-stream-output"),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(HeaderName::from_static(marker), HeaderValue::from_static("1"));
    headers.insert(header::TRAILER, HeaderValue::from_static("X-Stream-Error"));
    Ok(response)
}

/// The last frame of an answer that failed.
fn failed(error: &RpcError, takes_trailers: bool) -> Result<Frame<Bytes>, RpcError> {
    if !takes_trailers {
        return Err(error.clone());
    }
    let text: String = error.message().chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    let mut trailers = HeaderMap::new();
    trailers.insert(FAILED, HeaderValue::from_str(&text).expect("printable ASCII"));
    Ok(Frame::trailers(trailers))
}

/// Answers with one JSON value that `work` finds on a thread that may block.
pub(crate) async fn value<T: Serialize + Send + 'static>(
    call: &Call,
    work: impl FnOnce() -> Result<T, RpcError> + Send + 'static,
) -> Result<Response, RpcError> {
    json(&blocking(call, work).await?)
}

/// Runs `work` on a thread that may block, for as long as the caller waits.
pub(crate) async fn blocking<T: Send + 'static>(
    call: &Call,
    work: impl FnOnce() -> Result<T, RpcError> + Send + 'static,
) -> Result<T, RpcError> {
    let slot = call.slot()?;
    let watch = call.left.watch();
    let working = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        work()
    });
    in_time(call, async {
        let done = working.await;
        watch.done();
        done?
    })
    .await
}

/// Waits for as long as the caller does.
pub(crate) async fn in_time<T>(
    call: &Call,
    work: impl Future<Output = Result<T, RpcError>>,
) -> Result<T, RpcError> {
    tokio::time::timeout_at(deadline(call)?, work).await.unwrap_or_else(|_| Err(RpcError::late()))
}

fn deadline(call: &Call) -> Result<Instant, RpcError> {
    Ok(Instant::now() + call.timeout()?.unwrap_or(TIMEOUT_MAX).min(TIMEOUT_MAX))
}
