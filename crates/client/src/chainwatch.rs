//! Waiting for something to stand in the finalized state.

use std::sync::Arc;
use std::time::Duration;

use hpips_chain::{Chain, Finalized, Snapshot};
use hpips_ledger::Event;
use tokio::sync::broadcast::{self, error::RecvError};

/// A chain that finalizes nothing for so long has stopped for us.
const SILENCE: Duration = Duration::from_secs(300);

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WatchError {
    /// The chain has stopped.
    #[error("the chain has stopped")]
    Stopped,
    /// No block for long.
    #[error("no block came for {} seconds", SILENCE.as_secs())]
    Silent,
}

/// Follows the finalized blocks from the moment it is made.
#[derive(Debug)]
pub(crate) struct Watch {
    chain: Chain,
    blocks: broadcast::Receiver<Arc<Finalized>>,
}

impl Watch {
    pub(crate) fn new(chain: &Chain) -> Self {
        Self { chain: chain.clone(), blocks: chain.subscribe() }
    }

    /// Looks at the state now and after every block until `look` finds something. It is also given the events
    /// of the block, those of blocks that were missed excepted.
    pub(crate) async fn until<T>(
        &mut self,
        mut look: impl FnMut(&Snapshot, &[Event]) -> Option<T>,
    ) -> Result<T, WatchError> {
        let mut fault = self.chain.fault();
        let mut events: Arc<Finalized>;
        let mut last: &[Event] = &[];
        loop {
            if let Some(found) = look(&self.chain.state(), last) {
                return Ok(found);
            }
            let block = tokio::select! {
                block = tokio::time::timeout(SILENCE, self.blocks.recv()) => block.map_err(|_| WatchError::Silent)?,
                _ = fault.wait_for(Option::is_some) => return Err(WatchError::Stopped),
            };
            last = match block {
                Ok(block) => {
                    events = block;
                    &events.events
                }
                Err(RecvError::Lagged(_)) => &[],
                Err(RecvError::Closed) => return Err(WatchError::Stopped),
            };
        }
    }
}
