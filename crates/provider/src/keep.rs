//! Makes staged pieces part of the store when their deal is active, and removes what the chain has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hpips_ledger::query;
use hpips_store::PieceKey;
use hpips_types::{Height, ProposalId, SetId};
use tracing::info;

use crate::pieces::{Piece, PieceId};
use crate::provider::Shared;

/// Windows that a piece stays after it left its bundle: the open one may still ask for it.
const LINGER_WINDOWS: u64 = 2;

/// What was found at earlier blocks.
#[derive(Debug, Default)]
struct Known {
    /// Pieces that are served.
    served: BTreeSet<PieceId>,
    /// Pieces that nothing asks for, and since when.
    unwanted: BTreeMap<PieceId, Height>,
}

/// Runs until the provider stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut blocks = shared.parts.chain.subscribe();
    let mut known = Known::default();
    loop {
        let keeping = Arc::clone(&shared);
        let before = std::mem::take(&mut known);
        let looked = tokio::task::spawn_blocking(move || look(&keeping, before)).await;
        known = looked.expect("looking after pieces does not panic");
        if !shared.next_block(&mut blocks).await {
            return;
        }
    }
}

/// Compares what lies here with what the chain says.
fn look(shared: &Shared, mut known: Known) -> Known {
    let state = shared.parts.chain.state();
    let now = query::head(&state).height;
    let held = query::pieces(&state, &shared.me);
    shared.remember(&held);
    let held: BTreeSet<PieceId> =
        held.iter().map(|held| PieceId { deal: held.deal, slot: held.slot }).collect();
    let offered = query::offers(&state, &shared.me);
    let owes = query::debt(&state, SetId { provider: shared.me, number: 0 }).is_some();
    let linger = LINGER_WINDOWS * shared.parts.chain.params().window_blocks;
    for piece in shared.pieces.all() {
        let id = piece.id;
        if held.contains(&id) {
            known.unwanted.remove(&id);
            if !known.served.contains(&id) {
                match serve(shared, &piece) {
                    Ok(()) => drop(known.served.insert(id)),
                    Err(error) => shared.trouble("serving a piece", &error),
                }
            }
            continue;
        }
        let is_staged = query::proposal(&state, ProposalId::new(id.deal.get())).is_some();
        if is_staged || owes || offered.contains(&(id.deal, id.slot)) {
            known.unwanted.remove(&id);
            continue;
        }
        let since = *known.unwanted.entry(id).or_insert(now);
        if now < since.plus(linger) {
            continue;
        }
        match remove(shared, &piece) {
            Ok(()) => {
                known.served.remove(&id);
                known.unwanted.remove(&id);
            }
            Err(error) => shared.trouble("removing a piece", error.as_ref()),
        }
    }
    known
}

fn key(id: PieceId) -> PieceKey {
    PieceKey { deal: id.deal, slot: id.slot }
}

fn serve(shared: &Shared, piece: &Piece) -> Result<(), hpips_store::WriteError> {
    shared.parts.store.add_piece(key(piece.id), piece.path(), &piece.meta.rows)?;
    info!(deal = %piece.id.deal, slot = %piece.id.slot, bytes = piece.meta.bytes, "piece held");
    Ok(())
}

fn remove(shared: &Shared, piece: &Piece) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    shared.parts.store.remove_piece(key(piece.id))?;
    shared.pieces.remove(piece.id)?;
    shared.forget(piece.id);
    info!(deal = %piece.id.deal, slot = %piece.id.slot, "piece removed");
    Ok(())
}
