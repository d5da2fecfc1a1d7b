//! Files and directories as one stream: a tar (POSIX.1-2001, pax), gzip (RFC 1952) around it or around one file.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hpips_dag::{DriveError, Event, FileReader, Mtime, Tree};
use hpips_types::Cid;

use crate::blocks::{BlockGetter, GetBlockError};
use crate::walk::walk;

/// Bytes of a tar record.
const RECORD: usize = 512;
/// Largest number that the eleven octal digits of a header hold.
const OCTAL_MAX: u64 = 0o777_7777_7777;
/// Compressed bytes that are gathered before they are handed out.
const GATHER_BYTES: usize = 64 * 1024;

/// How hard gzip works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GzipLevel(u8);

impl GzipLevel {
    /// From 0, which stores, and 1, the fastest, to 9, the smallest; `None` for others.
    pub fn new(level: u8) -> Option<Self> {
        (level <= 9).then_some(Self(level))
    }
}

impl Default for GzipLevel {
    /// What gzip itself takes.
    fn default() -> Self {
        Self(6)
    }
}

/// What the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// A tar archive.
    Tar,
    /// A compressed tar archive.
    GzipTar(GzipLevel),
    /// One compressed file; a directory is refused.
    Gzip(GzipLevel),
}

/// Hands out what stands at `root` part by part, in an archive under `name`. The same DAG gives the same bytes: what has
/// no mode gets 0644 as a file and 0755 as a directory, what has no time that of 1970.
///
/// Memory: what [`walk`] reads ahead. Entries' names are safe to unpack; targets of links are not checked.
///
/// # Errors
/// As [`walk`], and what `sink` returns; the stream is worthless then.
pub fn pack<E: From<DriveError<GetBlockError>>>(
    root: Cid,
    name: &str,
    blocks: &dyn BlockGetter,
    packing: Packing,
    sink: &mut dyn FnMut(Bytes) -> Result<(), E>,
) -> Result<(), E> {
    let mut out = match packing {
        Packing::Tar => Out { gzip: None, sink },
        Packing::GzipTar(level) | Packing::Gzip(level) => {
            Out { gzip: Some(GzEncoder::new(Vec::new(), Compression::new(level.0.into()))), sink }
        }
    };
    if matches!(packing, Packing::Gzip(_)) {
        walk(FileReader::new(root, ..), blocks, |part| out.put(part))?;
        return out.finish();
    }
    // Bytes of the open file in its last record.
    let mut written = 0;
    walk(Tree::new(root), blocks, |event| {
        if let Event::Data(data) = event {
            written = (written + data.len()) % RECORD;
            return out.put(data);
        }
        out.put(padding(std::mem::take(&mut written)))?;
        out.put(entry(name, &event))
    })?;
    out.put(padding(written))?;
    out.put(Bytes::from_static(&[0; 2 * RECORD]))?;
    out.finish()
}

struct Out<'a, E> {
    gzip: Option<GzEncoder<Vec<u8>>>,
    sink: &'a mut dyn FnMut(Bytes) -> Result<(), E>,
}

impl<E> Out<'_, E> {
    fn put(&mut self, part: Bytes) -> Result<(), E> {
        if part.is_empty() {
            return Ok(());
        }
        let Some(gzip) = &mut self.gzip else { return (self.sink)(part) };
        gzip.write_all(&part).expect("a vector takes everything");
        if gzip.get_ref().len() < GATHER_BYTES {
            return Ok(());
        }
        (self.sink)(std::mem::take(gzip.get_mut()).into())
    }

    fn finish(self) -> Result<(), E> {
        let Some(gzip) = self.gzip else { return Ok(()) };
        (self.sink)(gzip.finish().expect("a vector takes everything").into())
    }
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
    let nanoseconds = mtime.as_ref().map_or(0, |mtime| mtime.nanoseconds);
    if octal_seconds.is_none() || nanoseconds > 0 {
        record("mtime", &decimal(seconds, nanoseconds), &mut records);
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

/// A time as pax writes it: a decimal number, so that before 1970 the nanoseconds, which count upwards, are taken off.
fn decimal(seconds: i64, nanoseconds: u32) -> String {
    match (seconds, nanoseconds) {
        (_, 0) => seconds.to_string(),
        (0.., _) => format!("{seconds}.{nanoseconds:09}"),
        _ => format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds),
    }
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
    use std::collections::HashMap;
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use hpips_dag::{DirectoryBuilder, FileBuilder, Metadata, Profile};

    use super::*;
    use crate::read::ReadError;

    struct Map(HashMap<Cid, Bytes>);

    impl BlockGetter for Map {
        fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
            self.0.get(cid).cloned().ok_or(GetBlockError::NotFound { cid: *cid, peers: None })
        }
    }

    /// A directory with one file of 3,000,001 bytes under a long name, and that file.
    fn sample() -> (Cid, Cid, String, Map) {
        let mut blocks = Vec::new();
        let kept =
            Metadata { mode: Some(0o640), mtime: Some(Mtime { seconds: -2, nanoseconds: 500_000_000 }) };
        let mut file = FileBuilder::new(Profile::default()).with(kept);
        file.push(&vec![5; 3_000_001], &mut blocks);
        let file = file.finish(&mut blocks);
        let name = "\u{e4}".repeat(60);
        let mut directory = DirectoryBuilder::new(Profile::default());
        directory.add(&name, file).unwrap();
        let (block, link) = hpips_dag::symlink(&Profile::default(), "elsewhere");
        blocks.push(block);
        directory.add("link", link).unwrap();
        let root = directory.finish(&mut blocks).unwrap();
        (root.cid, file.cid, name, Map(blocks.into_iter().map(|block| (block.cid, block.bytes)).collect()))
    }

    fn packed(root: Cid, map: &Map, packing: Packing) -> Result<Vec<u8>, ReadError> {
        let mut all = Vec::new();
        pack::<ReadError>(root, "sample", map, packing, &mut |part| {
            all.extend_from_slice(&part);
            Ok(())
        })?;
        Ok(all)
    }

    fn unzipped(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn gzip_holds_the_same() {
        let (root, file, _, map) = sample();
        let level = GzipLevel::new(1).unwrap();
        let tar = packed(root, &map, Packing::Tar).unwrap();
        assert_eq!(tar.len() % RECORD, 0);
        assert!(unzipped(&packed(root, &map, Packing::GzipTar(level)).unwrap()) == tar);
        assert!(unzipped(&packed(file, &map, Packing::Gzip(level)).unwrap()) == vec![5; 3_000_001]);
        assert!(packed(root, &map, Packing::Gzip(level)).is_err(), "a directory is no file");
        assert_eq!(GzipLevel::new(10), None);
    }

    #[test]
    fn tar_itself_unpacks_it() {
        let (root, _, name, map) = sample();
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("tar");
        let spawned =
            command.arg("-xC").arg(folder.path()).stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut tar) = spawned else { return };
        tar.stdin.take().unwrap().write_all(&packed(root, &map, Packing::Tar).unwrap()).unwrap();
        assert!(tar.wait().unwrap().success());
        let path = folder.path().join("sample").join(name);
        assert!(std::fs::read(&path).unwrap() == vec![5; 3_000_001]);
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let before = std::time::SystemTime::UNIX_EPOCH.duration_since(modified).unwrap();
        assert_eq!(before.as_millis(), 1500);
        let link = std::fs::read_link(folder.path().join("sample/link")).unwrap();
        assert_eq!(link.to_str(), Some("elsewhere"));
    }

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

    #[test]
    fn times_are_decimal_numbers() {
        for (seconds, nanoseconds, expected) in
            [(7, 0, "7"), (7, 5, "7.000000005"), (-2, 500_000_000, "-1.500000000"), (-1, 1, "-0.999999999")]
        {
            assert_eq!(decimal(seconds, nanoseconds), expected);
        }
    }
}
