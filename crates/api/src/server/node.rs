//! The node itself: names, peers, mount, end.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use hpips_net::Multiaddr;
use hpips_net::identity::split_peer;

use super::chain::{account_info, pledge_info};
use super::parts::Parts;
use crate::error::{ApiError, ErrorCode};
use crate::view::{Connect, Done, Identity, MountRequest, NetworkStatus, Status};

/// Addresses in one request at most.
const ADDRESSES_MAX: usize = 1024;

pub(super) async fn id(State(parts): State<Parts>) -> Json<Identity> {
    Json(Identity {
        peer_id: parts.net.peer_id().to_string(),
        account: parts.net.account().to_string(),
        addresses: parts.net.full_addrs().iter().map(ToString::to_string).collect(),
    })
}

pub(super) async fn status(State(parts): State<Parts>) -> Result<Json<Status>, ApiError> {
    let network = parts.network.as_ref().map(|network| {
        let state = network.chain.state();
        let id = network.wallet.account();
        NetworkStatus {
            name: network.chain.params().name.clone(),
            height: state.height(),
            block_age_ms: network.feed.block_age().map(milliseconds),
            account: account_info(&state, &id),
            pledge: pledge_info(network, &id),
            stored: hpips_ledger::query::proposals_of(&state, &id).len(),
        }
    });
    Ok(Json(Status {
        peers: parts.net.connected().len(),
        memory_bytes: memory_bytes(),
        blocks: parts.store.block_count().map_err(|error| ApiError::failed(&error))?,
        network,
    }))
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Resident memory as the system counts it (proc_pid_status(5)).
pub(super) fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Keeps connections from now on, with peers that may start later: how the nodes of a test network find each other.
/// People and programs use `swarm/connect` of the RPC, which says how it went.
pub(super) async fn connect(
    State(parts): State<Parts>,
    Json(request): Json<Connect>,
) -> Result<Json<Done>, ApiError> {
    if request.addresses.len() > ADDRESSES_MAX {
        return Err(ApiError::bad_request(format!("at most {ADDRESSES_MAX} addresses at once")));
    }
    for text in &request.addresses {
        let wrong = || ApiError::bad_request(format!("{text:?} is no multiaddress that ends in /p2p/NAME"));
        let address: Multiaddr = text.parse().map_err(|_| wrong())?;
        let (peer, address) = split_peer(&address).ok_or_else(wrong)?;
        parts.net.keep_peer(peer, vec![address]).await;
    }
    Ok(Json(Done {}))
}

pub(super) async fn mount(
    State(parts): State<Parts>,
    Json(request): Json<MountRequest>,
) -> Result<Json<Done>, ApiError> {
    if !request.path.is_absolute() {
        return Err(ApiError::bad_request("the folder must be given as an absolute path"));
    }
    host(move || parts.host.mount(&request.path)).await
}

pub(super) async fn unmount(State(parts): State<Parts>) -> Result<Json<Done>, ApiError> {
    host(move || parts.host.unmount()).await
}

async fn host(work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<Json<Done>, ApiError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::failed(&error))?;
    done.map(|()| Json(Done {})).map_err(|text| ApiError::new(ErrorCode::Failed, text))
}

pub(super) async fn shutdown(State(parts): State<Parts>) -> Json<Done> {
    parts.host.shut_down();
    Json(Done {})
}
