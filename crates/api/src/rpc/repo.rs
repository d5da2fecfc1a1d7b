//! `repo/*`: the store as a whole.

use axum::extract;
use axum::response::Response;
use cid::Cid;
use hpips_store::{CopyKind, Fault, LentBlock, LentStatus, Missing, VerifyProgress, VerifyReport};
use hpips_types::content::RAW;
use serde::Serialize;

use super::answer::{self, Form};
use super::call::Call;
use super::error::RpcError;
use super::ipld::LinkView;
use super::state::State;

/// Version of the repo's format.
pub(crate) const REPO_VERSION: &str = "1";

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

pub(super) async fn stat(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let size_only = call.flag(&["size-only"], false)?;
    answer::value(&call, move || {
        let parts = state.parts();
        let found = parts.store.stat()?;
        let stat = Stat {
            repo_size: found.bytes.saturating_add(found.index_bytes),
            storage_max: found.bytes_max.unwrap_or_else(|| parts.settings.storage_max()),
            num_objects: None,
            repo_path: None,
            version: None,
        };
        if size_only {
            return Ok(stat);
        }
        Ok(Stat {
            num_objects: Some(found.blocks),
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
        return Err(RpcError::new(format!(
            "no migration to version {to}: this program knows version {REPO_VERSION}"
        )));
    }
    answer::json(&Message { msg: format!("the repo has version {REPO_VERSION}, nothing to do"), progress: 0 })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Collected {
    key: LinkView,
}

pub(super) async fn collect(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let silent = call.flag(&["silent"], false)?;
    call.flag(&["quiet", "q"], false)?;
    call.flag(&["stream-errors"], false)?;
    let form = call.cid_form()?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        let mut left = Ok(());
        // What was begun is finished even when the caller leaves: half a collection helps nobody.
        store.collect_with(&[], |cid| {
            if !silent && left.is_ok() {
                // Blocks are kept by their hash; the codec is not part of what was here.
                let cid = Cid::new_v1(RAW, *cid.hash());
                left = sink.json(&Collected { key: LinkView::text(form.text(&cid)) });
            }
        })?;
        Ok(())
    })
    .await
}

pub(super) async fn verify(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let drop = call.flag(&["drop"], false)?;
    if call.flag(&["heal"], false)? {
        return Err(RpcError::new(
            "healing is not done here: a damaged block is forgotten and fetched again when it is read",
        ));
    }
    let form = call.cid_form()?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        let told =
            |progress: VerifyProgress| sink.json(&Message { msg: String::new(), progress: progress.blocks });
        let VerifyReport { damaged, missing, .. } = store.verify_with::<RpcError>(told)?;
        if damaged.is_empty() && missing.is_empty() {
            return sink.json(&Message { msg: "verify complete, all blocks validated.".into(), progress: 0 });
        }
        for Missing { cid, pin } in &missing {
            let msg = format!("block {} is missing, pin {} needs it", form.text(cid), form.text(pin));
            sink.json(&Message { msg, progress: 0 })?;
        }
        for damage in &damaged {
            let lost = if damage.is_lost { "" } else { "; another copy is sound" };
            let kept = damage.kept_by.as_ref().map_or_else(String::new, |kept| {
                format!("; kept because: {}", super::pin::reason(kept, &form))
            });
            let place = format!("{} at {}", damage.path.display(), damage.offset);
            let what = match (&damage.fault, damage.kind) {
                // Whose file it is may change it.
                (Fault::Mismatch | Fault::NoFile, CopyKind::UserFile) => {
                    "is no longer in its file, which changed: add it again".to_owned()
                }
                (Fault::Mismatch, _) => "was corrupt".to_owned(),
                (fault, _) => format!("could not be read: {fault}"),
            };
            let msg = format!("block {} {what} ({place}{lost}{kept})", form.text(&damage.cid));
            sink.json(&Message { msg, progress: 0 })?;
        }
        let mut left = damaged.len();
        if drop {
            let mut removed = 0;
            for damage in &damaged {
                removed += usize::from(store.drop_damaged(damage)?);
            }
            let msg = format!("verify complete, {removed} corrupt blocks removed");
            sink.json(&Message { msg, progress: 0 })?;
            left -= removed;
        }
        match (left, missing.len()) {
            (0, 0) => Ok(()),
            (left, 0) => Err(RpcError::new(format!("verify complete, {left} blocks are damaged"))),
            (0, missing) => Err(RpcError::new(format!("verify complete, {missing} blocks are missing"))),
            (left, missing) => Err(RpcError::new(format!(
                "verify complete, {left} blocks are damaged and {missing} are missing"
            ))),
        }
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Lent {
    /// Kubo's numbers: 0 sound, 10 the file cannot be read, 11 it is gone, 12 it has other bytes.
    status: u8,
    error_msg: String,
    key: LinkView,
    file_path: String,
    offset: u64,
    size: u32,
}

impl Lent {
    fn of(block: &LentBlock, status: &LentStatus) -> Self {
        let (status, error_msg) = match status {
            LentStatus::Sound => (0, String::new()),
            LentStatus::Changed => (12, "the file holds other bytes now".to_owned()),
            LentStatus::NoFile => (11, "the file is gone".to_owned()),
            LentStatus::Failed(error) => (10, error.to_string()),
        };
        Self {
            status,
            error_msg,
            key: LinkView::new(&block.cid),
            file_path: block.path.display().to_string(),
            offset: block.offset,
            size: block.bytes,
        }
    }
}

/// Blocks that users' files hold, all or those asked for.
pub(super) async fn filestore_list(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let cids = cids(&call)?;
    call.flag(&["file-order"], false)?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        let tell = |block| sink.json(&Lent::of(&block, &LentStatus::Sound));
        for cid in &cids {
            store.lent(cid)?.into_iter().try_for_each(tell)?;
        }
        if cids.is_empty() { store.for_each_lent(tell) } else { Ok(()) }
    })
    .await
}

/// The same, read and checked.
pub(super) async fn filestore_verify(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let cids = cids(&call)?;
    call.flag(&["file-order"], false)?;
    let removes = call.flag(&["remove-bad-blocks"], false)?;
    answer::stream(&call, Form::Json, move |sink| {
        let store = state.store();
        let tell = |block: LentBlock, status: LentStatus| {
            // Of a file that cannot be read nobody knows what is in it.
            if removes && matches!(status, LentStatus::Changed | LentStatus::NoFile) {
                store.forget_lent(&block)?;
            }
            sink.json(&Lent::of(&block, &status))
        };
        for cid in &cids {
            store.verify_lent_block(cid)?.into_iter().try_for_each(|(block, status)| tell(block, status))?;
        }
        if cids.is_empty() { store.verify_lent(tell) } else { Ok(()) }
    })
    .await
}

fn cids(call: &Call) -> Result<Vec<Cid>, RpcError> {
    call.args().iter().map(|text| super::path::parse_cid(text)).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Duplicate {
    r#ref: String,
    err: String,
}

/// Blocks that lie in the store although a user's file holds them.
pub(super) async fn filestore_duplicates(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let form = call.cid_form()?;
    answer::stream(&call, Form::Json, move |sink| {
        state
            .parts()
            .store
            .for_each_duplicate(|cid| sink.json(&Duplicate { r#ref: form.text(cid), err: String::new() }))
    })
    .await
}
