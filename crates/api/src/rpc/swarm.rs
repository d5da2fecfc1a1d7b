//! Connections with other nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract;
use axum::response::Response;
use hpips_net::identity::split_peer;
use hpips_net::{Filter, Multiaddr, PeerId, PeerInfo};
use serde::Serialize;
use serde_json::Value;

use super::answer::{self, Form};
use super::call::Call;
use super::error::RpcError;
use super::node::{peer_of_text, texts, unreachable_peer};
use super::state::State;

/// Addresses in one request at most.
const ADDRESSES_MAX: usize = 1024;
/// Pings of one request at most: a day of them.
const PINGS_MAX: u64 = 86_400;
/// Pings without a number asked for (as Kubo's).
const PINGS: u64 = 10;
/// Time between two pings.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How long bytes are counted for a rate.
const RATE: Duration = Duration::from_millis(250);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Peers<T> {
    peers: Vec<T>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Strings {
    strings: Vec<String>,
}

/// Arguments as addresses of peers.
fn addresses_of(call: &Call, what: &str) -> Result<Vec<(PeerId, Multiaddr)>, RpcError> {
    let args = call.some_args(what)?;
    if args.len() > ADDRESSES_MAX {
        return Err(RpcError::client(format!("at most {ADDRESSES_MAX} addresses at once")));
    }
    let parse = |text: &String| {
        let address = text.parse().ok();
        address.and_then(|address| split_peer(&address)).ok_or_else(|| {
            RpcError::client(format!("invalid peer address {text:?}: a multiaddress that ends in /p2p/NAME"))
        })
    };
    args.iter().map(parse).collect()
}

fn full(peer: PeerId, address: &Multiaddr) -> String {
    address.clone().with_p2p(peer).unwrap_or_else(|address| address).to_string()
}

/// Changes a list of the configuration: what stands in it afterwards.
fn change_list(
    state: &State,
    key: &str,
    change: impl FnOnce(&mut Vec<String>) -> Result<(), RpcError>,
) -> Result<(), RpcError> {
    let settings = &state.parts().settings;
    let mut list = list_of(&settings.get(key)?);
    change(&mut list)?;
    Ok(settings.set(key, Value::from(list))?)
}

fn list_of(value: &Value) -> Vec<String> {
    let values = value.as_array().map(Vec::as_slice).unwrap_or_default();
    values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// The peers that the configuration names.
pub(super) async fn bootstrap_list(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    answer::value(&call, move || Ok(Peers { peers: list_of(&state.parts().settings.get("Bootstrap")?) }))
        .await
}

/// Names more peers in the configuration; a running node connects with them at once.
pub(super) async fn bootstrap_add(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let wanted = addresses_of(&call, "peer")?;
    let peers: Vec<String> = wanted.iter().map(|(peer, address)| full(*peer, address)).collect();
    let changed = peers.clone();
    let of_config = state.clone();
    answer::blocking(&call, move || {
        change_list(&of_config, "Bootstrap", |list| {
            list.extend(changed.into_iter().filter(|peer| !list.contains(peer)).collect::<Vec<_>>());
            Ok(())
        })
    })
    .await?;
    if let Ok(online) = state.online() {
        for (peer, address) in wanted {
            online.net.keep_peer(peer, vec![address]).await;
        }
    }
    answer::json(&Peers { peers })
}

/// Takes peers out of the configuration; connections that stand stay.
pub(super) async fn bootstrap_remove(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let all = call.flag(&["all"], false)?;
    let wanted = if all { Vec::new() } else { addresses_of(&call, "peer")? };
    remove_from_bootstrap(&state, &call, wanted, all).await
}

/// As [`bootstrap_remove`] with `all`.
pub(super) async fn bootstrap_remove_all(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    remove_from_bootstrap(&state, &call, Vec::new(), true).await
}

async fn remove_from_bootstrap(
    state: &State,
    call: &Call,
    wanted: Vec<(PeerId, Multiaddr)>,
    all: bool,
) -> Result<Response, RpcError> {
    let of_config = state.clone();
    let peers = answer::blocking(call, move || {
        let mut removed = Vec::new();
        change_list(&of_config, "Bootstrap", |list| {
            if all {
                removed = std::mem::take(list);
                return Ok(());
            }
            for (peer, address) in wanted {
                let text = full(peer, &address);
                let before = list.len();
                list.retain(|known| *known != text);
                if list.len() == before {
                    return Err(RpcError::client(format!(
                        "{text} is no peer of the configuration; nothing was changed. They are: bootstrap list"
                    )));
                }
                removed.push(text);
            }
            Ok(())
        })?;
        Ok(removed)
    })
    .await?;
    if let Ok(online) = state.online() {
        for text in &peers {
            if let Some((peer, _)) = text.parse().ok().and_then(|address| split_peer(&address)) {
                online.net.let_go_peer(peer).await;
            }
        }
    }
    answer::json(&Peers { peers })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stream {
    protocol: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Identified {
    #[serde(rename = "ID")]
    id: String,
    public_key: String,
    addresses: Vec<String>,
    agent_version: String,
    protocols: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Peer {
    addr: String,
    peer: String,
    /// Kubo's number: 0 unknown, 1 inbound, 2 outbound.
    direction: u8,
    latency: String,
    muxer: String,
    streams: Option<Vec<Stream>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identify: Option<Identified>,
}

pub(super) async fn peers(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let verbose = call.flag(&["verbose", "v"], false)?;
    let latency = call.flag(&["latency"], false)? || verbose;
    let direction = call.flag(&["direction"], false)? || verbose;
    let identify = call.flag(&["identify"], false)? || verbose;
    let streams = call.flag(&["streams"], false)? || verbose;
    let peer = |info: PeerInfo| Peer {
        addr: info.address.to_string(),
        peer: info.peer.to_string(),
        direction: if !direction { 0 } else { 1 + u8::from(info.is_outbound) },
        latency: info.latency.filter(|_| latency).map_or_else(String::new, duration),
        muxer: String::new(),
        streams: streams.then(Vec::new),
        identify: identify.then(|| Identified {
            id: info.peer.to_string(),
            public_key: String::new(),
            addresses: info.listens.iter().map(|address| full(info.peer, address)).collect(),
            agent_version: info.agent.clone(),
            protocols: info.protocols.clone(),
        }),
    };
    answer::json(&Peers { peers: state.online()?.net.peers().into_iter().map(peer).collect::<Vec<_>>() })
}

/// A time as Go writes it.
fn duration(time: Duration) -> String {
    match time.as_micros() {
        0..1_000 => format!("{}µs", time.as_micros()),
        1_000..1_000_000 => format!("{:.3}ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.3}s", time.as_secs_f64()),
    }
}

/// Connects and stays connected.
pub(super) async fn connect(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let online = state.online()?;
    let mut strings = Vec::new();
    for (peer, address) in addresses_of(&call, "address")? {
        let connected = async {
            online.net.address_book_peer(peer, vec![address.clone()]).await;
            let connected = online.net.connect_peer(peer).await;
            connected.map_err(|error| {
                RpcError::new(format!("connect {peer} failure: {}", crate::error::chain_text(&error)))
            })
        };
        answer::in_time(&call, connected).await?;
        // A peer that was never reached is not dialed for ever.
        online.net.keep_peer(peer, vec![address]).await;
        strings.push(format!("connect {peer} success"));
    }
    answer::json(&Strings { strings })
}

/// Closes connections, by address or name, and does not keep them.
pub(super) async fn disconnect(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let net = &state.online()?.net;
    let args = call.some_args("address")?;
    let named = |text: &String| {
        let address = text.parse().ok().and_then(|address| split_peer(&address));
        match address {
            Some((peer, _)) => Ok(peer),
            None => peer_of_text(text.trim_start_matches("/p2p/")),
        }
    };
    let wanted: Vec<PeerId> = args.iter().map(named).collect::<Result<_, _>>()?;
    let mut strings = Vec::new();
    for peer in wanted {
        if net.peer(&peer).is_none() {
            strings.push(format!("disconnect {peer} failure: not connected"));
            continue;
        }
        net.let_go_peer(peer).await;
        net.disconnect_peer(peer).await;
        strings.push(format!("disconnect {peer} success"));
    }
    answer::json(&Strings { strings })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Addresses {
    addrs: BTreeMap<String, Vec<String>>,
}

/// Addresses of connected peers.
pub(super) async fn addresses(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let peers = state.online()?.net.peers();
    let addrs = peers.into_iter().map(|info| {
        let mut addresses = texts(&info.listens);
        if info.is_outbound && !info.listens.contains(&info.address) {
            addresses.insert(0, info.address.to_string());
        }
        (info.peer.to_string(), addresses)
    });
    answer::json(&Addresses { addrs: addrs.collect() })
}

pub(super) async fn listening(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let net = &state.online()?.net;
    let with_id = call.flag(&["id"], false)?;
    let mut addresses = net.listen_addrs();
    if with_id {
        addresses = addresses.into_iter().map(|address| net.full(address)).collect();
    }
    answer::json(&Strings { strings: texts(&addresses) })
}

/// The filters in force, or those of the configuration where no node runs.
pub(super) async fn filters(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    if let Ok(online) = state.online() {
        let strings = online.net.filters().list().iter().map(ToString::to_string).collect();
        return answer::json(&Strings { strings });
    }
    answer::value(&call, move || {
        Ok(Strings { strings: list_of(&state.parts().settings.get("Swarm.AddrFilters")?) })
    })
    .await
}

fn filters_of(call: &Call) -> Result<Vec<Filter>, RpcError> {
    let parse = |text: &String| text.parse().map_err(|error| RpcError::client(format!("{error}")));
    call.some_args("address")?.iter().map(parse).collect()
}

/// Adds filters, to the configuration too.
pub(super) async fn filters_add(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let wanted = filters_of(&call)?;
    answer::value(&call, move || {
        let strings: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        change_list(&state, "Swarm.AddrFilters", |list| {
            list.extend(strings.iter().filter(|text| !list.contains(text)).cloned().collect::<Vec<_>>());
            Ok(())
        })?;
        if let Ok(online) = state.online() {
            for filter in wanted {
                online.net.filters().add(filter);
            }
        }
        Ok(Strings { strings })
    })
    .await
}

/// Removes filters, or `all`, from the configuration too.
pub(super) async fn filters_remove(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let all = call.args() == ["all"];
    let wanted = if all { Vec::new() } else { filters_of(&call)? };
    answer::value(&call, move || {
        let mut strings = Vec::new();
        let is_removed = |filter: &Filter| all || wanted.contains(filter);
        change_list(&state, "Swarm.AddrFilters", |list| {
            list.retain(|text| {
                let removed = text.parse().is_ok_and(|filter| is_removed(&filter));
                if removed {
                    strings.push(text.clone());
                }
                !removed
            });
            Ok(())
        })?;
        if let Ok(online) = state.online() {
            for filter in online.net.filters().list().into_iter().filter(is_removed) {
                online.net.filters().remove(&filter);
                let text = filter.to_string();
                if !strings.contains(&text) {
                    strings.push(text);
                }
            }
        }
        Ok(Strings { strings })
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pong {
    success: bool,
    /// Nanoseconds.
    time: u64,
    text: String,
}

/// Measures round trips to a peer.
pub(super) async fn ping(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let peer = match call.some_args("peer ID")? {
        [name] => {
            let address = name.parse().ok().and_then(|address| split_peer(&address));
            address.map_or_else(|| peer_of_text(name.trim_start_matches("/p2p/")), |(peer, _)| Ok(peer))?
        }
        _ => return Err(RpcError::client("one peer at a time")),
    };
    let online = state.online()?;
    if online.net.peer_id() == peer {
        return Err(RpcError::client("can't ping self"));
    }
    let count = call.number(&["count", "n"])?.unwrap_or(PINGS);
    if !(1..=PINGS_MAX).contains(&count) {
        return Err(RpcError::client(format!("the number of pings must be 1 to {PINGS_MAX}")));
    }
    let net = online.net.clone();
    let runtime = tokio::runtime::Handle::current();
    answer::stream(&call, Form::Json, move |sink| {
        let say = |text: String| sink.json(&Pong { success: true, time: 0, text });
        if net.peer(&peer).is_none() {
            say(format!("Looking up peer {peer}"))?;
        }
        runtime.block_on(net.connect_peer(peer)).map_err(|error| unreachable_peer(&peer, &error))?;
        say(format!("PING {peer}."))?;
        let (mut total, mut answered) = (Duration::ZERO, 0);
        for round in 0..count {
            sink.check()?;
            if round > 0 {
                runtime.block_on(tokio::time::sleep(PING_INTERVAL));
            }
            match runtime.block_on(net.ping(peer)) {
                Ok(time) => {
                    total += time;
                    answered += 1;
                    let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                    sink.json(&Pong { success: true, time, text: String::new() })?;
                }
                Err(error) => {
                    let text = format!("Ping error: {}", crate::error::chain_text(&error));
                    sink.json(&Pong { success: false, time: 0, text })?;
                }
            }
        }
        if answered == 0 {
            return Err(RpcError::new("ping failed"));
        }
        let average = total.as_secs_f64() * 1e3 / f64::from(answered);
        say(format!("Average latency: {average:.2}ms"))
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Bandwidth {
    total_in: u64,
    total_out: u64,
    rate_in: f64,
    rate_out: f64,
}

/// Bytes that went over streams of this node since it started, with all peers or one; rates over a quarter second.
pub(super) async fn bandwidth(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let net = &state.online()?.net;
    let peer = call.option(&["peer", "p"]).filter(|name| !name.is_empty()).map(peer_of_text).transpose()?;
    let read = || match &peer {
        None => Ok(net.traffic()),
        Some(peer) => match net.peer(peer) {
            Some(info) => Ok((info.received, info.sent)),
            None => Err(RpcError::new(format!("{peer} is not connected"))),
        },
    };
    let before = read()?;
    tokio::time::sleep(RATE).await;
    let after = read()?;
    let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / RATE.as_secs_f64();
    answer::json(&Bandwidth {
        total_in: after.0,
        total_out: after.1,
        rate_in: rate(before.0, after.0),
        rate_out: rate(before.1, after.1),
    })
}
