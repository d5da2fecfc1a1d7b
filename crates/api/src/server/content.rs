//! Content: into the local store, and out of it or the network.

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use cid::Cid;
use hpips_client::blocks::Local;
use hpips_client::{
    AddOptions, Added, BlockGetter, ExportError, GetBlockError, ImportOptions, Reporter, add_local, export,
};
use hpips_dag::DepthFirst;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::node::milliseconds;
use super::parts::Parts;
use crate::content::{self, ContentError, ContentPath, Listing};
use crate::error::{ApiError, ErrorCode, chain_text};
use crate::view::{AddAnswer, AddRequest, AddedView, Forgotten, GetAnswer, GetRequest, RootRequest};

/// Parts of a file on their way to the reader; each is at most a block.
const PARTS_AHEAD: usize = 4;
/// Blocks of a DAG that is forgotten at most: 16 TiB at the default chunk size.
const BLOCKS_MAX: usize = 1 << 24;

#[derive(Deserialize)]
pub(super) struct AtPath {
    path: String,
}

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

pub(super) async fn ls(
    State(parts): State<Parts>,
    Query(at): Query<AtPath>,
) -> Result<Json<Listing>, ApiError> {
    let path = parse_path(&at.path)?;
    let blocks = parts.blocks(path.root).await?;
    blocking(move || content::list(&path, &blocks).map(Json).map_err(content_error)).await
}

/// The first block is waited for before the answer begins, so that "not found" is an answer of its own.
/// A later failure cuts the body short, which the reader notices.
pub(super) async fn cat(State(parts): State<Parts>, Query(at): Query<AtPath>) -> Result<Response, ApiError> {
    let path = parse_path(&at.path)?;
    let blocks = parts.blocks(path.root).await?;
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, ContentError>>(PARTS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let result = content::cat(&path, &blocks, &mut |part| sender.blocking_send(Ok(part)).map_err(gone));
        if let Err(error) = result {
            let _ = sender.blocking_send(Err(error));
        }
    });
    let first = match receiver.recv().await {
        Some(Err(error)) => return Err(content_error(error)),
        first => first,
    };
    let rest = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|part| (part, receiver))
    });
    let body = Body::from_stream(futures::StreamExt::chain(futures::stream::iter(first), rest));
    Ok(Response::new(body))
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
    let (report, stats) = blocking(move || {
        let cid = content::resolve(&path, &blocks).map_err(content_error)?;
        let report = export(cid, &blocks, &request.target, &mut |_| {}).map_err(export_error)?;
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

pub(super) async fn add(
    State(parts): State<Parts>,
    Json(request): Json<AddRequest>,
) -> Result<Json<AddAnswer>, ApiError> {
    if !request.path.is_absolute() {
        return Err(ApiError::bad_request("the path must be given as an absolute path"));
    }
    let configured = parts.settings.get("Import.Profile").map_err(|error| ApiError::failed(&error))?;
    let options = ImportOptions {
        profile: request.profile.resolve(configured.as_str().unwrap_or_default())?,
        hidden: request.hidden,
        ..ImportOptions::default()
    };
    let store = parts.store;
    blocking(move || {
        let options = AddOptions { import: options, ..AddOptions::default() };
        let added = add_local(&store, &request.path, &options, &Reporter::none())
            .map_err(|error| ApiError::failed(&error))?;
        let view = |Added { cid, name, bytes, dag_bytes }| AddedView {
            cid: cid.to_string(),
            name,
            bytes,
            dag_bytes,
        };
        Ok(Json(AddAnswer {
            root: added.report.root.to_string(),
            files: added.report.files,
            bytes: added.report.bytes.get(),
            added: added.added.into_iter().map(view).collect(),
        }))
    })
    .await
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
