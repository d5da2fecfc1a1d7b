//! `resolve`, and how every command finds what a path names.

use std::sync::Arc;

use axum::extract;
use axum::response::Response;
use bytes::Bytes;
use cid::Cid;
use hpips_client::BlockGetter;
use hpips_dag::{DriveError, Resolver, Step, Walk, WalkError};
use hpips_types::content::{DAG_PB, RAW};
use ipld_core::ipld::Ipld;
use serde::Serialize;

use super::answer;
use super::call::Call;
use super::error::RpcError;
use super::ipld;
use super::path::IpfsPath;
use super::state::State;

/// Where a path leads: to a block, or to a value within one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The block.
    pub(crate) cid: Cid,
    /// What is left of the path within the block's document.
    pub(crate) remainder: Vec<String>,
}

/// A path and the blocks to follow it with.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) path: IpfsPath,
    pub(crate) blocks: Arc<dyn BlockGetter>,
}

impl Place {
    /// Follows the path; blocks.
    pub(crate) fn find(&self) -> Result<Found, RpcError> {
        follow(self.path.root, &self.path.segments, &*self.blocks)
    }

    /// The block that the whole path names.
    pub(crate) fn whole(&self) -> Result<Cid, RpcError> {
        let found = self.find()?;
        if found.remainder.is_empty() {
            return Ok(found.cid);
        }
        Err(RpcError::new(format!(
            "path {:?} names a value within {}, not a block",
            self.path.text, found.cid
        )))
    }
}

/// Prepares to follow a path.
#[allow(
    clippy::unused_async,
    reason = "every command awaits it, as it does all that comes before its answer"
)]
pub(crate) async fn locate(state: &State, call: &Call, text: &str) -> Result<Place, RpcError> {
    let path = IpfsPath::parse(text)?;
    let blocks = state.blocks(&path.root, call.is_offline()?);
    Ok(Place { path, blocks: call.attended(blocks) })
}

/// Follows names through directories, and keys and indices through documents.
pub(crate) fn follow(root: Cid, segments: &[String], blocks: &dyn BlockGetter) -> Result<Found, RpcError> {
    let mut cid = root;
    let mut rest = segments;
    while !rest.is_empty() {
        match cid.codec() {
            DAG_PB => match unixfs(cid, rest, blocks)? {
                Some((next, used)) => (cid, rest) = (next, &rest[used..]),
                None => match document(cid, rest, blocks)? {
                    Some((next, used)) => (cid, rest) = (next, &rest[used..]),
                    None => break,
                },
            },
            RAW => return Err(no_link(&cid, &rest[0])),
            _ => match document(cid, rest, blocks)? {
                Some((next, used)) => (cid, rest) = (next, &rest[used..]),
                None => break,
            },
        }
    }
    Ok(Found { cid, remainder: rest.to_vec() })
}

fn no_link(cid: &Cid, name: &str) -> RpcError {
    RpcError::new(format!("no link named {name:?} under {cid}"))
}

/// One name in a directory; `None` when the node is none.
fn unixfs(cid: Cid, rest: &[String], blocks: &dyn BlockGetter) -> Result<Option<(Cid, usize)>, RpcError> {
    let mut walk = Resolver::new(cid, vec![rest[0].clone()]);
    let drive = |error| RpcError::from(DriveError::Walk(error));
    loop {
        match walk.step().map_err(drive)? {
            Step::Item(found) => return Ok(Some((found.cid, 1))),
            Step::Done => return Err(no_link(&cid, &rest[0])),
            Step::Need(needed) => match walk.feed(blocks.get(&needed)?) {
                Ok(()) => {}
                Err(WalkError::NotADirectory { cid: at }) if at == cid => return Ok(None),
                Err(WalkError::NotFound { .. }) if rest[0] == "Links" || rest[0] == "Data" => {
                    return Ok(None);
                }
                Err(error) => return Err(drive(error)),
            },
        }
    }
}

/// Keys and indices up to the first link; `None` when all of them stay within the document.
fn document(cid: Cid, rest: &[String], blocks: &dyn BlockGetter) -> Result<Option<(Cid, usize)>, RpcError> {
    let block = blocks.get(&cid)?;
    let document = ipld::decode(cid.codec(), &block)?;
    let mut value = &document;
    for (segment, used) in rest.iter().zip(1..) {
        value = ipld::step(value, segment).ok_or_else(|| no_link(&cid, segment))?;
        if let Ipld::Link(next) = value {
            return Ok(Some((*next, used)));
        }
    }
    Ok(None)
}

/// The value that a path names, and the codec of its block.
pub(crate) fn value_at(found: &Found, block: &Bytes) -> Result<Ipld, RpcError> {
    let mut value = ipld::decode(found.cid.codec(), block)?;
    for segment in &found.remainder {
        value = ipld::step(&value, segment).cloned().ok_or_else(|| no_link(&found.cid, segment))?;
    }
    Ok(value)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Resolved {
    path: String,
}

pub(super) async fn resolve(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let form = call.cid_form()?;
    call.flag(&["recursive", "r"], true)?;
    let place = locate(&state, &call, call.arg(0, "name")?).await?;
    answer::value(&call, move || {
        let found = place.find()?;
        let mut path = format!("/ipfs/{}", form.text(&found.cid));
        for segment in &found.remainder {
            path.push('/');
            path.push_str(segment);
        }
        Ok(Resolved { path })
    })
    .await
}
