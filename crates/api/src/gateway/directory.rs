//! Directories: their index page, else a listing.

use axum::http::{HeaderValue, StatusCode, header};
use bytes::Bytes;
use cid::Cid;
use hpips_client::BlockGetter;
use hpips_client::walk;
use hpips_dag::{DirectoryReader, Entry, Kind, NodeInfo, decode_pb, inspect};

use super::answer::{Found, escaped_url_path};
use super::blocks::Blocks;
use super::conditional;
use super::error::{GatewayError, ReadError};
use super::escape;
use super::file;
use super::headers;
use super::html::{self, Site};
use super::reply::{Payload, Reply, Sink};
use super::resolve::resolve;

/// Entries that are sorted by name; a larger directory is listed in the order of its blocks, while it is read.
const SORTED_MAX: usize = 4096;
/// Rows are sent in parts of about this many bytes.
const PART_BYTES: usize = 64 * 1024;
/// Errors within the first bytes of a listing become a status: a missing shard is not a short directory.
const HELD_BYTES: usize = 256 * 1024;

/// Answers with the directory that the path leads to.
pub(super) fn serve(found: &Found<'_>, info: &NodeInfo) -> Result<Reply, GatewayError> {
    let url = escaped_url_path(found.request);
    // Relative links in a page need it. The location is built from clean segments: it cannot begin with two
    // slashes, which would lead to another host.
    if !url.ends_with('/') {
        let location = format!("{url}/{}", escape::location(&found.request.query.suffix()));
        return Ok(Reply::redirect(StatusCode::MOVED_PERMANENTLY, &location));
    }
    let directory = found.resolution.cid();
    match resolve(directory, &["index.html".to_owned()], &found.blocks, &mut Vec::new()) {
        Ok(index) => serve_index(found, info, directory, index.cid()),
        Err(error) if error.is_absent() => list(found, directory),
        Err(error) => Err(found.failed(error)),
    }
}

fn serve_index(
    found: &Found<'_>,
    info: &NodeInfo,
    directory: Cid,
    index: Cid,
) -> Result<Reply, GatewayError> {
    let block = found.blocks.get(&index).map_err(|error| found.failed(error))?;
    let kind = inspect(&index, &block);
    let kind = kind.map_err(|source| found.failed(ReadError::Document { cid: index, source }))?.kind;
    if kind != Kind::File {
        return Err(GatewayError::Index { cid: directory });
    }
    file::serve_as(found, info, index, &headers::etag(&directory, None), Some("text/html"))
}

fn list(found: &Found<'_>, directory: Cid) -> Result<Reply, GatewayError> {
    let mut reply = found.reply();
    let etag = html::etag("DirIndex", &directory);
    reply.set(header::ETAG, &etag);
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(headers::GENERATED));
    if conditional::is_unchanged(&found.request.headers, &etag) {
        return Ok(conditional::not_modified(reply));
    }
    html::set_headers(&mut reply);
    let (site, blocks) = (Site::of(found), found.blocks.clone());
    let address = found.address.clone();
    reply.payload = Payload::Stream {
        held_bytes: HELD_BYTES,
        write: Box::new(move |sink| {
            let bytes = dag_bytes(&directory, &blocks)?;
            sink(html::listing_head(&site, &address, &directory, bytes).into())?;
            rows(&site, directory, &blocks, sink)?;
            sink(Bytes::from(format!("</table>\n{}", html::FOOT)))
        }),
    };
    Ok(reply)
}

/// Bytes of the directory's DAG, as its root says.
fn dag_bytes(directory: &Cid, blocks: &Blocks) -> Result<Option<u64>, ReadError> {
    let block = blocks.get(directory)?;
    let own = u64::try_from(block.len()).expect("a length fits into 64 bits");
    let node = decode_pb(&block).map_err(|source| ReadError::Document { cid: *directory, source })?;
    Ok(node.links.iter().try_fold(own, |sum, link| sum.checked_add(link.tsize)))
}

fn rows(site: &Site, directory: Cid, blocks: &Blocks, sink: &mut Sink<'_>) -> Result<(), ReadError> {
    let mut sorted: Vec<Entry> = Vec::new();
    let mut is_sorted = true;
    let mut part = String::new();
    let mut write = |entry: &Entry, sink: &mut Sink<'_>| {
        part.push_str(&html::listing_row(site, &entry.name, &entry.cid, entry.tsize));
        if part.len() < PART_BYTES { Ok(()) } else { sink(std::mem::take(&mut part).into()) }
    };
    walk(DirectoryReader::new(directory), blocks, |entry| {
        if is_sorted && sorted.len() < SORTED_MAX {
            sorted.push(entry);
            return Ok(());
        }
        is_sorted = false;
        for entry in std::mem::take(&mut sorted) {
            write(&entry, sink)?;
        }
        write(&entry, sink)
    })?;
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in sorted {
        write(&entry, sink)?;
    }
    if part.is_empty() { Ok(()) } else { sink(part.into()) }
}
