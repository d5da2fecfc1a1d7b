//! Files and directories as a tar stream.

use axum::http::{HeaderValue, header};
use hpips_client::{BlockGetter, Packing, pack};
use hpips_dag::{Kind, inspect};

use super::answer::Found;
use super::conditional;
use super::error::{GatewayError, ReadError};
use super::format::Format;
use super::headers;
use super::reply::{Payload, Reply};

/// Errors within the first bytes become a status.
const HELD_BYTES: usize = 256 * 1024;

/// Answers with everything below the path, in a folder named by its CID.
pub(super) fn serve(found: &Found<'_>) -> Result<Reply, GatewayError> {
    let cid = found.resolution.cid();
    let root = found.blocks.get(&cid).map_err(|error| found.failed(error))?;
    let kind = inspect(&cid, &root).map_err(|source| found.failed(ReadError::Document { cid, source }))?.kind;
    if kind == Kind::Other {
        return Err(GatewayError::NotAcceptable { wanted: Format::Tar.media(), cid, codec: cid.codec() });
    }
    let mut reply = found.reply();
    let name = found.request.query.get("filename").map_or_else(|| format!("{cid}.tar"), str::to_owned);
    reply.set(header::CONTENT_DISPOSITION, &headers::disposition("attachment", &name));
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(headers::IMMUTABLE));
    let etag = headers::etag(&cid, Some(Format::Tar));
    reply.set(header::ETAG, &etag);
    if conditional::is_unchanged(&found.request.headers, &etag) {
        return Ok(conditional::not_modified(reply));
    }
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Format::Tar.media()));
    reply.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let blocks = found.blocks.clone();
    let root = cid.to_string();
    reply.payload = Payload::Stream {
        held_bytes: HELD_BYTES,
        write: Box::new(move |sink| pack(cid, &root, &blocks, Packing::Tar, sink)),
    };
    Ok(reply)
}
