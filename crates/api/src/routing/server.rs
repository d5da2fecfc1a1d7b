//! `/routing/v1`: what this node knows of providers, peers and names, for programs that ask over HTTP.
//!
//! Only this node, what it is part of and what it remembers are asked, not the routers of the configuration: two nodes
//! that ask each other would never end. Source: <https://specs.ipfs.tech/routing/http-routing-v1/>.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use cid::Cid;
use futures::StreamExt;
use hpips_ipns::{Name, RECORD_BYTES_MAX, Record};
use hpips_types::content::sha256;
use http_body_util::{BodyExt, Limited};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::filter::Filter;
use super::json::{PEERS_MAX, Peer, peer_id};
use super::{PeerRecord, Reach};
use crate::error::chain_text;
use crate::names::{Ask, Names, NamingError, remembered};

/// Path of everything here.
pub(crate) const PREFIX: &str = "/routing/v1/";
/// The media type of records.
const RECORD: &str = "application/vnd.ipfs.ipns-record";
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
/// Who has what changes slowly; that nobody has it may change at once (boxo's times).
const FOUND: &str = "public, max-age=300, stale-while-revalidate=172800, stale-if-error=172800";
const NOT_FOUND: &str = "public, max-age=15, stale-while-revalidate=172800, stale-if-error=172800";
/// Of a name without a record.
const NO_RECORD: &str = "public, max-age=60";

/// How long a list is waited for once it has somebody: a walk through a DHT may take half a minute.
const MORE: Duration = Duration::from_secs(5);

/// A request that fails.
struct Failure(StatusCode, String);

impl Failure {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self(status, text.into())
    }
}

/// Answers a request below [`PREFIX`]. `permit` is held until the answer is sent.
pub(crate) async fn handle(
    names: &Names,
    request: Request,
    wait: Duration,
    permit: OwnedSemaphorePermit,
) -> Response {
    let (parts, body) = request.into_parts();
    let asked = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
    let answer = match (asked.split_once('/'), &parts.method) {
        (_, &Method::OPTIONS) => Ok(Response::new(Body::empty())),
        (Some(("providers", cid)), &Method::GET) => providers(names, &parts, cid, wait, permit).await,
        (Some(("peers", peer)), &Method::GET) => peers(names, &parts, peer, wait).await,
        (Some(("ipns", name)), &Method::GET | &Method::HEAD) => record(names, &parts, name, wait).await,
        (Some(("ipns", name)), &Method::PUT) => put_record(names, &parts, name, body, wait).await,
        (Some(("providers" | "peers" | "ipns", _)) | None, method) => Err(Failure::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("{method} is not taken here: GET, and PUT of records at /routing/v1/ipns/NAME"),
        )),
        _ => Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "not a path of this API: /routing/v1/providers/CID, /routing/v1/peers/PEER, /routing/v1/ipns/NAME",
        )),
    };
    answer.unwrap_or_else(|Failure(status, text)| {
        let mut response = Response::new(Body::from(format!("{text}\n")));
        *response.status_mut() = status;
        set(&mut response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
        response
    })
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    // Values are made here, of visible ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn accepts(parts: &Parts, media: &str) -> bool {
    let values = parts.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media))
}

fn filter(parts: &Parts) -> Filter {
    let (mut addresses, mut protocols) = (None, None);
    for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "filter-addrs" => addresses = addresses.or(Some(value)),
            "filter-protocols" => protocols = protocols.or(Some(value)),
            _ => {}
        }
    }
    Filter::new(addresses.as_deref(), protocols.as_deref())
}

async fn providers(
    names: &Names,
    parts: &Parts,
    cid: &str,
    wait: Duration,
    permit: OwnedSemaphorePermit,
) -> Result<Response, Failure> {
    let cid: Cid = cid.parse().map_err(|error| {
        Failure::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{cid:?} is no CID: {error}"))
    })?;
    let found = names.routers().providers(cid, Reach::Own);
    let search = Search { found, filter: filter(parts), end: Instant::now() + wait };
    if accepts(parts, LINES) {
        return Ok(stream(search, permit).await);
    }
    let providers = search.collect().await;
    let json = serde_json::to_vec(&Providers { providers: &providers });
    listed(providers.is_empty(), json)
}

async fn peers(names: &Names, parts: &Parts, peer: &str, wait: Duration) -> Result<Response, Failure> {
    let unreadable =
        || Failure::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{peer:?} is no name of a peer"));
    let peer = peer_id(peer).ok_or_else(unreadable)?;
    let asked = tokio::time::timeout(wait, names.routers().peer(peer, Reach::Own)).await;
    let record = asked.ok().flatten().and_then(|record| filter(parts).apply(record));
    let peers: Vec<Peer> = record.iter().map(Peer::from).collect();
    if accepts(parts, LINES) {
        let lines: Vec<u8> = peers.iter().flat_map(line).collect();
        let mut response = Response::new(Body::from(lines));
        set(&mut response, header::CONTENT_TYPE, LINES);
        set(&mut response, header::VARY, "Accept");
        set(&mut response, header::CACHE_CONTROL, if peers.is_empty() { NOT_FOUND } else { FOUND });
        return Ok(response);
    }
    let json = serde_json::to_vec(&Peers { peers: &peers });
    listed(peers.is_empty(), json)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Providers<'a> {
    providers: &'a [Peer],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Peers<'a> {
    peers: &'a [Peer],
}

/// A list; that nobody is known is an answer too (IPIP-513).
fn listed(is_empty: bool, json: serde_json::Result<Vec<u8>>) -> Result<Response, Failure> {
    let json = json.map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let mut response = Response::new(Body::from(json));
    set(&mut response, header::CONTENT_TYPE, JSON);
    set(&mut response, header::VARY, "Accept");
    set(&mut response, header::CACHE_CONTROL, if is_empty { NOT_FOUND } else { FOUND });
    Ok(response)
}

fn line(peer: &Peer) -> Vec<u8> {
    let mut line = serde_json::to_vec(peer).unwrap_or_default();
    line.push(b'\n');
    line
}

/// A search under way.
struct Search {
    found: mpsc::Receiver<PeerRecord>,
    filter: Filter,
    end: Instant,
}

impl Search {
    async fn next(&mut self) -> Option<Peer> {
        loop {
            let record = tokio::time::timeout_at(self.end, self.found.recv()).await.ok()??;
            if let Some(record) = self.filter.apply(record) {
                return Some(Peer::from(&record));
            }
        }
    }

    async fn collect(mut self) -> Vec<Peer> {
        let mut peers = Vec::new();
        while peers.len() < PEERS_MAX
            && let Some(peer) = self.next().await
        {
            if peers.is_empty() {
                self.end = self.end.min(Instant::now() + MORE);
            }
            peers.push(peer);
        }
        peers
    }
}

/// One peer a line, as they are found. The headers wait for the first: how long the answer may be kept depends on it.
async fn stream(mut search: Search, permit: OwnedSemaphorePermit) -> Response {
    let first = search.next().await;
    let cache = if first.is_some() { FOUND } else { NOT_FOUND };
    let rest = futures::stream::unfold((search, permit), |(mut search, permit)| async move {
        Some((search.next().await?, (search, permit)))
    });
    // A search that found nobody has ended.
    let peers = futures::stream::iter(first).chain(rest);
    let lines = peers.map(|peer| Ok::<_, Infallible>(Bytes::from(line(&peer))));
    let mut response = Response::new(Body::from_stream(lines));
    set(&mut response, header::CONTENT_TYPE, LINES);
    set(&mut response, header::VARY, "Accept");
    set(&mut response, header::CACHE_CONTROL, cache);
    response
}

fn name_of(text: &str) -> Result<Name, Failure> {
    text.parse()
        .map_err(|error: hpips_ipns::NameError| Failure::new(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn record(names: &Names, parts: &Parts, name: &str, wait: Duration) -> Result<Response, Failure> {
    let name = name_of(name)?;
    if !accepts(parts, RECORD) && !accepts(parts, "*/*") {
        return Err(Failure::new(
            StatusCode::NOT_ACCEPTABLE,
            format!("only records are had here: Accept: {RECORD}"),
        ));
    }
    let ask = Ask { reach: Some(Reach::Own), may_remember: true };
    let record = match tokio::time::timeout(wait, names.record(&name, ask)).await {
        Ok(Ok(record)) => record,
        Ok(Err(NamingError::NotFound(_))) | Err(_) => {
            let mut response = Response::new(Body::from(format!("no record of {name} is known here\n")));
            *response.status_mut() = StatusCode::NOT_FOUND;
            set(&mut response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
            set(&mut response, header::CACHE_CONTROL, NO_RECORD);
            return Ok(response);
        }
        Ok(Err(error)) => return Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, chain_text(&error))),
    };
    Ok(record_response(&record))
}

/// A record as a response.
pub(crate) fn record_response(record: &Record) -> Response {
    let mut response = Response::new(Body::from(record.bytes().to_vec()));
    set(&mut response, header::CONTENT_TYPE, RECORD);
    set(&mut response, header::VARY, "Accept");
    let digest = sha256(record.bytes());
    let etag: String = digest.as_bytes()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    set(&mut response, header::ETAG, &format!("\"{etag}\""));
    let seconds = remembered(record).as_secs();
    set(&mut response, header::CACHE_CONTROL, &format!("public, max-age={seconds}"));
    response
}

async fn put_record(
    names: &Names,
    parts: &Parts,
    name: &str,
    body: Body,
    wait: Duration,
) -> Result<Response, Failure> {
    let name = name_of(name)?;
    // A page in a browser could make this node speak for it to others.
    if parts.headers.contains_key(header::ORIGIN) {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "records are taken from programs, not from web pages",
        ));
    }
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case(RECORD) {
        return Err(Failure::new(
            StatusCode::NOT_ACCEPTABLE,
            format!("only records are taken here: Content-Type: {RECORD}"),
        ));
    }
    let wrong = |text: String| Failure::new(StatusCode::BAD_REQUEST, text);
    let body = tokio::time::timeout(wait, Limited::new(body, RECORD_BYTES_MAX).collect()).await;
    let body = body.map_err(|_| wrong("the record did not arrive in time".into()))?;
    let body = body.map_err(|_| wrong(format!("a record has at most {RECORD_BYTES_MAX} bytes")))?;
    let record = Record::decode(&body.to_bytes()).map_err(|error| wrong(error.to_string()))?;
    match names.take(name, &record, false, Some(Reach::Own)).await {
        Ok(_) => Ok(Response::new(Body::empty())),
        Err(error @ (NamingError::Record(_) | NamingError::Older(..))) => Err(wrong(chain_text(&error))),
        Err(error) => Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, chain_text(&error))),
    }
}
