//! What a long call tells while it runs.

use std::fmt;
use std::sync::Arc;

/// A step of the road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading, hashing and storing files; bytes.
    Reading,
    /// Cutting into pieces with parity; bytes of content.
    Encoding,
    /// The proposal is on its way into a block; no total.
    Proposing,
    /// Waiting for the beacon that draws holders; no total.
    Drawing,
    /// Pieces on their way to holders; bytes of pieces.
    Uploading,
    /// The receipts are on their way into a block; no total.
    Activating,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The step.
    pub stage: Stage,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all; 0 where nobody knows.
    pub total: u64,
}

/// Where progress goes: a function that returns at once. Clones share it.
#[derive(Clone)]
pub struct Reporter(Arc<dyn Fn(Progress) + Send + Sync>);

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

impl Reporter {
    /// Reports to a function. It is called from any thread and must not block: send into a bounded channel and
    /// drop what does not fit, or set a `watch`.
    pub fn new(report: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// Reports nowhere.
    pub fn none() -> Self {
        Self::new(|_| {})
    }

    pub(crate) fn at(&self, stage: Stage, done: u64, total: u64) {
        (self.0)(Progress { stage, done, total });
    }
}
