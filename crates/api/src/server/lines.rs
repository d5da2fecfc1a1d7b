//! Answers that come a JSON value a line, while the work goes on. When the caller leaves, the work ends.

use std::convert::Infallible;
use std::marker::PhantomData;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use hpips_client::blocks::Left;
use serde::Serialize;
use tokio::sync::mpsc;

/// Lines that wait for the caller.
const LINES_AHEAD: usize = 64;

/// Where the work says how it goes.
#[derive(Debug)]
pub(super) struct Lines<L> {
    sender: mpsc::Sender<Bytes>,
    line: PhantomData<fn(L)>,
}

impl<L> Clone for Lines<L> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), line: PhantomData }
    }
}

impl<L: Serialize> Lines<L> {
    /// Sends a line, as soon as the caller has room for it. Blocks. That the caller has left is seen by [`Left`].
    pub(super) fn send(&self, line: &L) {
        let _ = self.sender.blocking_send(text(line));
    }

    /// Sends a line that a later one makes up for: not at all where the caller has no room for it. `false` when
    /// nobody listens any more.
    pub(super) fn try_send(&self, line: &L) -> bool {
        !matches!(self.sender.try_send(text(line)), Err(mpsc::error::TrySendError::Closed(_)))
    }
}

fn text(line: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(line).expect("plain values");
    text.push(b'\n');
    text.into()
}

/// An answer of the lines that `work` sends, on a thread that may block.
pub(super) fn answer<L: 'static>(work: impl FnOnce(Lines<L>, Left) + Send + 'static) -> Response {
    let (sender, receiver) = mpsc::channel::<Bytes>(LINES_AHEAD);
    let left = Left::default();
    let watch = left.watch();
    tokio::task::spawn_blocking(move || work(Lines { sender, line: PhantomData }, left));
    let lines = futures::stream::unfold((receiver, watch), |(mut receiver, watch)| async {
        let line = receiver.recv().await?;
        Some((Ok::<_, Infallible>(line), (receiver, watch)))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let media = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}
