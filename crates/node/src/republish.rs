//! Names that this node published, published again before routers forget them.

use std::sync::Arc;
use std::time::Duration;

use hpips_api::chain_text;
use hpips_api::names::{Names, REPUBLISH};
use hpips_api::rpc::Keys;

/// How soon it is tried again when nobody took a record: at the start the first peers may still be connecting. Doubles
/// while nobody does.
const AGAIN: Duration = Duration::from_secs(5);

/// Publishes the repo's records at the start and then every four hours, until the task is stopped. One at a time: each
/// router gets one record after the other.
pub(crate) async fn run(names: Names, keys: Arc<dyn Keys>) {
    let mut again = AGAIN;
    loop {
        let wait = match publish(&names, &keys).await {
            Ok(0) => {
                again = AGAIN;
                REPUBLISH
            }
            Ok(_) => {
                let wait = again;
                again = (2 * again).min(REPUBLISH);
                wait
            }
            Err(error) => {
                tracing::warn!(error, "names are not published again");
                REPUBLISH
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// How many records nobody took.
async fn publish(names: &Names, keys: &Arc<dyn Keys>) -> Result<usize, String> {
    let keys = Arc::clone(keys);
    let seeds = tokio::task::spawn_blocking(move || {
        let known = keys.list()?;
        known.iter().map(|key| keys.seed(&key.name)).collect::<Result<Vec<_>, _>>()
    });
    let seeds = seeds.await.map_err(|error| chain_text(&error))?.map_err(|error| chain_text(&error))?;
    let done = names.republish(seeds).await.map_err(|error| chain_text(&error))?;
    if done.records > 0 {
        tracing::debug!(records = done.records, untold = done.untold, "published names again");
    }
    Ok(done.untold)
}
