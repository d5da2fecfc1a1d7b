//! Files and symbolic links.

use axum::http::{HeaderValue, header};
use bytes::{Bytes, BytesMut};
use cid::Cid;
use hpips_client::BlockGetter;
use hpips_client::walk;
use hpips_dag::{FileReader, NodeInfo, Walk};

use super::answer::Found;
use super::block;
use super::conditional::{self, Content, Modified};
use super::error::{GatewayError, ReadError};
use super::format::Format;
use super::headers;
use super::media;
use super::range::{Ranged, ranged};
use super::reply::{Payload, Reply};

/// Answers with the file that the path leads to.
pub(super) fn serve(found: &Found<'_>, info: &NodeInfo) -> Result<Reply, GatewayError> {
    let cid = found.resolution.cid();
    serve_as(found, info, cid, &headers::etag(&cid, None), None)
}

/// Answers with a file. `etag` is that of what was asked for: an index page is the directory it stands in.
pub(super) fn serve_as(
    found: &Found<'_>,
    info: &NodeInfo,
    file: Cid,
    etag: &str,
    media: Option<&str>,
) -> Result<Reply, GatewayError> {
    let request = found.request;
    let bytes = length(&file, &found.blocks).map_err(|error| found.failed(error))?;
    let name = request.query.get("filename").or(found.address.segments.last().map(String::as_str));
    let media = match media.map(str::to_owned).or_else(|| name.and_then(media::by_name)) {
        Some(media) => Some(media),
        // A range from the middle does not need the beginning, which may not be at hand.
        None if starts_late(found, bytes) => None,
        None => {
            let head =
                read(file, 0..media::SNIFF_BYTES, &found.blocks).map_err(|error| found.failed(error))?;
            Some(media::by_content(&head, bytes <= media::SNIFF_BYTES).to_owned())
        }
    };
    // Other formats in `Accept` are wishes that programs send with every request; in the URL it is a demand.
    if let Some(wanted) = request.wanted.as_ref().filter(|wanted| wanted.is_in_url)
        && media.as_deref().is_some_and(|media| media != wanted.format.media())
    {
        let (wanted, codec) = (wanted.format.media(), file.codec());
        return Err(GatewayError::NotAcceptable { wanted, cid: file, codec });
    }
    let mut reply = found.reply();
    if let Some(media) = media {
        reply.set(header::CONTENT_TYPE, &media);
    }
    if let Some(disposition) = headers::requested_disposition(&request.query, name) {
        reply.set(header::CONTENT_DISPOSITION, &disposition);
    }
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(headers::IMMUTABLE));
    let blocks = found.blocks.clone();
    let content = Content {
        bytes,
        etag: etag.to_owned(),
        modified: Modified::of(info.mtime),
        body: Box::new(move |range| Payload::Stream {
            held_bytes: 1,
            write: Box::new(move |sink| walk(FileReader::new(file, range), &blocks, sink)),
        }),
    };
    conditional::complete(reply, &request.headers, content)
}

/// Answers with the target of a symbolic link; following it is for the client to decide.
pub(super) fn serve_symlink(found: &Found<'_>, info: &NodeInfo) -> Result<Reply, GatewayError> {
    let mut reply = found.reply();
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("inode/symlink"));
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(headers::IMMUTABLE));
    let target = Bytes::from(info.target.clone().unwrap_or_default());
    let mut content = block::content(target, headers::etag(&found.resolution.cid(), None::<Format>));
    content.modified = Modified::of(info.mtime);
    conditional::complete(reply, &found.request.headers, content)
}

fn starts_late(found: &Found<'_>, bytes: u64) -> bool {
    let range = found.request.headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = range.and_then(|value| ranged(value, bytes).ok());
    matches!(range, Some(Ranged::Part(range)) if range.start > 0)
}

/// Bytes of a file, as its root says; reading it checks every part against that.
pub(super) fn length(file: &Cid, blocks: &dyn BlockGetter) -> Result<u64, ReadError> {
    let mut reader = FileReader::new(*file, ..);
    reader.step()?;
    reader.feed(blocks.get(file)?)?;
    Ok(reader.file_bytes().unwrap_or_default())
}

/// Some bytes of a file at once.
pub(super) fn read(
    file: Cid,
    range: std::ops::Range<u64>,
    blocks: &dyn BlockGetter,
) -> Result<Bytes, ReadError> {
    let mut bytes = BytesMut::new();
    walk(FileReader::new(file, range), blocks, |part| {
        bytes.extend_from_slice(&part);
        Ok::<_, ReadError>(())
    })?;
    Ok(bytes.freeze())
}
