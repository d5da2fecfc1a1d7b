//! What reads requests of the gateway, and `_redirects`, as functions of bytes.

use axum::http::Request;
use hpips_dag::scope::EntityBytes;

use super::answer::{Prepared, prepare};
use super::car::Parameters;
use super::config::Config;
use super::range::{Ranged, ranged};
use super::redirects::parse;

/// A URI, a host name and what is accepted, a line each.
pub fn request(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let request = Request::builder().uri(line()).header("host", line()).header("accept", line()).body(());
    let Ok(request) = request else { return };
    let (parts, ()) = request.into_parts();
    match prepare(&Config::default(), &parts) {
        Ok(Prepared::Read(request)) => {
            let segments = &request.address.segments;
            assert!(segments.iter().all(|name| !matches!(name.as_str(), "" | "." | "..")), "{segments:?}");
            if let Some(wanted) = &request.wanted {
                let _ = Parameters::of(&request, wanted);
            }
        }
        Ok(Prepared::Reply(_)) => {}
        Err(error) => drop(error.into_reply()),
    }
}

/// A `Range` header, and the same text as `entity-bytes`.
pub fn ranges(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for bytes in [0, 1, 1000, u64::MAX] {
        if let Ok(Ranged::Part(range)) = ranged(text, bytes) {
            assert!(range.start < range.end && range.end <= bytes, "{range:?} of {bytes}");
        }
        if let Some(range) = EntityBytes::parse(text) {
            assert!(range.within(bytes).end <= bytes);
        }
    }
}

/// A path in the first line, the file after it.
pub fn redirects(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let path = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let segments: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    for rule in parse(parts.next().unwrap_or_default()).unwrap_or_default() {
        let _ = rule.target(&segments);
    }
}
