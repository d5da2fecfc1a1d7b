//! The node itself: names, peers, end.

use std::collections::BTreeMap;

use axum::extract;
use axum::response::Response;
use cid::Cid;
use cid::multibase::Base;
use hpips_net::Multiaddr;
use hpips_net::identity::{account_of, peer_of, split_peer};
use hpips_types::content::LIBP2P_KEY;
use multihash::Multihash;
use serde::Serialize;

use super::answer;
use super::base::{base_of, write_cid};
use super::call::Call;
use super::error::RpcError;
use super::repo::REPO_VERSION;
use super::state::State;

/// What the program calls itself to peers.
pub(crate) const AGENT: &str = concat!("hpips/", env!("CARGO_PKG_VERSION"));
/// Addresses in one request at most.
const ADDRESSES_MAX: usize = 1024;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: &'static str,
    commit: &'static str,
    repo: &'static str,
    system: String,
    /// Kubo's clients ask for it; this is no Go program.
    golang: &'static str,
}

pub(super) async fn version(call: Call) -> Result<Response, RpcError> {
    call.at_most(0)?;
    // Go's names of machines, as Kubo's clients know them.
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    answer::json(&Version {
        version: env!("CARGO_PKG_VERSION"),
        commit: "",
        repo: REPO_VERSION,
        system: format!("{machine}/{}", std::env::consts::OS),
        golang: "",
    })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Identity {
    #[serde(rename = "ID")]
    id: String,
    public_key: String,
    addresses: Option<Vec<String>>,
    agent_version: &'static str,
    protocols: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
}

pub(super) async fn id(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let parts = state.parts();
    if let Some(other) = call.args().first().filter(|other| **other != parts.identity.peer_id) {
        return Err(RpcError::new(format!(
            "only this node's own identity is known here, not that of {other}"
        )));
    }
    let id = match call.option(&["peerid-base"]) {
        None | Some("" | "b58mh") => parts.identity.peer_id.clone(),
        Some(name) => {
            let bytes =
                Base::Base58Btc.decode(&parts.identity.peer_id).map_err(|error| RpcError::of(&error))?;
            let hash = Multihash::from_bytes(&bytes).map_err(|error| RpcError::of(&error))?;
            write_cid(&Cid::new_v1(LIBP2P_KEY, hash), base_of(name)?)
        }
    };
    let addresses = parts.online.as_ref().map(|online| texts(&online.net.full_addrs()));
    answer::json(&Identity {
        id,
        public_key: Base::Base64Pad.encode(&parts.identity.public_key),
        addresses,
        agent_version: AGENT,
        protocols: None,
        account: Some(parts.identity.account.clone()),
    })
}

fn texts(addresses: &[Multiaddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

/// One command and those below it.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Command {
    name: String,
    subcommands: Vec<Command>,
    options: Vec<Names>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Names {
    names: Vec<String>,
}

pub(super) async fn commands(call: Call) -> Result<Response, RpcError> {
    call.at_most(0)?;
    call.flag(&["flags", "f"], false)?;
    let mut root = Command { name: "hpips".into(), ..Command::default() };
    for name in super::command_names() {
        let mut level = &mut root;
        for part in name.split('/') {
            let at = level.subcommands.iter().position(|known| known.name == part).unwrap_or_else(|| {
                level.subcommands.push(Command { name: part.into(), ..Command::default() });
                level.subcommands.len() - 1
            });
            level = &mut level.subcommands[at];
        }
    }
    answer::json(&root)
}

pub(super) async fn shutdown(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    state.online()?.host.shut_down();
    Ok(answer::nothing())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Peers<T> {
    peers: Vec<T>,
}

/// The peers that the configuration names.
pub(super) async fn bootstrap(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    answer::value(&call, move || {
        let peers = state.parts().settings.get("Bootstrap")?;
        let peers = peers.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Peers { peers: peers.iter().filter_map(|peer| peer.as_str().map(str::to_owned)).collect() })
    })
    .await
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
    streams: Option<Vec<String>>,
    identify: BTreeMap<String, String>,
}

pub(super) async fn peers(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let connected = state.online()?.net.connected();
    let peers = connected.iter().filter_map(peer_of).map(|peer| Peer {
        addr: String::new(),
        peer: peer.to_string(),
        direction: 0,
        latency: String::new(),
        muxer: String::new(),
        streams: None,
        identify: BTreeMap::new(),
    });
    answer::json(&Peers { peers: peers.collect::<Vec<_>>() })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Strings {
    strings: Vec<String>,
}

/// Connects and stays connected.
pub(super) async fn connect(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let online = state.online()?;
    let args = call.some_args("address")?;
    if args.len() > ADDRESSES_MAX {
        return Err(RpcError::client(format!("at most {ADDRESSES_MAX} addresses at once")));
    }
    let mut wanted = Vec::new();
    for text in args {
        let wrong = || {
            RpcError::client(format!("invalid peer address {text:?}: a multiaddress that ends in /p2p/NAME"))
        };
        let address: Multiaddr = text.parse().map_err(|_| wrong())?;
        let (peer, address) = split_peer(&address).ok_or_else(wrong)?;
        let account = account_of(&peer).ok_or_else(|| {
            RpcError::client(format!(
                "the key of peer {peer} is not an ed25519 key, the only kind that this version connects with"
            ))
        })?;
        wanted.push((account, peer, address));
    }
    let mut strings = Vec::new();
    for (account, peer, address) in wanted {
        let connected = async {
            online.net.address_book(account, vec![address.clone()]).await;
            let connected = online.net.connect(account).await;
            connected.map_err(|error| {
                RpcError::new(format!("connect {peer} failure: {}", crate::error::chain_text(&error)))
            })
        };
        answer::in_time(&call, connected).await?;
        // A peer that was never reached is not dialed for ever.
        online.net.keep(account, vec![address]).await;
        strings.push(format!("connect {peer} success"));
    }
    answer::json(&Strings { strings })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Addresses {
    addrs: BTreeMap<String, Vec<String>>,
}

/// Peers that are connected; their addresses are not told apart here.
pub(super) async fn addresses(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let connected = state.online()?.net.connected();
    let addrs = connected.iter().filter_map(peer_of).map(|peer| (peer.to_string(), Vec::new())).collect();
    answer::json(&Addresses { addrs })
}

pub(super) async fn listening(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let net = &state.online()?.net;
    let with_id = call.flag(&["id"], false)?;
    answer::json(&Strings { strings: texts(&if with_id { net.full_addrs() } else { net.listen_addrs() }) })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Bandwidth {
    total_in: u64,
    total_out: u64,
    rate_in: f64,
    rate_out: f64,
}

/// Bytes of blocks exchanged since the node started; rates are not kept.
pub(super) async fn bandwidth(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let stats = state.online()?.net.bitswap_stats();
    answer::json(&Bandwidth {
        total_in: stats.bytes_received,
        total_out: stats.bytes_sent,
        rate_in: 0.0,
        rate_out: 0.0,
    })
}
