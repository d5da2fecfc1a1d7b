//! Headers that several kinds of response share.

use axum::http::{HeaderMap, HeaderValue, header};
use cid::Cid;

use super::address::Query;
use super::escape;
use super::format::Format;

/// What stands under a CID never changes.
pub(super) const IMMUTABLE: &str = "public, max-age=29030400, immutable";
/// Generated pages change with the program: a week, and stale ones for a month while they are renewed.
pub(super) const GENERATED: &str = "public, max-age=604800, stale-while-revalidate=2678400";

/// Lets pages of other origins read what is public anyway, with the headers that Kubo allows and shows.
pub(super) fn allow_cross_origin(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Range, User-Agent, X-Requested-With"),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "Content-Length, Content-Range, Ipfs-Uri, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, X-Stream-Output",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The Etag of content: its CID, and what was made of it. A tar is not the same byte for byte everywhere.
pub(super) fn etag(cid: &Cid, format: Option<Format>) -> String {
    match format {
        None => format!("\"{cid}\""),
        Some(Format::Tar) => format!("W/\"{cid}.x-tar\""),
        Some(format) => format!("\"{cid}.{}\"", format.short()),
    }
}

/// `X-Ipfs-Roots`: a CID for every segment of the path.
pub(super) fn roots(roots: &[Cid]) -> String {
    roots.iter().map(Cid::to_string).collect::<Vec<_>>().join(",")
}

/// `Content-Disposition` with a name in ASCII and as it is (RFC 6266, section 4.3).
pub(super) fn disposition(kind: &str, name: &str) -> String {
    let ascii: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
    let (ascii, full) = (escape::file_name(&ascii), escape::file_name(name));
    format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{full}")
}

/// The disposition of something that a browser may show: nothing, unless the URL says otherwise.
pub(super) fn requested_disposition(query: &Query, name: Option<&str>) -> Option<String> {
    let kind = if is_download(query) { "attachment" } else { "inline" };
    match (query.get("filename"), name) {
        (Some(name), _) => Some(disposition(kind, name)),
        (None, Some(name)) if is_download(query) => Some(disposition(kind, name)),
        (None, None) if is_download(query) => Some(kind.to_owned()),
        (None, _) => None,
    }
}

/// Whether the client wants to save, not to show.
pub(super) fn is_download(query: &Query) -> bool {
    query.get("download") == Some("true")
}
