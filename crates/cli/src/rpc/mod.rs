//! The way to the commands that Kubo also has: each is one request of its RPC, `/api/v0`, and one answer.
//!
//! A [`Call`] names the command, its arguments, options and what is uploaded. [`Rpc`] takes it to the node that
//! runs on the repo, or to the same handlers in this process when none runs, and reads the answer part by part,
//! so that what the commands print never depends on whether a node runs.

mod answer;
mod call;
mod error;

use std::cell::RefCell;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

pub(crate) use answer::Answer;
pub(crate) use call::{Call, Part, Upload};
pub(crate) use error::RpcError;

use crate::exit::{Exit, Stop};

/// How long a node may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Where the handlers are.
#[derive(Debug)]
pub(crate) enum Way {
    /// In another process. `token` shows a node of ours that the caller may read its repo.
    Node {
        /// `host:port`.
        host: String,
        /// Secret of the endpoint file.
        token: Option<String>,
    },
    /// In this process.
    Here(axum::Router),
}

/// Options that every command takes, as Kubo names them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Common {
    /// Ask nobody else for blocks.
    pub(crate) offline: bool,
    /// Multibase of the CIDs in the answer.
    pub(crate) cid_base: Option<String>,
    /// Show CIDs of version 0 as version 1.
    pub(crate) upgrade_cid: bool,
    /// Give up after this long.
    pub(crate) timeout: Option<Duration>,
}

/// Takes requests to the handlers. Dropping it ends what still runs.
#[derive(Debug)]
pub(crate) struct Rpc {
    runtime: Option<Runtime>,
    way: Way,
    common: Common,
}

impl Rpc {
    /// Prepares the way; a connection is made for each request.
    pub(crate) fn new(runtime: Runtime, way: Way, common: Common) -> Self {
        Self { runtime: Some(runtime), way, common }
    }

    /// Whether a running node answers, not this process.
    pub(crate) fn is_node(&self) -> bool {
        matches!(self.way, Way::Node { .. })
    }

    /// Takes a request and prints each value of its answer: as JSON the way it came, or as `human` writes it.
    pub(crate) fn show<T: DeserializeOwned>(
        &self,
        is_json: bool,
        call: Call,
        mut human: impl FnMut(T, &mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<Exit> {
        let out = RefCell::new(BufWriter::new(io::stdout().lock()));
        let print = |text: &[u8]| {
            let mut out = out.borrow_mut();
            if !is_json {
                return human(serde_json::from_slice(text).map_err(RpcError::Answer)?, &mut *out);
            }
            out.write_all(text)?;
            out.write_all(b"\n")?;
            // Whether a value tells of a failure is for `human` to see; a value of another form tells of none.
            serde_json::from_slice(text).map_or(Ok(()), |value| human(value, &mut io::sink()))
        };
        let done = self.texts(call, print, || Ok(out.borrow_mut().flush()?));
        // What came before a failure is printed before the failure is.
        let flushed = out.borrow_mut().flush();
        done?;
        flushed?;
        Ok(Exit::Done)
    }

    /// Prints the bytes of the answer as they come.
    pub(crate) fn pour(&self, call: Call) -> anyhow::Result<Exit> {
        let mut out = io::stdout().lock();
        self.bytes(call, |part| Ok(out.write_all(part)?))?;
        out.flush()?;
        Ok(Exit::Done)
    }

    /// Hands over each value of the answer.
    pub(crate) fn values<T: DeserializeOwned>(
        &self,
        call: Call,
        mut take: impl FnMut(T) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let parse = |text: &[u8]| take(serde_json::from_slice(text).map_err(RpcError::Answer)?);
        self.texts(call, parse, || Ok(()))
    }

    fn texts(
        &self,
        call: Call,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
        mut pause: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.run(async { self.send(call).await?.texts(&mut take, &mut pause).await })
    }

    /// Hands over the bytes of the answer as they come.
    pub(crate) fn bytes(
        &self,
        call: Call,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.run(async { self.send(call).await?.bytes(&mut take).await })
    }

    async fn send(&self, call: Call) -> anyhow::Result<Answer> {
        let mut request = call.request(&self.common)?;
        let response: Response<Body> = match &self.way {
            Way::Here(router) => {
                use tower::ServiceExt as _;
                request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("127.0.0.1"));
                match router.clone().oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
            Way::Node { host, token } => {
                let headers = request.headers_mut();
                headers.insert(
                    header::HOST,
                    host.parse().map_err(|_| RpcError::Address { host: host.clone() })?,
                );
                headers.insert(header::TE, header::HeaderValue::from_static("trailers"));
                headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
                if let Some(token) = token {
                    let bearer = format!("Bearer {token}").parse();
                    headers.insert(
                        header::AUTHORIZATION,
                        bearer.map_err(|_| RpcError::Address { host: host.clone() })?,
                    );
                }
                to_node(host, request).await?
            }
        };
        Answer::new(response).await
    }

    /// Says what could help where content is missing and nobody else was asked.
    fn hint(&self, error: anyhow::Error) -> anyhow::Error {
        let is_here = matches!(self.way, Way::Here(_));
        match error.downcast::<RpcError>() {
            Ok(RpcError::Refused { message, status }) if is_here && message.contains("could not find") => {
                let message = format!("{message}. A running node could look further: hpips daemon");
                RpcError::Refused { message, status }.into()
            }
            Ok(error) => error.into(),
            Err(error) => error,
        }
    }

    /// Runs a request to its end, to Ctrl-C, or until time is up. Either way a dropped request is cancelled
    /// at the other end too.
    fn run<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let runtime = self.runtime.as_ref().expect("taken only when dropped");
        runtime.block_on(async {
            let limit = self.common.timeout;
            let timer = async move {
                match limit {
                    Some(limit) => tokio::time::sleep(limit).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                done = work => done.map_err(|error| self.hint(error)),
                _ = tokio::signal::ctrl_c() => {
                    Err(Stop::new(Exit::Interrupted, "interrupted; what was finished stays, the same command may be repeated").into())
                }
                () = timer => Err(RpcError::Deadline(limit.unwrap_or_default()).into()),
            }
        })
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        // A thread that still reads standard input or a file must not keep the program from ending.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn to_node(host: &str, request: Request<Body>) -> Result<Response<Body>, RpcError> {
    let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| RpcError::Unreachable {
        host: host.to_owned(),
        source,
    };
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(host))
        .await
        .map_err(|late| unreachable(late.into()))?
        .map_err(|error| unreachable(error.into()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(error.into()))?;
    // Ends by itself when the answer was read or dropped.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| unreachable(error.into()))?;
    Ok(response.map(Body::new))
}

/// `host:port` of what `--api` takes: a multiaddress such as `/ip4/127.0.0.1/tcp/5001`, `http://HOST:PORT`, or
/// `HOST:PORT`.
pub(crate) fn api_host(text: &str) -> anyhow::Result<String> {
    let wrong = || {
        Stop::usage(format!(
            "{text:?} is no address of an RPC API: write for example /ip4/127.0.0.1/tcp/5001"
        ))
    };
    if let Some(parts) = text.strip_prefix('/') {
        let parts: Vec<&str> = parts.split('/').collect();
        let (protocol, host, port) = match parts.as_slice() {
            [protocol, host, "tcp", port] | [protocol, host, "tcp", port, "http"] => {
                (*protocol, *host, *port)
            }
            _ => return Err(wrong().into()),
        };
        let port: u16 = port.parse().map_err(|_| wrong())?;
        return match protocol {
            "ip4" => Ok(SocketAddr::new(host.parse().map_err(|_| wrong())?, port).to_string()),
            "ip6" => Ok(SocketAddr::new(host.parse().map_err(|_| wrong())?, port).to_string()),
            "dns" | "dns4" | "dns6" if !host.is_empty() => Ok(format!("{host}:{port}")),
            _ => Err(wrong().into()),
        };
    }
    let host = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && !name.contains('/') && port.parse::<u16>().is_ok() => {
            Ok(host.to_owned())
        }
        _ => Err(wrong().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::api_host;

    #[test]
    fn addresses_of_an_api() {
        for (text, host) in [
            ("/ip4/127.0.0.1/tcp/5001", "127.0.0.1:5001"),
            ("/ip4/127.0.0.1/tcp/5001/http", "127.0.0.1:5001"),
            ("/ip6/::1/tcp/5001", "[::1]:5001"),
            ("/dns4/localhost/tcp/80", "localhost:80"),
            ("http://127.0.0.1:5001/", "127.0.0.1:5001"),
            ("localhost:5001", "localhost:5001"),
        ] {
            assert_eq!(api_host(text).unwrap(), host, "{text}");
        }
        for text in [
            "",
            "/",
            "5001",
            "/ip4/localhost/tcp/1",
            "/ip4/127.0.0.1/udp/1",
            "/ip4/1.1.1.1/tcp/70000",
            "a/b:1",
        ] {
            assert!(api_host(text).is_err(), "{text}");
        }
    }
}
