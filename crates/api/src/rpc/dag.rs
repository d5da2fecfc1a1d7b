//! `dag/*`: documents, and whole DAGs in CARs.

use std::collections::HashSet;

use axum::extract;
use axum::response::Response;
use bytes::Bytes;
use hpips_client::BlockGetter;
use hpips_client::blocks::Local;
use hpips_dag::scope::{Scope, ScopeWalk};
use hpips_dag::{Step, Walk, car, document};
use hpips_store::PinKind;
use hpips_types::content::DAG_CBOR;
use multihash::Multihash;
use serde::Serialize;

use super::answer::{self, Form, Sink};
use super::block::BLOCK_BYTES;
use super::call::Call;
use super::car::CarReader;
use super::cid::cid_of;
use super::error::RpcError;
use super::ipld::{LinkView, codec_of};
use super::multipart::Multipart;
use super::refs;
use super::resolve::{locate, value_at};
use super::state::State;
use super::storing::{self, Batches};

/// Blocks of fewer bytes are sent in one piece with what stands before them.
const COPIED_BYTES: usize = 4096;

pub(super) async fn get(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let codec = codec_of(call.option(&["output-codec"]).unwrap_or("dag-json"))?;
    let place = locate(&state, &call, call.arg(0, "ref")?).await?;
    answer::stream(&call, Form::Raw, move |sink| {
        let found = place.find()?;
        let block = place.blocks.get(&found.cid)?;
        let value = value_at(&found, &block)?;
        sink.bytes(document::encode(codec, &value)?.into())
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    cid: LinkView,
}

pub(super) async fn put(
    extract::State(state): extract::State<State>,
    mut call: Call,
) -> Result<Response, RpcError> {
    let input = codec_of(call.option(&["input-codec"]).unwrap_or("dag-json"))?;
    let store_codec = call.option(&["store-codec"]).map_or(Ok(DAG_CBOR), codec_of)?;
    let hash = call.option(&["hash"]).unwrap_or("sha2-256").to_owned();
    let pin = call.flag(&["pin"], false)?;
    let bytes_max =
        if call.flag(&["allow-big-block"], false)? { hpips_store::BLOCK_BYTES_MAX } else { BLOCK_BYTES };
    let form = call.cid_form()?;
    let mut parts = call.multipart("object data")?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        let _hold = store.hold()?;
        while parts.next_part()?.is_some() {
            let document = document::decode(input, &parts.whole(hpips_store::BLOCK_BYTES_MAX)?)?;
            let block = Bytes::from(document::encode(store_codec, &document)?);
            if block.len() > bytes_max {
                return Err(RpcError::new(format!(
                    "produced block is over {bytes_max} bytes; pass --allow-big-block to override"
                )));
            }
            let cid = cid_of(store_codec, &hash, &block)?;
            store.put(vec![(cid, block)])?;
            if pin {
                store.pin(&cid, PinKind::Recursive, "")?;
            }
            sink.json(&Put { cid: LinkView::text(form.text(&cid)) })?;
        }
        Ok(())
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Resolved {
    cid: LinkView,
    rem_path: String,
}

pub(super) async fn resolve(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let form = call.cid_form()?;
    let place = locate(&state, &call, call.arg(0, "ref")?).await?;
    answer::value(&call, move || {
        let found = place.find()?;
        Ok(Resolved { cid: LinkView::text(form.text(&found.cid)), rem_path: found.remainder.join("/") })
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    unique_blocks: u64,
    total_size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    shared_size: u64,
    ratio: f64,
    dag_stats: Vec<OneStat>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OneStat {
    cid: String,
    size: u64,
    num_blocks: u64,
}

pub(super) async fn stat(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.flag(&["progress", "p"], true)?;
    let form = call.cid_form()?;
    let mut places = Vec::new();
    for text in call.some_args("root")? {
        places.push(locate(&state, &call, text).await?);
    }
    answer::stream(&call, Form::Json, move |sink| {
        let mut seen: HashSet<Multihash<64>> = HashSet::new();
        // Bytes of the blocks of each root, and of the different ones among all.
        let (mut all, mut unique) = (0u64, 0u64);
        let mut dag_stats = Vec::new();
        for place in &places {
            let root = place.whole()?;
            let mut one = OneStat { cid: form.text(&root), size: 0, num_blocks: 0 };
            refs::visit(&root, &sink.guard(&*place.blocks), |cid, block| {
                let bytes = u64::try_from(block.len()).unwrap_or(u64::MAX);
                one.size = one.size.saturating_add(bytes);
                one.num_blocks += 1;
                if seen.insert(*cid.hash()) {
                    unique = unique.saturating_add(bytes);
                }
                Ok(())
            })?;
            all = all.saturating_add(one.size);
            dag_stats.push(one);
        }
        #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
        let ratio = if unique == 0 { 1.0 } else { all as f64 / unique as f64 };
        sink.json(&Stat {
            unique_blocks: u64::try_from(seen.len()).unwrap_or(u64::MAX),
            total_size: unique,
            shared_size: all - unique,
            ratio,
            dag_stats,
        })
    })
    .await
}

pub(super) async fn export(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let local_only = call.flag(&["local-only"], false)?;
    let place = locate(&state, &call, call.arg(0, "root")?).await?;
    answer::stream(&call, Form::Car, move |sink| {
        let root = place.whole()?;
        let mut walk = ScopeWalk::new(Some(root), Scope::All, refs::BLOCKS_MAX).past_unknown_codecs();
        // Not before the root is had: a root that is nowhere is an answer of its own.
        let mut head = Some(car::header(&[root]));
        let mut send = |block: hpips_dag::Block| -> Result<(), RpcError> {
            head.take().map_or(Ok(()), |head| sink.bytes(head))?;
            if block.bytes.len() < COPIED_BYTES {
                return sink.bytes(car::section(&block.cid, &block.bytes));
            }
            sink.bytes(car::section_head(&block.cid, block.bytes.len()))?;
            sink.bytes(block.bytes)
        };
        if !local_only {
            hpips_client::walk::<_, RpcError>(walk, &sink.guard(&*place.blocks), &mut send)?;
            return head.map_or(Ok(()), |head| sink.bytes(head));
        }
        let store = state.store();
        loop {
            match walk.step()? {
                Step::Need(cid) => match store.get(&cid)? {
                    Some(block) => walk.feed(block)?,
                    None => walk.skip(),
                },
                Step::Item(block) => send(block)?,
                Step::Done => break,
            }
        }
        head.map_or(Ok(()), |head| sink.bytes(head))
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
enum Imported {
    Root(Root),
    Stats(Stats),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Root {
    cid: LinkView,
    pin_error_msg: String,
}

#[derive(Clone, Copy, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stats {
    block_count: u64,
    block_bytes_count: u64,
}

pub(super) async fn import(
    extract::State(state): extract::State<State>,
    mut call: Call,
) -> Result<Response, RpcError> {
    let local_only = call.flag(&["local-only"], false)?;
    let pin_roots = call.maybe_flag(&["pin-roots"])?.unwrap_or(!local_only);
    let silent = call.flag(&["silent"], false)?;
    let stats = call.flag(&["stats"], false)?;
    let bytes_max =
        if call.flag(&["allow-big-block"], false)? { hpips_store::BLOCK_BYTES_MAX } else { BLOCK_BYTES };
    let form = call.cid_form()?;
    let mut parts = call.multipart("path")?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        // Until the roots are pinned nobody collects what is stored here.
        let _hold = store.hold()?;
        let (mut roots, mut total) = (Vec::<cid::Cid>::new(), Stats::default());
        storing::beside(
            |batch| store.put(batch),
            |blocks| read_cars(&mut parts, bytes_max, &mut roots, &mut total, blocks, sink),
        )?;
        sink.check()?;
        if pin_roots {
            let local = Local(store.clone());
            for root in &roots {
                let whole = local
                    .get(root)
                    .map_err(RpcError::from)
                    .and_then(|_| refs::visit(root, &local, |_, _| Ok(())));
                let pinned = whole.and_then(|()| Ok(store.pin(root, PinKind::Recursive, "")?));
                if !silent {
                    let pin_error_msg =
                        pinned.as_ref().err().map_or_else(String::new, |error| error.message().to_owned());
                    sink.json(&Imported::Root(Root { cid: LinkView::text(form.text(root)), pin_error_msg }))?;
                }
            }
        }
        if stats { sink.json(&Imported::Stats(total)) } else { Ok(()) }
    })
    .await
}

/// Reads CARs, until the caller has left.
fn read_cars(
    parts: &mut Multipart,
    bytes_max: usize,
    roots: &mut Vec<cid::Cid>,
    total: &mut Stats,
    blocks: &mut Batches<(cid::Cid, Bytes)>,
    sink: &Sink,
) -> Result<(), RpcError> {
    while parts.next_part()?.is_some() {
        let mut car = CarReader::new(&mut *parts)?;
        while let Some((cid, block)) = car.next_block()? {
            if block.len() > bytes_max {
                return Err(RpcError::new(format!(
                    "import failed: block {cid} has {} bytes, {bytes_max} are accepted; pass --allow-big-block to override",
                    block.len()
                )));
            }
            let bytes = block.len();
            total.block_count += 1;
            total.block_bytes_count += u64::try_from(bytes).unwrap_or(u64::MAX);
            blocks.push((cid, block), bytes)?;
            sink.check()?;
        }
        blocks.flush()?;
        let more: Vec<_> = car.roots().iter().copied().filter(|root| !roots.contains(root)).collect();
        roots.extend(more);
    }
    Ok(())
}
