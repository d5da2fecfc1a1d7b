//! The HTTP server: loopback only, guarded, bounded.

mod add;
mod chain;
mod content;
mod feed;
mod guard;
mod lines;
mod metrics;
mod node;
mod objects;
mod once;
mod parts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::DefaultBodyLimit;
use axum::{Extension, Json, Router, middleware, routing};
use tokio::net::TcpListener;

use crate::error::{ApiError, ErrorCode};
use crate::pinning;
use crate::view::Version;

pub(crate) use guard::Owner;

pub use feed::Feed;
pub use parts::{Host, Network, Parts};

/// Largest request body. Requests name files and CIDs, they do not carry content.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Why the server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Only this machine may reach the API.
    #[error("the api must listen on a loopback address, not on {0}")]
    Public(SocketAddr),
    /// Taken, or not allowed.
    #[error(
        "the api cannot listen on {address}. Another address: hpips config Addresses.API /ip4/127.0.0.1/tcp/5002"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

/// A server that listens and does not answer yet, so that its address is known before the node is whole.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    is_rpc_open: bool,
    pins_token: Option<String>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on a loopback address; port 0 picks a free one.
    ///
    /// # Errors
    /// [`BindError`] by variant.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        if !address.ip().is_loopback() {
            return Err(BindError::Public(address));
        }
        let listen = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address, is_rpc_open: true, pins_token: None })
    }

    /// Another token that the pinning service takes, and nothing else does.
    #[must_use]
    pub fn with_pins_token(self, token: String) -> Self {
        Self { pins_token: Some(token), ..self }
    }

    /// Says whether callers of `/api/v0` must show the token as those of everything else must. Without it any program
    /// of this machine may call, as with Kubo, but for keys and the settings of this program; web pages of other
    /// origins never may.
    #[must_use]
    pub fn with_rpc_token(self, is_required: bool) -> Self {
        Self { is_rpc_open: !is_required, ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is done, then ends the requests under way.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(
        self,
        token: String,
        routes: Router,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let routes = Router::new()
            .route("/hpips/v0/version", routing::get(version))
            .merge(routes)
            .fallback(unknown)
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .layer(middleware::from_fn_with_state(
                guard::Guard { token, pins_token: self.pins_token, is_rpc_open: self.is_rpc_open },
                guard::check,
            ));
        axum::serve(self.listener, routes).with_graceful_shutdown(shutdown).await
    }
}

/// Every endpoint of a node. GET reads, POST changes.
pub fn routes(parts: Parts) -> Router {
    use routing::{get, post};
    let pins = pinning::router(parts.pinning.clone());
    Router::new()
        .route("/hpips/v0/id", get(node::id))
        .route("/hpips/v0/status", get(node::status))
        .route("/hpips/v0/connect", post(node::connect))
        .route("/hpips/v0/mount", post(node::mount))
        .route("/hpips/v0/unmount", post(node::unmount))
        .route("/hpips/v0/shutdown", post(node::shutdown))
        .route("/hpips/v0/add", post(add::add))
        .route("/hpips/v0/add-lines", post(add::add_lines))
        .route("/hpips/v0/get", post(content::get))
        .route("/hpips/v0/get-lines", post(content::get_lines))
        .route("/hpips/v0/forget", post(content::forget))
        .route("/hpips/v0/quote", post(objects::quote))
        .route("/hpips/v0/store", post(objects::store))
        .route("/hpips/v0/chain", get(chain::chain))
        .route("/hpips/v0/blocks", get(chain::blocks))
        .route("/hpips/v0/totals", get(chain::totals))
        .route("/hpips/v0/account", get(chain::account))
        .route("/hpips/v0/pledge", get(chain::pledge_of).post(chain::pledge))
        .route("/hpips/v0/proof", get(chain::proof))
        .route("/hpips/v0/transfer", post(chain::transfer))
        .route("/hpips/v0/deals", get(chain::deals))
        .route(metrics::PATH, get(metrics::page))
        .layer(Extension(Arc::new(chain::Transfers::default())))
        .layer(Extension(metrics::Began(Instant::now())))
        .with_state(parts)
        .merge(pins)
}

async fn version() -> Json<Version> {
    Json(Version::default())
}

async fn unknown() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "no such endpoint")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::pinning::Pinning;
    use crate::rpc::{Settings, SettingsError};
    use crate::{ApiClient, CallError, Endpoint};

    /// A process that does nothing and has no settings.
    struct Nothing;

    impl Host for Nothing {
        fn mount(&self, _path: &std::path::Path) -> Result<(), String> {
            Err("no".into())
        }

        fn unmount(&self) -> Result<(), String> {
            Ok(())
        }

        fn shut_down(&self) {}
    }

    impl Settings for Nothing {
        fn show(&self) -> Result<Value, SettingsError> {
            Ok(Value::Null)
        }

        fn get(&self, key: &str) -> Result<Value, SettingsError> {
            Err(SettingsError::Unknown { key: key.to_owned(), near: None })
        }

        fn set(&self, key: &str, _value: Value) -> Result<(), SettingsError> {
            Err(SettingsError::Unknown { key: key.to_owned(), near: None })
        }

        fn replace(&self, _all: Value) -> Result<(), SettingsError> {
            Ok(())
        }

        fn apply_profile(&self, _name: &str, _dry_run: bool) -> Result<(Value, Value), SettingsError> {
            Ok((Value::Null, Value::Null))
        }

        fn storage_max(&self) -> u64 {
            u64::MAX
        }
    }

    /// Status and body of an answer.
    async fn ask(address: SocketAddr, request: &str) -> (u16, String) {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_plain_node_shows_what_it_measures_and_takes_pins() {
        let folder = tempfile::tempdir().unwrap();
        let store = hpips_store::Store::open(folder.path(), hpips_store::Config::default()).unwrap();
        let net = hpips_net::Config::loopback([1; 32]);
        let net = hpips_net::Net::start(net, Arc::new(store.clone())).await.unwrap();
        let repo = folder.path().to_owned();
        let pins =
            pinning::Parts { store: store.clone(), net: net.clone(), client: None, repo: repo.clone() };
        let pinning = Pinning::start(pins, pinning::Config::default()).unwrap();
        let (host, settings) = (Arc::new(Nothing), Arc::new(Nothing));
        let parts = Parts { net, store, repo, network: None, host, settings, pinning: pinning.clone() };
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let serving = server.serve("secret".into(), routes(parts), std::future::pending());
        let task = tokio::spawn(serving);

        let host = format!("Host: {address}\r\n");
        let token = "Authorization: Bearer secret\r\n";
        let pin = r#"{"cid":"bafkqaaa","name":"nothing"}"#;
        let length = pin.len();
        let add = format!("POST /pins HTTP/1.1\r\n{host}{token}Content-Length: {length}\r\n");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{add}Connection: close\r\n\r\n{pin}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");

        let metrics = format!("GET /metrics HTTP/1.1\r\n{host}");
        let pinned = r#"hpips_pin_requests{status="pinned"} 1"#;
        let end = std::time::Instant::now() + Duration::from_secs(60);
        let page = loop {
            let (status, page) = ask(address, &metrics).await;
            assert_eq!(status, 200, "{page}");
            if page.contains(pinned) {
                break page;
            }
            assert!(std::time::Instant::now() < end, "{page}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        for line in [r#"hpips_pins{kind="recursive"} 1"#, r#"hpips_peers{direction="inbound"} 0"#] {
            assert!(page.lines().any(|shown| shown == line), "{line} is not in {page}");
        }
        assert_eq!(ask(address, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n").await.0, 403);
        let origin = format!("{metrics}Origin: http://evil.example\r\n");
        assert_eq!(ask(address, &origin).await.0, 403);
        assert_eq!(ask(address, &format!("GET /hpips/v0/status HTTP/1.1\r\n{host}")).await.0, 403);
        assert_eq!(ask(address, &format!("GET /pins HTTP/1.1\r\n{host}")).await.0, 401);
        let (status, list) = ask(address, &format!("GET /pins HTTP/1.1\r\n{host}{token}")).await;
        assert!(status == 200 && list.contains(r#""name":"nothing""#), "{list}");
        pinning.shutdown().await;
        task.abort();
    }

    #[tokio::test]
    async fn answers_its_owner_and_refuses_the_rest() {
        assert!(matches!(Server::bind("0.0.0.0:0".parse().unwrap()).await, Err(BindError::Public(_))));
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(server.serve("secret".into(), Router::new(), async {
            let _ = stopped.await;
        }));
        let client = |token: &str| ApiClient::new(Endpoint { address, token: token.into(), pid: 0 });
        let version: Version = client("secret").get("/hpips/v0/version").await.unwrap();
        assert_eq!(version, Version::default());
        let code = |result: Result<Value, CallError>| result.unwrap_err().code();
        assert_eq!(code(client("wrong").get("/hpips/v0/version").await), Some(ErrorCode::Forbidden));
        assert_eq!(code(client("secret").get("/nothing").await), Some(ErrorCode::NotFound));

        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = "GET /hpips/v0/version HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer secret\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");

        stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap().unwrap();
        assert!(matches!(
            client("secret").get::<Value>("/hpips/v0/version").await,
            Err(CallError::Unreachable(_))
        ));
    }
}
