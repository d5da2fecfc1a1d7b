//! A router elsewhere, asked over HTTP.

use std::str::FromStr;

use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{Method, Request, StatusCode, Uri, header};
use bytes::Bytes;
use cid::Cid;
use hpips_ipns::{Name, Record};
use hpips_net::PeerId;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{PeerRecord, ROUTER_WAIT, json};

/// Longest answer that is read, bytes: a hundred peers are some ten thousand.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Where the questions are below a router's address.
const PREFIX: &str = "/routing/v1";
/// The media type of records.
const RECORD: &str = "application/vnd.ipfs.ipns-record";

/// Why an address is no router's.
#[derive(Debug, thiserror::Error)]
pub enum DelegatedError {
    /// Not a URL.
    #[error("{0:?} is no URL such as http://127.0.0.1:8080")]
    Malformed(String),
    /// Encrypted, which this program has no certificates for.
    #[error("{0:?}: routers are asked over http only; put a proxy of this machine before an https one")]
    Https(String),
}

/// A router's address: `http://host:port`, with a path or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegated {
    authority: Authority,
    /// What stands before the question.
    path: String,
}

impl FromStr for Delegated {
    type Err = DelegatedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || DelegatedError::Malformed(text.to_owned());
        let parts = text.parse::<Uri>().map_err(|_| malformed())?.into_parts();
        match parts.scheme.as_ref().map(|scheme| scheme.as_str()) {
            Some("http") => {}
            Some("https") => return Err(DelegatedError::Https(text.to_owned())),
            _ => return Err(malformed()),
        }
        let authority = parts.authority.ok_or_else(malformed)?;
        let path = parts.path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/');
        let path = path.strip_suffix(PREFIX).unwrap_or(path).to_owned();
        // A name and a secret before the host would have to go into a header: nobody runs such a router.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(malformed());
        }
        Ok(Self { authority, path })
    }
}

/// Why a router gave no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("no connection")]
    Connect(#[from] std::io::Error),
    #[error("no answer of HTTP")]
    Http(#[from] hyper::Error),
    #[error("the answer was cut, or is too long")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the request cannot be written")]
    Request(#[from] axum::http::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("nothing within {} seconds", ROUTER_WAIT.as_secs())]
    Late,
}

impl Delegated {
    /// Peers that have a block; none when the router does not answer.
    pub(super) async fn providers(&self, cid: Cid) -> Vec<PeerRecord> {
        let cid = Cid::new_v1(cid.codec(), *cid.hash());
        self.peers(&format!("providers/{cid}")).await
    }

    /// Where a peer is.
    pub(super) async fn peer(&self, peer: PeerId) -> Option<PeerRecord> {
        let name = Name::from_bytes(&peer.to_bytes()).ok()?;
        self.peers(&format!("peers/{name}")).await.into_iter().find(|record| record.peer == peer)
    }

    async fn peers(&self, question: &str) -> Vec<PeerRecord> {
        let answer = self.ask(Method::GET, question, "application/json", Bytes::new()).await;
        answer.and_then(|answer| json::parse(&answer)).unwrap_or_default()
    }

    /// A record of a name, not checked yet.
    pub(super) async fn record(&self, name: Name) -> Option<Record> {
        let answer = self.ask(Method::GET, &format!("ipns/{name}"), RECORD, Bytes::new()).await?;
        Record::decode(&answer).ok()
    }

    /// Hands over a record; whether it was taken.
    pub(super) async fn put_record(&self, name: Name, record: &Record) -> bool {
        let body = Bytes::copy_from_slice(record.bytes());
        self.ask(Method::PUT, &format!("ipns/{name}"), RECORD, body).await.is_some()
    }

    async fn ask(&self, method: Method, question: &str, media: &'static str, body: Bytes) -> Option<Bytes> {
        let asked = tokio::time::timeout(ROUTER_WAIT, self.exchange(method, question, media, body)).await;
        match asked.unwrap_or(Err(AskError::Late)) {
            Ok(answer) => Some(answer),
            Err(AskError::Status(StatusCode::NOT_FOUND)) => None,
            Err(error) => {
                let error = crate::error::chain_text(&error);
                tracing::debug!(router = %self.authority, question, error, "a router does not answer");
                None
            }
        }
    }

    async fn exchange(
        &self,
        method: Method,
        question: &str,
        media: &'static str,
        body: Bytes,
    ) -> Result<Bytes, AskError> {
        let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.authority.port_u16().unwrap_or(80))).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let uri = format!("{}{PREFIX}/{question}", self.path);
        let kind = if method == Method::PUT { header::CONTENT_TYPE } else { header::ACCEPT };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, self.authority.as_str())
            .header(header::USER_AGENT, concat!("hpips/", env!("CARGO_PKG_VERSION")))
            .header(kind, media)
            .body(Full::new(body))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            if !response.status().is_success() {
                return Err(AskError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(body.map_err(AskError::Body)?.to_bytes())
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // The connection ends when the answer is whole, too.
            ended = connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(error.into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_routers_are_urls() {
        for (text, expected) in [
            ("http://127.0.0.1:8080", Some(("127.0.0.1:8080", ""))),
            ("http://localhost/", Some(("localhost", ""))),
            ("http://[::1]:80/a/", Some(("[::1]:80", "/a"))),
            ("http://a.example/b/routing/v1", Some(("a.example", "/b"))),
            ("https://cid.contact", None),
            ("http://", None),
            ("127.0.0.1:8080", None),
            ("http://user:secret@host", None),
            ("ftp://host", None),
            ("", None),
        ] {
            let found: Option<Delegated> = text.parse().ok();
            let found = found.as_ref().map(|router| (router.authority.as_str(), router.path.as_str()));
            assert_eq!(found, expected, "{text}");
        }
        let https = "https://cid.contact".parse::<Delegated>().unwrap_err();
        assert!(https.to_string().contains("http only"), "{https}");
    }
}
