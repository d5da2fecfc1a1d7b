//! Content out of the local store or the network.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use cid::Cid;
use hpips_client::blocks::{Attended, Left, Local};
use hpips_client::{BlockGetter, ExportError, GetBlockError, export};
use hpips_dag::DepthFirst;

use super::node::milliseconds;
use super::parts::Parts;
use crate::content::{self, ContentError, ContentPath};
use crate::error::{ApiError, ErrorCode, chain_text};
use crate::view::{Forgotten, GetAnswer, GetRequest, RootRequest};

/// Blocks of a DAG that is forgotten at most: 16 TiB at the default chunk size.
const BLOCKS_MAX: usize = 1 << 24;

fn parse_path(text: &str) -> Result<ContentPath, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request(chain_text(&error)))
}

pub(super) fn parse_root(text: &str) -> Result<Cid, ApiError> {
    text.parse().map_err(|_| ApiError::bad_request(format!("{text:?} is no CID")))
}

/// Runs work that blocks on disk or network.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::failed(&error))?
}

fn content_error(error: ContentError) -> ApiError {
    let code =
        if error.is_not_found() || error.is_wrong_path() { ErrorCode::NotFound } else { ErrorCode::Failed };
    ApiError::new(code, chain_text(&error))
}

pub(super) async fn get(
    State(parts): State<Parts>,
    Json(request): Json<GetRequest>,
) -> Result<Json<GetAnswer>, ApiError> {
    let path = parse_path(&request.path)?;
    if !request.target.is_absolute() {
        return Err(ApiError::bad_request("the target must be given as an absolute path"));
    }
    let started = Instant::now();
    let blocks = parts.blocks(path.root).await?;
    // Whoever interrupts the command drops this future, and nothing more is fetched or written for it.
    let left = Left::default();
    let _watch = left.watch();
    let (report, stats) = blocking(move || {
        let attended = Attended::new(Arc::new(blocks.clone()), left);
        let cid = content::resolve(&path, &attended).map_err(content_error)?;
        let report = export(cid, &attended, &request.target, &mut |_| {}).map_err(export_error)?;
        Ok((report, blocks.stats()))
    })
    .await?;
    Ok(Json(GetAnswer {
        files: report.files,
        bytes: report.bytes.get(),
        fetched_bytes: stats.fetched_bytes,
        rebuilt_bytes: stats.rebuilt_bytes,
        milliseconds: milliseconds(started.elapsed()),
    }))
}

fn export_error(error: ExportError) -> ApiError {
    let code = match &error {
        ExportError::Exists(_) => ErrorCode::BadRequest,
        ExportError::Get { source: GetBlockError::NotFound { .. } | GetBlockError::TooFewSlots { .. } } => {
            ErrorCode::NotFound
        }
        _ => ErrorCode::Failed,
    };
    ApiError::new(code, chain_text(&error))
}

/// Unpins a root and deletes its blocks from the packs, so that the next read comes from the network.
/// Blocks that another pin needs are deleted too: for test networks and repairs by hand.
pub(super) async fn forget(
    State(parts): State<Parts>,
    Json(request): Json<RootRequest>,
) -> Result<Json<Forgotten>, ApiError> {
    let root = parse_root(&request.root)?;
    let store = parts.store;
    blocking(move || {
        let local = Local(store.clone());
        let mut walk = DepthFirst::new(root, BLOCKS_MAX);
        while let Some(cid) = walk.next_cid() {
            let block =
                local.get(&cid).map_err(|error| ApiError::new(ErrorCode::NotFound, chain_text(&error)))?;
            walk.feed(&cid, &block).map_err(|error| ApiError::failed(&error))?;
        }
        store.unpin(&root).map_err(|error| ApiError::failed(&error))?;
        let mut blocks = 0;
        for cid in walk.into_seen() {
            blocks += u64::from(store.delete(&cid).map_err(|error| ApiError::failed(&error))?);
        }
        Ok(Json(Forgotten { blocks }))
    })
    .await
}
