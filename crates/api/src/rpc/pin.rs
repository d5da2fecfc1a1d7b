//! `pin/*`: what is kept.

use std::collections::{BTreeMap, HashSet};

use axum::extract;
use axum::response::Response;
use bytes::Bytes;
use cid::Cid;
use hpips_client::{BlockGetter, GetBlockError};
use hpips_dag::{EnumerateError, is_leaf_codec};
use hpips_store::{BadBlock, IndexError, KeptBy, OldPin, Pin, PinKind, Store, WriteError};
use serde::Serialize;

use super::answer::{self, Form, Sink};
use super::base::CidForm;
use super::call::Call;
use super::error::RpcError;
use super::refs;
use super::resolve::{Place, locate};
use super::state::State;

/// Fetched blocks are stored in batches of so many bytes: each costs a sync.
const BATCH_BYTES: usize = 16 << 20;
/// Bytes in a pin's name at most.
const NAME_BYTES_MAX: usize = 255;
/// Blocks between two words of progress.
const PROGRESS_BLOCKS: u64 = 256;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pins {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pins: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl Pins {
    fn of(pins: Vec<String>) -> Self {
        Self { pins, progress: None, bytes: None }
    }
}

async fn places(state: &State, call: &Call) -> Result<Vec<Place>, RpcError> {
    let mut places = Vec::new();
    for text in call.some_args("ipfs-path")? {
        places.push(locate(state, call, text).await?);
    }
    Ok(places)
}

fn name_of(call: &Call) -> Result<String, RpcError> {
    let name = call.option(&["name", "n"]).unwrap_or_default();
    if name.len() > NAME_BYTES_MAX {
        return Err(RpcError::client(format!("pin name is {} bytes (max {NAME_BYTES_MAX})", name.len())));
    }
    Ok(name.to_owned())
}

pub(super) async fn add(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let recursive = call.flag(&["recursive", "r"], true)?;
    let progress = call.flag(&["progress"], false)?;
    let name = name_of(&call)?;
    let form = call.cid_form()?;
    let places = places(&state, &call).await?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        // Until the pins stand, nobody collects what is fetched for them.
        let _hold = store.hold()?;
        let mut roots = Vec::new();
        for place in &places {
            let root = place.whole()?;
            let kind = if recursive { PinKind::Recursive } else { PinKind::Direct };
            let keeper = Keeper { store: &store, blocks: &*place.blocks, sink, progress };
            match kind {
                PinKind::Direct if store.pin_of(&root).is_some_and(|pin| pin.kind == PinKind::Recursive) => {
                    return Err(RpcError::new(format!("pin: {root} already pinned recursively")));
                }
                PinKind::Direct => keeper.keep_one(&root)?,
                PinKind::Recursive => keeper.keep_all(&root)?,
            }
            roots.push((root, kind));
        }
        for (root, kind) in &roots {
            store.pin(root, *kind, &name)?;
        }
        sink.json(&Pins::of(roots.iter().map(|(root, _)| form.text(root)).collect()))
    })
    .await
}

/// Brings blocks into the store.
struct Keeper<'a> {
    store: &'a Store,
    blocks: &'a dyn BlockGetter,
    sink: &'a Sink,
    progress: bool,
}

impl Keeper<'_> {
    fn keep_one(&self, cid: &Cid) -> Result<(), RpcError> {
        if self.store.has(cid)? {
            return Ok(());
        }
        Ok(self.store.put(vec![(*cid, self.blocks.get(cid)?)])?)
    }

    fn keep_all(&self, root: &Cid) -> Result<(), RpcError> {
        let say = |blocks, bytes| {
            self.sink.json(&Pins { pins: Vec::new(), progress: Some(blocks), bytes: Some(bytes) })
        };
        let guarded = self.sink.guard(self.blocks);
        let (blocks, bytes) = keep_all(self.store, &guarded, root, |blocks, bytes| {
            if self.progress && blocks % PROGRESS_BLOCKS == 0 { say(blocks, bytes) } else { Ok(()) }
        })?;
        if self.progress { say(blocks, bytes) } else { Ok(()) }
    }
}

/// Brings everything below a root into the store; the caller holds the store meanwhile and pins afterwards. `note` hears of
/// every block: how many there are so far, and the bytes of those that were read.
pub(crate) fn keep_all<E>(
    store: &Store,
    blocks: &dyn BlockGetter,
    root: &Cid,
    mut note: impl FnMut(u64, u64) -> Result<(), E>,
) -> Result<(u64, u64), E>
where
    E: From<GetBlockError> + From<EnumerateError> + From<WriteError> + From<IndexError>,
{
    let mut batch: Vec<(Cid, Bytes)> = Vec::new();
    let (mut batch_bytes, mut done, mut bytes) = (0, 0u64, 0u64);
    refs::visit_as::<E>(root, &Present { store, blocks }, |cid, block| {
        done += 1;
        bytes = bytes.saturating_add(u64::try_from(block.len()).unwrap_or(u64::MAX));
        note(done, bytes)?;
        if !store.has(cid)? {
            batch_bytes += block.len();
            batch.push((*cid, block.clone()));
        }
        if batch_bytes >= BATCH_BYTES {
            batch_bytes = 0;
            store.put(std::mem::take(&mut batch))?;
        }
        Ok(())
    })?;
    store.put(batch)?;
    Ok((done, bytes))
}

/// Blocks of a DAG that is to be kept: leaves that are here are not read.
struct Present<'a> {
    store: &'a Store,
    blocks: &'a dyn BlockGetter,
}

impl BlockGetter for Present<'_> {
    fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
        self.get_while(cid, &|| true)
    }

    fn get_while(&self, cid: &Cid, is_wanted: &dyn Fn() -> bool) -> Result<Bytes, GetBlockError> {
        if is_leaf_codec(cid) && self.store.has(cid).unwrap_or(false) {
            return Ok(Bytes::new());
        }
        self.blocks.get_while(cid, is_wanted)
    }

    fn prefetch(&self, cids: &[Cid]) {
        self.blocks.prefetch(cids);
    }
}

pub(super) async fn remove(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let recursive = call.flag(&["recursive", "r"], true)?;
    let form = call.cid_form()?;
    let places = places(&state, &call).await?;
    answer::value(&call, move || {
        let store = state.store();
        let roots: Vec<Cid> = places.iter().map(Place::whole).collect::<Result<_, _>>()?;
        // All are looked at before any is removed.
        for root in &roots {
            match store.pin_of(root) {
                None => return Err(RpcError::new("not pinned or pinned indirectly")),
                Some(pin) if !recursive && pin.kind == PinKind::Recursive => {
                    return Err(RpcError::new(format!("{} is pinned recursively", form.text(root))));
                }
                Some(_) => {}
            }
        }
        for root in &roots {
            store.unpin(root)?;
        }
        Ok(Pins::of(roots.iter().map(|root| form.text(root)).collect()))
    })
    .await
}

pub(super) async fn update(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(2)?;
    let keep = if call.flag(&["unpin"], true)? { OldPin::Remove } else { OldPin::Keep };
    let form = call.cid_form()?;
    let from = locate(&state, &call, call.arg(0, "from-path")?).await?;
    let to = locate(&state, &call, call.arg(1, "to-path")?).await?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        let (old, new) = (from.whole()?, to.whole()?);
        if store.pin_of(&old).is_none_or(|pin| pin.kind != PinKind::Recursive) {
            return Err(RpcError::new("'from' cid was not recursively pinned already"));
        }
        let _hold = store.hold()?;
        Keeper { store: &store, blocks: &*to.blocks, sink, progress: false }.keep_all(&new)?;
        store.update_pin(&old, &new, keep)?;
        sink.json(&Pins::of(vec![form.text(&old), form.text(&new)]))
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Keyed {
    keys: BTreeMap<String, KindAndName>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KindAndName {
    r#type: String,
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Streamed {
    cid: String,
    r#type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
}

/// Which pins are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Direct,
    Recursive,
    Indirect,
}

pub(super) async fn list(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let which = match call.option(&["type", "t"]).unwrap_or("all") {
        "all" => Which::All,
        "direct" => Which::Direct,
        "recursive" => Which::Recursive,
        "indirect" => Which::Indirect,
        other => {
            return Err(RpcError::new(format!(
                "invalid type '{other}', must be one of {{direct, indirect, recursive, all}}"
            )));
        }
    };
    let stream = call.flag(&["stream", "s"], false)?;
    let quiet = call.flag(&["quiet", "q"], false)?;
    let part = name_of(&call)?;
    let names = call.flag(&["names"], false)? || !part.is_empty();
    let form = call.cid_form()?;
    let mut asked = Vec::new();
    for text in call.args() {
        asked.push(locate(&state, &call, text).await?);
    }
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        let mut keys = BTreeMap::new();
        let mut take = |cid: &Cid, kind: String, name: &str| {
            if !name.contains(&part) {
                return Ok(());
            }
            let name = if names { name.to_owned() } else { String::new() };
            if stream {
                return sink.json(&Streamed { cid: form.text(cid), r#type: kind, name });
            }
            keys.entry(form.text(cid)).or_insert(KindAndName { r#type: kind, name });
            Ok(())
        };
        if asked.is_empty() {
            every_pin(&store, which, sink, &mut take)?;
        } else {
            for place in &asked {
                let cid = place.whole()?;
                let (kind, name) = pin_of(&store, &cid, which, &form)?
                    .ok_or_else(|| RpcError::new(format!("path '{}' is not pinned", place.path.text)))?;
                take(&cid, kind, &name)?;
            }
        }
        let _ = quiet;
        if stream { Ok(()) } else { sink.json(&Keyed { keys }) }
    })
    .await
}

type Take<'a> = dyn FnMut(&Cid, String, &str) -> Result<(), RpcError> + 'a;

/// All pins of a kind; indirect ones each once, not those that are pinned themselves.
fn every_pin(store: &Store, which: Which, sink: &Sink, take: &mut Take<'_>) -> Result<(), RpcError> {
    let pins = store.pins();
    let wanted = |kind| match which {
        Which::All => true,
        Which::Direct => kind == PinKind::Direct,
        Which::Recursive => kind == PinKind::Recursive,
        Which::Indirect => false,
    };
    for pin in pins.iter().filter(|pin| wanted(pin.kind)) {
        take(&pin.cid, kind_name(pin.kind).to_owned(), &pin.name)?;
    }
    if matches!(which, Which::Direct | Which::Recursive) {
        return Ok(());
    }
    // What is pinned itself as well was named above.
    let named: HashSet<_> = pins.iter().map(|pin| *pin.cid.hash()).collect();
    store.for_each_indirect(|cid, _| {
        sink.check()?;
        if named.contains(cid.hash()) { Ok(()) } else { take(cid, "indirect".to_owned(), "") }
    })
}

fn kind_name(kind: PinKind) -> &'static str {
    match kind {
        PinKind::Direct => "direct",
        PinKind::Recursive => "recursive",
    }
}

/// How a block is pinned, in Kubo's words.
fn pin_of(
    store: &Store,
    cid: &Cid,
    which: Which,
    form: &CidForm,
) -> Result<Option<(String, String)>, RpcError> {
    if let Some(Pin { kind, name, .. }) = store.pin_of(cid) {
        let wanted = match which {
            Which::All => true,
            Which::Direct => kind == PinKind::Direct,
            Which::Recursive => kind == PinKind::Recursive,
            Which::Indirect => false,
        };
        if wanted {
            return Ok(Some((kind_name(kind).to_owned(), name)));
        }
    }
    if matches!(which, Which::Direct | Which::Recursive) {
        return Ok(None);
    }
    let kept = store.kept_by(&[*cid]).into_iter().next().flatten();
    Ok(kept
        .filter(|kept| matches!(kept, KeptBy::Indirect(_)))
        .map(|kept| (reason(&kept, form), String::new())))
}

/// Why a block must stay, in Kubo's words.
pub(crate) fn reason(kept: &KeptBy, form: &CidForm) -> String {
    match kept {
        KeptBy::Direct => "direct".to_owned(),
        KeptBy::Recursive => "recursive".to_owned(),
        KeptBy::Indirect(root) => format!("indirect through {}", form.text(root)),
        KeptBy::Files => "it is among the mutable files".to_owned(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Verified {
    cid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    err: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ok: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bad_nodes: Vec<BadNode>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BadNode {
    cid: String,
    err: String,
}

impl BadNode {
    fn of(bad: &BadBlock, form: &CidForm) -> Self {
        match bad {
            BadBlock::Missing(cid) => {
                Self { cid: form.text(cid), err: format!("ipld: could not find {cid}") }
            }
            BadBlock::Damaged(cid) => Self { cid: form.text(cid), err: "block is damaged".to_owned() },
            BadBlock::Unreadable(cid) => Self { cid: form.text(cid), err: "block cannot be read".to_owned() },
        }
    }
}

pub(super) async fn verify(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let verbose = call.flag(&["verbose", "v"], false)?;
    let quiet = call.flag(&["quiet", "q"], false)?;
    if verbose && quiet {
        return Err(RpcError::new("the --verbose and --quiet options can not be used at the same time"));
    }
    let form = call.cid_form()?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        store.verify_pins(|pin, bad| {
            if pin.kind != PinKind::Recursive {
                return sink.check();
            }
            let bad_nodes: Vec<_> = bad.iter().map(|bad| BadNode::of(bad, &form)).collect();
            let ok = bad_nodes.is_empty();
            if !verbose && ok {
                return sink.check();
            }
            sink.json(&Verified { cid: form.text(&pin.cid), err: String::new(), ok, bad_nodes })
        })
    })
    .await
}
