//! `resolve`, and how every command finds what a path names.

use std::sync::Arc;

use axum::extract;
use axum::response::Response;
use bytes::Bytes;
use cid::Cid;
use hpips_client::BlockGetter;
use hpips_dag::document::{self, Followed};
use hpips_dag::{PathResolver, PathRules, Walk};
use ipld_core::ipld::Ipld;
use serde::Serialize;

use super::answer;
use super::call::Call;
use super::error::RpcError;
use super::name::ask;
use super::path::IpfsPath;
use super::state::State;
use crate::names::named;

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

/// Prepares to follow a path. A name at its beginning is looked up first.
pub(crate) async fn locate(state: &State, call: &Call, text: &str) -> Result<Place, RpcError> {
    let path = match named(text) {
        None => IpfsPath::parse(text)?,
        Some(named) => {
            let ask = ask(state, call)?;
            let resolving = async { Ok(state.parts().names.resolve(named, true, ask).await?) };
            let resolved = answer::in_time(call, resolving).await?;
            IpfsPath { text: text.to_owned(), ..IpfsPath::parse(&resolved.path)? }
        }
    };
    let blocks = state.blocks(&path.root, call.is_offline()?);
    Ok(Place { path, blocks: call.attended(blocks) })
}

/// Follows names through directories, and keys and indices through documents.
pub(crate) fn follow(root: Cid, segments: &[String], blocks: &dyn BlockGetter) -> Result<Found, RpcError> {
    let mut walk = PathResolver::new(root, segments.to_vec(), PathRules::Data).drive(|cid| blocks.get(cid));
    match walk.next() {
        Some(Ok(end)) => Ok(Found { cid: end.cid(), remainder: end.remainder }),
        Some(Err(error)) => Err(error.into()),
        None => Err(RpcError::new("the path has no end")),
    }
}

/// The value that a path names.
pub(crate) fn value_at(found: &Found, block: &Bytes) -> Result<Ipld, RpcError> {
    match document::follow(&found.cid, block, &found.remainder)? {
        Followed::Value(value) => Ok(value),
        Followed::Link { cid, .. } => Ok(Ipld::Link(cid)),
    }
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
    let text = call.arg(0, "name")?;
    if !call.flag(&["recursive", "r"], true)?
        && let Some(named) = named(text)
    {
        let ask = ask(&state, &call)?;
        let resolving = async { Ok(state.parts().names.resolve(named, false, ask).await?) };
        return answer::json(&Resolved { path: answer::in_time(&call, resolving).await?.path });
    }
    let place = locate(&state, &call, text).await?;
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
