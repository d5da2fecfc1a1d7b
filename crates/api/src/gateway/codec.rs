//! Documents: blocks whose codec is JSON or CBOR, with or without links.
//!
//! They are answered as they are. Nothing is converted from one codec to another (IPIP-524): what a client gets
//! under a CID it can verify.

use axum::http::{HeaderValue, StatusCode, header};
use bytes::Bytes;
use cid::Cid;
use hpips_client::BlockGetter;
use hpips_dag::DecodeError;
use hpips_dag::document::decode;
use ipld_core::ipld::Ipld;

use super::address::text_header;
use super::answer::{Found, escaped_url_path};
use super::block;
use super::conditional;
use super::error::GatewayError;
use super::format::Format;
use super::headers;
use super::html;
use super::reply::{Payload, Reply};

/// Largest document that is shown, bytes.
const SHOWN_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Answers with the document that the path leads to.
pub(super) fn serve(found: &Found<'_>) -> Result<Reply, GatewayError> {
    let request = found.request;
    let cid = found.resolution.cid();
    let block = found.blocks.get(&cid).map_err(|error| found.failed(error))?;
    if !found.resolution.remainder.is_empty() {
        return Err(GatewayError::Remainder { remainder: found.resolution.remainder.join("/"), cid });
    }
    let own = Format::of_codec(&cid);
    let format = match (found.format(), own) {
        (None, Some(own)) => own,
        // A dag-json document is JSON too, and is sent as it is.
        (Some(Format::Json), Some(Format::Json | Format::DagJson)) => Format::Json,
        (Some(Format::Cbor), Some(Format::Cbor | Format::DagCbor)) => Format::Cbor,
        (Some(wanted), Some(own)) if wanted == own => own,
        (wanted, _) => {
            let wanted = wanted.map_or("a document", Format::media);
            return Err(GatewayError::NotAcceptable { wanted, cid, codec: cid.codec() });
        }
    };
    let is_dag = matches!(own, Some(Format::DagJson | Format::DagCbor));
    let is_page =
        text_header(&request.headers, header::ACCEPT).is_some_and(|accept| accept.contains("text/html"));
    if found.format().is_none() && is_dag && is_page && !headers::is_download(&request.query) {
        return Ok(page(found, &cid, &block));
    }
    let mut reply = found.reply();
    let (extension, kind) = match format {
        Format::Json | Format::DagJson => (".json", "inline"),
        _ => (".cbor", "attachment"),
    };
    let kind = if headers::is_download(&request.query) { "attachment" } else { kind };
    let name = request.query.get("filename").map_or_else(|| format!("{cid}{extension}"), str::to_owned);
    reply.set(header::CONTENT_DISPOSITION, &headers::disposition(kind, &name));
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(headers::IMMUTABLE));
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media()));
    reply.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    conditional::complete(reply, &request.headers, block::content(block, headers::etag(&cid, Some(format))))
}

/// A page that shows the document.
fn page(found: &Found<'_>, cid: &Cid, block: &Bytes) -> Reply {
    let url = escaped_url_path(found.request);
    if !url.ends_with('/') {
        let location = format!("{url}/{}", super::escape::location(&found.request.query.suffix()));
        return Reply::redirect(StatusCode::MOVED_PERMANENTLY, &location);
    }
    let mut reply = found.reply();
    let etag = html::etag("DagIndex", cid);
    reply.set(header::ETAG, &etag);
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(headers::GENERATED));
    if conditional::is_unchanged(&found.request.headers, &etag) {
        return conditional::not_modified(reply);
    }
    html::set_headers(&mut reply);
    let too_large = DecodeError::TooLarge { got: block.len(), max: SHOWN_BYTES_MAX };
    let document = if block.len() > SHOWN_BYTES_MAX { Err(too_large) } else { decode(cid.codec(), block) };
    let site = html::Site::of(found);
    let text = document.map_or_else(
        |error| format!("This document cannot be shown: {error}."),
        |document| {
            let mut text = String::new();
            show(&document, &site, 0, &mut text);
            text
        },
    );
    reply.payload = Payload::Bytes(html::document(&site, &found.address, cid, &text).into());
    reply
}

/// Writes a value as indented text in the manner of dag-json, already safe for HTML, with links that can be clicked.
fn show(value: &Ipld, site: &html::Site, indent: usize, out: &mut String) {
    use super::escape::html as safe;
    let quoted = |text: &str| safe(&serde_json::Value::from(text).to_string());
    let line = |indent: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", indent));
    };
    match value {
        Ipld::Null => out.push_str("null"),
        Ipld::Bool(value) => out.push_str(&value.to_string()),
        Ipld::Integer(value) => out.push_str(&value.to_string()),
        Ipld::Float(value) => out.push_str(&value.to_string()),
        Ipld::String(value) => out.push_str(&quoted(value)),
        Ipld::Bytes(value) => {
            let text = cid::multibase::encode(cid::multibase::Base::Base64, value);
            out.push_str(&format!("{{\"/\": {{\"bytes\": {}}}}}", quoted(&text[1..])));
        }
        Ipld::Link(cid) => out.push_str(&format!("{{\"/\": \"{}\"}}", html::cid_link(site, cid))),
        Ipld::List(values) if values.is_empty() => out.push_str("[]"),
        Ipld::Map(map) if map.is_empty() => out.push_str("{}"),
        Ipld::List(values) => {
            out.push('[');
            for (value, at) in values.iter().zip(0..) {
                out.push_str(if at == 0 { "" } else { "," });
                line(indent + 1, out);
                show(value, site, indent + 1, out);
            }
            line(indent, out);
            out.push(']');
        }
        Ipld::Map(map) => {
            out.push('{');
            for ((name, value), at) in map.iter().zip(0..) {
                out.push_str(if at == 0 { "" } else { "," });
                line(indent + 1, out);
                out.push_str(&format!("{}: ", quoted(name)));
                show(value, site, indent + 1, out);
            }
            line(indent, out);
            out.push('}');
        }
    }
}
