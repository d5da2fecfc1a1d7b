//! Pack files: records one after the other, a footer at the end of full ones (docs/formats/store.md, section 2).

use std::io;

use hpips_types::Cid;
use hpips_types::content::verify_block;

use crate::layer::LayerFile;
use crate::store::BLOCK_BYTES_MAX;

/// First bytes of a pack.
const MAGIC: &[u8; 8] = b"HPIPSPK1";
/// Last bytes of a full pack.
const FOOTER_MAGIC: &[u8; 8] = b"HPIPSFT1";
/// Bytes before the first record.
pub(crate) const HEADER_BYTES: u64 = 20;
/// In place of a record's length: here the footer begins.
const FOOTER_MARK: u32 = u32::MAX;
/// Bytes of a record beside the CID and the block: length, length of the CID, CRC.
const FRAME_BYTES: usize = 9;
/// Longest CID in a record, bytes: four varints and a digest of 64 bytes stay below.
const CID_BYTES_MAX: usize = 104;

/// A file's name in the folder of packs.
pub(crate) fn file_name(pack: u64) -> String {
    format!("{pack:08}.pack")
}

/// The pack's number, for names that [`file_name`] made.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let pack = name.strip_suffix(".pack")?.parse().ok()?;
    (file_name(pack) == name).then_some(pack)
}

/// The beginning of a pack: magic, number, CRC32C of both.
pub(crate) fn header(pack: u64) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&pack.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out
}

/// Whether a file begins as the pack of this number.
pub(crate) fn has_header(file: &dyn LayerFile, pack: u64) -> io::Result<bool> {
    let expected = header(pack);
    let mut found = vec![0; expected.len()];
    if file.len()? < HEADER_BYTES {
        return Ok(false);
    }
    file.read_exact_at(&mut found, 0)?;
    Ok(found == expected)
}

/// Bytes of a record.
pub(crate) fn record_bytes(cid: &Cid, block_bytes: u32) -> u64 {
    let frame = u64::try_from(FRAME_BYTES + cid.encoded_len()).expect("a small number");
    frame + u64::from(block_bytes)
}

/// Appends a record.
pub(crate) fn put_record(cid: &Cid, block: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let cid = cid.to_bytes();
    out.extend_from_slice(&u32::try_from(block.len()).expect("blocks are bounded before").to_le_bytes());
    out.push(u8::try_from(cid.len()).expect("CIDs have at most 104 bytes"));
    out.extend_from_slice(&cid);
    out.extend_from_slice(block);
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Takes the block out of a record's bytes; `None` when they are damaged or another block's.
pub(crate) fn open_record(record: &[u8], cid: &Cid) -> Option<core::ops::Range<usize>> {
    let (content, crc) = record.split_last_chunk::<4>()?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let head = 5 + cid.encoded_len();
    let len = u32::from_le_bytes(*content.first_chunk::<4>()?);
    let is_ours =
        content.get(5..head)? == cid.to_bytes() && usize::try_from(len).ok()? == content.len() - head;
    is_ours.then_some(head..content.len())
}

/// The CID and the block in a record's bytes; `None` when they are damaged.
pub(crate) fn parse_record(record: &[u8]) -> Option<(Cid, core::ops::Range<usize>)> {
    let cid = record.get(5..5 + usize::from(*record.get(4)?))?;
    let cid = Cid::try_from(cid).ok()?;
    Some((cid, open_record(record, &cid)?))
}

/// A length or offset inside one pack as an index into memory.
pub(crate) fn index_of(bytes: u64) -> usize {
    usize::try_from(bytes).expect("64 bits")
}

/// Appends a record's entry to the content of a footer.
pub(crate) fn put_footer_entry(cid: &Cid, block_bytes: u32, entries: &mut Vec<u8>) {
    let cid = cid.to_bytes();
    entries.push(u8::try_from(cid.len()).expect("CIDs have at most 104 bytes"));
    entries.extend_from_slice(&cid);
    entries.extend_from_slice(&block_bytes.to_le_bytes());
}

/// The footer of a pack whose records end at `end`: mark, length and entries, CRC32C of these, where it
/// begins, magic.
pub(crate) fn footer(entries: &[u8], end: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() + 28);
    out.extend_from_slice(&FOOTER_MARK.to_le_bytes());
    out.extend_from_slice(&u64::try_from(entries.len()).expect("64 bits").to_le_bytes());
    out.extend_from_slice(entries);
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out.extend_from_slice(&end.to_le_bytes());
    out.extend_from_slice(FOOTER_MAGIC);
    out
}

/// A record found in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) cid: Cid,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// End of what is sound: of the last record, or of the footer.
    pub(crate) end: u64,
    /// What follows.
    pub(crate) tail: Tail,
    /// Whether something between sound records is none: nothing more is appended to such a pack.
    pub(crate) has_gap: bool,
}

/// What follows the last sound record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// A sound footer, which ends the pack.
    Footer,
    /// Nothing that was ever acknowledged and can still be read.
    Torn,
    /// Nobody knows: the search was given up.
    Unknown,
}

/// Visits the sound records of a pack from an offset on, up to its footer or the last of them. Bytes that are no record do
/// not hide the records behind them.
pub(crate) fn scan<E: From<io::Error>>(
    file: &dyn LayerFile,
    from: u64,
    mut visit: impl FnMut(Found) -> Result<(), E>,
) -> Result<Scanned, E> {
    let len = file.len()?;
    let mut at = from;
    let mut record = Vec::new();
    let (mut end, mut has_gap) = (from, false);
    let mut search = Search::new(file, len);
    loop {
        match read_record(file, at, len, &mut record)? {
            Read::Footer => return Ok(Scanned { end: len, tail: Tail::Footer, has_gap }),
            Read::Record(found) => {
                has_gap |= found.offset > end;
                visit(found)?;
                at += record_bytes(&found.cid, found.bytes);
                end = at;
            }
            // Its length may be what rotted: only a sound record tells where the next one begins.
            Read::Nothing => match search.next(at + 1)? {
                Next::At(next) => at = next,
                Next::Nothing => return Ok(Scanned { end, tail: Tail::Torn, has_gap }),
                Next::GivenUp => return Ok(Scanned { end, tail: Tail::Unknown, has_gap }),
            },
        }
    }
}

/// Bytes of possible records that are read while a pack is searched: a few seconds. Only content that was made to look
/// like records everywhere comes near it.
const SEARCH_BYTES_MAX: u64 = 4 << 30;
/// Bytes that are searched at once.
const SEARCH_WINDOW_BYTES: usize = 1 << 20;

/// Looks for the next sound record behind a damaged one.
pub(crate) struct Search<'a> {
    file: &'a dyn LayerFile,
    len: u64,
    /// Where a sound footer begins, once it was looked for.
    footer: Option<Option<u64>>,
    budget: u64,
}

pub(crate) enum Next {
    /// A sound record or footer begins here.
    At(u64),
    Nothing,
    GivenUp,
}

impl<'a> Search<'a> {
    pub(crate) fn new(file: &'a dyn LayerFile, len: u64) -> Self {
        Self { file, len, footer: None, budget: SEARCH_BYTES_MAX }
    }

    /// From an offset on.
    pub(crate) fn next(&mut self, mut from: u64) -> io::Result<Next> {
        let footer = match self.footer {
            Some(footer) => footer,
            None => *self.footer.insert(footer_start(self.file, self.len)?),
        };
        let footer = footer.filter(|footer| *footer >= from);
        let end = footer.unwrap_or(self.len);
        let head_max = u64::try_from(5 + CID_BYTES_MAX).expect("a small number");
        let mut record = Vec::new();
        while from < end {
            let window = u64::try_from(SEARCH_WINDOW_BYTES).expect("64 bits").min(end - from);
            let bytes = self.file.read_vec_at(index_of((window + head_max).min(end - from)), from)?;
            for at in 0..index_of(window) {
                let Some(total) = may_begin_record(&bytes[at..]) else { continue };
                let start = from + u64::try_from(at).expect("64 bits");
                if total > end - start {
                    continue;
                }
                let Some(budget) = self.budget.checked_sub(total) else { return Ok(Next::GivenUp) };
                self.budget = budget;
                let Read::Record(found) = read_record(self.file, start, self.len, &mut record)? else {
                    continue;
                };
                let range = open_record(&record, &found.cid).unwrap_or_default();
                // A block can hold what looks like records: only what is that block can do no harm.
                if verify_block(&found.cid, &record[range]).is_ok() {
                    return Ok(Next::At(start));
                }
            }
            from += window;
        }
        Ok(footer.map_or(Next::Nothing, Next::At))
    }
}

/// Length of the record that may begin here: a cheap look, at whole CIDs only.
fn may_begin_record(bytes: &[u8]) -> Option<u64> {
    let (head, rest) = bytes.split_first_chunk::<5>()?;
    let block_bytes = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if usize::try_from(block_bytes).ok()? > BLOCK_BYTES_MAX || !matches!(rest.first(), Some(0x01 | 0x12)) {
        return None;
    }
    let cid_bytes = usize::from(head[4]);
    if cid_bytes > CID_BYTES_MAX {
        return None;
    }
    let cid = Cid::try_from(rest.get(..cid_bytes)?).ok().filter(|cid| cid.encoded_len() == cid_bytes)?;
    Some(record_bytes(&cid, block_bytes))
}

enum Read {
    Record(Found),
    Footer,
    /// Neither, or one that is damaged.
    Nothing,
}

/// Reads what stands at `at`.
fn read_record(file: &dyn LayerFile, at: u64, len: u64, record: &mut Vec<u8>) -> io::Result<Read> {
    let mut head = [0; 5];
    if len.saturating_sub(at) < 5 {
        return Ok(Read::Nothing);
    }
    file.read_exact_at(&mut head, at)?;
    let block_bytes = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if block_bytes == FOOTER_MARK {
        return Ok(read_footer(file, at, len)?.map_or(Read::Nothing, |_| Read::Footer));
    }
    let cid_bytes = usize::from(head[4]);
    let Ok(data_bytes) = usize::try_from(block_bytes) else { return Ok(Read::Nothing) };
    if data_bytes > BLOCK_BYTES_MAX || cid_bytes == 0 || cid_bytes > CID_BYTES_MAX {
        return Ok(Read::Nothing);
    }
    let total = FRAME_BYTES + cid_bytes + data_bytes;
    let total_bytes = u64::try_from(total).expect("64 bits");
    if len - at < total_bytes {
        return Ok(Read::Nothing);
    }
    record.resize(total, 0);
    file.read_exact_at(record, at)?;
    match Cid::try_from(&record[5..5 + cid_bytes]) {
        Ok(cid) if open_record(record, &cid).is_some() => {
            Ok(Read::Record(Found { cid, offset: at, bytes: block_bytes }))
        }
        _ => Ok(Read::Nothing),
    }
}

/// The entries of the footer that begins at `at` and ends the file.
fn read_footer(file: &dyn LayerFile, at: u64, len: u64) -> io::Result<Option<Vec<u8>>> {
    let Ok(total) = usize::try_from(len.saturating_sub(at)) else { return Ok(None) };
    // A footer is smaller than its pack; the bound keeps a damaged mark from reading far more than that.
    if !(32..=1 << 28).contains(&total) {
        return Ok(None);
    }
    let mut bytes = vec![0; total];
    file.read_exact_at(&mut bytes, at)?;
    let is_sound = || {
        let (content, tail) = bytes.split_at_checked(total - 20)?;
        let entries = content.get(12..)?;
        (footer(entries, at) == bytes && tail.ends_with(FOOTER_MAGIC)).then(|| entries.to_vec())
    };
    Ok(is_sound())
}

/// The records of a full pack by its footer, without reading them; `None` when there is no sound footer, or none that
/// names every byte of the pack.
pub(crate) fn read_index(file: &dyn LayerFile) -> io::Result<Option<Vec<Found>>> {
    let len = file.len()?;
    let Some(start) = claimed_footer(file, len)? else { return Ok(None) };
    let Some(entries) = read_footer(file, start, len)? else { return Ok(None) };
    Ok(parse_entries(&entries, start))
}

fn footer_start(file: &dyn LayerFile, len: u64) -> io::Result<Option<u64>> {
    let Some(start) = claimed_footer(file, len)? else { return Ok(None) };
    Ok(read_footer(file, start, len)?.map(|_| start))
}

/// Where the footer begins, by the last bytes of a pack.
fn claimed_footer(file: &dyn LayerFile, len: u64) -> io::Result<Option<u64>> {
    if len < HEADER_BYTES + 32 {
        return Ok(None);
    }
    let mut tail = [0; 16];
    file.read_exact_at(&mut tail, len - 16)?;
    let start = u64::from_le_bytes(*tail.first_chunk().expect("sixteen bytes"));
    Ok((tail.ends_with(FOOTER_MAGIC) && (HEADER_BYTES..len).contains(&start)).then_some(start))
}

/// Whether a sound record stands where a footer says.
pub(crate) fn is_sound(file: &dyn LayerFile, found: &Found) -> io::Result<bool> {
    let mut record = Vec::new();
    let read = read_record(file, found.offset, file.len()?, &mut record)?;
    Ok(matches!(read, Read::Record(read) if read == *found))
}

/// Offsets follow from the lengths, because records stand one after the other from the header to `end`.
fn parse_entries(mut rest: &[u8], end: u64) -> Option<Vec<Found>> {
    let mut found = Vec::new();
    let mut offset = HEADER_BYTES;
    while let Some((cid_bytes, after)) = rest.split_first() {
        let (cid, after) = after.split_at_checked(usize::from(*cid_bytes))?;
        let (bytes, after) = after.split_first_chunk::<4>()?;
        let cid = Cid::try_from(cid).ok().filter(|parsed| parsed.encoded_len() == cid.len())?;
        let bytes = u32::from_le_bytes(*bytes);
        found.push(Found { cid, offset, bytes });
        offset = offset.checked_add(record_bytes(&cid, bytes))?;
        rest = after;
    }
    (offset == end).then_some(found)
}
