//! What kind of response a client asks for.

use axum::http::{HeaderMap, header};
use cid::Cid;
use hpips_dag::document::{CBOR, JSON};
use hpips_types::content::{DAG_CBOR, DAG_JSON};

use super::address::{Query, encode_sorted};
use super::error::GatewayError;

/// A response that must be asked for; without one a client gets what a browser shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Raw,
    Car,
    Tar,
    Json,
    Cbor,
    DagJson,
    DagCbor,
    IpnsRecord,
}

impl Format {
    const ALL: [Self; 8] = [
        Self::Raw,
        Self::Car,
        Self::Tar,
        Self::Json,
        Self::Cbor,
        Self::DagJson,
        Self::DagCbor,
        Self::IpnsRecord,
    ];

    /// Its value of `?format=`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Car => "car",
            Self::Tar => "tar",
            Self::Json => "json",
            Self::Cbor => "cbor",
            Self::DagJson => "dag-json",
            Self::DagCbor => "dag-cbor",
            Self::IpnsRecord => "ipns-record",
        }
    }

    /// Its media type.
    pub(super) fn media(self) -> &'static str {
        match self {
            Self::Raw => "application/vnd.ipld.raw",
            Self::Car => "application/vnd.ipld.car",
            Self::Tar => "application/x-tar",
            Self::Json => "application/json",
            Self::Cbor => "application/cbor",
            Self::DagJson => "application/vnd.ipld.dag-json",
            Self::DagCbor => "application/vnd.ipld.dag-cbor",
            Self::IpnsRecord => "application/vnd.ipfs.ipns-record",
        }
    }

    /// What stands in an Etag behind the CID.
    pub(super) fn short(self) -> &'static str {
        if self == Self::Tar { "x-tar" } else { self.name() }
    }

    /// The format that blocks of this codec have as documents; `None` for files and directories.
    pub(super) fn of_codec(cid: &Cid) -> Option<Self> {
        match cid.codec() {
            JSON => Some(Self::Json),
            CBOR => Some(Self::Cbor),
            DAG_JSON => Some(Self::DagJson),
            DAG_CBOR => Some(Self::DagCbor),
            _ => None,
        }
    }
}

/// A format and where it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) format: Format,
    /// Parameters of the media type in `Accept`, names in lower case.
    pub(super) parameters: Vec<(String, String)>,
    /// Whether the URL asks for it, so that caches can tell the responses apart.
    pub(super) is_in_url: bool,
}

impl Wanted {
    /// A parameter of the media type.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// `?format=`, else the first media type in `Accept` that names a format (IPIP-523). Weights are not heard, as in
/// Kubo.
pub(super) fn negotiate(query: &Query, headers: &HeaderMap) -> Result<Option<Wanted>, GatewayError> {
    let accepted = accepted(headers)?;
    let named = query.get("format");
    let named = Format::ALL.into_iter().find(|format| named == Some(format.name()));
    Ok(match (named, accepted) {
        (Some(format), accepted) => {
            let same = accepted.filter(|(found, _)| *found == format);
            Some(Wanted {
                format,
                parameters: same.map_or_else(Vec::new, |(_, found)| found),
                is_in_url: true,
            })
        }
        (None, Some((format, parameters))) => Some(Wanted { format, parameters, is_in_url: false }),
        (None, None) => None,
    })
}

/// A format and the parameters of its media type.
type Accepted = (Format, Vec<(String, String)>);

fn accepted(headers: &HeaderMap) -> Result<Option<Accepted>, GatewayError> {
    for value in headers.get_all(header::ACCEPT) {
        let value = value.to_str().map_err(|_| GatewayError::Accept { reason: "it is not ASCII" })?;
        for range in value.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let Some(format) = Format::ALL.into_iter().find(|format| format.media() == media) else {
                if media.starts_with("application/vnd.ipld.") || media.starts_with("application/vnd.ipfs.") {
                    return Err(GatewayError::Accept { reason: "this IPFS media type is not known here" });
                }
                continue;
            };
            let parameters = parts.filter_map(|part| part.split_once('=')).map(|(name, value)| {
                (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned())
            });
            return Ok(Some((format, parameters.collect())));
        }
    }
    Ok(None)
}

/// `Content-Location`: the URL under which this representation alone is found, when the request's is not.
pub(super) fn content_location(url_path: &str, query: &Query, wanted: &Wanted) -> Option<String> {
    if wanted.is_in_url {
        return None;
    }
    let format = wanted.format.name();
    let mut pairs: Vec<(String, String)> =
        query.pairs().iter().filter(|(name, _)| name != "format").cloned().collect();
    pairs.push(("format".to_owned(), format.to_owned()));
    for (name, value) in &wanted.parameters {
        let name = format!("{format}-{name}");
        if query.get(&name).is_none() {
            pairs.push((name, value.clone()));
        }
    }
    Some(format!("{url_path}?{}", encode_sorted(pairs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(uri: &str, accept: &str) -> (Query, Result<Option<Wanted>, GatewayError>) {
        let query = Query::of(&uri.parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        let wanted = negotiate(&query, &headers);
        (query, wanted)
    }

    #[test]
    fn the_url_comes_before_the_header() {
        for (uri, accept, expected) in [
            ("/", "text/html,*/*;q=0.8", None),
            ("/?format=raw", "*/*", Some(Format::Raw)),
            ("/?format=json", "application/vnd.ipld.raw", Some(Format::Json)),
            ("/?format=nonsense", "application/vnd.ipld.raw", Some(Format::Raw)),
            ("/", "text/html, application/x-tar", Some(Format::Tar)),
            ("/", "APPLICATION/VND.IPLD.CAR; version=1", Some(Format::Car)),
        ] {
            let wanted = ask(uri, accept).1.unwrap();
            assert_eq!(wanted.map(|wanted| wanted.format), expected, "{uri} {accept}");
        }
        assert!(ask("/", "application/vnd.ipld.zip").1.is_err());
    }

    #[test]
    fn content_location_names_what_was_negotiated() {
        for (uri, accept, expected) in [
            ("/a?x=1", "application/vnd.ipld.raw", Some("/a?format=raw&x=1")),
            (
                "/a?car-dups=n",
                "application/vnd.ipld.car; dups=y; order=dfs",
                Some("/a?car-dups=n&car-order=dfs&format=car"),
            ),
            ("/a?format=raw", "application/vnd.ipld.car", None),
        ] {
            let (query, wanted) = ask(uri, accept);
            let location = content_location("/a", &query, &wanted.unwrap().unwrap());
            assert_eq!(location.as_deref(), expected, "{uri} {accept}");
        }
    }
}
