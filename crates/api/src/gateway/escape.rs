//! Text made safe for the place it goes to: a URL's path, a query, HTML, a header.

use std::fmt::Write as _;

/// Percent-encodes everything but unreserved characters and those of `keep`.
fn percent(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A segment of a path. The characters left alone are those that Go's `URL.EscapedPath` leaves, so that URLs are
/// the same as Kubo's; `/` cannot be part of a segment.
pub(super) fn segment(text: &str) -> String {
    percent(text, b"$&+,:;=@")
}

/// Segments, each after a slash; empty for none.
pub(super) fn path(segments: &[String]) -> String {
    segments.iter().map(|part| format!("/{}", segment(part))).collect()
}

/// A segment of an `ipfs://` URI: only unreserved characters stay (IPIP-548).
pub(super) fn strict_segment(text: &str) -> String {
    match text {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => percent(text, b""),
    }
}

/// A file name inside `filename*=UTF-8''` or `filename="..."`.
pub(super) fn file_name(text: &str) -> String {
    percent(text, b"$&+:=@")
}

/// Text that goes into a `Location` from elsewhere: what may stand in a URL stays, also `%`; everything else,
/// above all line ends and the backslash that browsers read as a slash, is encoded.
pub(super) fn location(text: &str) -> String {
    percent(text, b"!#$%&'()*+,/:;=?@[]")
}

/// Text between tags or inside a quoted attribute.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            // Shown, so that a name cannot turn the text around it or hide its end.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Decodes `%XX`; anything else stays. `None` when the result is no UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_place_has_its_own_rules() {
        assert_eq!(segment("\u{105}"), "%C4%85");
        assert_eq!(
            segment("Portugal%2C+Espa\u{f1}a=Peninsula Ib\u{e9}rica.txt"),
            "Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt"
        );
        assert_eq!(segment("a/b?c#d\"<>'\\"), "a%2Fb%3Fc%23d%22%3C%3E%27%5C");
        assert_eq!(strict_segment("a&b"), "a%26b");
        assert_eq!(strict_segment(".."), "%2E%2E");
        assert_eq!(location("/a\\b\r\nSet-Cookie: x"), "/a%5Cb%0D%0ASet-Cookie:%20x");
        assert_eq!(
            html("<a href=\"x\">'&\u{202e}\n"),
            "&lt;a href=&#34;x&#34;&gt;&#39;&amp;\\u{202e}\u{fffd}"
        );
        assert_eq!(decode("a%20b%zz%2"), Some("a b%zz%2".to_owned()));
        assert_eq!(decode("%ff"), None);
    }

    proptest! {
        #[test]
        fn encoded_segments_decode_to_themselves(text in ".{0,40}") {
            prop_assert_eq!(decode(&segment(&text)), Some(text.clone()));
            prop_assert_eq!(decode(&strict_segment(&text)), Some(text));
        }

        #[test]
        fn html_has_no_markup(text in ".{0,60}") {
            prop_assert!(!html(&text).contains(['<', '>', '"', '\'']));
        }
    }
}
