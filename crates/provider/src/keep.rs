//! Makes staged pieces part of the store when their deal is active, and removes what the chain has ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use hpips_ledger::query;
use hpips_store::PieceKey;
use hpips_types::ProposalId;
use tracing::info;

use crate::pieces::{Piece, PieceId};
use crate::provider::Shared;

/// Runs until the provider stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut blocks = shared.parts.chain.subscribe();
    let mut served = BTreeSet::new();
    loop {
        let keeping = Arc::clone(&shared);
        let known = std::mem::take(&mut served);
        let looked = tokio::task::spawn_blocking(move || look(&keeping, known)).await;
        served = looked.expect("looking after pieces does not panic");
        if !shared.next_block(&mut blocks).await {
            return;
        }
    }
}

/// Compares what lies here with what the chain says. Returns the pieces that are served.
fn look(shared: &Shared, mut served: BTreeSet<PieceId>) -> BTreeSet<PieceId> {
    let state = shared.parts.chain.state();
    let held: BTreeSet<PieceId> = query::pieces(&state, &shared.me)
        .iter()
        .map(|held| PieceId { deal: held.deal, slot: held.slot })
        .collect();
    let offered = query::offers(&state, &shared.me);
    for piece in shared.pieces.all() {
        let id = piece.id;
        if held.contains(&id) {
            if !served.contains(&id) {
                match serve(shared, &piece) {
                    Ok(()) => drop(served.insert(id)),
                    Err(error) => shared.trouble("serving a piece", &error),
                }
            }
            continue;
        }
        let is_staged = query::proposal(&state, ProposalId::new(id.deal.get())).is_some();
        if !is_staged && !offered.contains(&(id.deal, id.slot)) {
            match remove(shared, &piece) {
                Ok(()) => drop(served.remove(&id)),
                Err(error) => shared.trouble("removing a piece", error.as_ref()),
            }
        }
    }
    served
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
    info!(deal = %piece.id.deal, slot = %piece.id.slot, "piece removed");
    Ok(())
}
