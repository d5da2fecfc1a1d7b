//! Adding what the node can open itself, to the local store.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use hpips_client::blocks::Left;
use hpips_client::{AddOptions, Added, ImportOptions, ImportReport, Listener, Source, add_all};
use hpips_store::Store;

use super::content::blocking;
use super::lines;
use super::parts::Parts;
use crate::error::{ApiError, ErrorCode};
use crate::view::{AddAnswer, AddLine, AddRequest, AddedView};

/// How often it is told how far the reading is.
pub(super) const PROGRESS: Duration = Duration::from_millis(100);

/// Adds, and answers when all is added.
pub(super) async fn add(
    State(parts): State<Parts>,
    Json(request): Json<AddRequest>,
) -> Result<Json<AddAnswer>, ApiError> {
    let options = options(&parts, &request)?;
    let left = Left::default();
    let _watch = left.watch();
    blocking(move || {
        let mut added = Vec::new();
        let mut listener = Hearing { left, take: |line| added.extend(one(line)) };
        let report = run(&parts.store, &request, &options, &mut listener)?;
        Ok(Json(AddAnswer {
            root: report.root.to_string(),
            files: report.files,
            bytes: report.bytes.get(),
            added,
        }))
    })
    .await
}

fn one(line: AddLine) -> Option<AddedView> {
    match line {
        AddLine::Added(added) => Some(added),
        _ => None,
    }
}

/// Adds, and answers with an [`AddLine`] a line as it goes. When the caller leaves, the adding ends.
pub(super) async fn add_lines(
    State(parts): State<Parts>,
    Json(request): Json<AddRequest>,
) -> Result<Response, ApiError> {
    let options = options(&parts, &request)?;
    Ok(lines::answer(move |lines, left| {
        let (mut told, mut bytes) = (Instant::now(), 0u64);
        let take = |line| match line {
            AddLine::Bytes(more) => {
                bytes += more;
                if told.elapsed() >= PROGRESS {
                    told = Instant::now();
                    lines.send(&AddLine::Bytes(bytes));
                }
            }
            line => lines.send(&line),
        };
        let result = run(&parts.store, &request, &options, &mut Hearing { left, take });
        lines.send(&match result {
            Ok(_) => AddLine::Done,
            Err(error) => AddLine::Failed(error),
        });
    }))
}

fn options(parts: &Parts, request: &AddRequest) -> Result<AddOptions, ApiError> {
    if !request.path.is_absolute() {
        return Err(ApiError::bad_request("the path must be given as an absolute path"));
    }
    let configured = parts.settings.get("Import.Profile").map_err(|error| ApiError::failed(&error))?;
    let import = ImportOptions {
        profile: request.profile.resolve(configured.as_str().unwrap_or_default())?,
        hidden: request.hidden,
        nocopy: request.nocopy,
        ..ImportOptions::default()
    };
    Ok(AddOptions { import, repo: Some(parts.repo.clone()), rehash: request.rehash, ..AddOptions::default() })
}

fn run(
    store: &Store,
    request: &AddRequest,
    options: &AddOptions,
    listener: &mut dyn Listener,
) -> Result<ImportReport, ApiError> {
    let reports = add_all(store, vec![Source::Path(&request.path)], options, listener)
        .map_err(|error| ApiError::failed(&error))?;
    let report = reports.into_iter().next();
    report.ok_or_else(|| ApiError::new(ErrorCode::Failed, "nothing was added"))
}

/// Hands on what an import says, until the caller has left.
struct Hearing<F> {
    left: Left,
    take: F,
}

impl<F: FnMut(AddLine)> Listener for Hearing<F> {
    fn added(&mut self, added: Added) {
        let Added { cid, name, bytes, dag_bytes } = added;
        (self.take)(AddLine::Added(AddedView { cid: cid.to_string(), name, bytes, dag_bytes }));
    }

    fn bytes(&mut self, more: u64) {
        (self.take)(AddLine::Bytes(more));
    }

    fn is_cancelled(&self) -> bool {
        self.left.is_set()
    }
}
