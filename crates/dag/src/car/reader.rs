//! CARs read, of both versions.

use bytes::{Buf, Bytes, BytesMut};
use cid::Cid;
use hpips_types::content::DAG_CBOR;
use ipld_core::ipld::Ipld;

use crate::codec::{DECODE_BYTES_MAX, DecodeError};
use crate::document::decode;

/// Bytes of a header at most.
pub const HEADER_BYTES_MAX: usize = 1 << 20;
/// Bytes of a section at most: a block and its CID.
pub const SECTION_BYTES_MAX: usize = DECODE_BYTES_MAX + 256;
/// Bytes of the pragma, and of the fixed header after it.
const PRAGMA: &[u8] = b"\xa1\x67version\x02";
const FIXED_BYTES: usize = 40;
/// Bytes that may lie between the header of version 2 and its data.
const PADDING_BYTES_MAX: u64 = 1 << 30;
/// Bytes of a varint at most.
const VARINT_BYTES_MAX: usize = 9;

/// Why bytes are not a CAR. `at` counts from the beginning of the file.
#[derive(Debug, thiserror::Error)]
pub enum CarError {
    /// Nothing at all.
    #[error("no CAR: empty")]
    Empty,
    /// A length that no header has.
    #[error("no CAR: a header of {bytes} bytes")]
    HeaderBytes {
        /// The length.
        bytes: u64,
    },
    /// The header is no dag-cbor.
    #[error("no CAR: the header cannot be read")]
    HeaderBlock(#[source] DecodeError),
    /// The header says something else.
    #[error("no CAR: {0}")]
    Header(&'static str),
    /// Version 2 whose data would overlap its header, or lies absurdly far behind it.
    #[error("malformed CAR: data before its header ends")]
    Offset,
    /// A length that does not end.
    #[error("malformed CAR before byte {at}: a length of more than nine bytes")]
    Length {
        /// Where it was noticed.
        at: u64,
    },
    /// A length that no block and its CID have.
    #[error("malformed CAR before byte {at}: a section of {bytes} bytes")]
    SectionBytes {
        /// Where it was noticed.
        at: u64,
        /// The length.
        bytes: u64,
    },
    /// Version 2 says that its data ends earlier.
    #[error("malformed CAR before byte {at}: a section beyond the data")]
    Beyond {
        /// Where it was noticed.
        at: u64,
    },
    /// A section that does not begin with a CID.
    #[error("malformed CAR before byte {at}")]
    Cid {
        /// Where it was noticed.
        at: u64,
        /// Why not.
        #[source]
        source: cid::Error,
    },
    /// The file was cut.
    #[error("the CAR ends too early, after byte {at}")]
    Truncated {
        /// Bytes that were whole.
        at: u64,
    },
}

/// What a CAR holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// First of all.
    Header {
        /// What the file is about; need not be among its blocks.
        roots: Vec<Cid>,
    },
    /// A block.
    Block {
        /// Its CID, unchecked.
        cid: Cid,
        /// Its bytes.
        bytes: Bytes,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the header, or the pragma in its place.
    Start,
    /// After the pragma.
    Fixed,
    /// Before the data of version 2, so many bytes.
    Padding {
        left: u64,
        data_bytes: u64,
    },
    /// Before the header in the data of version 2.
    Header,
    Sections,
    /// After the data of version 2: an index, which is not read.
    Rest,
}

/// Reads a CAR from bytes as they come. After an error it is not used again.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Bytes taken.
    at: u64,
    /// Bytes of the data that are left, in version 2.
    left: Option<u64>,
    /// Bytes of the section whose length was read.
    section: Option<usize>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the beginning of a file.
    pub fn new() -> Self {
        Self { state: State::Start, at: 0, left: None, section: None }
    }

    /// Takes one item off the front of `input`; `None` when more bytes are needed. What is taken is not copied.
    ///
    /// # Errors
    /// [`CarError`] by variant.
    pub fn feed(&mut self, input: &mut BytesMut) -> Result<Option<Item>, CarError> {
        loop {
            match self.state {
                State::Start => {
                    let Some(header) = self.header(input)? else { return Ok(None) };
                    if header != PRAGMA {
                        return self.begin(&header).map(Some);
                    }
                    self.state = State::Fixed;
                }
                State::Fixed => {
                    if input.len() < FIXED_BYTES {
                        return Ok(None);
                    }
                    let mut fixed = self.take(FIXED_BYTES, input)?;
                    // Characteristics, of which none matters here; offset and size of the data, offset of the index.
                    fixed.advance(16);
                    let (offset, data_bytes) = (fixed.get_u64_le(), fixed.get_u64_le());
                    let left = offset.checked_sub(self.at).filter(|left| *left <= PADDING_BYTES_MAX);
                    self.state = State::Padding { left: left.ok_or(CarError::Offset)?, data_bytes };
                }
                State::Padding { left: 0, data_bytes } => {
                    self.left = Some(data_bytes);
                    self.state = State::Header;
                }
                State::Padding { left, data_bytes } => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    if count == 0 {
                        return Ok(None);
                    }
                    self.take(count, input)?;
                    self.state = State::Padding { left: left - crate::wire::count(count), data_bytes };
                }
                State::Header => {
                    let Some(header) = self.header(input)? else { return Ok(None) };
                    return self.begin(&header).map(Some);
                }
                State::Sections if self.left == Some(0) && self.section.is_none() => self.state = State::Rest,
                State::Sections => return self.block(input),
                State::Rest => {
                    input.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// Tells that no more bytes come; `rest` is what [`Decoder::feed`] left.
    ///
    /// # Errors
    /// [`CarError::Empty`], and [`CarError::Truncated`] when the file ends within something.
    pub fn finish(&self, rest: &[u8]) -> Result<(), CarError> {
        match self.state {
            State::Start if self.at == 0 && rest.is_empty() => Err(CarError::Empty),
            State::Sections
                if rest.is_empty() && self.section.is_none() && self.left.is_none_or(|left| left == 0) =>
            {
                Ok(())
            }
            State::Rest => Ok(()),
            _ => Err(CarError::Truncated { at: self.at }),
        }
    }

    /// Bytes that `input` must hold at least before the next item can be taken, as far as that is known.
    pub fn needed(&self) -> usize {
        self.section.unwrap_or(1)
    }

    /// The bytes of a header, `None` while they are not all there.
    fn header(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, CarError> {
        if !self.length(input, HEADER_BYTES_MAX, |bytes, _| CarError::HeaderBytes { bytes })? {
            return Ok(None);
        }
        self.whole(input)
    }

    fn begin(&mut self, header: &Bytes) -> Result<Item, CarError> {
        self.state = State::Sections;
        Ok(Item::Header { roots: roots(header)? })
    }

    fn block(&mut self, input: &mut BytesMut) -> Result<Option<Item>, CarError> {
        if !self.length(input, SECTION_BYTES_MAX, |bytes, at| CarError::SectionBytes { at, bytes })? {
            return Ok(None);
        }
        let Some(section) = self.whole(input)? else { return Ok(None) };
        let mut rest = &section[..];
        let cid = Cid::read_bytes(&mut rest).map_err(|source| CarError::Cid { at: self.at, source })?;
        let bytes = section.slice(section.len() - rest.len()..);
        Ok(Some(Item::Block { cid, bytes }))
    }

    /// Reads a length if none was read; whether there is one now.
    fn length(
        &mut self,
        input: &mut BytesMut,
        max: usize,
        wrong: impl FnOnce(u64, u64) -> CarError,
    ) -> Result<bool, CarError> {
        if self.section.is_some() {
            return Ok(true);
        }
        let Some(len) = input.iter().take(VARINT_BYTES_MAX).position(|byte| byte & 0x80 == 0) else {
            let is_endless = input.len() >= VARINT_BYTES_MAX;
            let at = self.at + crate::wire::count(VARINT_BYTES_MAX);
            return if is_endless { Err(CarError::Length { at }) } else { Ok(false) };
        };
        let varint = self.take(len + 1, input)?;
        let value = varint.iter().rev().fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
        let bytes = usize::try_from(value).ok().filter(|bytes| (1..=max).contains(bytes));
        self.section = Some(bytes.ok_or_else(|| wrong(value, self.at))?);
        if self.left.is_some_and(|left| value > left) {
            return Err(CarError::Beyond { at: self.at });
        }
        Ok(true)
    }

    /// The bytes whose length was read, `None` while they are not all there.
    fn whole(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, CarError> {
        match self.section {
            Some(bytes) if bytes <= input.len() => {
                self.section = None;
                self.take(bytes, input).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn take(&mut self, bytes: usize, input: &mut BytesMut) -> Result<Bytes, CarError> {
        let count = crate::wire::count(bytes);
        self.at += count;
        if let Some(left) = self.left {
            self.left = Some(left.checked_sub(count).ok_or(CarError::Beyond { at: self.at })?);
        }
        Ok(input.split_to(bytes).freeze())
    }
}

fn roots(header: &Bytes) -> Result<Vec<Cid>, CarError> {
    let Ipld::Map(map) = decode(DAG_CBOR, header).map_err(CarError::HeaderBlock)? else {
        return Err(CarError::Header("the header is no map"));
    };
    if map.get("version") != Some(&Ipld::Integer(1)) {
        return Err(CarError::Header("not of version 1 or 2"));
    }
    let Some(Ipld::List(roots)) = map.get("roots") else { return Err(CarError::Header("no roots")) };
    let links = roots.iter().map(|root| match root {
        Ipld::Link(cid) => Ok(*cid),
        _ => Err(CarError::Header("a root is no link")),
    });
    links.collect()
}
