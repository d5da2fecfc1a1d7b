//! CAR streams: what a client needs to verify a path and what stands at its end
//! (<https://specs.ipfs.tech/http-gateways/trustless-gateway/>).

use axum::http::{HeaderValue, header};
use cid::Cid;
use hpips_client::BlockGetter;
use hpips_dag::scope::{EntityBytes, Scope, ScopeWalk};
use hpips_dag::{PathEnd, Step, Walk, car};
use hpips_types::content::sha256;

use super::answer::ReadRequest;
use super::blocks::Blocks;
use super::conditional;
use super::error::{GatewayError, ReadError};
use super::format::Wanted;
use super::headers;
use super::reply::{Payload, Reply, Sink};

/// Blocks of one CAR without duplicates at most: they are remembered, about 100 bytes each.
const BLOCKS_MAX: usize = 1 << 22;
/// Blocks that are announced before they are needed.
const AHEAD: usize = 16;

/// What a request asks of its CAR. Blocks are always sent depth first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    scope: Scope,
    range: Option<EntityBytes>,
    /// Whether the client said it does not care about the order.
    is_order_unknown: bool,
    has_duplicates: bool,
}

impl Parameters {
    pub(super) fn of(request: &ReadRequest, wanted: &Wanted) -> Result<Self, GatewayError> {
        let wrong = |name, reason| GatewayError::Parameter { name, reason };
        let query = &request.query;
        let range = query.get("entity-bytes").map(|text| {
            EntityBytes::parse(text).ok_or(wrong("entity-bytes", "it must be FROM:TO, FROM:* is to the end"))
        });
        let scope = match query.get("dag-scope") {
            Some("all") => Scope::All,
            Some("entity") => Scope::Entity,
            Some("block") => Scope::Block,
            None if range.is_some() => Scope::Entity,
            None => Scope::All,
            Some(_) => return Err(wrong("dag-scope", "it must be block, entity or all")),
        };
        let parameter = |name: &str| query.get(&format!("car-{name}")).or_else(|| wanted.parameter(name));
        if !matches!(parameter("version"), None | Some("1")) {
            return Err(wrong("car-version", "only version 1 is made here"));
        }
        let is_order_unknown = match parameter("order") {
            None | Some("dfs") => false,
            Some("unk") => true,
            Some(_) => return Err(wrong("car-order", "it must be dfs or unk")),
        };
        let has_duplicates = match parameter("dups") {
            None | Some("n") => false,
            Some("y") => true,
            Some(_) => return Err(wrong("car-dups", "it must be y or n")),
        };
        Ok(Self { scope, range: range.transpose()?, is_order_unknown, has_duplicates })
    }

    fn media(self) -> String {
        let order = if self.is_order_unknown { "unk" } else { "dfs" };
        let duplicates = if self.has_duplicates { "y" } else { "n" };
        format!("application/vnd.ipld.car; version=1; order={order}; dups={duplicates}")
    }

    /// Weak: the order of blocks is not promised to be the same tomorrow.
    fn etag(self, request: &ReadRequest) -> String {
        let digest = sha256(format!("{} {self:?}", request.address).as_bytes());
        let hash: String = digest.as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("W/\"{}.car.{hash}\"", request.address.root)
    }
}

/// Answers with a CAR. A path that does not exist is answered with the blocks that prove it, as long as there is a
/// root to begin with.
pub(super) fn serve(
    request: &ReadRequest,
    wanted: &Wanted,
    blocks: Blocks,
    resolved: Result<PathEnd, ReadError>,
    passed: Vec<Cid>,
) -> Result<Reply, GatewayError> {
    let parameters = Parameters::of(request, wanted)?;
    let root = request.address.root;
    let failed = |error: ReadError| GatewayError::resolve(&request.address.to_string(), error);
    let mut reply = Reply::new(axum::http::StatusCode::OK);
    let target = match &resolved {
        Ok(resolution) => {
            reply.set(header::HeaderName::from_static("x-ipfs-roots"), &headers::roots(&resolution.roots));
            Some(resolution.cid())
        }
        Err(error) if error.is_absent() => None,
        Err(_) => return resolved.map_or_else(|error| Err(failed(error)), |_| Err(GatewayError::Internal)),
    };
    let name = request.query.get("filename").map_or_else(
        || match request.address.segments.last() {
            Some(last) => format!("{root}_{last}.car"),
            None => format!("{root}.car"),
        },
        str::to_owned,
    );
    reply.set(header::CONTENT_DISPOSITION, &headers::disposition("attachment", &name));
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(headers::IMMUTABLE));
    let etag = parameters.etag(request);
    reply.set(header::ETAG, &etag);
    if conditional::is_unchanged(&request.headers, &etag) {
        return Ok(conditional::not_modified(reply));
    }
    // Without its first block there is nothing to begin with: that is a status, not a short stream.
    let first = passed.first().copied().or(target).unwrap_or(root);
    blocks.get(&first).map_err(|error| failed(error.into()))?;
    reply.set(header::CONTENT_TYPE, &parameters.media());
    reply.headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    reply.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply.payload = Payload::Stream {
        held_bytes: 0,
        write: Box::new(move |sink| {
            sink(car::header(&[target.unwrap_or(root)]))?;
            let mut walk = ScopeWalk::new(target, parameters.scope, BLOCKS_MAX)
                .with_path(passed)
                .with_range(parameters.range);
            if parameters.has_duplicates {
                walk = walk.with_duplicates();
            }
            send(walk, &blocks, sink)
        }),
    };
    Ok(reply)
}

/// Fetches the blocks of a walk and writes them as sections.
fn send(mut walk: ScopeWalk, blocks: &Blocks, sink: &mut Sink<'_>) -> Result<(), ReadError> {
    loop {
        match walk.step()? {
            Step::Need(cid) => {
                blocks.prefetch(&walk.upcoming(AHEAD));
                walk.feed(blocks.get(&cid)?)?;
            }
            Step::Item(block) => {
                sink(car::section_head(&block.cid, block.bytes.len()))?;
                sink(block.bytes)?;
            }
            Step::Done => return Ok(()),
        }
    }
}
