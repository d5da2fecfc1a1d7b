//! `block/*`: single blocks.

use axum::extract;
use axum::response::Response;
use cid::Cid;
use hpips_store::PinKind;
use hpips_types::content::{DAG_CBOR, DAG_PB, RAW};
use serde::Serialize;

use super::answer::{self, Form};
use super::call::Call;
use super::cid::cid_of;
use super::error::RpcError;
use super::ipld::codec_of;
use super::path::parse_cid;
use super::resolve::locate;
use super::state::State;

/// Blocks that bitswap carries.
pub(crate) const BLOCK_BYTES: usize = hpips_types::content::BLOCK_BYTES_MAX;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BlockStat {
    key: String,
    size: usize,
}

pub(super) async fn get(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let place = locate(&state, &call, call.arg(0, "cid")?).await?;
    answer::stream(&call, Form::Raw, move |sink| sink.bytes(place.blocks.get(&place.whole()?)?)).await
}

pub(super) async fn stat(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let form = call.cid_form()?;
    let place = locate(&state, &call, call.arg(0, "cid")?).await?;
    answer::value(&call, move || {
        let cid = place.whole()?;
        Ok(BlockStat { key: form.text(&cid), size: place.blocks.get(&cid)?.len() })
    })
    .await
}

pub(super) async fn put(
    extract::State(state): extract::State<State>,
    mut call: Call,
) -> Result<Response, RpcError> {
    let form = call.cid_form()?;
    let pin = call.flag(&["pin"], false)?;
    let bytes_max =
        if call.flag(&["allow-big-block"], false)? { hpips_store::BLOCK_BYTES_MAX } else { BLOCK_BYTES };
    let hash = call.option(&["mhtype"]).unwrap_or("sha2-256").to_owned();
    if let Some(length) = call.number::<i64>(&["mhlen"])?
        && length != -1
        && !(hash == "sha2-256" && length == 32)
    {
        return Err(RpcError::new("mhlen: only the function's own length, -1, is supported"));
    }
    let format = call.option(&["format", "f"]).unwrap_or_default().to_owned();
    let codec = call.option(&["cid-codec"]).map(str::to_owned);
    let (codec, is_v0) = match (format.as_str(), codec.as_deref()) {
        ("", None) => (RAW, false),
        ("", Some(name)) => (codec_of(name)?, false),
        (_, Some(_)) => return Err(RpcError::new("unable to use \"format\" with \"cid-codec\"")),
        ("v0", _) => (DAG_PB, true),
        ("protobuf", _) => (DAG_PB, false),
        ("cbor", _) => (DAG_CBOR, false),
        ("raw", _) => (RAW, false),
        (other, _) => (codec_of(other)?, false),
    };
    let mut parts = call.multipart("data")?;
    let store = state.store();
    answer::stream(&call, Form::Json, move |sink| {
        while parts.next_part()?.is_some() {
            let block = parts.whole(bytes_max).map_err(|_| too_large(bytes_max))?;
            let mut cid = cid_of(codec, &hash, &block)?;
            if is_v0 {
                cid = Cid::new_v0(*cid.hash()).map_err(|error| RpcError::new(error.to_string()))?;
            }
            let size = block.len();
            let _hold = store.hold()?;
            store.put(vec![(cid, block)])?;
            if pin {
                store.pin(&cid, PinKind::Recursive, "")?;
            }
            sink.json(&BlockStat { key: form.text(&cid), size })?;
        }
        Ok(())
    })
    .await
}

fn too_large(bytes_max: usize) -> RpcError {
    RpcError::new(format!(
        "produced block is over {bytes_max} bytes: big blocks can't be exchanged with other peers. consider using UnixFS \
         for automatic chunking of bigger files, or pass --allow-big-block to override"
    ))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Removed {
    hash: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

pub(super) async fn remove(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let force = call.flag(&["force", "f"], false)?;
    let quiet = call.flag(&["quiet", "q"], false)?;
    let cids: Vec<Cid> =
        call.some_args("cid")?.iter().map(|text| parse_cid(text)).collect::<Result<_, _>>()?;
    let form = call.cid_form()?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        let kept = store.kept_by(&cids);
        for (cid, kept) in cids.iter().zip(kept) {
            let mut removed = Removed { hash: form.text(cid), error: String::new() };
            if let Some(kept) = kept {
                removed.error = format!("pinned: {}", super::pin::reason(&kept, &form));
            } else if !store.delete(cid)? {
                if force {
                    continue;
                }
                removed.error = format!("ipld: could not find {cid}");
            }
            if !quiet || !removed.error.is_empty() {
                sink.json(&removed)?;
            }
        }
        Ok(())
    })
    .await
}
