//! Content out of the local store or the network.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use cid::Cid;
use hpips_client::blocks::{Attended, Left, Local};
use hpips_client::{BlockGetter, ExportError, FetchStats, GetBlockError, NetBlocks, export};
use hpips_dag::{DepthFirst, Kind, decode_pb};
use tokio::runtime::Handle;

use super::add::PROGRESS;
use super::lines;
use super::node::milliseconds;
use super::parts::Parts;
use crate::content::{self, ContentError, ContentPath};
use crate::error::{ApiError, ErrorCode, chain_text};
use crate::view::{Forgotten, GetAnswer, GetLine, GetProgress, GetRequest, RootRequest};

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

/// Saves, and answers when all is saved.
pub(super) async fn get(
    State(parts): State<Parts>,
    Json(request): Json<GetRequest>,
) -> Result<Json<GetAnswer>, ApiError> {
    let getting = Getting::begin(&parts, request).await?;
    // Whoever interrupts the command drops this future, and nothing more is fetched or written for it.
    let left = Left::default();
    let _watch = left.watch();
    blocking(move || getting.run(left)).await.map(Json)
}

/// Saves, and answers with a [`GetLine`] a line as it goes. When the caller leaves, the saving ends.
pub(super) async fn get_lines(
    State(parts): State<Parts>,
    Json(request): Json<GetRequest>,
) -> Result<Response, ApiError> {
    let getting = Getting::begin(&parts, request).await?;
    let runtime = Handle::current();
    Ok(lines::answer(move |lines, left| {
        // Told by the clock: also while nothing comes.
        let (telling, told) = (lines.clone(), getting.clone());
        let teller = runtime.spawn(async move {
            let mut ticks = tokio::time::interval(PROGRESS);
            while telling.try_send(&GetLine::Progress(told.progress())) {
                ticks.tick().await;
            }
        });
        let result = getting.run(left);
        teller.abort();
        lines.send(&match result {
            Ok(answer) => GetLine::Done(answer),
            Err(error) => GetLine::Failed(error),
        });
    }))
}

/// A file or folder on its way to disk.
#[derive(Clone)]
struct Getting {
    path: ContentPath,
    target: PathBuf,
    blocks: Arc<dyn BlockGetter>,
    /// The same, where others are asked too.
    fetched: Option<NetBlocks>,
    started: Instant,
    /// Bytes written; bytes in all, 0 before they are known.
    bytes: Arc<[AtomicU64; 2]>,
}

impl Getting {
    async fn begin(parts: &Parts, request: GetRequest) -> Result<Self, ApiError> {
        let path = parse_path(&request.path)?;
        if !request.target.is_absolute() {
            return Err(ApiError::bad_request("the target must be given as an absolute path"));
        }
        let (target, started) = (request.target, Instant::now());
        let fetched = if request.offline { None } else { Some(parts.blocks(path.root).await?) };
        let blocks: Arc<dyn BlockGetter> = match &fetched {
            Some(blocks) => Arc::new(blocks.clone()),
            None => Arc::new(Local(parts.store.clone())),
        };
        Ok(Self { path, target, blocks, fetched, started, bytes: Arc::default() })
    }

    /// Blocks until all is saved.
    fn run(&self, left: Left) -> Result<GetAnswer, ApiError> {
        let attended = Attended::new(Arc::clone(&self.blocks), left);
        let [written, all] = &*self.bytes;
        let cid = content::resolve(&self.path, &attended).map_err(content_error)?;
        if let Ok(block) = attended.get(&cid) {
            all.store(claimed_bytes(&cid, &block), Ordering::Relaxed);
        }
        let mut progress = |more| {
            written.fetch_add(more, Ordering::Relaxed);
        };
        let report = export(cid, &attended, &self.target, &mut progress).map_err(export_error)?;
        let stats = self.stats();
        Ok(GetAnswer {
            files: report.files,
            bytes: report.bytes.get(),
            fetched_bytes: stats.fetched_bytes,
            rebuilt_bytes: stats.rebuilt_bytes,
            milliseconds: milliseconds(self.started.elapsed()),
        })
    }

    fn stats(&self) -> FetchStats {
        self.fetched.as_ref().map(NetBlocks::stats).unwrap_or_default()
    }

    fn progress(&self) -> GetProgress {
        let stats = self.stats();
        let [bytes, all] = [0, 1].map(|place: usize| self.bytes[place].load(Ordering::Relaxed));
        GetProgress { bytes, all, fetched_bytes: stats.fetched_bytes, holders: stats.holders as u64 }
    }
}

/// Bytes of the files below a root as it says itself: exact for a file, a little more for a folder, whose links
/// count the blocks between too. For people to see how far it is.
fn claimed_bytes(cid: &Cid, block: &Bytes) -> u64 {
    let Ok(info) = hpips_dag::inspect(cid, block) else { return 0 };
    match info.kind {
        Kind::Directory => decode_pb(block)
            .map_or(0, |node| node.links.iter().fold(0u64, |sum, link| sum.saturating_add(link.tsize))),
        _ => info.file_bytes,
    }
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
