//! What the rest of the node learns about finalized blocks.

use std::collections::BTreeMap;

use hpips_ledger::{Event, Failure};
use hpips_types::{AccountId, Height, Sha256Digest, TxId, View};
use serde::{Deserialize, Serialize};

/// Finality times kept for the median.
const TIMES_MAX: usize = 512;

/// A finalized block, after its state is on disk.
#[derive(Clone, Debug)]
pub struct Finalized {
    /// Its height.
    pub height: Height,
    /// The view in which it was proposed.
    pub view: View,
    /// Who proposed it.
    pub proposer: AccountId,
    /// Its digest; the CID is [`crate::Block::cid`].
    pub digest: Sha256Digest,
    /// Root of the state after it.
    pub state_root: Sha256Digest,
    /// Its transactions, in order, and how each ended.
    pub transactions: Vec<(TxId, TxRow)>,
    /// What it did.
    pub events: Vec<Event>,
    /// From the first sight of the proposal to the state on disk, milliseconds. `None` where the block came
    /// already final.
    pub finality_ms: Option<u64>,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxRow {
    /// The block that contains it.
    pub height: Height,
    /// The operation that failed, from 0, and why; then nothing but the fee happened.
    pub failure: Option<(u8, Failure)>,
}

/// Measured in this run.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Finalized height.
    pub height: Height,
    /// What peers said about their heights, unverified.
    pub(crate) claims: BTreeMap<AccountId, Height>,
    /// Blocks finalized since the start.
    pub blocks: u64,
    /// Views that passed without a block since the start.
    pub nullified: u64,
    /// Newest such view.
    pub(crate) nullified_last: View,
    /// Transactions that wait for a block.
    pub waiting: usize,
    /// Times from the first sight of a proposal to its state on disk, newest last, milliseconds.
    pub finality_ms: Vec<u64>,
}

impl Stats {
    pub(crate) fn note(&mut self, height: Height, finality_ms: Option<u64>) {
        self.height = height;
        self.blocks += 1;
        if let Some(time) = finality_ms {
            if self.finality_ms.len() >= TIMES_MAX {
                self.finality_ms.remove(0);
            }
            self.finality_ms.push(time);
        }
    }

    /// How far the chain is: our own height, or the lower median of what peers claim where that is more, so
    /// that a minority of liars moves it nowhere.
    pub fn tip(&self) -> Height {
        let mut claims: Vec<Height> = self.claims.values().copied().collect();
        claims.sort_unstable();
        let median = claims.len().checked_sub(1).and_then(|last| claims.get(last / 2)).copied();
        self.height.max(median.unwrap_or(Height::ZERO))
    }

    /// The finality time that this share of blocks was faster than; `None` before the first.
    pub fn finality_percentile_ms(&self, percent: usize) -> Option<u64> {
        let mut times = self.finality_ms.clone();
        times.sort_unstable();
        times.get((times.len() * percent / 100).min(times.len().checked_sub(1)?)).copied()
    }
}
