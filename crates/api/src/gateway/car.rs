//! CAR streams: what a client needs to verify a path and what stands at its end
//! (<https://specs.ipfs.tech/http-gateways/trustless-gateway/>).

use std::collections::HashSet;

use axum::http::{HeaderValue, header};
use bytes::Bytes;
use cid::Cid;
use hpips_client::BlockGetter;
use hpips_dag::{DirectoryReader, FileReader, Kind, Step, Walk, children, inspect};
use hpips_types::content::{IDENTITY, sha256};

use super::answer::ReadRequest;
use super::blocks::Blocks;
use super::codec;
use super::conditional;
use super::error::{GatewayError, ReadError};
use super::file;
use super::format::{CBOR, DAG_JSON, JSON, Wanted};
use super::headers;
use super::reply::{Payload, Reply, Sink};
use super::resolve::Resolution;

/// Blocks of one CAR without duplicates at most: they are remembered, about 100 bytes each.
const BLOCKS_MAX: usize = 1 << 22;
/// Links that may wait at once.
const WAITING_MAX: usize = 1 << 20;
/// Blocks that are announced before they are needed.
const AHEAD: usize = 16;

/// How much of what stands at the end of the path is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Block,
    Entity,
    All,
}

/// A range of a file: negative numbers count from its end, no end is the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EntityBytes {
    from: i64,
    to: Option<i64>,
}

/// What a request asks of its CAR. Blocks are always sent depth first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parameters {
    scope: Scope,
    range: Option<EntityBytes>,
    /// Whether the client said it does not care about the order.
    is_order_unknown: bool,
    has_duplicates: bool,
}

impl EntityBytes {
    fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once(':')?;
        let from = from.parse().ok()?;
        let to = if to == "*" { None } else { Some(to.parse().ok()?) };
        // Only where both count from the same end is it known before the file is.
        let is_backwards = to.is_some_and(|to: i64| (from < 0) == (to < 0) && to < from);
        (!is_backwards).then_some(Self { from, to })
    }

    /// The bytes of a file of this length; empty when the range lies outside.
    fn within(self, bytes: u64) -> std::ops::Range<u64> {
        let at = |offset: i64| match u64::try_from(offset) {
            Ok(offset) => offset,
            Err(_) => bytes.saturating_sub(offset.unsigned_abs()),
        };
        let end = match self.to {
            // So far before the end that nothing is left.
            Some(to) if to < 0 && to.unsigned_abs() > bytes => 0,
            Some(to) => at(to).saturating_add(1).min(bytes),
            None => bytes,
        };
        at(self.from)..end
    }
}

impl Parameters {
    fn of(request: &ReadRequest, wanted: &Wanted) -> Result<Self, GatewayError> {
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
    resolved: Result<Resolution, ReadError>,
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
            sink(frame_header(&target.unwrap_or(root)))?;
            let sent = (!parameters.has_duplicates).then(HashSet::new);
            let mut out = Output { blocks: &blocks, sink, sent };
            for cid in &passed {
                out.send(cid)?;
            }
            target.map_or(Ok(()), |target| out.entity(target, parameters))
        }),
    };
    Ok(reply)
}

/// Fetches blocks and writes them as sections.
struct Output<'a, 'b> {
    blocks: &'a Blocks,
    sink: &'a mut Sink<'b>,
    /// Blocks sent, when none is to be repeated.
    sent: Option<HashSet<Cid>>,
}

impl Output<'_, '_> {
    /// Sends a block if it is due, and returns it. Identity blocks are never sent: their CID carries them.
    fn send(&mut self, cid: &Cid) -> Result<Bytes, ReadError> {
        let block = self.blocks.get(cid)?;
        if cid.hash().code() == IDENTITY {
            return Ok(block);
        }
        if let Some(sent) = &mut self.sent {
            if !sent.insert(*cid) {
                return Ok(block);
            }
            if sent.len() > BLOCKS_MAX {
                return Err(ReadError::TooMany { cid: *cid, max: BLOCKS_MAX });
            }
        }
        let cid = cid.to_bytes();
        let mut head = varint(cid.len() + block.len());
        head.extend_from_slice(&cid);
        (self.sink)(head.into())?;
        (self.sink)(block.clone())?;
        Ok(block)
    }

    fn entity(&mut self, target: Cid, parameters: Parameters) -> Result<(), ReadError> {
        if parameters.scope == Scope::All {
            return self.all(target);
        }
        let block = self.send(&target)?;
        // What is no UnixFS is one block; so is what cannot be read.
        let kind = inspect(&target, &block).map_or(Kind::Other, |info| info.kind);
        match (parameters.scope, kind) {
            (Scope::Entity, Kind::File) => {
                let range = match parameters.range {
                    Some(range) => range.within(file::length(&target, self.blocks)?),
                    None => 0..u64::MAX,
                };
                if range.is_empty() { Ok(()) } else { self.walked(FileReader::new(target, range), block) }
            }
            (Scope::Entity, Kind::Directory) => self.walked(DirectoryReader::new(target), block),
            _ => Ok(()),
        }
    }

    /// Sends the blocks that a walker needs but for its root, which it needs first and which was sent.
    fn walked<W: Walk>(&mut self, mut walk: W, root: Bytes) -> Result<(), ReadError> {
        let mut root = Some(root);
        loop {
            match walk.step()? {
                Step::Item(_) => {}
                Step::Done => return Ok(()),
                Step::Need(cid) => {
                    self.blocks.prefetch(&walk.upcoming(AHEAD));
                    let block = root.take().map_or_else(|| self.send(&cid), Ok)?;
                    walk.feed(block)?;
                }
            }
        }
    }

    /// Sends a whole DAG, depth first.
    fn all(&mut self, root: Cid) -> Result<(), ReadError> {
        let mut waiting = vec![root];
        while let Some(cid) = waiting.pop() {
            if self.sent.as_ref().is_some_and(|sent| sent.contains(&cid)) {
                continue;
            }
            let block = self.send(&cid)?;
            let links = match cid.codec() {
                JSON | CBOR => Vec::new(),
                DAG_JSON => codec::links(&cid, &block)?,
                _ => children(&cid, &block).map_err(|source| ReadError::Document { cid, source })?,
            };
            if waiting.len() + links.len() > WAITING_MAX {
                return Err(ReadError::TooMany { cid, max: WAITING_MAX });
            }
            waiting.extend(links.into_iter().rev());
            self.blocks.prefetch(&waiting[waiting.len().saturating_sub(AHEAD)..]);
        }
        Ok(())
    }
}

/// The CARv1 header: dag-cbor of `{"roots": [root], "version": 1}`, with its length before it.
fn frame_header(root: &Cid) -> Bytes {
    let root = root.to_bytes();
    let mut body = b"\xa2\x65roots\x81\xd8\x2a".to_vec();
    // A byte string: its length in one or two bytes after the type; a CID is shorter than 256 bytes.
    let len = u8::try_from(root.len() + 1).expect("a CID has at most 64 bytes of digest");
    match len {
        ..24 => body.push(0x40 | len),
        24.. => body.extend_from_slice(&[0x58, len]),
    }
    // A CID in CBOR has a zero before it, its multibase prefix.
    body.push(0);
    body.extend_from_slice(&root);
    body.extend_from_slice(b"\x67version\x01");
    let mut out = varint(body.len());
    out.extend_from_slice(&body);
    out.into()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(4);
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits");
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "a range behind the end is empty that way")]
    fn ranges_of_entities_count_from_either_end() {
        for (text, bytes, expected) in [
            ("0:*", 1026, Some(0..1026)),
            ("512:*", 1026, Some(512..1026)),
            ("512:1023", 1026, Some(512..1024)),
            ("512:-256", 1026, Some(512..771)),
            ("-5:*", 1026, Some(1021..1026)),
            ("-9999:*", 1026, Some(0..1026)),
            ("-9999:-3", 1026, Some(0..1024)),
            ("0:0", 1026, Some(0..1)),
            ("2000:*", 1026, Some(2000..1026)),
            ("0:-2000", 1026, Some(0..0)),
            ("-9223372036854775808:9223372036854775807", 5, Some(0..5)),
            ("5:2", 1026, None),
            ("-2:-5", 1026, None),
            ("5", 1026, None),
            ("*:5", 1026, None),
            ("a:b", 1026, None),
        ] {
            let range = EntityBytes::parse(text).map(|range| range.within(bytes));
            assert_eq!(range, expected, "{text}");
        }
    }

    #[test]
    fn the_header_is_canonical() {
        let cid: Cid = "bafkqaaa".parse().unwrap();
        let header = frame_header(&cid);
        let body: ipld_core::ipld::Ipld = serde_ipld_dagcbor::from_slice(&header[1..]).unwrap();
        assert_eq!(serde_ipld_dagcbor::to_vec(&body).unwrap(), header[1..]);
        assert_eq!(varint(300), [0xac, 0x02]);
    }

    proptest! {
        #[test]
        fn no_range_panics(text in "[-0-9*:]{0,24}", bytes in any::<u64>()) {
            if let Some(range) = EntityBytes::parse(&text) {
                prop_assert!(range.within(bytes).end <= bytes);
            }
        }
    }
}
