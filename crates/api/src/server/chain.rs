//! What stands on the chain, and the account's part in it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::{Extension, Json};
use hpips_chain::WalletError;
use hpips_ledger::rows::SlotState;
use hpips_ledger::{Operation, StateView, query};
use hpips_provider::{PostedProof, Progress, Target, UnderWay};
use hpips_types::{AccountId, DealId, Height, TokenAmount, WindowIndex};
use serde::Deserialize;

use super::once::Once;
use super::parts::{Network, Parts};
use crate::error::{ApiError, ErrorCode, chain_text};
use crate::view::{
    AccountInfo, BlockPage, ChainInfo, DealInfo, Done, Executed, PledgeInfo, PledgeRequest, ProviderWork,
    Proving, ProvingState, SlotInfo, Totals, TransferRequest,
};

/// Bytes in the name of a transfer at most.
const NAME_BYTES_MAX: usize = 64;
/// Longest wait of one poll for blocks.
const WAIT_MAX: Duration = Duration::from_secs(20);

pub(super) async fn chain(State(parts): State<Parts>) -> Result<Json<ChainInfo>, ApiError> {
    let network = parts.network()?;
    let stats = network.chain.stats();
    Ok(Json(ChainInfo {
        id: network.chain.id().to_string(),
        params: network.chain.params().clone(),
        committee: network.committee.iter().map(ToString::to_string).collect(),
        is_validator: network.committee.contains(&network.wallet.account()),
        height: network.chain.height(),
        blocks: stats.blocks,
        nullified: stats.nullified,
        finality_p50_ms: stats.finality_percentile_ms(50),
    }))
}

#[derive(Deserialize)]
pub(super) struct Since {
    since: u64,
    #[serde(default)]
    wait_ms: u64,
}

pub(super) async fn blocks(
    State(parts): State<Parts>,
    Query(ask): Query<Since>,
) -> Result<Json<BlockPage>, ApiError> {
    let wait = Duration::from_millis(ask.wait_ms).min(WAIT_MAX);
    Ok(Json(parts.network()?.feed.page(Height::new(ask.since), wait).await))
}

pub(super) async fn totals(State(parts): State<Parts>) -> Result<Json<Totals>, ApiError> {
    let state = parts.network()?.chain.state();
    let height = state.height();
    let rows = tokio::task::spawn_blocking(move || state.rows()).await;
    let rows = rows.map_err(|error| ApiError::failed(&error))?.map_err(|error| ApiError::failed(&error))?;
    let coins = u64::try_from(hpips_ledger::total(&rows)).unwrap_or(u64::MAX);
    Ok(Json(Totals { height, coins: TokenAmount::new(coins) }))
}

#[derive(Deserialize)]
pub(super) struct Whose {
    address: Option<String>,
}

pub(super) async fn account(
    State(parts): State<Parts>,
    Query(whose): Query<Whose>,
) -> Result<Json<AccountInfo>, ApiError> {
    let network = parts.network()?;
    let id = account_of(network, whose)?;
    Ok(Json(account_info(&network.chain.state(), &id)))
}

fn account_of(network: &Network, whose: Whose) -> Result<AccountId, ApiError> {
    match whose.address {
        Some(text) => parse_account(&text),
        None => Ok(network.wallet.account()),
    }
}

fn parse_account(text: &str) -> Result<AccountId, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request(format!("{text:?}: {error}")))
}

pub(super) fn account_info(state: &dyn StateView, id: &AccountId) -> AccountInfo {
    let view = query::account(state, id);
    AccountInfo {
        address: id.to_string(),
        balance: view.balance,
        locked: query::pledge(state, id).map_or(TokenAmount::ZERO, |pledge| pledge.locked),
        owed: view.owed,
        nonce: view.nonce,
    }
}

pub(super) async fn pledge_of(
    State(parts): State<Parts>,
    Query(whose): Query<Whose>,
) -> Result<Json<Option<PledgeInfo>>, ApiError> {
    let network = parts.network()?;
    let id = account_of(network, whose)?;
    Ok(Json(pledge_info(network, &id)))
}

pub(super) fn pledge_info(network: &Network, id: &AccountId) -> Option<PledgeInfo> {
    let state = network.chain.state();
    let pledge = query::pledge(&state, id)?;
    let sets: Vec<_> =
        query::sets(&state, id).into_iter().filter_map(|set| query::set(&state, set)).collect();
    let days = || sets.iter().flat_map(|set| &set.days);
    Some(PledgeInfo {
        sealed_bytes: pledge.sealed_bytes,
        open_bytes: pledge.terms.open_bytes,
        used_bytes: pledge.used_bytes,
        ask: pledge.terms.ask,
        windows_proven: days().map(|day| day.proven).sum(),
        windows_due: days().map(|day| day.due).sum(),
        missed_in_row: sets.iter().map(|set| set.missed_in_row).max().unwrap_or(0),
        work: if *id == network.wallet.account() { work(network) } else { None },
    })
}

#[derive(Deserialize)]
pub(super) struct WhichWindow {
    window: Option<u64>,
}

pub(super) async fn proof(
    State(parts): State<Parts>,
    Query(which): Query<WhichWindow>,
) -> Result<Json<PostedProof>, ApiError> {
    let provider = parts.network()?.provider().await?;
    let window = which.window.map(WindowIndex::new);
    provider.posted_proof(window).map(Json).ok_or_else(|| {
        let windows = provider.posted_windows();
        let text = match (windows.first(), windows.last()) {
            (Some(first), Some(last)) => format!(
                "no proof of that window is remembered: this node has the last it posted, of windows {first} to {last}"
            ),
            _ => "this node has posted no window's proof since it started. It does once space is pledged and sealed: \
                  hpips pledge status"
                .to_owned(),
        };
        ApiError::new(ErrorCode::NotFound, text)
    })
}

fn work(network: &Network) -> Option<ProviderWork> {
    let status = network.provider.borrow().as_ref()?.status();
    Some(ProviderWork {
        sectors: status.sectors,
        sealing: status.sealing,
        sectors_wanted: status.sectors_wanted,
        sealing_left_ms: status.sealing_left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        proving: status.proving.iter().filter_map(proving).collect(),
        pieces: status.pieces,
        proofs: status.proofs,
        proof_ms: status.proof_ms,
        trouble: status.trouble,
    })
}

fn proving(proof: &UnderWay) -> Option<Proving> {
    let state = match proof.progress {
        Progress::Queued { .. } => ProvingState::Waiting,
        Progress::LoadingKeys => ProvingState::Loading,
        Progress::Proving => ProvingState::Computing,
        Progress::Checking => ProvingState::Checking,
        Progress::Done => return None,
    };
    Some(Proving { circuit: proof.circuit().to_owned(), state })
}

pub(super) async fn pledge(
    State(parts): State<Parts>,
    Json(request): Json<PledgeRequest>,
) -> Result<Json<Done>, ApiError> {
    let network = parts.network()?;
    let params = network.chain.params();
    if request.sealed_bytes < params.ticket_bytes {
        let least = hpips_types::ByteCount::new(params.ticket_bytes).to_short();
        return Err(ApiError::bad_request(format!("the least pledge on this network is {least}")));
    }
    if request.open_bytes > request.sealed_bytes.saturating_mul(params.open_per_sealed) {
        let most = params.open_per_sealed;
        return Err(ApiError::bad_request(format!(
            "open space is at most {most} times the sealed space here"
        )));
    }
    let id = network.wallet.account();
    let balance = query::account(&network.chain.state(), &id).balance;
    network.provider().await?.pledge(Target {
        sealed_bytes: request.sealed_bytes,
        open_bytes: request.open_bytes,
        ask: request.ask.unwrap_or(network.ask),
        collateral_max: request.collateral_max.unwrap_or(balance),
        operator: id.to_string(),
    });
    Ok(Json(Done {}))
}

/// Transfers by the name that the sender gave them.
pub(super) type Transfers = Once<TransferRequest, Executed>;

pub(super) async fn transfer(
    State(parts): State<Parts>,
    Extension(transfers): Extension<Arc<Transfers>>,
    Json(request): Json<TransferRequest>,
) -> Result<Json<Executed>, ApiError> {
    let network = parts.network()?;
    let to = parse_account(&request.to)?;
    let (chain, wallet, amount) = (network.chain.clone(), network.wallet.clone(), request.amount);
    let work = async move {
        let free = query::account(&chain.state(), &wallet.account()).balance;
        if amount > free {
            let text = format!("{amount} HPIPS needed, {free} free; nothing was spent");
            return Err(ApiError::new(ErrorCode::Funds, text));
        }
        match wallet.execute(vec![Operation::Transfer { to, amount }]).await {
            Ok(height) => Ok(Executed { height }),
            Err(error @ WalletError::Failed { .. }) => {
                Err(ApiError::new(ErrorCode::Funds, format!("{}; nothing was sent", chain_text(&error))))
            }
            Err(error @ WalletError::Submit(_)) => {
                Err(ApiError::new(ErrorCode::Failed, format!("{}; nothing was sent", chain_text(&error))))
            }
            // It is in the pool: whoever sends again now may pay twice.
            Err(error @ WalletError::Wait(_)) => Err(ApiError::new(ErrorCode::Timeout, chain_text(&error))),
        }
    };
    let done = match request.once.clone() {
        Some(name) if name.len() > NAME_BYTES_MAX => {
            return Err(ApiError::bad_request(format!("a name has at most {NAME_BYTES_MAX} bytes")));
        }
        Some(name) => transfers.run(name, request, work).await,
        None => work.await,
    };
    done.map(Json)
}

#[derive(Deserialize)]
pub(super) struct WhichDeals {
    root: Option<String>,
    deal: Option<u64>,
}

pub(super) async fn deals(
    State(parts): State<Parts>,
    Query(which): Query<WhichDeals>,
) -> Result<Json<Vec<DealInfo>>, ApiError> {
    let network = parts.network()?;
    let state = network.chain.state();
    let ids = match (which.root, which.deal) {
        (Some(root), None) => {
            let root = root.parse().map_err(|_| ApiError::bad_request(format!("{root:?} is no CID")))?;
            query::deals_of_root(&state, &root)
        }
        (None, Some(deal)) => vec![DealId::new(deal)],
        (None, None) => {
            let mine = query::proposals_of(&state, &network.wallet.account());
            mine.into_iter().map(|id| DealId::new(id.get())).collect()
        }
        (Some(_), Some(_)) => return Err(ApiError::bad_request("root or deal, not both")),
    };
    Ok(Json(ids.into_iter().filter_map(|id| deal_info(&state, id)).collect()))
}

fn deal_info(state: &dyn StateView, id: DealId) -> Option<DealInfo> {
    let deal = query::deal(state, id)?;
    let slots = query::slots(state, id);
    Some(DealInfo {
        deal: id,
        root: deal.root.to_string(),
        client: deal.client.to_string(),
        content_bytes: deal.content_bytes,
        k: deal.k,
        n: deal.n,
        healthy: deal.healthy,
        term_windows: deal.term_windows,
        ends: deal.ends,
        escrow: slots.iter().map(|slot| slot.escrow).sum(),
        slots: slots
            .iter()
            .map(|slot| SlotInfo {
                bytes: slot.bytes,
                state: match slot.state {
                    SlotState::Held { .. } => "held",
                    SlotState::Lost {} => "lost",
                    SlotState::Offered { .. } => "offered",
                    SlotState::Entering { .. } => "entering",
                    SlotState::Closed {} => "closed",
                }
                .into(),
                provider: slot.state.provider().map(|provider| provider.to_string()),
            })
            .collect(),
    })
}
