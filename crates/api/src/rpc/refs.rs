//! `refs`: what links to what.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract;
use axum::response::Response;
use cid::Cid;
use hpips_client::{BlockGetter, GetBlockError};
use hpips_dag::{DecodeError, DepthFirst, EnumerateError, is_leaf_codec};
use hpips_types::content::RAW;
use serde::Serialize;

use super::answer::{self, Form, Sink};
use super::base::CidForm;
use super::call::Call;
use super::error::RpcError;
use super::resolve::locate;
use super::state::State;

/// Blocks of one DAG at most: about 200 bytes are kept a block.
pub(crate) const BLOCKS_MAX: usize = 1 << 24;
/// Levels below a root at most; what is deeper is not followed.
const DEPTH_MAX: usize = 4096;

/// Visits every block below a root once, parents first; a block that is not here is an error.
pub(crate) fn visit(
    root: &Cid,
    blocks: &dyn BlockGetter,
    take: impl FnMut(&Cid, &bytes::Bytes) -> Result<(), RpcError>,
) -> Result<(), RpcError> {
    visit_as(root, blocks, take)
}

/// As [`visit`], for callers that tell errors apart.
pub(crate) fn visit_as<E: From<GetBlockError> + From<EnumerateError>>(
    root: &Cid,
    blocks: &dyn BlockGetter,
    mut take: impl FnMut(&Cid, &bytes::Bytes) -> Result<(), E>,
) -> Result<(), E> {
    let mut walk = DepthFirst::new(*root, BLOCKS_MAX);
    while let Some(cid) = walk.next_cid() {
        blocks.prefetch(&walk.upcoming(32));
        let block = blocks.get(&cid)?;
        if !is_leaf_codec(&cid) {
            feed(&mut walk, &cid, &block)?;
        }
        take(&cid, &block)?;
    }
    Ok(())
}

/// The links of a block, of every codec that is read here; others have none.
fn links(cid: &Cid, block: &bytes::Bytes) -> Result<Vec<Cid>, RpcError> {
    match hpips_dag::children(cid, block) {
        Ok(links) => Ok(links),
        Err(DecodeError::UnsupportedCodec { .. }) => Ok(Vec::new()),
        Err(error) => Err(RpcError::new(format!("cannot decode {cid}: {error}"))),
    }
}

fn feed(walk: &mut DepthFirst, cid: &Cid, block: &bytes::Bytes) -> Result<(), EnumerateError> {
    match walk.feed(cid, block) {
        Err(EnumerateError::Decode { source: DecodeError::UnsupportedCodec { .. }, .. }) => Ok(()),
        result => result,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ref {
    r#ref: String,
    err: String,
}

/// How references are written.
struct Listing {
    format: String,
    unique: bool,
    depth_max: usize,
    form: CidForm,
}

pub(super) async fn refs(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let recursive = call.flag(&["recursive", "r"], false)?;
    let depth = call.number::<i64>(&["max-depth"])?.unwrap_or(-1);
    let edges = call.flag(&["edges", "e"], false)?;
    let format = match call.option(&["format"]) {
        Some(format) if edges && format != "<dst>" => {
            let _ = format;
            return Err(RpcError::new("using format argument with edges is not allowed"));
        }
        _ if edges => "<src> -> <dst>",
        Some(format) => format,
        None => "<dst>",
    };
    let depth_max = match (recursive, usize::try_from(depth)) {
        (false, _) => 1,
        (true, Ok(depth)) => depth.min(DEPTH_MAX),
        (true, Err(_)) => DEPTH_MAX,
    };
    let listing = Listing {
        format: format.to_owned(),
        unique: call.flag(&["unique", "u"], false)?,
        depth_max,
        form: call.cid_form()?,
    };
    let mut places = Vec::new();
    for text in call.some_args("ipfs-path")? {
        places.push(locate(&state, &call, text).await?);
    }
    answer::stream(&call, Form::Json, move |sink| {
        let mut seen = HashSet::new();
        for place in places {
            let root = place.whole()?;
            listing.run(&root, &place.blocks, &mut seen, sink)?;
        }
        Ok(())
    })
    .await
}

impl Listing {
    /// Depth first with a stack of its own: a hostile DAG cannot exhaust the thread's.
    fn run(
        &self,
        root: &Cid,
        blocks: &Arc<dyn BlockGetter>,
        seen: &mut HashSet<Cid>,
        sink: &Sink,
    ) -> Result<(), RpcError> {
        if self.depth_max == 0 {
            return Ok(());
        }
        let blocks = sink.guard(&**blocks);
        let mut stack = vec![(*root, self.named(root, &blocks)?.into_iter())];
        while let Some((parent, links)) = stack.last_mut() {
            let Some((name, link)) = links.next() else {
                stack.pop();
                continue;
            };
            let parent = *parent;
            if self.unique && !seen.insert(link) {
                continue;
            }
            let text = self
                .format
                .replace("<src>", &self.form.text(&parent))
                .replace("<dst>", &self.form.text(&link))
                .replace("<linkname>", &name);
            sink.json(&Ref { r#ref: text, err: String::new() })?;
            if stack.len() < self.depth_max && !is_leaf_codec(&link) {
                stack.push((link, self.named(&link, &blocks)?.into_iter()));
            }
        }
        Ok(())
    }

    fn named(&self, cid: &Cid, blocks: &dyn BlockGetter) -> Result<Vec<(String, Cid)>, RpcError> {
        if is_leaf_codec(cid) {
            return Ok(Vec::new());
        }
        let block = blocks.get(cid)?;
        if cid.codec() == hpips_types::content::DAG_PB {
            let node = hpips_dag::decode_pb(&block)?;
            return Ok(node.links.into_iter().map(|link| (link.name, link.cid)).collect());
        }
        Ok(links(cid, &block)?.into_iter().map(|link| (String::new(), link)).collect())
    }
}

pub(super) async fn local(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let form = call.cid_form()?;
    let store = state.store();
    answer::stream(&call, Form::Json, move |sink| {
        store.for_each_block(|cid, _| {
            // Blocks are kept by their hash; the codec is not part of what is here.
            let cid = Cid::new_v1(RAW, *cid.hash());
            sink.json(&Ref { r#ref: form.text(&cid), err: String::new() })
        })
    })
    .await
}
