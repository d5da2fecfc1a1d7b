//! `routing/*`: who has what, asked of the routers.

use axum::extract;
use axum::response::Response;
use cid::Cid;
use cid::multibase::Base;
use hpips_ipns::{Name, Record};
use hpips_net::PeerId;
use serde::Serialize;

use super::answer::{self, Form};
use super::call::Call;
use super::error::RpcError;
use super::name::{ask, sent};
use super::node::peer_of_text;
use super::path::parse_cid;
use super::state::State;
use crate::names::parse_name;
use crate::routing::{PeerRecord, Reach};

/// Providers that are looked for when the caller does not say (Kubo's default).
const PROVIDERS: usize = 20;
/// Keys in one request at most.
const KEYS_MAX: usize = 1024;

/// What an event is about: Kubo's numbers.
#[derive(Clone, Copy)]
enum Kind {
    FinalPeer = 2,
    Provider = 4,
    Value = 5,
}

/// One event of a search.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    extra: String,
    #[serde(rename = "ID")]
    id: String,
    responses: Option<Vec<Peer>>,
    r#type: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Peer {
    addrs: Vec<String>,
    #[serde(rename = "ID")]
    id: String,
}

impl Event {
    fn of(kind: Kind, record: &PeerRecord) -> Self {
        let addrs = record.addresses.iter().map(ToString::to_string).collect();
        let peer = Peer { addrs, id: record.peer.to_string() };
        Self { extra: String::new(), id: String::new(), responses: Some(vec![peer]), r#type: kind as u8 }
    }

    fn value(id: String, extra: String) -> Self {
        Self { extra, id, responses: None, r#type: Kind::Value as u8 }
    }
}

fn online(state: &State, call: &Call) -> Result<(), RpcError> {
    state.online()?;
    if call.is_offline()? { Err(RpcError::offline()) } else { Ok(()) }
}

fn bounded<T>(keys: Vec<T>) -> Result<Vec<T>, RpcError> {
    if keys.len() > KEYS_MAX {
        return Err(RpcError::client(format!("at most {KEYS_MAX} keys at once")));
    }
    Ok(keys)
}

pub(super) async fn find_providers(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    online(&state, &call)?;
    call.flag(&["verbose", "v"], false)?;
    let count = call.number::<i64>(&["num-providers", "n"])?;
    let count = count.map_or(Ok(PROVIDERS), usize::try_from).ok().filter(|count| *count > 0);
    let count = count.ok_or_else(|| RpcError::new("number of providers must be greater than 0"))?;
    let cids = call.some_args("key")?.iter().map(|text| parse_cid(text)).collect::<Result<_, _>>()?;
    let cids: Vec<_> = bounded(cids)?;
    let routers = state.parts().names.routers().clone();
    let runtime = tokio::runtime::Handle::current();
    answer::stream(&call, Form::Json, move |sink| {
        for cid in cids {
            let _runtime = runtime.enter();
            let mut found = routers.providers(cid, Reach::All);
            for _ in 0..count {
                let Some(record) = sink.wait(&runtime, found.recv())? else { break };
                sink.json(&Event::of(Kind::Provider, &record))?;
            }
        }
        Ok(())
    })
    .await
}

pub(super) async fn find_peer(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    online(&state, &call)?;
    call.flag(&["verbose", "v"], false)?;
    let parse = |text: &String| peer_of_text(text);
    let peers: Vec<PeerId> = bounded(call.some_args("peerID")?.iter().map(parse).collect::<Result<_, _>>()?)?;
    let routers = state.parts().names.routers().clone();
    let runtime = tokio::runtime::Handle::current();
    answer::stream(&call, Form::Json, move |sink| {
        for peer in peers {
            let record = sink.wait(&runtime, routers.peer(peer, Reach::All))?;
            let record = record.filter(|record| !record.addresses.is_empty());
            let record = record.ok_or_else(|| RpcError::new(format!("routing: not found: {peer}")))?;
            sink.json(&Event::of(Kind::FinalPeer, &record))?;
        }
        Ok(())
    })
    .await
}

pub(super) async fn provide(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    online(&state, &call)?;
    call.flag(&["verbose", "v"], false)?;
    if call.flag(&["recursive", "r"], false)? {
        return Err(RpcError::new(
            "whole DAGs are told of by themselves: pin the root, and see the setting Provide.Strategy",
        ));
    }
    let cids = call.some_args("key")?.iter().map(|text| parse_cid(text)).collect::<Result<_, _>>()?;
    let cids: Vec<Cid> = bounded(cids)?;
    let store = state.store();
    let here = cids.clone();
    answer::blocking(&call, move || {
        for cid in &here {
            if !store.has(cid)? {
                return Err(RpcError::new(format!("block {cid} not found locally, cannot provide")));
            }
        }
        Ok(())
    })
    .await?;
    let routers = state.parts().names.routers();
    for cid in cids {
        answer::in_time(&call, async { routers.provide(cid).await.map_err(|error| RpcError::of(&error)) })
            .await?;
    }
    Ok(answer::nothing())
}

/// The name in a key such as `/ipns/k51...`; no other kind of value is kept by routers here.
fn name_of(key: &str) -> Result<Name, RpcError> {
    let key = key
        .strip_prefix("/ipns/")
        .ok_or_else(|| RpcError::new(format!("invalid key {key:?}: only /ipns/NAME is routed here")))?;
    Ok(parse_name(key)?)
}

pub(super) async fn get(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let keys = call.some_args("key")?.iter().map(|key| name_of(key)).collect::<Result<_, _>>()?;
    let keys: Vec<Name> = bounded(keys)?;
    let ask = ask(&state, &call)?;
    let names = state.parts().names.clone();
    let runtime = tokio::runtime::Handle::current();
    answer::stream(&call, Form::Json, move |sink| {
        for name in keys {
            let record = sink.wait(&runtime, names.record(&name, ask))??;
            sink.json(&Event::value(String::new(), Base::Base64Pad.encode(record.bytes())))?;
        }
        Ok(())
    })
    .await
}

pub(super) async fn put(
    extract::State(state): extract::State<State>,
    mut call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let name = name_of(call.arg(0, "key")?)?;
    let may_be_offline = call.flag(&["allow-offline"], false)?;
    if !may_be_offline {
        online(&state, &call)?;
    }
    let offline = state.online().is_err() || call.is_offline()?;
    let record = Record::decode(&sent(&mut call, "value-file").await?)?;
    let names = state.parts().names.clone();
    let taking =
        tokio::spawn(async move { names.take(name, &record, true, (!offline).then_some(Reach::All)).await });
    answer::in_time(&call, async { Ok(taking.await??) }).await?;
    answer::json(&Event::value(state.parts().identity.peer_id.clone(), String::new()))
}
