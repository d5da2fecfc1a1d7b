//! Names that this node published, published again before routers forget them.

use std::sync::Arc;

use hpips_api::chain_text;
use hpips_api::names::{Names, REPUBLISH};
use hpips_api::rpc::Keys;
use tokio::time::MissedTickBehavior;

/// Publishes the repo's records at the start and then every four hours, until the task is stopped. One at a time: each
/// router gets one record after the other.
pub(crate) async fn run(names: Names, keys: Arc<dyn Keys>) {
    let mut ticks = tokio::time::interval(REPUBLISH);
    // A machine that slept publishes once when it wakes.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let keys = Arc::clone(&keys);
        let seeds = tokio::task::spawn_blocking(move || {
            let known = keys.list()?;
            known.iter().map(|key| keys.seed(&key.name)).collect::<Result<Vec<_>, _>>()
        });
        let seeds = match seeds.await {
            Ok(Ok(seeds)) => seeds,
            Ok(Err(error)) => {
                let error = chain_text(&error);
                tracing::warn!(error, "names are not published again: the keys cannot be read");
                continue;
            }
            Err(_) => return,
        };
        match names.republish(seeds).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "published names again"),
            Err(error) => tracing::warn!(%error, "names are not published again: the records cannot be read"),
        }
    }
}
