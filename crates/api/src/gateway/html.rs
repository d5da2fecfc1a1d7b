//! Generated pages: small, without scripts and without anything from elsewhere.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::http::{HeaderName, HeaderValue, header};
use cid::Cid;
use hpips_types::content::sha256;

use super::address::Address;
use super::answer::{Found, escaped_url_path};
use super::escape::{html as safe, segment};
use super::reply::Reply;

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#1a1a1a;background:#fff}\
h1{font-size:1.2rem;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}\
td{padding:.2rem .6rem;border-top:1px solid #ddd;overflow-wrap:anywhere}td.size{text-align:right;white-space:nowrap}\
a{color:#0b5cad;text-decoration:none}a:hover{text-decoration:underline}.ipfs-hash{font-family:monospace;color:#555}\
pre{overflow-x:auto;background:#f5f5f5;padding:1rem}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}td{border-color:#333}a{color:#7ab8ff}\
.ipfs-hash{color:#aaa}pre{background:#222}}";

/// What of the pages this program decides; a part of their Etags, so that caches renew them when it changes.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let source = [STYLE, include_str!("html.rs"), include_str!("directory.rs")].concat();
    let digest = sha256(source.as_bytes());
    digest.as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
});

/// The Etag of a generated page.
pub(super) fn etag(kind: &str, cid: &Cid) -> String {
    format!("\"{kind}-{}_CID-{cid}\"", *VERSION)
}

/// What every generated page is sent with.
pub(super) fn set_headers(reply: &mut Reply) {
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    reply.headers.insert(
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
        ),
    );
}

/// Where a page's links lead.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// What stands before `/ipfs/...`: nothing, or `//` and the gateway's authority when the page has an origin of
    /// its own.
    pub(super) gateway: String,
    /// The page's own path, encoded, with its final slash.
    pub(super) url: String,
}

impl Site {
    pub(super) fn of(found: &Found<'_>) -> Self {
        let gateway = found.request.parent.as_ref().map(|authority| format!("//{}", safe(authority)));
        let mut url = escaped_url_path(found.request);
        if !url.ends_with('/') {
            url.push('/');
        }
        Self { gateway: gateway.unwrap_or_default(), url: safe(&url) }
    }

    /// The content path with every segment a link.
    fn breadcrumbs(&self, address: &Address) -> String {
        let namespace = address.namespace();
        let mut path = format!("{}/{namespace}/{}", self.gateway, address.root_text);
        let mut out = format!("/{namespace}/<a href=\"{}\">{}</a>", safe(&path), safe(&address.root_text));
        for name in &address.segments {
            let _ = write!(path, "/{}", segment(name));
            let _ = write!(out, "/<a href=\"{}\">{}</a>", safe(&path), safe(name));
        }
        out
    }
}

fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        safe(title)
    )
}

/// The end of every page.
pub(super) const FOOT: &str = "</body>\n</html>\n";

/// The beginning of a listing, up to its rows.
pub(super) fn listing_head(site: &Site, address: &Address, cid: &Cid, dag_bytes: Option<u64>) -> String {
    let size = dag_bytes.map_or_else(String::new, |bytes| format!(" &middot; {}", size(bytes)));
    let mut out = head(&address.to_string());
    let _ = write!(
        out,
        "<h1>Index of {}</h1>\n<p><span class=\"ipfs-hash\" translate=\"no\">{cid}</span>{size}</p>\n<table>\n",
        site.breadcrumbs(address)
    );
    if !address.segments.is_empty() {
        let _ = writeln!(out, "<tr><td><a href=\"{}..\">..</a></td><td></td><td></td></tr>", site.url);
    }
    out
}

/// A row of a listing. Its size is what the directory's author says the entry's DAG has.
pub(super) fn listing_row(site: &Site, name: &str, cid: &Cid, dag_bytes: u64) -> String {
    let (href, text) = (segment(name), cid.to_string());
    // Encoded twice, as every IPFS gateway writes it and the conformance suite expects it.
    let file_name = segment(&href);
    let short = if text.len() > 12 {
        format!("{}\u{2026}{}", &text[..6], &text[text.len() - 4..])
    } else {
        text.clone()
    };
    format!(
        "<tr><td><a href=\"{}{}\">{}</a></td>\
         <td><a class=\"ipfs-hash\" translate=\"no\" href=\"{}/ipfs/{text}?filename={}\">{short}</a></td>\
         <td class=\"size\">{}</td></tr>\n",
        site.url,
        safe(&href),
        safe(name),
        site.gateway,
        safe(&file_name),
        size(dag_bytes)
    )
}

/// A page that shows a document, which is already safe.
pub(super) fn document(site: &Site, address: &Address, cid: &Cid, text: &str) -> String {
    let download = format!("{}/ipfs/{cid}?download=true", site.gateway);
    let raw = format!("{}/ipfs/{cid}?format=raw", site.gateway);
    format!(
        "{}<h1>{}</h1>\n<p><span class=\"ipfs-hash\" translate=\"no\">{cid}</span> &middot; codec {:#x} &middot; \
         <a href=\"{download}\">download</a> &middot; <a href=\"{raw}\">raw block</a></p>\n<pre>{text}</pre>\n{FOOT}",
        head(&address.to_string()),
        site.breadcrumbs(address),
        cid.codec()
    )
}

/// A link to what a CID names. It leads to the gateway: on a subdomain, /ipfs is a name below this content.
pub(super) fn cid_link(site: &Site, cid: &Cid) -> String {
    format!("<a href=\"{}/ipfs/{cid}\">{cid}</a>", site.gateway)
}

/// Bytes for people, in powers of a thousand, as Kubo writes them.
fn size(bytes: u64) -> String {
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut unit = 1u64;
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut at = 0;
    while bytes / unit >= 1000 && at + 1 < units.len() {
        unit *= 1000;
        at += 1;
    }
    // Tenths, rounded; two digits are enough to compare.
    let tenths = (u128::from(bytes) * 10 + u128::from(unit) / 2) / u128::from(unit);
    if tenths < 100 && at > 0 {
        format!("{}.{} {}", tenths / 10, tenths % 10, units[at])
    } else {
        format!("{} {}", (tenths + 5) / 10, units[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_kubo_does() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1234, "1.2 kB"),
            (82_854_982, "83 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }
}
