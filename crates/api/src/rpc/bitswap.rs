//! What is exchanged with whom.

use axum::extract;
use axum::response::Response;
use cid::Cid;
use serde::Serialize;

use super::answer;
use super::call::Call;
use super::error::RpcError;
use super::node::peer_of_text;
use super::state::State;

/// A CID as documents write links.
#[derive(Serialize)]
struct Link {
    #[serde(rename = "/")]
    cid: String,
}

fn links(cids: &[Cid]) -> Vec<Link> {
    cids.iter().map(|cid| Link { cid: cid.to_string() }).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    wantlist: Vec<Link>,
    peers: Vec<String>,
    blocks_received: u64,
    data_received: u64,
    dup_blks_received: u64,
    dup_data_received: u64,
    blocks_sent: u64,
    data_sent: u64,
}

pub(super) async fn stat(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let net = &state.online()?.net;
    let stats = net.bitswap_stats();
    answer::json(&Stat {
        wantlist: links(&net.bitswap_wantlist(None).await),
        peers: net.peers().iter().map(|info| info.peer.to_string()).collect(),
        blocks_received: stats.blocks_received + stats.blocks_late,
        data_received: stats.bytes_received + stats.bytes_late,
        dup_blks_received: stats.blocks_late,
        dup_data_received: stats.bytes_late,
        blocks_sent: stats.blocks_sent,
        data_sent: stats.bytes_sent,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Wantlist {
    keys: Vec<Link>,
}

/// What this node wants, or a peer from this node.
pub(super) async fn wantlist(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let net = &state.online()?.net;
    let peer = call.option(&["peer", "p"]).filter(|name| !name.is_empty()).map(peer_of_text).transpose()?;
    let peer = peer.filter(|peer| *peer != net.peer_id());
    answer::json(&Wantlist { keys: links(&net.bitswap_wantlist(peer).await) })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ledger {
    peer: String,
    /// Bytes sent for each byte received, one more of these.
    value: f64,
    sent: u64,
    recv: u64,
    exchanged: u64,
}

pub(super) async fn ledger(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let [name] = call.some_args("peer ID")? else { return Err(RpcError::client("one peer at a time")) };
    let peer = peer_of_text(name)?;
    let ledger = state.online()?.net.bitswap_ledger(peer).await.unwrap_or_default();
    answer::json(&Ledger {
        peer: peer.to_string(),
        value: ledger.bytes_sent as f64 / (ledger.bytes_received as f64 + 1.0),
        sent: ledger.bytes_sent,
        recv: ledger.bytes_received,
        exchanged: ledger.exchanges,
    })
}
