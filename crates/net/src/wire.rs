//! A stream with one peer, and frames on it: `u32` length, little-endian, then as many bytes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::bandwidth::Share;
use crate::peers::Traffic;

/// An authenticated, encrypted, ordered byte stream with one peer. Dropping it resets it.
///
/// When its connection ends, everything that waits on it is woken and fails. (The multiplexer alone leaves a
/// reader asleep when this end closed the connection.)
pub struct Stream {
    inner: Compat<libp2p::Stream>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    traffic: Option<Arc<Traffic>>,
    share: Option<Share>,
}

impl Stream {
    /// A stream that lives no longer than `closed` is pending, within its share of the bandwidth where that is bounded.
    pub(crate) fn new(
        stream: libp2p::Stream,
        closed: CancellationToken,
        traffic: Option<Arc<Traffic>>,
        share: Option<Share>,
    ) -> Self {
        Self { inner: stream.compat(), closed: Box::pin(closed.cancelled_owned()), traffic, share }
    }

    /// Fails what is pending when the connection is gone.
    fn unless_closed<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        polled
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        let polled = match &mut this.share {
            None => Pin::new(&mut this.inner).poll_read(cx, buf),
            Some(share) => match share.poll_receive(cx, buf.remaining()) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(most) => {
                    let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
                    let polled = Pin::new(&mut this.inner).poll_read(cx, &mut part);
                    let read = part.filled().len();
                    share.not_received(most - read);
                    buf.advance(read);
                    polled
                }
            },
        };
        if let (Poll::Ready(Ok(())), Some(traffic)) = (&polled, &self.traffic) {
            traffic.received(buf.filled().len() - before);
        }
        self.unless_closed(cx, polled)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = match &mut this.share {
            None => Pin::new(&mut this.inner).poll_write(cx, buf),
            Some(share) => match share.poll_send(cx, buf.len()) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(most) => {
                    let polled = Pin::new(&mut this.inner).poll_write(cx, &buf[..most]);
                    let written = if let Poll::Ready(Ok(bytes)) = &polled { *bytes } else { 0 };
                    share.not_sent(most - written);
                    polled
                }
            },
        };
        if let (Poll::Ready(Ok(bytes)), Some(traffic)) = (&polled, &self.traffic) {
            traffic.sent(*bytes);
        }
        self.unless_closed(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.unless_closed(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.unless_closed(cx, polled)
    }
}

/// Why a frame did not come or go.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than agreed.
    #[error("a frame of {bytes} bytes is over the limit of {bytes_max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit here.
        bytes_max: usize,
    },
    /// The peer let the deadline pass.
    #[error("the peer was silent for {0:?}")]
    Silent(Duration),
    /// The stream ended or failed.
    #[error("the stream failed")]
    Io(#[from] io::Error),
}

/// Runs an operation under a deadline.
pub(crate) async fn within<T>(
    deadline: Duration,
    operation: impl Future<Output = io::Result<T>>,
) -> Result<T, FrameError> {
    match tokio::time::timeout(deadline, operation).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(FrameError::Silent(deadline)),
    }
}

/// Reads one frame. Memory grows with the bytes that arrive, not with the length that is claimed. `None` when
/// the stream ends before the first byte.
///
/// # Errors
/// [`FrameError`]; the stream is then unusable.
pub async fn read_frame<R: AsyncRead + Unpin>(
    stream: &mut R,
    bytes_max: usize,
) -> Result<Option<Bytes>, FrameError> {
    let mut head = [0; 4];
    if stream.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[1..]).await?;
    let bytes = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
    if bytes > bytes_max {
        return Err(FrameError::TooLong { bytes, bytes_max });
    }
    Ok(Some(read_body(stream, bytes).await?))
}

/// Bytes that are reserved before any arrived.
const RESERVE_BYTES: usize = 64 * 1024;

/// Reads exactly `count` bytes.
pub(crate) async fn read_body<R: AsyncRead + Unpin>(stream: &mut R, count: usize) -> io::Result<Bytes> {
    let mut body = BytesMut::with_capacity(count.min(RESERVE_BYTES));
    while body.len() < count {
        if body.len() == body.capacity() {
            // Doubles, up to what is needed.
            body.reserve(body.len().min(count - body.len()));
        }
        let mut rest = (&mut *stream).take(u64::try_from(count - body.len()).unwrap_or(u64::MAX));
        if rest.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(body.freeze())
}

/// Writes one frame and flushes it.
///
/// # Errors
/// [`FrameError`]; the stream is then unusable.
pub async fn write_frame<W: AsyncWrite + Unpin>(
    stream: &mut W,
    body: &[u8],
    bytes_max: usize,
) -> Result<(), FrameError> {
    let too_long = FrameError::TooLong { bytes: body.len(), bytes_max };
    if body.len() > bytes_max {
        return Err(too_long);
    }
    let Ok(len) = u32::try_from(body.len()) else { return Err(too_long) };
    if body.len() <= RESERVE_BYTES {
        // One write, so that a small frame leaves in one packet.
        stream.write_all(&[&len.to_le_bytes()[..], body].concat()).await?;
    } else {
        stream.write_all(&len.to_le_bytes()).await?;
        stream.write_all(body).await?;
    }
    stream.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_round_trip_and_long_ones_are_refused_before_memory_is_taken() {
        let (mut a, mut b) = tokio::io::duplex(1 << 20);
        for body in [vec![], vec![1], vec![2; 70_000], vec![3; 200_000]] {
            write_frame(&mut a, &body, 200_000).await.unwrap();
            assert_eq!(read_frame(&mut b, 200_000).await.unwrap().unwrap(), body);
        }
        assert!(matches!(
            write_frame(&mut a, &[0; 11], 10).await,
            Err(FrameError::TooLong { bytes: 11, .. })
        ));
        a.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
        assert!(matches!(read_frame(&mut b, 10).await, Err(FrameError::TooLong { .. })));
        drop(a);
        assert!(matches!(read_frame(&mut b, 10).await, Ok(None)));
    }

    #[tokio::test]
    async fn a_cut_frame_is_an_error() {
        let (mut a, mut b) = tokio::io::duplex(100);
        a.write_all(&[5, 0, 0, 0, 1, 2]).await.unwrap();
        drop(a);
        assert!(matches!(read_frame(&mut b, 10).await, Err(FrameError::Io(_))));
    }
}
