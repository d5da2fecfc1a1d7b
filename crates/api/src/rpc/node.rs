//! The node itself: names and end.

use std::time::{Duration, Instant};

use axum::extract;
use axum::response::Response;
use cid::Cid;
use cid::multibase::Base;
use hpips_net::identity::account_of;
use hpips_net::{Multiaddr, OpenError, PeerId};
use hpips_types::content::LIBP2P_KEY;
use multihash::Multihash;
use serde::Serialize;

use super::answer;
use super::base::{base_of, write_cid};
use super::call::Call;
use super::error::RpcError;
use super::repo::REPO_VERSION;
use super::state::State;
use crate::routing::json::peer_id;

/// What the program calls itself to peers.
pub(crate) const AGENT: &str = concat!("hpips/", env!("CARGO_PKG_VERSION"));
/// How long a peer may take to say who it is once it is connected.
const IDENTIFY: Duration = Duration::from_secs(2);

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
    agent_version: String,
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
        return answer::in_time(&call, id_of(&state, &call, other)).await;
    }
    let addresses = parts.online.as_ref().map(|online| texts(&online.net.full_addrs()));
    answer::json(&Identity {
        id: in_base(&parts.identity.peer_id, &call)?,
        public_key: Base::Base64Pad.encode(&parts.identity.public_key),
        addresses,
        agent_version: AGENT.into(),
        protocols: parts.online.as_ref().map(|online| online.net.protocols()),
        account: Some(parts.identity.account.clone()),
    })
}

/// The identity of another peer, which is connected with where it is not yet.
async fn id_of(state: &State, call: &Call, name: &str) -> Result<Response, RpcError> {
    let peer = peer_of_text(name)?;
    let net = &state.online()?.net;
    net.connect_peer(peer).await.map_err(|error| unreachable_peer(&peer, &error))?;
    // What it says about itself comes shortly after the connection; without it the rest is told.
    let until = Instant::now() + IDENTIFY;
    let info = loop {
        let info = net.peer(&peer).ok_or_else(|| RpcError::new(format!("{peer} has left")))?;
        if !info.protocols.is_empty() || Instant::now() >= until {
            break info;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let full =
        |address: &Multiaddr| address.clone().with_p2p(peer).unwrap_or_else(|address| address).to_string();
    answer::json(&Identity {
        id: in_base(name, call)?,
        public_key: info.public_key.as_deref().map_or_else(String::new, |key| Base::Base64Pad.encode(key)),
        addresses: Some(info.listens.iter().map(full).collect()),
        agent_version: info.agent,
        protocols: Some(info.protocols),
        account: account_of(&peer).map(|account| account.to_string()),
    })
}

/// A peer's name in the base that the caller wants.
fn in_base(peer: &str, call: &Call) -> Result<String, RpcError> {
    match call.option(&["peerid-base"]) {
        None | Some("" | "b58mh") => Ok(peer.to_owned()),
        Some(name) => {
            let bytes = Base::Base58Btc.decode(peer).map_err(|error| RpcError::of(&error))?;
            let hash = Multihash::from_bytes(&bytes).map_err(|error| RpcError::of(&error))?;
            Ok(write_cid(&Cid::new_v1(LIBP2P_KEY, hash), base_of(name)?))
        }
    }
}

/// A peer by its name, in base58 or as a CID.
pub(super) fn peer_of_text(text: &str) -> Result<PeerId, RpcError> {
    peer_id(text)
        .ok_or_else(|| RpcError::client(format!("{text:?} is no name of a peer, as 12D3KooW... or k51...")))
}

pub(super) fn unreachable_peer(peer: &PeerId, error: &OpenError) -> RpcError {
    RpcError::new(format!("cannot reach {peer}: {}", crate::error::chain_text(error)))
}

pub(super) fn texts(addresses: &[Multiaddr]) -> Vec<String> {
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
