//! From a request to the response: first what can be said without reading, then what is read.

use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use cid::Cid;
use hpips_client::BlockGetter;
use hpips_client::blocks::Left;
use hpips_dag::{Kind, PathEnd, inspect};
use hpips_ipns::Name;

use super::address::{self, Address, Query};
use super::blocks::{Blocks, Source};
use super::config::Config;
use super::error::{GatewayError, ReadError};
use super::format::{self, Format, Wanted};
use super::host::{self, Host};
use super::redirects::{self, Ruled};
use super::reply::Reply;
use super::resolve::resolve;
use super::{block, car, codec, directory, file, headers, tar};

/// A request that needs blocks.
pub(super) struct ReadRequest {
    pub(super) is_head: bool,
    pub(super) headers: HeaderMap,
    pub(super) query: Query,
    /// The content path.
    pub(super) address: Address,
    /// The URL's path, decoded and clean: the content path, or what is below the root at its own origin.
    pub(super) url_path: String,
    pub(super) wanted: Option<Wanted>,
    /// The gateway's own authority, when the root has an origin of its own.
    pub(super) parent: Option<String>,
    pub(super) is_only_if_cached: bool,
    /// What the name at the root stands for, once it is looked up.
    pub(super) target: Option<Target>,
}

/// What a name stands for.
pub(super) struct Target {
    /// Names below the root that it points at.
    pub(super) segments: Vec<String>,
    /// How long that may be remembered.
    pub(super) ttl: Duration,
}

/// What a request needs.
pub(super) enum Prepared {
    /// Nothing more.
    Reply(Reply),
    /// Blocks.
    Read(Box<ReadRequest>),
}

/// Everything that can be decided without reading content.
pub(super) fn prepare(config: &Config, parts: &Parts) -> Result<Prepared, GatewayError> {
    let host = host::host(config, parts)?;
    if parts.method == Method::OPTIONS {
        let mut reply = Reply::new(StatusCode::OK);
        reply.headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        return Ok(Prepared::Reply(reply));
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(GatewayError::Method { method: parts.method.to_string() });
    }
    let query = Query::of(&parts.uri);
    if let Some(reply) = address::protocol_handler(&query)? {
        return Ok(Prepared::Reply(reply));
    }
    let url_path = address::clean(parts.uri.path())?;
    let (content_path, parent) = match host {
        Host::Path => (url_path.clone(), None),
        Host::Parent { authority } => {
            if let Some(reply) = host::to_subdomain(&authority, &url_path, &query, &parts.headers)? {
                return Ok(Prepared::Reply(reply));
            }
            (url_path.clone(), None)
        }
        Host::Subdomain { root: text, namespace, authority } if namespace == "ipns" => {
            let name = text.parse::<Name>().map_err(|_| GatewayError::Names { name: text.clone() })?;
            // One origin a name.
            if name.to_string() != text {
                let path = format!("/ipns/{name}{url_path}");
                let reply = host::to_subdomain(&authority, &path, &query, &parts.headers)?;
                return Ok(Prepared::Reply(reply.ok_or(GatewayError::Internal)?));
            }
            (format!("/ipns/{text}{url_path}"), Some(authority))
        }
        Host::Subdomain { root: text, authority, .. } => {
            let path = format!("/ipfs/{text}");
            let root: Cid =
                text.parse().map_err(|source| GatewayError::Root { path, root: text.clone(), source })?;
            let headers = &parts.headers;
            if let Some(reply) = host::to_canonical(&root, &text, &authority, &url_path, &query, headers)? {
                return Ok(Prepared::Reply(reply));
            }
            (format!("/ipfs/{text}{url_path}"), Some(authority))
        }
    };
    if parent.is_none() {
        if address::is_broad_service_worker(&url_path, &parts.headers) {
            return Err(GatewayError::ServiceWorker);
        }
        if let Some(reply) = address::superfluous_namespace(&url_path, &query) {
            return Ok(Prepared::Reply(reply));
        }
    }
    let address = Address::parse(&content_path)?;
    let wanted = format::negotiate(&query, &parts.headers)?;
    if !config.deserialized && !is_trustless(wanted.as_ref(), &address) {
        return Err(GatewayError::TrustlessOnly);
    }
    let cached = address::text_header(&parts.headers, header::CACHE_CONTROL);
    Ok(Prepared::Read(Box::new(ReadRequest {
        is_head: parts.method == Method::HEAD,
        headers: parts.headers.clone(),
        query,
        address,
        url_path,
        wanted,
        parent,
        is_only_if_cached: cached.is_some_and(|value| value.eq_ignore_ascii_case("only-if-cached")),
        target: None,
    })))
}

/// Whether a client can verify the response: a block by its CID, a CAR with all blocks of its path.
fn is_trustless(wanted: Option<&Wanted>, address: &Address) -> bool {
    match wanted.map(|wanted| wanted.format) {
        Some(Format::Raw) => address.segments.is_empty(),
        Some(Format::Car) => true,
        Some(Format::IpnsRecord) => address.name.is_some() && address.segments.is_empty(),
        _ => false,
    }
}

/// What was found at the end of the path.
pub(super) struct Found<'a> {
    pub(super) request: &'a ReadRequest,
    pub(super) blocks: Blocks,
    /// The content path that was resolved: the request's, or what a `_redirects` rule made of it.
    pub(super) address: Address,
    pub(super) resolution: PathEnd,
}

impl Found<'_> {
    /// A reply with the headers that every successful response has.
    pub(super) fn reply(&self) -> Reply {
        let mut reply = Reply::new(StatusCode::OK);
        let roots = headers::roots(&self.resolution.roots);
        reply.set(HeaderName::from_static("x-ipfs-roots"), &roots);
        reply
    }

    /// The format asked for.
    pub(super) fn format(&self) -> Option<Format> {
        self.request.wanted.as_ref().map(|wanted| wanted.format)
    }

    /// A failure to read what was found.
    pub(super) fn failed(&self, source: impl Into<ReadError>) -> GatewayError {
        GatewayError::resolve(&self.address.to_string(), source)
    }
}

/// Reads what a request needs and makes its response. Blocks.
pub(super) fn answer(
    source: &dyn Source,
    mut request: ReadRequest,
    left: Left,
) -> Result<Reply, GatewayError> {
    let settled = settle(source, &mut request, &left);
    let mut reply =
        settled.and_then(|()| respond(source, &request, left)).unwrap_or_else(GatewayError::into_reply);
    if let Some(target) = &request.target
        && reply.headers.contains_key(header::CACHE_CONTROL)
    {
        // The content never changes; what the name stands for does.
        reply.set(header::CACHE_CONTROL, &format!("public, max-age={}", target.ttl.as_secs()));
    }
    // Set on redirects and errors too (IPIP-548); left out when it cannot be a header's value.
    reply.set(HeaderName::from_static("x-ipfs-path"), &request.address.to_string());
    reply.set(HeaderName::from_static("ipfs-uri"), &request.address.uri());
    if let Some(wanted) = &request.wanted
        && let Some(location) = format::content_location(&escaped_url_path(&request), &request.query, wanted)
    {
        reply.set(header::CONTENT_LOCATION, &location);
    }
    Ok(reply)
}

/// Makes of what a name points at a root of its own, so that everything else goes on from there.
fn settle(source: &dyn Source, request: &mut ReadRequest, left: &Left) -> Result<(), GatewayError> {
    let Some(target) = request.target.as_ref().filter(|target| !target.segments.is_empty()) else {
        return Ok(());
    };
    let root = request.address.root;
    let failed = |source: ReadError| GatewayError::resolve(&request.address.to_string(), source);
    let inner = if request.is_only_if_cached {
        source.local()
    } else {
        source.below(&root).map_err(|error| failed(error.into()))?
    };
    let blocks = Blocks::new(inner, left.clone());
    let end = resolve(root, &target.segments, &blocks, &mut Vec::new()).map_err(failed)?;
    if !end.remainder.is_empty() {
        return Err(GatewayError::Remainder { remainder: end.remainder.join("/"), cid: end.cid() });
    }
    request.address.root = end.cid();
    Ok(())
}

/// The URL's path, encoded again.
pub(super) fn escaped_url_path(request: &ReadRequest) -> String {
    let segments: Vec<String> =
        request.url_path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let slash = if request.url_path.ends_with('/') { "/" } else { "" };
    format!("{}{slash}", super::escape::path(&segments))
}

fn respond(source: &dyn Source, request: &ReadRequest, left: Left) -> Result<Reply, GatewayError> {
    let path = request.address.to_string();
    let failed = |source: ReadError| GatewayError::resolve(&path, source);
    let inner = if request.is_only_if_cached {
        source.local()
    } else {
        source.below(&request.address.root).map_err(|error| failed(error.into()))?
    };
    let blocks = Blocks::new(inner, left);
    let address = &request.address;
    let mut passed = Vec::new();
    let resolved = resolve(address.root, &address.segments, &blocks, &mut passed);
    if request.is_only_if_cached {
        let is_at_hand = match &resolved {
            Ok(resolution) => blocks.get(&resolution.cid()).is_ok(),
            // A path that local blocks show not to exist is an answer of its own.
            Err(error) => !matches!(error, ReadError::Get(_)),
        };
        if !is_at_hand {
            return Err(GatewayError::NotCached { path });
        }
        if request.is_head {
            return Ok(Reply::new(StatusCode::OK));
        }
    }
    if let Some(wanted) = request.wanted.as_ref().filter(|wanted| wanted.format == Format::Car) {
        return car::serve(request, wanted, blocks, resolved, passed);
    }
    let resolution = match resolved {
        Ok(resolution) => resolution,
        Err(error) if error.is_absent() && request.parent.is_some() && request.wanted.is_none() => {
            match redirects::apply(request, &blocks)? {
                Ruled::Nothing => return Err(failed(error)),
                Ruled::Reply(reply) => return Ok(reply),
                Ruled::Rewrite(address) => {
                    let resolution = resolve(address.root, &address.segments, &blocks, &mut Vec::new());
                    let resolution = resolution.map_err(failed)?;
                    return show(&Found { request, blocks, address, resolution });
                }
            }
        }
        Err(error) => return Err(failed(error)),
    };
    let found = Found { request, blocks, address: address.clone(), resolution };
    match found.format() {
        None | Some(Format::Json | Format::Cbor) => show(&found),
        Some(Format::Raw) => block::serve(&found),
        Some(Format::Tar) => tar::serve(&found),
        Some(Format::DagJson | Format::DagCbor) => codec::serve(&found),
        Some(Format::IpnsRecord) => {
            Err(GatewayError::Parameter { name: "format", reason: "an ipns-record is only below /ipns" })
        }
        Some(Format::Car) => Err(GatewayError::Internal),
    }
}

/// What a browser shows: the file, the directory, the document.
fn show(found: &Found<'_>) -> Result<Reply, GatewayError> {
    let cid = found.resolution.cid();
    if Format::of_codec(&cid).is_some() {
        return codec::serve(found);
    }
    let root = found.blocks.get(&cid).map_err(|error| found.failed(error))?;
    let info = inspect(&cid, &root).map_err(|source| found.failed(ReadError::Document { cid, source }))?;
    match info.kind {
        Kind::File => file::serve(found, &info),
        Kind::Symlink => file::serve_symlink(found, &info),
        Kind::Directory => directory::serve(found, &info),
        Kind::Other => {
            Err(GatewayError::NotAcceptable { wanted: "a file or directory", cid, codec: cid.codec() })
        }
    }
}
