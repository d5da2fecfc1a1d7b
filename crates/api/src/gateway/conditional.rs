//! Preconditions (RFC 9110, section 13), and what is left to send after them.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, StatusCode, header};
use hpips_dag::Mtime;

use super::address::text_header;
use super::error::GatewayError;
use super::range::{Ranged, ranged};
use super::reply::{Payload, Reply};

/// First second that an HTTP date cannot name: the year 10000.
const SECONDS_END: u64 = 253_402_300_800;

/// A whole second since 1970 as far as HTTP can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Modified(u64);

impl Modified {
    /// The time a UnixFS node carries; none when it lies before 1970, at it (which says "unknown") or too far ahead.
    pub(super) fn of(mtime: Option<Mtime>) -> Option<Self> {
        let seconds = u64::try_from(mtime?.seconds).ok()?;
        (seconds > 0 && seconds < SECONDS_END).then_some(Self(seconds))
    }

    fn parse(text: &str) -> Option<Self> {
        let at = httpdate::parse_http_date(text).ok()?;
        Some(Self(at.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs()))
    }

    fn text(self) -> String {
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(self.0))
    }
}

/// A representation whose bytes can be read in parts.
pub(super) struct Content {
    pub(super) bytes: u64,
    pub(super) etag: String,
    pub(super) modified: Option<Modified>,
    /// Makes the body of a range.
    pub(super) body: Box<dyn FnOnce(Range<u64>) -> Payload>,
}

/// Whether a list of Etags in a header has one that is equal but for weakness (section 8.8.3.2), or is `*`.
pub(super) fn matches_weakly(header: &str, etag: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    tags(header).any(|tag| tag == "*" || opaque(tag) == opaque(etag))
}

fn matches_strongly(header: &str, etag: &str) -> bool {
    tags(header).any(|tag| tag == "*" || (tag == etag && !etag.starts_with("W/")))
}

/// The tags of a list; what follows something that is no tag is not heard.
fn tags(header: &str) -> impl Iterator<Item = &str> {
    let mut rest = header;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.starts_with('*') {
            let tag = &rest[..1];
            rest = "";
            return Some(tag);
        }
        let weak = if rest.starts_with("W/") { 2 } else { 0 };
        let quoted = rest[weak..].strip_prefix('"')?;
        let end = quoted.find('"')?;
        let (tag, after) = rest.split_at(weak + 1 + end + 1);
        rest = after;
        Some(tag)
    })
}

/// What the preconditions leave.
enum Outcome {
    /// The response, with a range if one is asked for.
    Send {
        is_range_heard: bool,
    },
    NotModified,
    Failed,
}

/// In the order of section 13.2.2.
fn check(headers: &HeaderMap, etag: &str, modified: Option<Modified>) -> Outcome {
    let header = |name| text_header(headers, name);
    let since = |name| header(name).and_then(Modified::parse).zip(modified);
    if let Some(tags) = header(header::IF_MATCH) {
        if !matches_strongly(tags, etag) {
            return Outcome::Failed;
        }
    } else if since(header::IF_UNMODIFIED_SINCE).is_some_and(|(since, modified)| modified > since) {
        return Outcome::Failed;
    }
    if let Some(tags) = header(header::IF_NONE_MATCH) {
        if matches_weakly(tags, etag) {
            return Outcome::NotModified;
        }
    } else if since(header::IF_MODIFIED_SINCE).is_some_and(|(since, modified)| modified <= since) {
        return Outcome::NotModified;
    }
    let is_range_heard = header(header::IF_RANGE).is_none_or(|value| {
        if value.starts_with('"') || value.starts_with("W/") {
            matches_strongly(value, etag)
        } else {
            modified.is_some() && Modified::parse(value) == modified
        }
    });
    Outcome::Send { is_range_heard }
}

/// A response for `If-None-Match` alone: generated pages have no ranges and no times.
pub(super) fn is_unchanged(headers: &HeaderMap, etag: &str) -> bool {
    text_header(headers, header::IF_NONE_MATCH).is_some_and(|tags| matches_weakly(tags, etag))
}

/// Turns a reply that has its other headers into the response the preconditions and the range leave of it.
pub(super) fn complete(
    mut reply: Reply,
    headers: &HeaderMap,
    content: Content,
) -> Result<Reply, GatewayError> {
    reply.set(header::ETAG, &content.etag);
    let is_range_heard = match check(headers, &content.etag, content.modified) {
        Outcome::Send { is_range_heard } => is_range_heard,
        Outcome::NotModified => return Ok(not_modified(reply)),
        Outcome::Failed => {
            reply.status = StatusCode::PRECONDITION_FAILED;
            return Ok(reply);
        }
    };
    if let Some(modified) = content.modified {
        reply.set(header::LAST_MODIFIED, &modified.text());
    }
    let range = text_header(headers, header::RANGE).filter(|_| is_range_heard);
    let range = match range.map_or(Ok(Ranged::Whole), |value| ranged(value, content.bytes))? {
        Ranged::Whole => 0..content.bytes,
        Ranged::Part(range) => {
            let text = format!("bytes {}-{}/{}", range.start, range.end - 1, content.bytes);
            reply.set(header::CONTENT_RANGE, &text);
            reply.status = StatusCode::PARTIAL_CONTENT;
            range
        }
        Ranged::Unsatisfiable => {
            let mut reply =
                Reply::text(StatusCode::RANGE_NOT_SATISFIABLE, "the range lies outside of the content\n");
            reply.set(header::CONTENT_RANGE, &format!("bytes */{}", content.bytes));
            return Ok(reply);
        }
    };
    reply.set(header::ACCEPT_RANGES, "bytes");
    reply.headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    reply.payload = (content.body)(range);
    Ok(reply)
}

/// Without what describes a body that is not sent.
pub(super) fn not_modified(mut reply: Reply) -> Reply {
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::LAST_MODIFIED] {
        reply.headers.remove(name);
    }
    Reply { status: StatusCode::NOT_MODIFIED, headers: reply.headers, ..Reply::new(StatusCode::NOT_MODIFIED) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn preconditions_follow_the_rfc() {
        let (etag, mtime) = ("\"a\"", Some(Mtime { seconds: 1_000_000_000, nanoseconds: 5 }));
        let (before, at) = ("Sun, 09 Sep 2001 01:46:39 GMT", "Sun, 09 Sep 2001 01:46:40 GMT");
        for (headers, status) in [
            (vec![], 200),
            (vec![("if-none-match", "\"a\"")], 304),
            (vec![("if-none-match", "W/\"a\"")], 304),
            (vec![("if-none-match", "\"x\", \"y\" ,\"a\"")], 304),
            (vec![("if-none-match", "*")], 304),
            (vec![("if-none-match", "\"b\"")], 200),
            (vec![("if-none-match", "a")], 200),
            (vec![("if-none-match", "\"b\""), ("if-modified-since", at)], 200),
            (vec![("if-modified-since", at)], 304),
            (vec![("if-modified-since", before)], 200),
            (vec![("if-modified-since", "yesterday")], 200),
            (vec![("if-match", "\"b\"")], 412),
            (vec![("if-match", "W/\"a\"")], 412),
            (vec![("if-match", "\"a\"")], 200),
            (vec![("if-unmodified-since", before)], 412),
            (vec![("if-unmodified-since", at)], 200),
            (vec![("range", "bytes=1-2")], 206),
            (vec![("range", "bytes=1-2"), ("if-range", "\"a\"")], 206),
            (vec![("range", "bytes=1-2"), ("if-range", "W/\"a\"")], 200),
            (vec![("range", "bytes=1-2"), ("if-range", at)], 206),
            (vec![("range", "bytes=1-2"), ("if-range", before)], 200),
            (vec![("range", "bytes=9-")], 416),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap()))
                .collect();
            let content = Content {
                bytes: 5,
                etag: etag.into(),
                modified: Modified::of(mtime),
                body: Box::new(|_| Payload::Bytes("".into())),
            };
            let reply = complete(Reply::new(StatusCode::OK), &map, content).unwrap();
            assert_eq!(reply.status.as_u16(), status, "{headers:?}");
        }
    }

    #[test]
    fn times_that_http_cannot_say_are_left_out() {
        for (seconds, is_said) in [
            (i64::MIN, false),
            (-1, false),
            (0, false),
            (1, true),
            (253_402_300_799, true),
            (253_402_300_800, false),
        ] {
            let modified = Modified::of(Some(Mtime { seconds, nanoseconds: 0 }));
            assert_eq!(modified.is_some(), is_said, "{seconds}");
            if let Some(modified) = modified {
                assert_eq!(Modified::parse(&modified.text()), Some(modified));
            }
        }
    }

    proptest! {
        #[test]
        fn no_list_of_tags_panics(header in "[W/\", *a\u{e4}]{0,20}") {
            let _ = matches_weakly(&header, "\"a\"");
        }
    }
}
