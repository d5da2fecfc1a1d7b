//! What reads requests of the RPC, as functions of bytes.

use std::io::Read;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::call::{Call, boundary};
use super::multipart::Multipart;
use super::path::{IpfsPath, parse_cid};

/// A multipart body with the boundary `XX`, in pieces of as many bytes as the first byte says.
pub fn multipart(data: &[u8]) {
    let Some((piece_bytes, body)) = data.split_first() else { return };
    let pieces: Vec<_> = body.chunks(usize::from(*piece_bytes).max(1)).map(Bytes::copy_from_slice).collect();
    let (sender, receiver) = mpsc::channel(pieces.len().max(1));
    for piece in pieces {
        sender.try_send(Ok(piece)).expect("there is room for all pieces");
    }
    drop(sender);
    let mut parts = Multipart::over(receiver, "XX");
    let mut total = 0;
    while let Ok(Some(head)) = parts.next_part() {
        let mut content = Vec::new();
        let _ = (head.header("mode"), parts.read_to_end(&mut content));
        total += content.len();
    }
    assert!(total <= body.len(), "content comes from the body");
}

/// A query in the first line, a content type in the second.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (query, content_type) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(call) = Call::of(query, Some(content_type)) else { return };
    let _ = (call.flag(&["flag", "f"], true), call.position(&["offset"]), call.number::<i64>(&["length"]));
    let _ = (call.timeout(), boundary(content_type));
    let form = call.cid_form();
    for text in call.args() {
        if let (Ok(form), Ok(cid)) = (&form, parse_cid(text)) {
            assert!(!form.text(&cid).is_empty());
        }
        if let Ok(path) = IpfsPath::parse(text) {
            assert!(path.segments.iter().all(|name| !matches!(name.as_str(), "" | "." | "..")));
        }
    }
}
