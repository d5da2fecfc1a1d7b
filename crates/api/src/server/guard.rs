//! Who may speak to the API: programs of this machine, never a web page.
//!
//! A browser that is talked into calling `127.0.0.1` sends a foreign `Origin`, and one that was given a
//! false address for a foreign name sends a foreign `Host`. Both are refused before anything is read. The
//! token shows that a caller may read the repo. Everything wants it but metrics and Kubo's RPC, which wants it where the
//! configuration says so, and always for secrets; commands that change who may do what ask for the [`Owner`].

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::{ApiError, ErrorCode};
use crate::{pinning, rpc};

/// Commands of the RPC that hand out secrets: never without the token. Kubo does not answer them remotely at all.
const SECRETS: &[&str] = &["/key/export"];

/// What a request must show.
#[derive(Clone)]
pub(crate) struct Guard {
    /// Expected in `Authorization: Bearer`.
    pub(crate) token: String,
    /// Expected there of callers of the pinning service, beside the one above: it opens nothing else, so that it may be
    /// handed to other programs and outlives restarts.
    pub(crate) pins_token: Option<String>,
    /// Whether Kubo's RPC is answered without it.
    pub(crate) is_rpc_open: bool,
}

/// What a path belongs to: who may call it, and how a refusal looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Realm {
    /// The node's own endpoints.
    Own,
    /// Kubo's RPC.
    Rpc,
    /// The pinning service.
    Pins,
    /// What is measured: no secret, and nothing changes.
    Metrics,
}

impl Realm {
    fn of(path: &str) -> Self {
        let is_below = |prefix| path.strip_prefix(prefix).is_some_and(|rest: &str| rest.starts_with('/'));
        if is_below(rpc::PREFIX) {
            Self::Rpc
        } else if path == pinning::PREFIX || is_below(pinning::PREFIX) {
            Self::Pins
        } else if path == super::metrics::PATH {
            Self::Metrics
        } else {
            Self::Own
        }
    }

    /// Whether a request gets as far as its route, which says itself what else it does not take.
    fn takes(self, method: &Method) -> bool {
        match self {
            // Below the RPC's prefix every method has an answer: all but POST are told so.
            Self::Rpc => true,
            Self::Pins => matches!(*method, Method::GET | Method::POST | Method::DELETE),
            Self::Own | Self::Metrics => matches!(*method, Method::GET | Method::POST),
        }
    }
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Not from this machine, or by a method that is never right.
    Foreign(&'static str),
    /// Without the token.
    Unknown,
}

impl Refusal {
    fn response(self, realm: Realm) -> Response {
        match (realm, self) {
            (Realm::Pins, Self::Foreign(message)) => pinning::Failure::forbidden(message).into_response(),
            (Realm::Pins, Self::Unknown) => pinning::Failure::unauthorized().into_response(),
            (_, Self::Foreign(message)) => ApiError::new(ErrorCode::Forbidden, message).into_response(),
            (_, Self::Unknown) => {
                let text = "the token of the repo's api file is missing or wrong: call as the repo's owner, with its --repo-dir";
                ApiError::new(ErrorCode::Forbidden, text).into_response()
            }
        }
    }
}

/// Marks requests of callers that showed the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner;

pub(crate) async fn check(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.admit(request.method(), request.uri().path(), request.headers()) {
        Ok(owner) => {
            if let Some(owner) = owner {
                request.extensions_mut().insert(owner);
            }
            next.run(request).await
        }
        Err(refusal) => refusal.response(Realm::of(request.uri().path())),
    }
}

impl Guard {
    fn admit(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Option<Owner>, Refusal> {
        let refuse = |message| Err(Refusal::Foreign(message));
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let is = |expected: &String| token.is_some_and(|token| equal_in_constant_time(token, expected));
        let owner = is(&self.token).then_some(Owner);
        let realm = Realm::of(path);
        if !realm.takes(method) {
            return refuse("only GET to read and POST to change");
        }
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        if hosts.next().is_some() || !host.is_some_and(is_local_authority) {
            return refuse("this host name is not this machine");
        }
        for origin in headers.get_all(header::ORIGIN) {
            let local = origin
                .to_str()
                .ok()
                .and_then(|origin| origin.strip_prefix("http://"))
                .is_some_and(is_local_authority);
            if !local {
                return refuse("this origin may not call the node");
            }
        }
        let is_open = match realm {
            Realm::Rpc => self.is_rpc_open && !SECRETS.iter().any(|secret| path.ends_with(secret)),
            Realm::Metrics => true,
            Realm::Own | Realm::Pins => false,
        };
        if is_open {
            // The gateway shows pages of strangers on another port of this machine: only pages of this very port,
            // of which there are none, may do without the token.
            let own = host.map(|host| format!("http://{host}"));
            let is_foreign = |origin: &HeaderValue| own.as_ref().is_none_or(|own| origin != own.as_str());
            if !headers.get_all(header::ORIGIN).iter().any(is_foreign) {
                return Ok(owner);
            }
        }
        if realm == Realm::Pins && self.pins_token.as_ref().is_some_and(is) {
            return Ok(owner);
        }
        owner.map(Some).ok_or(Refusal::Unknown)
    }
}

/// Whether `host[:port]` is this machine by number or as `localhost`.
fn is_local_authority(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if port.is_empty() || is_port(port) => host,
            _ => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => host,
            Some(_) => return false,
            None => authority,
        },
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Comparison whose time does not tell how many characters were right.
fn equal_in_constant_time(left: &str, right: &str) -> bool {
    left.len() == right.len()
        && left.bytes().zip(right.bytes()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(is_rpc_open: bool) -> Guard {
        Guard { token: "secret".into(), pins_token: None, is_rpc_open }
    }

    fn admit(headers: &[(header::HeaderName, &str)]) -> bool {
        admit_to("/hpips/v0/id", true, headers)
    }

    fn admit_to(path: &str, is_rpc_open: bool, headers: &[(header::HeaderName, &str)]) -> bool {
        let guard = guard(is_rpc_open);
        let map = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        guard.admit(&Method::POST, path, &map).is_ok()
    }

    #[test]
    fn a_caller_with_the_token_is_the_owner() {
        let guard = guard(true);
        let of = |token: &str| {
            let host = (header::HOST, "127.0.0.1:5001".parse().unwrap());
            let map = [host, (header::AUTHORIZATION, token.parse().unwrap())].into_iter().collect();
            guard.admit(&Method::POST, "/api/v0/config", &map).unwrap()
        };
        assert_eq!(of("Bearer secret"), Some(Owner));
        assert_eq!(of("Bearer wrong"), None);
    }

    #[test]
    fn foreign_hosts_origins_and_tokens_are_refused() {
        let token = (header::AUTHORIZATION, "Bearer secret");
        for host in ["127.0.0.1:5001", "localhost:5001", "LOCALHOST", "[::1]:5001", "127.0.0.1"] {
            assert!(admit(&[(header::HOST, host), token.clone()]), "{host}");
        }
        for host in
            ["evil.example:5001", "127.0.0.1.evil.example", "10.0.0.1:5001", "localhost:5001:1", "[::1", ""]
        {
            assert!(!admit(&[(header::HOST, host), token.clone()]), "{host}");
        }
        let host = (header::HOST, "127.0.0.1:5001");
        assert!(admit(&[host.clone(), (header::ORIGIN, "http://localhost:5001"), token.clone()]));
        for origin in ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1@evil.example"] {
            assert!(!admit(&[host.clone(), (header::ORIGIN, origin), token.clone()]), "{origin}");
        }
        assert!(!admit(std::slice::from_ref(&token)), "no host");
        assert!(!admit(std::slice::from_ref(&host)), "no token");
        for wrong in ["Bearer secreT", "secret", "Bearer secret2", "Bearer "] {
            assert!(!admit(&[host.clone(), (header::AUTHORIZATION, wrong)]), "{wrong}");
        }
    }
    #[test]
    fn the_rpc_wants_the_token_only_where_the_configuration_does() {
        let host = (header::HOST, "127.0.0.1:5001");
        let foreign = (header::ORIGIN, "http://evil.example");
        assert!(admit_to("/api/v0/id", true, std::slice::from_ref(&host)));
        assert!(!admit_to("/api/v0/id", false, std::slice::from_ref(&host)));
        assert!(!admit_to("/api/v0/id", true, &[host.clone(), foreign]));
        assert!(!admit_to("/api/v0/id", true, &[(header::HOST, "evil.example")]));
        assert!(!admit_to("/api/v0", true, std::slice::from_ref(&host)), "only below the prefix");
        let token = (header::AUTHORIZATION, "Bearer secret");
        for (origin, is_fine) in [
            ("http://127.0.0.1:5001", true),
            ("http://127.0.0.1:8080", false),
            ("http://localhost:5001", false),
        ] {
            let origin = (header::ORIGIN, origin);
            assert_eq!(admit_to("/api/v0/id", true, &[host.clone(), origin.clone()]), is_fine, "{origin:?}");
            assert!(admit_to("/api/v0/id", true, &[host.clone(), origin, token.clone()]), "with the token");
        }
        assert!(!admit_to("/api/v0/key/export", true, std::slice::from_ref(&host)), "a secret");
        assert!(admit_to("/api/v0/key/export", true, &[host, token]));
    }

    #[test]
    fn pins_want_the_token_and_metrics_do_not() {
        let guard = Guard { pins_token: Some("pins".into()), ..guard(true) };
        let host = (header::HOST, "127.0.0.1:5001");
        let token = (header::AUTHORIZATION, "Bearer secret");
        let pins = (header::AUTHORIZATION, "Bearer pins");
        let foreign = (header::ORIGIN, "http://evil.example");
        let outcome = |method: Method, path: &str, headers: &[&(header::HeaderName, &str)]| {
            let map = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            guard.admit(&method, path, &map).map(drop)
        };
        for (path, realm) in [
            ("/pins", Realm::Pins),
            ("/pins/x", Realm::Pins),
            ("/pinsx", Realm::Own),
            ("/metrics", Realm::Metrics),
            ("/metrics/x", Realm::Own),
            ("/api/v0/id", Realm::Rpc),
            ("/api/v0", Realm::Own),
        ] {
            assert_eq!(Realm::of(path), realm, "{path}");
        }
        assert_eq!(outcome(Method::GET, "/pins", &[&host]), Err(Refusal::Unknown));
        assert_eq!(outcome(Method::DELETE, "/pins/x", &[&host, &token]), Ok(()));
        // The service's own token opens the service alone.
        assert_eq!(outcome(Method::DELETE, "/pins/x", &[&host, &pins]), Ok(()));
        assert!(matches!(outcome(Method::GET, "/pins", &[&host, &pins, &foreign]), Err(Refusal::Foreign(_))));
        for path in ["/hpips/v0/id", "/api/v0/key/export", "/pinsx"] {
            assert_eq!(outcome(Method::POST, path, &[&host, &pins]), Err(Refusal::Unknown), "{path}");
        }
        assert!(matches!(
            outcome(Method::GET, "/pins", &[&host, &token, &foreign]),
            Err(Refusal::Foreign(_))
        ));
        assert!(matches!(outcome(Method::PUT, "/pins", &[&host, &token]), Err(Refusal::Foreign(_))));
        assert!(matches!(
            outcome(Method::DELETE, "/hpips/v0/id", &[&host, &token]),
            Err(Refusal::Foreign(_))
        ));
        assert_eq!(outcome(Method::GET, "/metrics", &[&host]), Ok(()));
        for headers in [&[&host, &foreign][..], &[&(header::HOST, "evil.example")], &[]] {
            assert!(outcome(Method::GET, "/metrics", headers).is_err());
        }
        assert_eq!(Refusal::Unknown.response(Realm::Pins).status(), 401);
        assert_eq!(Refusal::Unknown.response(Realm::Own).status(), 403);
    }
}
