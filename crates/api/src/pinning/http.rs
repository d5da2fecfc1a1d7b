//! The routes. The guard before them has seen the token.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};

use super::PREFIX;
use super::failure::Failure;
use super::filter::Filter;
use super::object::{Pin, PinResults, PinStatus};
use super::service::Pinning;

/// Bytes of a request's body at most.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The service's routes.
pub(crate) fn router(pinning: Pinning) -> Router {
    Router::new()
        .route(PREFIX, get(list).post(add))
        .route(&format!("{PREFIX}/{{requestid}}"), get(show).post(replace).delete(remove))
        .method_not_allowed_fallback(async || Failure::wrong_method())
        .with_state(pinning)
}

type Id = Result<Path<String>, PathRejection>;

fn id_of(id: Id) -> Result<String, Failure> {
    // What is no text is no request's name.
    id.map(|Path(id)| id).map_err(|_| Failure::not_found())
}

async fn pin_of(body: Body) -> Result<(Pin, hpips_types::Cid), Failure> {
    let body: Bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| Failure::too_large(BODY_BYTES_MAX))?;
    Pin::parse(&body)
}

/// Runs work that reads or writes the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Failure::internal(error.to_string())))
}

async fn list(
    State(pinning): State<Pinning>,
    RawQuery(query): RawQuery,
) -> Result<Json<PinResults>, Failure> {
    let filter = Filter::parse(query.as_deref().unwrap_or_default())?;
    blocking(move || Ok(Json(pinning.list(&filter)))).await
}

async fn add(State(pinning): State<Pinning>, body: Body) -> Result<(StatusCode, Json<PinStatus>), Failure> {
    let (pin, root) = pin_of(body).await?;
    let status = blocking(move || pinning.add(pin, root, None)).await?;
    Ok((StatusCode::ACCEPTED, Json(status)))
}

async fn show(State(pinning): State<Pinning>, id: Id) -> Result<Json<PinStatus>, Failure> {
    let id = id_of(id)?;
    blocking(move || pinning.show(&id).map(Json)).await
}

async fn replace(
    State(pinning): State<Pinning>,
    id: Id,
    body: Body,
) -> Result<(StatusCode, Json<PinStatus>), Failure> {
    let id = id_of(id)?;
    let (pin, root) = pin_of(body).await?;
    let status = blocking(move || pinning.add(pin, root, Some(&id))).await?;
    Ok((StatusCode::ACCEPTED, Json(status)))
}

async fn remove(State(pinning): State<Pinning>, id: Id) -> Result<StatusCode, Failure> {
    let id = id_of(id)?;
    blocking(move || pinning.remove(&id)).await?;
    Ok(StatusCode::ACCEPTED)
}
