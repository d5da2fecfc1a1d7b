//! `repo/*`: the store as a whole.

use axum::extract;
use axum::response::Response;
use cid::Cid;
use hpips_types::content::{RAW, verify_block};
use serde::Serialize;

use super::answer::{self, Form};
use super::call::Call;
use super::error::RpcError;
use super::ipld::LinkView;
use super::state::State;

/// Version of the repo's format.
pub(crate) const REPO_VERSION: &str = "1";
/// Blocks between two words of progress.
const PROGRESS_BLOCKS: u64 = 1024;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    repo_size: u64,
    storage_max: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_objects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repo_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

pub(super) async fn stat(extract::State(state): extract::State<State>, call: Call) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let size_only = call.flag(&["size-only"], false)?;
    answer::value(&call, move || {
        let store = state.store();
        let parts = state.parts();
        let stat = Stat {
            repo_size: store.pack_bytes()?,
            storage_max: parts.settings.storage_max(),
            num_objects: None,
            repo_path: None,
            version: None,
        };
        if size_only {
            return Ok(stat);
        }
        Ok(Stat {
            num_objects: Some(store.block_count()?),
            repo_path: Some(parts.repo.display().to_string()),
            version: Some(format!("hpips-repo@{REPO_VERSION}")),
            ..stat
        })
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: &'static str,
}

pub(super) async fn version(call: Call) -> Result<Response, RpcError> {
    call.at_most(0)?;
    answer::json(&Version { version: REPO_VERSION })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    msg: String,
    progress: u64,
}

/// There is one version so far, so nothing is to be done.
pub(super) async fn migrate(call: Call) -> Result<Response, RpcError> {
    call.at_most(0)?;
    if let Some(to) = call.option(&["to"]).filter(|to| !to.is_empty() && *to != REPO_VERSION) {
        return Err(RpcError::new(format!("no migration to version {to}: this program knows version {REPO_VERSION}")));
    }
    answer::json(&Message { msg: format!("the repo has version {REPO_VERSION}, nothing to do"), progress: 0 })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Collected {
    key: LinkView,
}

pub(super) async fn collect(extract::State(state): extract::State<State>, call: Call) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let silent = call.flag(&["silent"], false)?;
    call.flag(&["quiet", "q"], false)?;
    call.flag(&["stream-errors"], false)?;
    let form = call.cid_form()?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        let mut before = Vec::new();
        if !silent {
            store.for_each_block(|cid, _| before.push(*cid))?;
        }
        store.collect(&[])?;
        for cid in before {
            if !store.has(&cid)? {
                // Blocks are kept by their hash; the codec is not part of what was here.
                let cid = Cid::new_v1(RAW, *cid.hash());
                sink.json(&Collected { key: LinkView::text(form.text(&cid)) })?;
            }
        }
        Ok(())
    })
    .await
}

pub(super) async fn verify(extract::State(state): extract::State<State>, call: Call) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let drop = call.flag(&["drop"], false)?;
    if call.flag(&["heal"], false)? {
        return Err(RpcError::new("healing is not done here: a damaged block is forgotten and fetched again when it is read"));
    }
    let form = call.cid_form()?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        let (mut done, mut damaged) = (0u64, Vec::new());
        let mut left = Ok(());
        store.for_each_block(|cid, _| {
            if left.is_err() {
                return;
            }
            let is_sound = matches!(store.get(cid), Ok(Some(block)) if verify_block(cid, &block).is_ok());
            if !is_sound {
                damaged.push(*cid);
                left = sink.json(&Message { msg: format!("block {} was corrupt", form.text(cid)), progress: 0 });
            }
            done += 1;
            if done % PROGRESS_BLOCKS == 0 && left.is_ok() {
                left = sink.json(&Message { msg: String::new(), progress: done });
            }
        })?;
        left?;
        if damaged.is_empty() {
            return sink.json(&Message { msg: "verify complete, all blocks validated.".into(), progress: 0 });
        }
        if drop {
            for cid in &damaged {
                store.delete(cid)?;
            }
            let msg = format!("verify complete, {} corrupt blocks removed", damaged.len());
            return sink.json(&Message { msg, progress: 0 });
        }
        Err(RpcError::new(format!("verify complete, {} blocks are damaged", damaged.len())))
    })
    .await
}
