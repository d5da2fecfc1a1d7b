//! Files and directories as a tar stream (POSIX.1-2001, pax).

use axum::http::{HeaderValue, header};
use bytes::Bytes;
use hpips_client::BlockGetter;
use hpips_client::export::walk;
use hpips_dag::{Event, Kind, Mtime, Tree, inspect};

use super::answer::Found;
use super::conditional;
use super::error::{GatewayError, ReadError};
use super::format::Format;
use super::headers;
use super::reply::{Payload, Reply};

/// Bytes of a tar record.
const RECORD: usize = 512;
/// Errors within the first bytes become a status.
const HELD_BYTES: usize = 256 * 1024;
/// Largest number that the eleven octal digits of a header hold.
const OCTAL_MAX: u64 = 0o777_7777_7777;

/// Answers with everything below the path, in a folder named by its CID.
pub(super) fn serve(found: &Found<'_>) -> Result<Reply, GatewayError> {
    let cid = found.resolution.cid();
    let root = found.blocks.get(&cid).map_err(|error| found.failed(error))?;
    let kind = inspect(&cid, &root).map_err(|source| found.failed(ReadError::Document { cid, source }))?.kind;
    if kind == Kind::Other {
        return Err(GatewayError::NotAcceptable { wanted: Format::Tar.media(), cid, codec: cid.codec() });
    }
    let mut reply = found.reply();
    let name = found.request.query.get("filename").map_or_else(|| format!("{cid}.tar"), str::to_owned);
    reply.set(header::CONTENT_DISPOSITION, &headers::disposition("attachment", &name));
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(headers::IMMUTABLE));
    let etag = headers::etag(&cid, Some(Format::Tar));
    reply.set(header::ETAG, &etag);
    if conditional::is_unchanged(&found.request.headers, &etag) {
        return Ok(conditional::not_modified(reply));
    }
    reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Format::Tar.media()));
    reply.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let blocks = found.blocks.clone();
    let root = cid.to_string();
    reply.payload = Payload::Stream {
        held_bytes: HELD_BYTES,
        write: Box::new(move |sink| {
            // Bytes of the open file that have been written.
            let mut written = 0;
            walk(Tree::new(cid), &blocks, |event| {
                if let Event::Data(data) = event {
                    written += data.len();
                    return sink(data);
                }
                sink(padding(std::mem::take(&mut written)))?;
                sink(entry(&root, &event))
            })?;
            sink(padding(written))?;
            sink(Bytes::from_static(&[0; 2 * RECORD]))
        }),
    };
    Ok(reply)
}

/// Zeros up to the next record.
fn padding(written: usize) -> Bytes {
    Bytes::from_static(&[0; RECORD]).slice(..written.next_multiple_of(RECORD) - written)
}

/// The header of an entry, with a pax header before it for what the old one cannot hold.
fn entry(root: &str, event: &Event) -> Bytes {
    let (path, kind, size, mode, mtime, target) = match event {
        Event::Directory { path, mode, mtime } => (path, b'5', 0, mode.unwrap_or(0o755), mtime, ""),
        Event::File { path, file_bytes, mode, mtime } => {
            (path, b'0', *file_bytes, mode.unwrap_or(0o644), mtime, "")
        }
        Event::Symlink { path, target } => (path, b'2', 0, 0o777, &None, target.as_str()),
        Event::Data(_) => return Bytes::new(),
    };
    let slash = if path.is_empty() { "" } else { "/" };
    let end = if kind == b'5' { "/" } else { "" };
    let path = format!("{root}{slash}{path}{end}");
    let seconds = mtime.as_ref().map_or(0, |mtime: &Mtime| mtime.seconds);
    let mut records = Vec::new();
    let is_plain = |text: &str| text.is_ascii() && text.len() <= 100;
    if !is_plain(&path) {
        record("path", &path, &mut records);
    }
    if !is_plain(target) {
        record("linkpath", target, &mut records);
    }
    if size > OCTAL_MAX {
        record("size", &size.to_string(), &mut records);
    }
    let octal_seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds <= OCTAL_MAX);
    if octal_seconds.is_none() {
        record("mtime", &seconds.to_string(), &mut records);
    }
    let mut out = Vec::with_capacity(3 * RECORD);
    if !records.is_empty() {
        let len = u64::try_from(records.len()).expect("a length fits into 64 bits");
        out.extend_from_slice(&header_record("pax", b'x', len, 0o644, 0, ""));
        out.extend_from_slice(&records);
        out.resize(out.len().next_multiple_of(RECORD), 0);
    }
    let seconds = octal_seconds.unwrap_or(0);
    out.extend_from_slice(&header_record(&path, kind, size.min(OCTAL_MAX), mode, seconds, target));
    out.into()
}

/// A pax record, `length name=value\n`, where the length counts its own digits.
fn record(name: &str, value: &str, out: &mut Vec<u8>) {
    let rest = name.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(format!("{len} {name}={value}\n").as_bytes());
}

fn header_record(path: &str, kind: u8, size: u64, mode: u32, seconds: u64, target: &str) -> [u8; RECORD] {
    let mut out = [0; RECORD];
    let mut put = |at: usize, field: usize, text: &str| {
        let len = text.len().min(field);
        out[at..at + len].copy_from_slice(&text.as_bytes()[..len]);
    };
    put(0, 100, &path.replace(|c: char| !c.is_ascii(), "_"));
    put(100, 8, &format!("{:07o}", mode & 0o7777));
    put(108, 8, "0000000");
    put(116, 8, "0000000");
    put(124, 12, &format!("{size:011o}"));
    put(136, 12, &format!("{seconds:011o}"));
    // The sum is taken with blanks in its own place.
    put(148, 8, "        ");
    put(157, 100, &target.replace(|c: char| !c.is_ascii(), "_"));
    put(257, 8, "ustar\x0000");
    out[156] = kind;
    let sum: u32 = out.iter().map(|byte| u32::from(*byte)).sum();
    out[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_itself() {
        for (value, expected) in [("x", "9 path=x\n"), ("xx", "11 path=xx\n"), ("", "8 path=\n")] {
            let mut out = Vec::new();
            record("path", value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        for len in 80..110 {
            let mut out = Vec::new();
            record("path", &"x".repeat(len), &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.split(' ').next().unwrap().parse::<usize>().unwrap(), text.len());
        }
    }

    #[test]
    fn headers_fill_whole_records() {
        let event =
            Event::File { path: "\u{105}/b".repeat(60), file_bytes: 1 << 40, mode: None, mtime: None };
        assert_eq!(entry("root", &event).len() % RECORD, 0);
        assert_eq!(padding(0).len(), 0);
        assert_eq!(padding(1).len(), 511);
        assert_eq!(padding(1024).len(), 0);
    }
}
