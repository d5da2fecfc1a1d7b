//! Which names the gateway answers, and what a subdomain stands for.
//!
//! A browser that was given this machine's address for a foreign name (DNS rebinding) sends that name as `Host`:
//! such requests are refused before anything is read, since the page that made them could read the answers.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use cid::Cid;
use cid::multibase::Base;
use hpips_ipns::Name;

use super::address::{Query, text_header, v1};
use super::config::Config;
use super::error::GatewayError;
use super::escape;
use super::reply::Reply;

/// Longest label of a DNS name (RFC 1034, section 3.1).
const LABEL_MAX: usize = 63;

/// What the host name of a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// Content is asked for by path.
    Path,
    /// A name under which roots have subdomains, asked for by path.
    Parent { authority: String },
    /// `{root}.{namespace}.{authority}`.
    Subdomain { root: String, namespace: String, authority: String },
}

/// Reads the host name.
///
/// `X-Forwarded-Host` says how the gateway is called from outside; it is heard only when the request itself came
/// under a name that is answered, so it opens nothing.
pub(super) fn host(config: &Config, parts: &Parts) -> Result<Host, GatewayError> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let first = hosts.next().and_then(|host| host.to_str().ok());
    let asked = parts.uri.authority().map(|authority| authority.as_str()).or(first).unwrap_or_default();
    let found = classify(config, asked);
    if hosts.next().is_some() || (found == Host::Path && !is_answered(config, asked)) {
        return Err(GatewayError::ForeignHost { host: asked.to_owned() });
    }
    let forwarded = text_header(&parts.headers, header::HeaderName::from_static("x-forwarded-host"));
    Ok(forwarded.filter(|host| !host.is_empty()).map_or(found, |host| classify(config, host)))
}

fn classify(config: &Config, authority: &str) -> Host {
    let authority = authority.to_ascii_lowercase();
    let name = without_port(&authority);
    let is_parent = |name: &str| config.subdomain_hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
    if is_parent(name) {
        return Host::Parent { authority };
    }
    for (at, _) in authority.match_indices('.') {
        let (below, parent) = (&authority[..at], &authority[at + 1..]);
        if !is_parent(without_port(parent)) {
            continue;
        }
        if let Some((root, namespace @ ("ipfs" | "ipns"))) = below.rsplit_once('.') {
            return Host::Subdomain {
                root: root.to_owned(),
                namespace: namespace.to_owned(),
                authority: parent.to_owned(),
            };
        }
    }
    Host::Path
}

fn is_answered(config: &Config, authority: &str) -> bool {
    let name = without_port(authority);
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback
        || name.eq_ignore_ascii_case("localhost")
        || config.path_hosts.iter().any(|host| host == "*" || host.eq_ignore_ascii_case(name))
}

/// The host of `host[:port]`, without the brackets of an IPv6 address; empty when malformed.
fn without_port(authority: &str) -> &str {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    if let Some(rest) = authority.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, "")) => host,
            Some((host, port)) if port.strip_prefix(':').is_some_and(is_port) => host,
            _ => "",
        };
    }
    match authority.split_once(':') {
        Some((host, port)) if is_port(port) => host,
        Some(_) => "",
        None => authority,
    }
}

/// A CID as a DNS label: base32, or base36 where that is too long.
fn label(cid: &Cid) -> Result<String, GatewayError> {
    let cid = v1(cid);
    for base in [Base::Base32Lower, Base::Base36Lower] {
        let text = cid.to_string_of_base(base).unwrap_or_default();
        if !text.is_empty() && text.len() <= LABEL_MAX {
            return Ok(text);
        }
    }
    Err(GatewayError::LongLabel { cid })
}

fn scheme(headers: &HeaderMap) -> &'static str {
    let forwarded = text_header(headers, header::HeaderName::from_static("x-forwarded-proto"));
    if forwarded == Some("https") { "https" } else { "http" }
}

/// The redirect from a path at a parent name to the root's own origin; `None` when the path names no CID and no key,
/// which the caller refuses with better words. `path` is clean.
pub(super) fn to_subdomain(
    authority: &str,
    path: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Option<Reply>, GatewayError> {
    let (namespace, rest) = match (path.strip_prefix("/ipfs/"), path.strip_prefix("/ipns/")) {
        (Some(rest), _) => ("ipfs", rest),
        (_, Some(rest)) => ("ipns", rest),
        _ => return Ok(None),
    };
    let (root, below) = rest.split_once('/').unwrap_or((rest, ""));
    let label = if namespace == "ipfs" {
        let Ok(root) = root.parse::<Cid>() else { return Ok(None) };
        label(&root)?
    } else {
        // Base36 of a key always fits.
        let Ok(name) = root.parse::<Name>() else { return Ok(None) };
        name.to_string()
    };
    let slash = if below.ends_with('/') { "/" } else { "" };
    let segments: Vec<String> = below.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let below =
        if segments.is_empty() { "/".to_owned() } else { format!("{}{slash}", escape::path(&segments)) };
    let query = escape::location(&query.suffix());
    let location =
        format!("{}://{label}.{namespace}.{}{below}{query}", scheme(headers), escape::location(authority));
    Ok(Some(Reply::redirect(StatusCode::MOVED_PERMANENTLY, &location)))
}

/// The redirect from a subdomain whose root is not written as it must be, so that a root has one origin.
pub(super) fn to_canonical(
    root: &Cid,
    root_text: &str,
    authority: &str,
    path: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Option<Reply>, GatewayError> {
    // Base36 is left alone where it fits, as Kubo does: it is what long hashes and keys are written in.
    if root_text.len() <= LABEL_MAX {
        return Ok(None);
    }
    label(root)?;
    to_subdomain(authority, &format!("/ipfs/{root}{path}"), query, headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_the_specification_says() {
        let config = Config {
            subdomain_hosts: vec!["localhost".into(), "example.com".into()],
            path_hosts: vec!["path.example".into()],
            ..Config::default()
        };
        let parent = |authority: &str| Some(Host::Parent { authority: authority.into() });
        let subdomain = |root: &str, namespace: &str, authority: &str| {
            Some(Host::Subdomain {
                root: root.into(),
                namespace: namespace.into(),
                authority: authority.into(),
            })
        };
        for (authority, expected) in [
            ("127.0.0.1:8080", Some(Host::Path)),
            ("[::1]:8080", Some(Host::Path)),
            ("path.example", Some(Host::Path)),
            ("localhost:8080", parent("localhost:8080")),
            ("LOCALHOST", parent("localhost")),
            ("example.com", parent("example.com")),
            ("bafy.ipfs.localhost:8080", subdomain("bafy", "ipfs", "localhost:8080")),
            ("bafy.ipfs.example.com", subdomain("bafy", "ipfs", "example.com")),
            ("en.wiki.ipns.example.com", subdomain("en.wiki", "ipns", "example.com")),
            ("evil.example", None),
            ("evil.example:8080", None),
            ("127.0.0.1.evil.example", None),
            ("a.b.localhost", None),
            ("ipfs.localhost", None),
            ("localhost:80:80", None),
            ("[::1", None),
            ("10.0.0.1", None),
            ("", None),
        ] {
            let request = axum::http::Request::builder().uri("/").header(header::HOST, authority);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(host(&config, &parts).ok(), expected, "{authority}");
        }
    }

    #[test]
    fn a_forwarded_name_opens_nothing() {
        let request = |host: &str| {
            let request = axum::http::Request::builder().uri("/").header(header::HOST, host);
            request.header("x-forwarded-host", "localhost").body(()).unwrap().into_parts().0
        };
        assert!(host(&Config::default(), &request("evil.example")).is_err());
        assert_eq!(
            host(&Config::default(), &request("127.0.0.1")).unwrap(),
            Host::Parent { authority: "localhost".into() }
        );
    }
}
