//! `multipart/form-data` as a stream (RFC 7578, RFC 2046 section 5.1), read part after part by a thread that may block.
//!
//! Nothing is held but one piece of the body and the headers of one part, whatever the body's length.

use std::io::{self, Read};

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use memchr::memmem;
use tokio::sync::mpsc;

use super::error::RpcError;

/// Pieces of the body that wait for the reader.
const PIECES_AHEAD: usize = 8;
/// Bytes of one part's headers at most.
const HEADERS_BYTES_MAX: usize = 64 << 10;

/// A body that is read part after part.
#[derive(Debug)]
pub(crate) struct Multipart {
    pieces: Pieces,
    /// `\r\n--boundary`.
    delimiter: Vec<u8>,
    /// Read and not yet handed out.
    buffer: BytesMut,
    state: Place,
}

/// Where the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    InPart,
    /// After the delimiter that ends a part.
    BetweenParts,
    Done,
}

/// What a part says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartHead {
    /// Name of the form's field.
    pub(crate) field: String,
    /// Name of the file, unescaped; empty when there is none.
    pub(crate) file_name: String,
    /// Media type, lowercase, without parameters.
    pub(crate) media: String,
    /// Other headers, names lowercase.
    pub(crate) headers: Vec<(String, String)>,
}

impl PartHead {
    /// A header of the part.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
struct Pieces(mpsc::Receiver<Result<Bytes, String>>);

impl Pieces {
    fn next(&mut self) -> Result<Option<Bytes>, RpcError> {
        match self.0.blocking_recv() {
            None => Ok(None),
            Some(Ok(piece)) => Ok(Some(piece)),
            Some(Err(reason)) => Err(RpcError::new(format!("the request broke off: {reason}"))),
        }
    }
}

impl Multipart {
    /// Starts reading; what is not read in time holds the sender back.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn new(body: Body, boundary: &str) -> Self {
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        tokio::spawn(async move {
            let mut pieces = body.into_data_stream();
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(|error| error.to_string());
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
        });
        Self::over(receiver, boundary)
    }

    /// Reads pieces of a body that somebody else sends.
    pub(super) fn over(pieces: mpsc::Receiver<Result<Bytes, String>>, boundary: &str) -> Self {
        Self {
            pieces: Pieces(pieces),
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // As if a line had ended before the body, so that the first delimiter looks like the others.
            buffer: BytesMut::from(&b"\r\n"[..]),
            state: Place::Start,
        }
    }

    /// The next part; what was not read of the one before is passed over. Its content comes from [`Read`].
    pub(crate) fn next_part(&mut self) -> Result<Option<PartHead>, RpcError> {
        if matches!(self.state, Place::Start | Place::InPart) {
            while self.piece()?.is_some() {}
            if self.state == Place::InPart {
                return Err(RpcError::new("the request ends within a part"));
            }
        }
        if self.state == Place::Done {
            return Ok(None);
        }
        let line = self.line()?;
        if line.starts_with(b"--") {
            self.state = Place::Done;
            return Ok(None);
        }
        let mut head = PartHead::default();
        let mut total = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            total += line.len();
            if total > HEADERS_BYTES_MAX {
                return Err(RpcError::client("headers of a part are too long"));
            }
            head.take(&String::from_utf8_lossy(&line));
        }
        self.state = Place::InPart;
        Ok(Some(head))
    }

    /// The next piece of the part's content, as long as it can be had without copying; `None` at its end.
    pub(crate) fn piece(&mut self) -> Result<Option<Bytes>, RpcError> {
        self.piece_of(usize::MAX)
    }

    /// The same, of at most so many bytes.
    fn piece_of(&mut self, bytes_max: usize) -> Result<Option<Bytes>, RpcError> {
        if matches!(self.state, Place::BetweenParts | Place::Done) {
            return Ok(None);
        }
        loop {
            if let Some(at) = memmem::find(&self.buffer, &self.delimiter) {
                if at > 0 {
                    return Ok(Some(self.buffer.split_to(at.min(bytes_max)).freeze()));
                }
                self.buffer.advance(self.delimiter.len());
                self.state = Place::BetweenParts;
                return Ok(None);
            }
            // The end of the buffer may be the start of a delimiter.
            let sure = self.buffer.len().saturating_sub(self.delimiter.len());
            if sure > 0 {
                return Ok(Some(self.buffer.split_to(sure.min(bytes_max)).freeze()));
            }
            match self.pieces.next()? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None if self.state == Place::Start => {
                    self.state = Place::Done;
                    return Ok(None);
                }
                None => return Err(RpcError::new("the request ends within a part")),
            }
        }
    }

    /// All of the part's content, which may have at most `bytes_max`.
    pub(crate) fn whole(&mut self, bytes_max: usize) -> Result<Bytes, RpcError> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.piece()? {
            if all.len() + piece.len() > bytes_max {
                return Err(RpcError::new(format!("the content has more than {bytes_max} bytes")));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// A line without its end.
    fn line(&mut self) -> Result<Bytes, RpcError> {
        loop {
            if let Some(at) = memmem::find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(at).freeze();
                self.buffer.advance(2);
                return Ok(line);
            }
            if self.buffer.len() > HEADERS_BYTES_MAX {
                return Err(RpcError::client("headers of a part are too long"));
            }
            match self.pieces.next()? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                // Some clients leave out the last line's end.
                None => return Ok(std::mem::take(&mut self.buffer).freeze()),
            }
        }
    }
}

impl Read for Multipart {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        match self.piece_of(out.len()) {
            Ok(None) => Ok(0),
            Ok(Some(piece)) => {
                out[..piece.len()].copy_from_slice(&piece);
                Ok(piece.len())
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl PartHead {
    fn take(&mut self, line: &str) {
        let Some((name, value)) = line.split_once(':') else { return };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        match name.as_str() {
            "content-disposition" => {
                self.field = parameter(value, "name").unwrap_or_default();
                self.file_name = parameter(value, "filename").map(|name| unescape(&name)).unwrap_or_default();
            }
            "content-type" => {
                let media = value.split(';').next().unwrap_or_default();
                self.media = media.trim().to_ascii_lowercase();
            }
            _ => {}
        }
        self.headers.push((name, value.to_owned()));
    }
}

/// A parameter of a header, quoted or not.
fn parameter(header: &str, name: &str) -> Option<String> {
    let mut rest = header;
    loop {
        let at = rest.find(';')?;
        rest = rest[at + 1..].trim_start();
        let Some((found, value)) = rest.split_once('=') else { continue };
        if !found.trim().eq_ignore_ascii_case(name) {
            // A quoted value may hold semicolons.
            if let Some(quoted) = value.strip_prefix('"') {
                let end = quoted.find('"').map_or(quoted.len(), |end| end + 1);
                rest = &quoted[end..];
            }
            continue;
        }
        return Some(match value.strip_prefix('"') {
            Some(quoted) => quoted[..quoted.find('"').unwrap_or(quoted.len())].to_owned(),
            None => value.split(';').next().unwrap_or_default().trim().to_owned(),
        });
    }
}

/// Undoes the escapes that clients use for all names, as Kubo does: `%` and two digits, `+` for a space. A text with a
/// wrong escape is no escaped text and stays as it is.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return text.to_owned() };
                u8::try_from(high * 16 + low).expect("two digits")
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = Vec<(PartHead, Vec<u8>)>;

    fn parse(body: &[u8], piece_bytes: usize) -> Result<Parts, RpcError> {
        let pieces: Vec<_> =
            body.chunks(piece_bytes).map(|piece| Ok::<_, io::Error>(Bytes::copy_from_slice(piece))).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let _entered = runtime.enter();
        let mut parts = Multipart::new(Body::from_stream(futures::stream::iter(pieces)), "XX");
        let mut all = Vec::new();
        while let Some(head) = parts.next_part()? {
            let mut content = Vec::new();
            parts.read_to_end(&mut content).map_err(|error| RpcError::of(&error))?;
            all.push((head, content));
        }
        Ok(all)
    }

    const BODY: &[u8] =
        b"--XX\r\nContent-Disposition: form-data; name=\"a;b\"; filename=\"d%2Fe+f%2B%20g\"\r\n\
        Content-Type: Application/X-Directory; q=1\r\nAbspath: /x\r\n\r\n\r\n--XX\r\n\
        Content-Disposition: form-data; name=file\r\n\r\nline\r\n--X\r\n--XX--\r\n";

    #[test]
    fn parts_are_the_same_however_the_body_is_cut() {
        for piece_bytes in 1..BODY.len() {
            let parts = parse(BODY, piece_bytes).unwrap();
            assert_eq!(parts.len(), 2);
            let (first, content) = &parts[0];
            assert_eq!((first.field.as_str(), first.file_name.as_str()), ("a;b", "d/e f+ g"));
            assert_eq!(
                (first.media.as_str(), first.header("abspath")),
                ("application/x-directory", Some("/x"))
            );
            assert!(content.is_empty());
            assert_eq!((parts[1].0.field.as_str(), parts[1].1.as_slice()), ("file", &b"line\r\n--X"[..]));
        }
    }

    #[test]
    fn names_are_unescaped_as_kubo_does() {
        for (text, name) in [
            ("a+b", "a b"),
            ("a%2Bb", "a+b"),
            ("%E2%82%AC", "\u{20ac}"),
            ("50%+x", "50%+x"),
            ("%4", "%4"),
            ("", ""),
        ] {
            assert_eq!(unescape(text), name);
        }
    }

    #[test]
    fn a_body_that_is_cut_short_is_an_error_or_has_fewer_parts() {
        for len in 0..BODY.len() {
            match parse(&BODY[..len], 7) {
                Ok(parts) => assert!(parts.len() < 2 || len > BODY.len() - 6, "{len}"),
                Err(error) => assert!(error.message().contains("ends within"), "{error}"),
            }
        }
        assert_eq!(parse(b"no multipart at all", 5), Ok(Vec::new()));
    }
}
