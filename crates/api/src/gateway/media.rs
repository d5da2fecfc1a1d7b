//! The media type of a file: by its name, else by its first bytes.

/// Bytes that are looked at.
pub(super) const SNIFF_BYTES: u64 = 3072;

/// Types that a name's extension says, as Go's table has them where the usual one differs.
pub(super) fn by_name(name: &str) -> Option<String> {
    let (_, extension) = name.rsplit_once('.')?;
    let media = match extension.to_ascii_lowercase().as_str() {
        "js" | "mjs" => "text/javascript",
        "html" | "htm" => return Some("text/html".to_owned()),
        "md" => "text/markdown",
        _ => mime_guess::from_ext(extension).first_raw()?,
    };
    Some(if media.starts_with("text/") { format!("{media}; charset=utf-8") } else { media.to_owned() })
}

/// Fixed bytes at a fixed place.
const MAGIC: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftypM4A", "audio/x-m4a"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS", "application/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"\0asm", "application/wasm"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"BZh", "application/x-bzip2"),
    (257, b"ustar", "application/x-tar"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"\0\x01\0\0", "font/ttf"),
    (0, b"OTTO", "font/otf"),
    (0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"\0\0\x01\0", "image/x-icon"),
    (0, b"%!PS-Adobe-", "application/postscript"),
];

/// Beginnings of HTML, in lower case, after white space.
const HTML: &[&str] = &[
    "<!doctype html",
    "<html",
    "<head",
    "<body",
    "<script",
    "<iframe",
    "<h1",
    "<div",
    "<table",
    "<title",
    "<style",
];

/// The type of a file that begins with `head`; `is_whole` says whether that is all of it.
pub(super) fn by_content(head: &[u8], is_whole: bool) -> &'static str {
    let magic =
        MAGIC.iter().find(|(at, bytes, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(bytes)));
    // Two letters are not enough to tell a picture from text.
    let found = magic.filter(|(_, bytes, _)| bytes.len() > 3 || as_text(head, is_whole).is_none());
    if let Some((_, _, media)) = found {
        return media;
    }
    let Some(text) = as_text(head, is_whole) else { return "application/octet-stream" };
    let start = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let lower: String = start.chars().take(2048).collect::<String>().to_ascii_lowercase();
    if HTML.iter().any(|tag| lower.starts_with(tag)) {
        return "text/html";
    }
    if lower.starts_with("<svg") || (lower.starts_with("<?xml") && lower.contains("<svg")) {
        return "image/svg+xml";
    }
    if lower.starts_with("<?xml") {
        return "text/xml; charset=utf-8";
    }
    if is_json(start, is_whole) {
        return "application/json";
    }
    "text/plain; charset=utf-8"
}

/// An object or a list of JSON, or the beginning of one.
fn is_json(text: &str, is_whole: bool) -> bool {
    if !text.starts_with(['{', '[']) {
        return false;
    }
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => true,
        Err(error) => error.is_eof() && !is_whole,
    }
}

/// The bytes as text, without a character that was cut at the end; `None` when they are none.
fn as_text(head: &[u8], is_whole: bool) -> Option<&str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && !is_whole => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_binary =
        |c: char| c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}' | '\u{8}');
    (!text.contains(is_binary)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide() {
        for (name, media) in [
            ("a.txt", Some("text/plain; charset=utf-8")),
            ("a.b.PNG", Some("image/png")),
            ("index.html", Some("text/html")),
            ("a.js", Some("text/javascript; charset=utf-8")),
            ("a.json", Some("application/json")),
            ("a.svg", Some("image/svg+xml")),
            ("readme", None),
            ("a.nothing-like-it", None),
        ] {
            assert_eq!(by_name(name).as_deref(), media, "{name}");
        }
    }

    #[test]
    fn first_bytes_decide() {
        for (head, is_whole, media) in [
            (&b"hello\n"[..], true, "text/plain; charset=utf-8"),
            (b"", true, "text/plain; charset=utf-8"),
            (b"BMW and BZh are text", true, "text/plain; charset=utf-8"),
            (b"\x89PNG\r\n\x1a\nxx", false, "image/png"),
            (b"  <!DOCTYPE HTML><p>", false, "text/html"),
            (b"<?xml version=\"1.0\"?><svg/>", true, "image/svg+xml"),
            (b"<?xml version=\"1.0\"?><a/>", true, "text/xml; charset=utf-8"),
            (b"{ \"a\": [1, 2] }", true, "application/json"),
            (b"{ \"a\": [1, 2", true, "text/plain; charset=utf-8"),
            (b"{ \"a\": [1, 2", false, "application/json"),
            (b"{ not json", false, "text/plain; charset=utf-8"),
            (b"a\0b", true, "application/octet-stream"),
            (b"caf\xc3", true, "application/octet-stream"),
            (b"caf\xc3", false, "text/plain; charset=utf-8"),
            (b"\xff\xfe", false, "application/octet-stream"),
        ] {
            assert_eq!(by_content(head, is_whole), media, "{:?}", String::from_utf8_lossy(head));
        }
    }
}
