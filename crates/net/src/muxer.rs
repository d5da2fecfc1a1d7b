//! Streams over one connection of TCP or a relay: yamux, with bounds by connection.
//!
//! In place of `libp2p-yamux`, which cannot be told how much a connection may hold: it grants 1 GiB, and ends the
//! connection that has a stream too many. Here the newest inbound stream is reset, and an outbound one waits.
//!
//! Yamux grants every stream [`WINDOW_BYTES`] before anybody reads, which is part of its protocol, so that the number
//! of streams is what bounds memory. A stream that is read fast gets more, out of [`GROWTH_BYTES`] for all streams of the
//! connection together.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite, ready};
use libp2p::core::UpgradeInfo;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};

/// Bytes a stream may receive ahead of its reader from its first moment (the yamux specification).
const WINDOW_BYTES: usize = yamux::DEFAULT_CREDIT as usize;
/// Streams of one connection that its other end opened; more are reset. A peer has one a protocol, and 16 with pieces.
const INBOUND_MAX: usize = 64;
/// Streams of one connection that this end opened; more wait until one ends, or for their deadline.
const OUTBOUND_MAX: usize = 64;
/// Streams that are reset and not yet forgotten; a connection with more of them is ended.
const ENDING_MAX: usize = 32;
/// Bytes that the fast streams of a connection may receive ahead beyond [`WINDOW_BYTES`], together: 165 MB/s on one
/// stream at 50 ms round trip.
const GROWTH_BYTES: usize = 8 << 20;

/// Bytes that one connection may make this node hold: 40 MiB. Frames of a few bytes take several times their size.
#[cfg(test)]
pub(crate) const CONNECTION_BYTES: usize = (INBOUND_MAX + OUTBOUND_MAX) * WINDOW_BYTES + GROWTH_BYTES;

/// Makes connections of this kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config;

impl Config {
    fn muxer<C: AsyncRead + AsyncWrite + Unpin>(self, io: C, mode: yamux::Mode) -> Muxer<C> {
        let mut config = yamux::Config::default();
        let streams = INBOUND_MAX + OUTBOUND_MAX + ENDING_MAX;
        config.set_max_num_streams(streams);
        config.set_max_connection_receive_window(Some(streams * WINDOW_BYTES + GROWTH_BYTES));
        Muxer {
            connection: yamux::Connection::new(io, config, mode),
            arrived: VecDeque::new(),
            inbound: Arc::default(),
            outbound: Arc::default(),
        }
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Output>>;

    fn upgrade_inbound(self, io: C, _: Self::Info) -> Self::Future {
        std::future::ready(Ok(self.muxer(io, yamux::Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Output>>;

    fn upgrade_outbound(self, io: C, _: Self::Info) -> Self::Future {
        std::future::ready(Ok(self.muxer(io, yamux::Mode::Client)))
    }
}

/// Streams of one direction that live, and who waits for them.
#[derive(Debug, Default)]
struct Count {
    streams: AtomicUsize,
    waker: AtomicWaker,
}

impl Count {
    /// A place among at most `most`; only the connection's own task takes any.
    fn take(self: &Arc<Self>, most: usize) -> Option<Place> {
        if self.streams.load(Ordering::Acquire) >= most {
            return None;
        }
        self.streams.fetch_add(1, Ordering::AcqRel);
        Some(Place(self.clone()))
    }
}

/// One stream's part of the count; given back when dropped.
#[derive(Debug)]
struct Place(Arc<Count>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
        self.0.waker.wake();
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Muxer<C> {
    connection: yamux::Connection<C>,
    /// Inbound streams that nobody has taken yet.
    arrived: VecDeque<Stream>,
    inbound: Arc<Count>,
    outbound: Arc<Count>,
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    // Dropped first: what it holds is free before another takes its place.
    inner: yamux::Stream,
    _place: Place,
}

/// The connection broke.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct MuxerError(#[from] yamux::ConnectionError);

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    /// The next inbound stream within the bound.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, MuxerError>> {
        let next = ready!(self.connection.poll_next_inbound(cx));
        let inner = next.ok_or(yamux::ConnectionError::Closed)??;
        match self.inbound.take(INBOUND_MAX) {
            Some(place) => Poll::Ready(Ok(Stream { inner, _place: place })),
            None => {
                tracing::debug!("inbound stream reset: the peer has too many");
                // Another turn later: whoever opens streams without end does not keep the task from the others.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = MuxerError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, MuxerError>> {
        if let Some(stream) = self.arrived.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        self.inbound.waker.register(cx.waker());
        self.poll_next(cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, MuxerError>> {
        // Before the look at the count, so that a stream that ends in between is not missed.
        self.outbound.waker.register(cx.waker());
        let Some(place) = self.outbound.take(OUTBOUND_MAX) else { return Poll::Pending };
        let inner = ready!(self.connection.poll_new_outbound(cx))?;
        Poll::Ready(Ok(Stream { inner, _place: place }))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), MuxerError>> {
        Poll::Ready(Ok(ready!(self.connection.poll_close(cx))?))
    }

    /// Yamux moves only while it is asked for inbound streams; those that come meanwhile wait for
    /// [`StreamMuxer::poll_inbound`], and count.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, MuxerError>> {
        let stream = ready!(self.poll_next(cx))?;
        self.arrived.push_back(stream);
        self.inbound.waker.wake();
        // Lets others have a turn before the next one.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
