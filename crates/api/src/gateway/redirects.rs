//! The `_redirects` file at a root (<https://specs.ipfs.tech/http-gateways/web-redirects-file/>).
//!
//! Its rules are heard only where the root has an origin of its own, and only for paths that do not exist.

use axum::http::{HeaderValue, StatusCode, header};
use hpips_client::BlockGetter;
use hpips_dag::{Kind, WalkError, inspect};

use super::address::{Address, clean, encode_sorted};
use super::answer::ReadRequest;
use super::blocks::Blocks;
use super::error::{GatewayError, ReadError, RedirectsFailure};
use super::escape;
use super::file;
use super::headers;
use super::reply::{Payload, Reply};
use super::resolve::resolve;

/// Largest file that is read, bytes (the specification's limit).
pub(super) const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Longest target that a rule may expand to, bytes.
const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Why a `_redirects` file is refused, with the line that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RedirectsError {
    #[error("redirects file size cannot exceed {FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the file is no UTF-8 text")]
    NotText,
    #[error("line {line}: missing 'to' path")]
    NoTarget { line: usize },
    #[error("line {line}: must match format 'from to [status]'")]
    Fields { line: usize },
    #[error("line {line}: 'from' must begin with '/'")]
    From { line: usize },
    #[error("line {line}: an asterisk may only stand once, at the end of 'from'")]
    Asterisk { line: usize },
    #[error("line {line}: placeholder {name:?} appears twice in 'from'")]
    Placeholder { line: usize, name: String },
    #[error("line {line}: 'to' must begin with '/', http://, https://, ipfs:// or ipns://")]
    Target { line: usize },
    #[error("line {line}: forced redirects (or \"shadowing\") are not supported")]
    Forced { line: usize },
    #[error("line {line}: status code {status:?} is not supported")]
    Status { line: usize, status: String },
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    from: Vec<Part>,
    has_splat: bool,
    to: String,
    status: u16,
}

/// A segment of `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Placeholder(String),
}

/// Reads the rules, in order.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Rule>, RedirectsError> {
    if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_BYTES_MAX) {
        return Err(RedirectsError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| RedirectsError::NotText)?;
    let lines = text.lines().map(str::trim).zip(1..);
    let rules = lines.filter(|(text, _)| !text.is_empty() && !text.starts_with('#'));
    rules.map(|(text, line)| parse_rule(text, line)).collect()
}

fn parse_rule(text: &str, line: usize) -> Result<Rule, RedirectsError> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let (from, to, status) = match fields[..] {
        [_] | [] => return Err(RedirectsError::NoTarget { line }),
        [from, to] => (from, to, None),
        [from, to, status] => (from, to, Some(status)),
        _ => return Err(RedirectsError::Fields { line }),
    };
    let path = from.strip_prefix('/').ok_or(RedirectsError::From { line })?;
    let (path, has_splat) = match path.strip_suffix('*') {
        Some(path) => (path, true),
        None => (path, false),
    };
    if path.contains('*') {
        return Err(RedirectsError::Asterisk { line });
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut parts = Vec::new();
    for segment in path.split('/').filter(|_| !path.is_empty()) {
        let part = match segment.strip_prefix(':').filter(|name| !name.is_empty()) {
            Some(name) => Part::Placeholder(name.to_owned()),
            None => Part::Literal(segment.to_owned()),
        };
        if let Part::Placeholder(name) = &part
            && parts.contains(&part)
        {
            return Err(RedirectsError::Placeholder { line, name: name.clone() });
        }
        parts.push(part);
    }
    let schemes = ["/", "http://", "https://", "ipfs://", "ipns://"];
    if !schemes.iter().any(|scheme| to.starts_with(scheme)) {
        return Err(RedirectsError::Target { line });
    }
    let status = match status {
        None => 301,
        Some(status) if status.ends_with('!') => return Err(RedirectsError::Forced { line }),
        Some(text) => {
            let known = [200, 301, 302, 303, 307, 308, 404, 410, 451];
            let status = text.parse().ok().filter(|status| known.contains(status));
            status.ok_or_else(|| RedirectsError::Status { line, status: text.to_owned() })?
        }
    };
    Ok(Rule { from: parts, has_splat, to: to.to_owned(), status })
}

impl Rule {
    /// Matches the segments of a path; returns what the placeholders stand for, `splat` last.
    fn matches(&self, segments: &[String]) -> Option<Vec<(&str, Vec<String>)>> {
        // An asterisk stands for at least one segment: `/a/*` is not `/a`.
        let is_length =
            if self.has_splat { segments.len() > self.from.len() } else { segments.len() == self.from.len() };
        if !is_length {
            return None;
        }
        let mut values = Vec::new();
        for (part, segment) in self.from.iter().zip(segments) {
            match part {
                Part::Literal(text) if text == segment => {}
                Part::Literal(_) => return None,
                Part::Placeholder(name) => values.push((name.as_str(), vec![segment.clone()])),
            }
        }
        if self.has_splat {
            values.push(("splat", segments[self.from.len()..].to_vec()));
        }
        Some(values)
    }

    /// Where a path is sent, if the rule is for it.
    pub(super) fn target(&self, segments: &[String]) -> Option<String> {
        self.expand(&self.matches(segments)?, escape::segment)
    }

    /// The target with its placeholders filled in by `write`; `None` when it grows too long.
    fn expand(&self, values: &[(&str, Vec<String>)], write: fn(&str) -> String) -> Option<String> {
        let mut out = String::new();
        let mut rest = self.to.as_str();
        while let Some(at) = rest.find(':') {
            let (before, after) = rest.split_at(at);
            out.push_str(before);
            let len = after[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
            let (name, tail) = after[1..].split_at(len.unwrap_or(after.len() - 1));
            match values.iter().find(|(known, _)| *known == name) {
                Some((_, segments)) => {
                    let written: Vec<String> = segments.iter().map(|part| write(part)).collect();
                    out.push_str(&written.join("/"));
                }
                None => {
                    out.push(':');
                    out.push_str(name);
                }
            }
            rest = tail;
            if out.len() > TARGET_BYTES_MAX {
                return None;
            }
        }
        out.push_str(rest);
        (out.len() <= TARGET_BYTES_MAX).then_some(out)
    }
}

/// What the rules say about a path that does not exist.
pub(super) enum Ruled {
    /// Nothing.
    Nothing,
    /// A redirect, or a page for the error.
    Reply(Reply),
    /// Show this instead.
    Rewrite(Address),
}

/// Asks the rules at the request's root.
pub(super) fn apply(request: &ReadRequest, blocks: &Blocks) -> Result<Ruled, GatewayError> {
    let address = &request.address;
    let failed = |source| GatewayError::Redirects { root: address.root, source };
    let rules = match rules(address, blocks) {
        Ok(Some(rules)) => rules,
        Ok(None) => return Ok(Ruled::Nothing),
        Err(source) => return Err(failed(source)),
    };
    for rule in &rules {
        let Some(target) = rule.target(&address.segments) else { continue };
        return match rule.status {
            200 | 404 | 410 | 451 => {
                let path = target.split(['?', '#']).next().unwrap_or_default();
                let Ok(path) = clean(path) else { continue };
                let segments = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
                let target = address.with_segments(segments);
                if rule.status == 200 {
                    return Ok(Ruled::Rewrite(target));
                }
                page(&target, rule.status, blocks).map(Ruled::Reply).map_err(|source| failed(source.into()))
            }
            status => {
                let status = StatusCode::from_u16(status).map_err(|_| GatewayError::Internal)?;
                let target = with_query(&target, request.query.pairs());
                Ok(Ruled::Reply(Reply::redirect(status, &escape::location(&target))))
            }
        };
    }
    Ok(Ruled::Nothing)
}

/// The rules at a root, when it has any.
fn rules(address: &Address, blocks: &Blocks) -> Result<Option<Vec<Rule>>, RedirectsFailure> {
    let name = ["_redirects".to_owned()];
    let file = match resolve(address.root, &name, blocks, &mut Vec::new()) {
        Ok(resolution) => resolution.cid(),
        Err(error) if error.is_absent() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if file::length(&file, blocks)? > FILE_BYTES_MAX {
        return Err(RedirectsError::TooLarge.into());
    }
    let bytes = file::read(file, 0..FILE_BYTES_MAX, blocks)?;
    Ok(Some(parse(&bytes)?))
}

/// A file as the page of an error.
fn page(target: &Address, status: u16, blocks: &Blocks) -> Result<Reply, ReadError> {
    let cid = resolve(target.root, &target.segments, blocks, &mut Vec::new())?.cid();
    let root = blocks.get(&cid)?;
    let info = inspect(&cid, &root).map_err(|source| ReadError::Document { cid, source })?;
    if info.kind != Kind::File {
        return Err(WalkError::NotAFile { cid }.into());
    }
    let bytes = file::length(&cid, blocks)?;
    let mut reply = Reply::new(StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND));
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(headers::IMMUTABLE));
    reply.headers.insert(header::CONTENT_LENGTH, bytes.into());
    reply.set(header::ETAG, &headers::etag(&cid, None));
    let blocks = blocks.clone();
    reply.payload = Payload::Stream {
        held_bytes: 1,
        write: Box::new(move |sink| hpips_client::walk(hpips_dag::FileReader::new(cid, ..), &blocks, sink)),
    };
    Ok(reply)
}

/// Adds a request's parameters to a target; the request's come before those that the rule has.
fn with_query(target: &str, asked: &[(String, String)]) -> String {
    if asked.is_empty() {
        return target.to_owned();
    }
    let (rest, fragment) = target.split_once('#').map_or((target, None), |(rest, end)| (rest, Some(end)));
    let (path, own) = rest.split_once('?').unwrap_or((rest, ""));
    let own = form_urlencoded::parse(own.as_bytes())
        .filter(|(name, _)| !asked.iter().any(|(known, _)| known == name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()));
    let query = encode_sorted(own.chain(asked.iter().cloned()).collect());
    let fragment = fragment.map_or_else(String::new, |fragment| format!("#{fragment}"));
    format!("{path}?{query}{fragment}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segments(path: &str) -> Vec<String> {
        path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// The first rule that matches: its status and target.
    fn first(rules: &str, path: &str) -> Option<(u16, String)> {
        let rules = parse(rules.as_bytes()).unwrap();
        rules.iter().find_map(|rule| {
            let values = rule.matches(&segments(path))?;
            Some((rule.status, rule.expand(&values, escape::segment)?))
        })
    }

    const RULES: &str = "# the example of the specification\r\n\
        /redirect-one /one.html\r\n\
        /302-redirect-two\t/two.html 302\n\
        \n  /200-index /index.html 200  \n\
        /posts/:year/:month/:day/:title /articles/:year/:month/:day/:title 301\n\
        /splat/* /redirected-splat/:splat 301\n\
        /not-found/* /404.html 404\n\
        /two/:a/:b /x?code=:b&name=:a&again=:b\n\
        /port/:a https://example.net:8080/:a 307\n\
        /* /index.html 200";

    #[test]
    fn the_first_rule_that_matches_counts() {
        for (path, expected) in [
            ("/redirect-one", (301, "/one.html")),
            ("/302-redirect-two", (302, "/two.html")),
            ("/200-index", (200, "/index.html")),
            ("/posts/2022/01/02/hello-world", (301, "/articles/2022/01/02/hello-world")),
            ("/posts/2022/01", (200, "/index.html")),
            ("/splat/a/b.html", (301, "/redirected-splat/a/b.html")),
            ("/splat", (200, "/index.html")),
            ("/not-found/x", (404, "/404.html")),
            ("/two/1/2", (301, "/x?code=2&name=1&again=2")),
            ("/port/x", (307, "https://example.net:8080/x")),
            ("/splat/a\\evil\r\nX: y", (301, "/redirected-splat/a%5Cevil%0D%0AX:%20y")),
        ] {
            assert_eq!(first(RULES, path), Some((expected.0, expected.1.to_owned())), "{path}");
        }
        assert_eq!(first("/a /b", "/c"), None);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        use RedirectsError as E;
        let line = 2;
        for (text, error) in [
            ("/a", E::NoTarget { line }),
            ("/a /b 301 x", E::Fields { line }),
            ("a /b", E::From { line }),
            ("/a/*/b /c", E::Asterisk { line }),
            ("/a** /c", E::Asterisk { line }),
            ("/:x/:x /c", E::Placeholder { line, name: "x".into() }),
            ("/a ftp://b", E::Target { line }),
            ("/a javascript:alert(1)", E::Target { line }),
            ("/a /b 301!", E::Forced { line }),
            ("/a /b 300", E::Status { line, status: "300".into() }),
            ("/a /b x", E::Status { line, status: "x".into() }),
        ] {
            assert_eq!(parse(format!("/ok /ok\n{text}\n").as_bytes()), Err(error), "{text}");
        }
        assert_eq!(parse(&vec![b'#'; 65536]), Ok(Vec::new()));
        assert_eq!(parse(&vec![b'#'; 65537]), Err(E::TooLarge));
        assert_eq!(parse(b"/a /b\xff"), Err(E::NotText));
    }

    #[test]
    fn the_request_overrides_the_rules_parameters() {
        let pairs = |text: &str| -> Vec<(String, String)> {
            form_urlencoded::parse(text.as_bytes()).into_owned().collect()
        };
        for (target, asked, expected) in [
            ("/t?a=1&b=2", "", "/t?a=1&b=2"),
            ("/t?a=1&b=2", "b=3&c=4", "/t?a=1&b=3&c=4"),
            ("https://e.net/t#x", "q=a b", "https://e.net/t?q=a+b#x"),
        ] {
            assert_eq!(with_query(target, &pairs(asked)), expected, "{target} {asked}");
        }
    }

    proptest! {
        #[test]
        fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), path in "(/[a-z:*]{0,5}){0,5}") {
            if let Ok(rules) = parse(&bytes) {
                for rule in rules {
                    rule.matches(&segments(&path)).and_then(|values| rule.expand(&values, escape::segment));
                }
            }
        }

        #[test]
        fn no_rule_panics(text in "(/|:|\\*|a|b|:a|:splat|\u{e4}|http://| |301|\n){0,40}", path in "(/[ab:]{0,3}){0,5}") {
            if let Ok(rules) = parse(text.as_bytes()) {
                for rule in rules {
                    rule.matches(&segments(&path)).and_then(|values| rule.expand(&values, escape::segment));
                }
            }
        }
    }
}
