//! What a URL names: a content path and parameters.

use std::fmt;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use cid::Cid;
use hpips_ipns::Name;

use super::error::GatewayError;
use super::escape;
use super::reply::Reply;

/// Names below a root at most.
const SEGMENTS_MAX: usize = 256;
/// Parameters of a URL at most; further ones are ignored.
const PARAMETERS_MAX: usize = 64;

/// `/ipfs/{root}/{segments}` or `/ipns/{name}/{segments}`, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// What stands at the root; below a name only once that is looked up.
    pub(super) root: Cid,
    /// The name that stands for the root, where it is not asked for itself.
    pub(super) name: Option<Name>,
    /// The root as it was written.
    pub(super) root_text: String,
    /// Names below it, decoded.
    pub(super) segments: Vec<String>,
    /// Whether the URL's path ends with a slash.
    pub(super) is_slashed: bool,
}

impl Address {
    /// Reads a decoded, cleaned path.
    pub(super) fn parse(path: &str) -> Result<Self, GatewayError> {
        let missing = || GatewayError::NoContentPath { path: path.to_owned() };
        let (is_name, rest) = match (path.strip_prefix("/ipfs/"), path.strip_prefix("/ipns/")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(missing()),
        };
        let (root_text, below) =
            rest.split_once('/').map_or((rest, None), |(root, below)| (root, Some(below)));
        if root_text.is_empty() {
            return Err(missing());
        }
        let (root, name) = if is_name {
            let name = root_text.parse::<Name>();
            let name = name.map_err(|_| GatewayError::Names { name: root_text.to_owned() })?;
            (name.cid(), Some(name))
        } else {
            let wrong =
                |source| GatewayError::Root { path: path.to_owned(), root: root_text.to_owned(), source };
            (root_text.parse().map_err(wrong)?, None)
        };
        let below = below.unwrap_or_default();
        let segments: Vec<String> =
            below.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if segments.len() > SEGMENTS_MAX {
            return Err(GatewayError::Path { reason: "more than 256 names below a root" });
        }
        Ok(Self { root, name, root_text: root_text.to_owned(), segments, is_slashed: path.ends_with('/') })
    }

    /// The same place below other names.
    pub(super) fn with_segments(&self, segments: Vec<String>) -> Self {
        Self { segments, ..self.clone() }
    }

    /// What stands before the root.
    pub(super) fn namespace(&self) -> &'static str {
        if self.name.is_some() { "ipns" } else { "ipfs" }
    }

    /// `ipfs://` and the canonical root, each segment percent-encoded (IPIP-548).
    pub(super) fn uri(&self) -> String {
        let below: String =
            self.segments.iter().map(|name| format!("/{}", escape::strict_segment(name))).collect();
        let slash = if self.is_slashed { "/" } else { "" };
        match self.name {
            Some(name) => format!("ipns://{name}{below}{slash}"),
            None => format!("ipfs://{}{below}{slash}", v1(&self.root)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.namespace(), self.root_text)?;
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))?;
        if self.is_slashed { f.write_str("/") } else { Ok(()) }
    }
}

/// The CIDv1 with the same content.
pub(super) fn v1(cid: &Cid) -> Cid {
    Cid::new_v1(cid.codec(), *cid.hash())
}

/// Decodes a path and drops empty and dot segments; a final slash stays.
pub(super) fn clean(path: &str) -> Result<String, GatewayError> {
    let decoded =
        escape::decode(path).ok_or(GatewayError::Path { reason: "the URL is no UTF-8 when decoded" })?;
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let is_slashed = decoded.ends_with('/') || decoded.ends_with("/.") || decoded.ends_with("/..");
    let slash = if is_slashed && !segments.is_empty() { "/" } else { "" };
    Ok(format!("/{}{slash}", segments.join("/")))
}

/// The parameters of a URL, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    /// As the URL has it, without the question mark.
    pub(super) raw: Option<String>,
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let raw = uri.query().map(str::to_owned);
        let pairs = form_urlencoded::parse(raw.as_deref().unwrap_or_default().as_bytes())
            .take(PARAMETERS_MAX)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        Self { raw, pairs }
    }

    /// The first value of this name that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// `?` and the query as it came; empty when there is none.
    pub(super) fn suffix(&self) -> String {
        self.raw.as_deref().filter(|raw| !raw.is_empty()).map_or_else(String::new, |raw| format!("?{raw}"))
    }
}

/// Writes parameters as Go's `Values.Encode` does: sorted by name, in order within a name.
pub(super) fn encode_sorted(mut pairs: Vec<(String, String)>) -> String {
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// `?uri=ipfs://...`, as browsers produce it for a registered protocol handler.
pub(super) fn protocol_handler(query: &Query) -> Result<Option<Reply>, GatewayError> {
    let Some(uri) = query.get("uri") else { return Ok(None) };
    let wrong = GatewayError::Parameter { name: "uri", reason: "its scheme must be ipfs or ipns" };
    let (scheme, rest) = uri.split_once("://").ok_or(wrong)?;
    if !matches!(scheme, "ipfs" | "ipns") {
        return Err(GatewayError::Parameter { name: "uri", reason: "its scheme must be ipfs or ipns" });
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').map_or((rest, ""), |(path, query)| (path, query));
    let segments: Vec<String> =
        clean(path)?.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", escape::location(query)) };
    let location = format!("/{scheme}{}{query}", escape::path(&segments));
    Ok(Some(Reply::redirect(StatusCode::MOVED_PERMANENTLY, &location)))
}

/// `/ipfs/ipfs/CID`, which somebody pasted together, as `/ipfs/CID`.
pub(super) fn superfluous_namespace(path: &str, query: &Query) -> Option<Reply> {
    let intended = path.strip_prefix("/ipfs")?;
    if !intended.starts_with("/ipfs/") && !intended.starts_with("/ipns/") {
        return None;
    }
    let slash = if intended.ends_with('/') { "/" } else { "" };
    let segments: Vec<String> =
        intended.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let query = escape::location(&query.suffix());
    let location = format!("{}{slash}{query}", escape::path(&segments));
    Some(Reply::redirect(StatusCode::MOVED_PERMANENTLY, &location))
}

/// Whether a browser wants to register a service worker for a whole namespace entry, which would rule everything
/// that is opened at this gateway.
pub(super) fn is_broad_service_worker(path: &str, headers: &HeaderMap) -> bool {
    let is_script = headers.get("service-worker").is_some_and(|value| value == "script");
    let root = path.strip_prefix("/ipfs/").or_else(|| path.strip_prefix("/ipns/"));
    is_script && root.is_some_and(|root| !root.is_empty() && !root.contains('/'))
}

/// The value of a header when it is there once and text.
pub(super) fn text_header(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CID: &str = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

    #[test]
    fn paths_are_cleaned_and_parsed() {
        for (path, expected) in [
            (format!("/ipfs/{CID}"), Some(format!("/ipfs/{CID}"))),
            (format!("//ipfs//{CID}//a%20b/./c/../d/"), Some(format!("/ipfs/{CID}/a b/d/"))),
            (format!("/ipfs/{CID}/a%2Fb"), Some(format!("/ipfs/{CID}/a/b"))),
            (format!("/ipfs/{CID}/.."), None),
            (format!("/ipfs/{CID}/../../etc/passwd"), None),
            ("/ipfs/".to_owned(), None),
            ("/".to_owned(), None),
            ("/ipfs/QmInvalidCID".to_owned(), None),
            (format!("/ipfs/{CID}/{}", "a/".repeat(257)), None),
            (format!("/ipfs/{CID}/%ff"), None),
        ] {
            let parsed = clean(&path).and_then(|path| Address::parse(&path)).ok();
            assert_eq!(parsed.map(|address| address.to_string()), expected, "{path}");
        }
    }

    #[test]
    fn uris_are_canonical() {
        let path = clean("/ipfs/QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH/a&b/").unwrap();
        let address = Address::parse(&path).unwrap();
        let v1 = "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y";
        assert_eq!(address.uri(), format!("ipfs://{v1}/a%26b/"));
    }

    proptest! {
        #[test]
        fn no_path_panics_or_leaves_its_root(path in "(/[a-z.%0-9]{0,6}){0,8}") {
            if let Ok(clean) = clean(&path) {
                prop_assert!(clean.starts_with('/') && !clean.contains("//"));
                prop_assert!(clean.split('/').all(|part| part != ".."), "{}", clean);
                let _ = Address::parse(&clean);
            }
        }
    }
}
