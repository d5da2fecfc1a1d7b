//! The last finalized blocks, for those who ask what happened since.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hpips_chain::{Chain, Finalized};
use hpips_types::Height;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::view::{BlockPage, BlockView};

/// Blocks remembered. A block with its events takes a few kilobytes on a small network.
const BLOCKS_MAX: usize = 2_048;
/// Blocks in one answer at most.
const PAGE_BLOCKS_MAX: usize = 256;

/// Remembers finalized blocks from its start on.
#[derive(Debug)]
pub struct Feed {
    blocks: Mutex<VecDeque<Arc<Finalized>>>,
    newest: watch::Sender<(Height, Option<Instant>)>,
}

impl Feed {
    /// Starts remembering; ends with the chain.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(chain: &Chain) -> (Arc<Self>, tokio::task::JoinHandle<()>) {
        let mut blocks = chain.subscribe();
        let feed =
            Arc::new(Self { blocks: Mutex::default(), newest: watch::channel((chain.height(), None)).0 });
        let keeper = Arc::clone(&feed);
        let task = tokio::spawn(async move {
            loop {
                match blocks.recv().await {
                    Ok(block) => keeper.push(block),
                    // Those who poll see the gap in the heights.
                    Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "events were lost to the feed"),
                    Err(RecvError::Closed) => return,
                }
            }
        });
        (feed, task)
    }

    fn push(&self, block: Arc<Finalized>) {
        let height = block.height;
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.push_back(block);
        if blocks.len() > BLOCKS_MAX {
            blocks.pop_front();
        }
        drop(blocks);
        self.newest.send_replace((height, Some(Instant::now())));
    }

    /// When the newest block arrived.
    pub(crate) fn block_age(&self) -> Option<Duration> {
        self.newest.borrow().1.map(|at| at.elapsed())
    }

    /// Blocks above `since`; waits up to `wait` for the first one.
    pub(crate) async fn page(&self, since: Height, wait: Duration) -> BlockPage {
        let mut newest = self.newest.subscribe();
        let _ = tokio::time::timeout(wait, newest.wait_for(|(height, _)| *height > since)).await;
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let from = blocks.partition_point(|block| block.height <= since);
        let blocks = blocks.iter().skip(from).take(PAGE_BLOCKS_MAX).map(|block| view(block)).collect();
        BlockPage { blocks, height: newest.borrow().0 }
    }
}

fn view(block: &Finalized) -> BlockView {
    BlockView {
        height: block.height,
        view: block.view,
        proposer: block.proposer.to_string(),
        digest: block.digest.to_string(),
        finality_ms: block.finality_ms,
        events: block.events.clone(),
    }
}
