//! The HTTP gateway: IPFS content for browsers and other programs that speak nothing but HTTP.
//!
//! Path, subdomain and trustless gateway as <https://specs.ipfs.tech/http-gateways/> has them, with `_redirects`.
//! `docs/gateway.md` says what is spoken and what is not. Reading only: nothing here changes a store.
//!
//! A request goes through these modules in order:
//!
//! | module | does |
//! |---|---|
//! | `host` | says which names are answered and makes a content path of the subdomain |
//! | `address` | takes path and query apart, redirects what is written in another way |
//! | `format` | what the client wants: `?format=`, `Accept` |
//! | `name` | looks up the name of a path below `/ipns` |
//! | `answer` | resolves the path and chooses who writes the response |
//! | `file`, `directory`, `codec`, `block`, `car`, `tar` | write it |
//! | `delivery` | carries it from the blocking thread to the client, and stops when the client leaves |

mod address;
mod answer;
mod block;
mod blocks;
mod car;
mod codec;
mod conditional;
mod config;
mod delivery;
mod directory;
mod error;
mod escape;
mod file;
mod format;
pub(crate) mod fuzzing;
mod headers;
mod host;
mod html;
mod listen;
mod media;
mod name;
mod range;
mod redirects;
mod reply;
mod resolve;
mod tar;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::Semaphore;

use crate::names::Names;
use crate::routing::server;

pub use blocks::{Local, Source};
pub use config::Config;
pub use listen::serve;

/// What a gateway needs.
#[derive(Clone)]
pub struct Parts {
    /// Where blocks come from.
    pub source: Arc<dyn Source>,
    /// What names stand for; without it, paths below `/ipns` are refused.
    pub names: Option<Names>,
    /// What it answers, and how much at once.
    pub config: Config,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Shared by all requests.
struct Gateway {
    source: Arc<dyn Source>,
    names: Option<Names>,
    config: Config,
    /// One permit a request, held until its thread has ended.
    permits: Arc<Semaphore>,
}

/// The gateway as a router that takes every path.
///
/// ```no_run
/// # async fn example(store: hpips_store::Store) -> std::io::Result<()> {
/// use std::sync::Arc;
/// use hpips_api::gateway::{self, Config, Local, Parts};
///
/// let parts = Parts { source: Arc::new(Local::new(store)), names: None, config: Config::default() };
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// gateway::serve(listener, gateway::router(parts), std::future::pending()).await
/// # }
/// ```
pub fn router(parts: Parts) -> Router {
    let permits = Arc::new(Semaphore::new(parts.config.requests_max));
    let gateway =
        Arc::new(Gateway { source: parts.source, names: parts.names, config: parts.config, permits });
    Router::new().fallback(handle).with_state(gateway)
}

async fn handle(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if gateway.config.routing && request.uri().path().starts_with(server::PREFIX) {
        return route(&gateway, request).await;
    }
    let (parts, _body) = request.into_parts();
    let mut response = match answer::prepare(&gateway.config, &parts) {
        Ok(answer::Prepared::Reply(reply)) => reply.into_response(),
        Ok(answer::Prepared::Read(mut request)) => match name::look_up(&gateway, &mut request).await {
            Ok(None) => delivery::deliver(&gateway, *request).await,
            Ok(Some(response)) => response,
            Err(error) => error.into_reply().into_response(),
        },
        Err(error) => error.into_reply().into_response(),
    };
    headers::allow_cross_origin(response.headers_mut());
    response
}

/// Answers for others who has what: `/routing/v1`.
async fn route(gateway: &Arc<Gateway>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let refused = match (host::host(&gateway.config, &parts), &gateway.names) {
        (Ok(host::Host::Subdomain { .. }), _) | (Ok(_), None) => {
            Some(error::GatewayError::NoContentPath { path: parts.uri.path().to_owned() })
        }
        (Ok(_), Some(_)) => None,
        (Err(error), _) => Some(error),
    };
    let permit = Arc::clone(&gateway.permits).try_acquire_owned();
    let mut response = match (refused, permit, &gateway.names) {
        (None, Ok(permit), Some(names)) => {
            let request = Request::from_parts(parts, body);
            server::handle(names, request, gateway.config.wait, permit).await
        }
        (Some(error), ..) => error.into_reply().into_response(),
        (None, ..) => error::GatewayError::Busy.into_reply().into_response(),
    };
    headers::allow_cross_origin(response.headers_mut());
    response
}
