//! Bounds on the bytes a second that blocks and pieces take of a line, all peers together.
//!
//! What the chain says and what keeps connections alive is not held back: it is little, and late blocks of a chain cost money.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// Bytes a second below which nothing is set: the longest block takes half a minute then, and a peer that takes nothing
/// for a whole one has its stream closed.
pub const BANDWIDTH_MIN: u64 = 64 << 10;
/// What one stream takes at once, so that others come between.
const TURN_BYTES: u64 = 16 << 10;
/// What may be made up for after a pause: the bytes of so long, or one turn where that is more.
const BURST: Duration = Duration::from_millis(100);

/// Bytes a second in one direction.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    /// When everything that was taken is earned.
    clear_at: Duration,
}

impl Bucket {
    /// Takes a turn's bytes at most; how long to wait where nothing is left. `now` is since any fixed moment.
    fn take(&mut self, now: Duration, wanted: u64) -> Result<u64, Duration> {
        if self.clear_at > now {
            return Err(self.clear_at - now);
        }
        let bytes = wanted.min(TURN_BYTES);
        let burst = BURST.max(self.time(TURN_BYTES));
        self.clear_at = self.clear_at.max(now.saturating_sub(burst)) + self.time(bytes);
        Ok(bytes)
    }

    /// Gives back what was taken and not used.
    fn give_back(&mut self, bytes: u64) {
        self.clear_at = self.clear_at.saturating_sub(self.time(bytes));
    }

    fn time(&self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / self.rate)
    }
}

/// Both directions of a node. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Bandwidth(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    received: Option<Mutex<Bucket>>,
    sent: Option<Mutex<Bucket>>,
}

impl Bandwidth {
    /// Bytes a second, at least [`BANDWIDTH_MIN`]; `None` for no bound.
    pub(crate) fn new(received: Option<u64>, sent: Option<u64>) -> Self {
        let bucket =
            |rate: u64| Mutex::new(Bucket { rate: rate.max(BANDWIDTH_MIN), clear_at: Duration::ZERO });
        Self(Arc::new(Shared {
            began: Instant::now(),
            received: received.map(bucket),
            sent: sent.map(bucket),
        }))
    }

    /// For one stream; `None` where nothing is bounded.
    pub(crate) fn of_stream(&self) -> Option<Share> {
        let is_bounded = self.0.received.is_some() || self.0.sent.is_some();
        is_bounded.then(|| Share { all: self.clone(), received: None, sent: None })
    }
}

/// One stream's view, with its alarm in either direction.
#[derive(Debug)]
pub(crate) struct Share {
    all: Bandwidth,
    received: Option<Pin<Box<Sleep>>>,
    sent: Option<Pin<Box<Sleep>>>,
}

impl Share {
    /// How many of these bytes may be read now.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        poll(&self.all.0, self.all.0.received.as_ref(), &mut self.received, cx, wanted)
    }

    /// How many of these bytes may be written now.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        poll(&self.all.0, self.all.0.sent.as_ref(), &mut self.sent, cx, wanted)
    }

    /// So many of the bytes were not read after all.
    pub(crate) fn not_received(&self, bytes: usize) {
        give_back(self.all.0.received.as_ref(), bytes);
    }

    /// So many of the bytes were not written after all.
    pub(crate) fn not_sent(&self, bytes: usize) {
        give_back(self.all.0.sent.as_ref(), bytes);
    }
}

fn poll(
    shared: &Shared,
    bucket: Option<&Mutex<Bucket>>,
    alarm: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
    wanted: usize,
) -> Poll<usize> {
    let Some(bucket) = bucket else { return Poll::Ready(wanted) };
    loop {
        if let Some(sleep) = alarm {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            *alarm = None;
        }
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        match bucket.take(shared.began.elapsed(), wanted as u64) {
            // Never more than was asked for, which was a `usize`.
            Ok(bytes) => return Poll::Ready(usize::try_from(bytes).unwrap_or(wanted)),
            Err(wait) => *alarm = Some(Box::pin(tokio::time::sleep(wait))),
        }
    }
}

fn give_back(bucket: Option<&Mutex<Bucket>>, bytes: usize) {
    if let Some(bucket) = bucket {
        bucket.lock().unwrap_or_else(PoisonError::into_inner).give_back(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_goes_than_the_rate_and_one_burst() {
        for rate in [BANDWIDTH_MIN, 1_000_000, 100_000_000] {
            let mut bucket = Bucket { rate, clear_at: Duration::ZERO };
            let begin = Duration::from_secs(1000);
            let (mut now, mut bytes) = (begin, 0);
            while now < begin + Duration::from_secs(10) {
                match bucket.take(now, 1 << 20) {
                    Ok(taken) => bytes += taken,
                    Err(wait) => now += wait,
                }
            }
            let whole = rate * 10;
            assert!(bytes >= whole && bytes <= whole + rate / 10 + 2 * TURN_BYTES, "{bytes} of {whole}");
        }
    }

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        let mut bucket = Bucket { rate: BANDWIDTH_MIN, clear_at: Duration::ZERO };
        let now = Duration::from_secs(5);
        while bucket.take(now, 1 << 20).is_ok() {}
        bucket.give_back(10 * TURN_BYTES);
        assert_eq!(bucket.take(now, 1 << 20), Ok(TURN_BYTES));
    }
}
