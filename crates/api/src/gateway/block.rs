//! A block as it is.

use axum::http::{HeaderValue, header};
use bytes::Bytes;
use hpips_client::BlockGetter;

use super::answer::Found;
use super::conditional::{self, Content};
use super::error::GatewayError;
use super::format::Format;
use super::headers;
use super::reply::{Payload, Reply};

/// Answers with the block that the path leads to.
pub(super) fn serve(found: &Found<'_>) -> Result<Reply, GatewayError> {
    let cid = found.resolution.cid();
    let block = found.blocks.get(&cid).map_err(|error| found.failed(error))?;
    let mut reply = found.reply();
    let name = found.request.query.get("filename").map_or_else(|| format!("{cid}.bin"), str::to_owned);
    reply.set(header::CONTENT_DISPOSITION, &headers::disposition("attachment", &name));
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(headers::IMMUTABLE));
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Format::Raw.media()));
    reply.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    conditional::complete(
        reply,
        &found.request.headers,
        content(block, headers::etag(&cid, Some(Format::Raw))),
    )
}

/// A block as content that can be read in parts.
pub(super) fn content(block: Bytes, etag: String) -> Content {
    Content {
        bytes: u64::try_from(block.len()).expect("a length fits into 64 bits"),
        etag,
        modified: None,
        body: Box::new(move |range| {
            let at = |offset| usize::try_from(offset).expect("within the block");
            Payload::Bytes(block.slice(at(range.start)..at(range.end)))
        }),
    }
}
