//! Files and directories as a tar stream (POSIX.1-2001, pax).

use bytes::Bytes;
use cid::Cid;
use hpips_client::BlockGetter;
use hpips_client::export::walk;
use hpips_dag::{Event, Mtime, Tree};

use super::error::RpcError;

/// Bytes of a tar record.
const RECORD: usize = 512;
/// Largest number that the eleven octal digits of a header hold.
const OCTAL_MAX: u64 = 0o777_7777_7777;

/// Hands out an archive of what stands at `root`, named `name`.
pub(crate) fn write(
    root: Cid,
    name: &str,
    blocks: &dyn BlockGetter,
    sink: &mut dyn FnMut(Bytes) -> Result<(), RpcError>,
) -> Result<(), RpcError> {
    // Bytes of the open file so far.
    let mut written = 0usize;
    walk::<_, RpcError>(Tree::new(root), blocks, |event| {
        if let Event::Data(data) = event {
            written = (written + data.len()) % RECORD;
            return sink(data);
        }
        sink(padding(std::mem::take(&mut written)))?;
        sink(entry(name, &event))
    })?;
    sink(padding(written))?;
    sink(Bytes::from_static(&[0; 2 * RECORD]))
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
    let path = format!("{root}{slash}{path}");
    let seconds = mtime.as_ref().map_or(0, |mtime: &Mtime| mtime.seconds);
    let octal_seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds <= OCTAL_MAX);
    let is_plain = |text: &str| text.is_ascii() && text.len() <= 100;
    let mut records = Vec::new();
    if !is_plain(&path) {
        record("path", &path, &mut records);
    }
    if !is_plain(target) {
        record("linkpath", target, &mut records);
    }
    if size > OCTAL_MAX {
        record("size", &size.to_string(), &mut records);
    }
    if octal_seconds.is_none() {
        record("mtime", &seconds.to_string(), &mut records);
    }
    let mut out = Vec::with_capacity(3 * RECORD);
    if !records.is_empty() {
        let len = u64::try_from(records.len()).expect("a length fits into 64 bits");
        out.extend_from_slice(&header("pax", b'x', len, 0o644, 0, ""));
        out.extend_from_slice(&records);
        out.resize(out.len().next_multiple_of(RECORD), 0);
    }
    let seconds = octal_seconds.unwrap_or(0);
    out.extend_from_slice(&header(&path, kind, size.min(OCTAL_MAX), mode, seconds, target));
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

fn header(path: &str, kind: u8, size: u64, mode: u32, seconds: u64, target: &str) -> [u8; RECORD] {
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
    fn a_record_counts_itself_and_headers_fill_records() {
        for len in 0..110 {
            let mut out = Vec::new();
            record("path", &"x".repeat(len), &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.split(' ').next().unwrap().parse::<usize>().unwrap(), text.len());
        }
        let event =
            Event::File { path: "\u{105}/b".repeat(60), file_bytes: 1 << 40, mode: None, mtime: None };
        assert_eq!(entry("root", &event).len() % RECORD, 0);
        assert_eq!([padding(0).len(), padding(1).len(), padding(1024).len()], [0, 511, 0]);
    }
}
