//! Objects on the network: what they cost, and storing them.

use axum::Json;
use axum::extract::State;
use hpips_client::{Quote, QuoteError, Reporter, StoreError, StoreOptions};

use super::content::parse_root;
use super::parts::{Network, Parts};
use crate::error::{ApiError, ErrorCode, chain_text};
use crate::view::{QuoteAnswer, QuoteRequest, StoreAnswer, StoreRequest};

async fn quote_of(network: &Network, root: &str, windows: Option<u64>) -> Result<Quote, ApiError> {
    let root = parse_root(root)?;
    let windows = windows.unwrap_or(network.chain.params().term_windows_min);
    network.client.quote(root, &StoreOptions::of_windows(windows)).await.map_err(|error| {
        let code = match &error {
            QuoteError::Missing(_) => ErrorCode::NotFound,
            QuoteError::Term { .. } | QuoteError::Enumerate(_) | QuoteError::Plan(_) => ErrorCode::BadRequest,
            QuoteError::TooFewProviders { .. } | QuoteError::Durability { .. } => ErrorCode::Busy,
            _ => ErrorCode::Failed,
        };
        ApiError::new(code, chain_text(&error))
    })
}

pub(super) async fn quote(
    State(parts): State<Parts>,
    Json(request): Json<QuoteRequest>,
) -> Result<Json<QuoteAnswer>, ApiError> {
    let quote = quote_of(parts.network()?, &request.root, request.windows).await?;
    Ok(Json(QuoteAnswer {
        slots: quote.code.n(),
        needed: quote.code.k(),
        content_bytes: quote.content_bytes.get(),
        stored_bytes: quote.stored_bytes.get(),
        expansion: quote.expansion(),
        windows: quote.term_windows,
        price_max: quote.price_max,
        fees: quote.fees,
        balance: quote.balance,
        nines: quote.nines,
        spare_operators: quote.operators.saturating_sub(quote.code.n().into()),
    }))
}

pub(super) async fn store(
    State(parts): State<Parts>,
    Json(request): Json<StoreRequest>,
) -> Result<Json<StoreAnswer>, ApiError> {
    let network = parts.network()?;
    let quote = quote_of(network, &request.root, request.windows).await?;
    if quote.price_max > request.price_max {
        let text = format!(
            "it costs up to {} HPIPS now, {} were agreed to; nothing was spent",
            quote.price_max, request.price_max
        );
        return Err(ApiError::new(ErrorCode::Funds, text));
    }
    let stored = network.client.store(&quote, &Reporter::none()).await.map_err(|error| {
        let code = match &error {
            StoreError::Funds { .. } | StoreError::Ceiling { .. } | StoreError::Escrow { .. } => {
                ErrorCode::Funds
            }
            StoreError::Busy(_) => ErrorCode::Busy,
            StoreError::Missing(_) => ErrorCode::NotFound,
            _ => ErrorCode::Failed,
        };
        ApiError::new(code, chain_text(&error))
    })?;
    Ok(Json(StoreAnswer { deals: stored.deals, held: stored.held, slots: stored.slots, ends: stored.ends }))
}
