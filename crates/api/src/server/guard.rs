//! Who may speak to the API: programs of the person who owns the repo, never a web page.
//!
//! A browser that is talked into calling `127.0.0.1` sends a foreign `Origin`, and one that was given a
//! false address for a foreign name sends a foreign `Host`. Both are refused before anything is read. The
//! token keeps other users of the machine out.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::{ApiError, ErrorCode};

/// What a request must show.
#[derive(Clone)]
pub(crate) struct Guard {
    /// Expected in `Authorization: Bearer`.
    pub(crate) token: String,
}

pub(crate) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.admit(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

impl Guard {
    fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
        let refuse = |message: &str| Err(ApiError::new(ErrorCode::Forbidden, message));
        if !matches!(*method, Method::GET | Method::POST) {
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
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        if !token.is_some_and(|token| equal_in_constant_time(token, &self.token)) {
            return refuse("the token of the repo's api file is missing or wrong");
        }
        Ok(())
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

    fn admit(headers: &[(header::HeaderName, &str)]) -> bool {
        let guard = Guard { token: "secret".into() };
        let map = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        guard.admit(&Method::POST, &map).is_ok()
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
}
