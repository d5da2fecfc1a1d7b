//! What the chain did, as a node that is never killed tells it.

use std::time::Duration;

use hpips_api::view::{BlockPage, BlockView};
use hpips_api::{ApiClient, CallError};
use hpips_ledger::Event;
use hpips_types::Height;
use tokio::time::Instant;

use super::DemoError;

/// Longest wait inside one question.
const POLL_MS: u64 = 2_000;

/// All blocks since genesis, as far as asked for.
pub(super) struct Watch {
    api: ApiClient,
    blocks: Vec<BlockView>,
}

impl Watch {
    pub(super) fn new(api: ApiClient) -> Self {
        Self { api, blocks: Vec::new() }
    }

    /// The newest height seen.
    pub(super) fn height(&self) -> Height {
        self.blocks.last().map_or(Height::ZERO, |block| block.height)
    }

    /// Every event so far, with its height.
    pub(super) fn events(&self) -> impl Iterator<Item = (Height, &Event)> {
        self.blocks.iter().flat_map(|block| block.events.iter().map(|event| (block.height, event)))
    }

    /// Waits until `find` finds something in what happened so far.
    pub(super) async fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut find: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, DemoError> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = find(self) {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return Err(DemoError::Late { what: what.into(), seconds: limit.as_secs() });
            }
            self.poll().await.map_err(|source| DemoError::Call { doing: "following the chain", source })?;
        }
    }

    async fn poll(&mut self) -> Result<(), CallError> {
        let path = format!("/hpips/v0/blocks?since={}&wait_ms={POLL_MS}", self.height());
        let page: BlockPage = self.api.get(&path).await?;
        self.blocks.extend(page.blocks);
        Ok(())
    }
}
