//! CAR, version 1 written and both versions read (<https://ipld.io/specs/transport/car/>).

use std::io::Read;

use bytes::Bytes;
use cid::Cid;
use ipld_core::ipld::Ipld;

use super::error::RpcError;

/// Bytes of a header at most.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a section at most: a block and its CID.
const SECTION_BYTES_MAX: u64 = 8 * 1024 * 1024 + 256;
/// What a file of version 2 begins with.
const PRAGMA: &[u8] = &[0xa1, 0x67, b'v', b'e', b'r', b's', b'i', b'o', b'n', 0x02];

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = (value & 0x7f).to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// The header of a CAR with one root.
pub(crate) fn header(root: &Cid) -> Result<Bytes, RpcError> {
    let map = Ipld::Map(
        [("roots".to_owned(), Ipld::List(vec![Ipld::Link(*root)])), ("version".to_owned(), Ipld::Integer(1))]
            .into(),
    );
    let map = super::ipld::encode(hpips_types::content::DAG_CBOR, &map)?;
    let mut out = Vec::new();
    put_varint(u64::try_from(map.len()).unwrap_or(u64::MAX), &mut out);
    out.extend_from_slice(&map);
    Ok(out.into())
}

/// A block as it stands in a CAR.
pub(crate) fn section(cid: &Cid, block: &Bytes) -> Bytes {
    let cid = cid.to_bytes();
    let mut out = Vec::with_capacity(cid.len() + block.len() + 8);
    put_varint(u64::try_from(cid.len() + block.len()).unwrap_or(u64::MAX), &mut out);
    out.extend_from_slice(&cid);
    out.extend_from_slice(block);
    out.into()
}

/// Reads a CAR block by block. Blocks are not checked against their CIDs: whoever stores them does.
pub(crate) struct CarReader<R> {
    input: R,
    /// Bytes read so far, for error messages.
    at: u64,
    /// Bytes of the payload that are left, in version 2.
    left: Option<u64>,
    roots: Vec<Cid>,
}

impl<R: Read> CarReader<R> {
    /// Reads the header.
    pub(crate) fn new(input: R) -> Result<Self, RpcError> {
        let mut reader = Self { input, at: 0, left: None, roots: Vec::new() };
        let mut head = reader.head()?.ok_or_else(|| RpcError::new("no CAR: empty"))?;
        if head == PRAGMA {
            // Characteristics, then offset and size of the data and offset of the index, in bytes.
            let fixed = reader.exact(40)?;
            let number = |at: usize| u64::from_le_bytes(fixed[at..at + 8].try_into().expect("eight bytes"));
            let (offset, size) = (number(16), number(24));
            let skip = offset.checked_sub(reader.at).filter(|skip| *skip <= 1 << 30);
            let mut skip = skip.ok_or_else(|| RpcError::new("malformed CAR: data before its header ends"))?;
            while skip > 0 {
                let step = skip.min(1 << 16);
                reader.exact(step)?;
                skip -= step;
            }
            reader.left = Some(size);
            head = reader.head()?.ok_or_else(|| RpcError::new("no CAR: empty"))?;
        }
        reader.roots = roots(&head)?;
        Ok(reader)
    }

    /// The roots that the header names.
    pub(crate) fn roots(&self) -> &[Cid] {
        &self.roots
    }

    fn head(&mut self) -> Result<Option<Bytes>, RpcError> {
        let Some(bytes) = self.varint()? else { return Ok(None) };
        if bytes == 0 || bytes > HEADER_BYTES_MAX {
            return Err(RpcError::new(format!("no CAR: a header of {bytes} bytes")));
        }
        self.exact(bytes).map(Some)
    }

    /// The next block.
    pub(crate) fn next_block(&mut self) -> Result<Option<(Cid, Bytes)>, RpcError> {
        if self.left == Some(0) {
            return Ok(None);
        }
        let Some(bytes) = self.varint()? else { return Ok(None) };
        if bytes == 0 || bytes > SECTION_BYTES_MAX {
            return Err(self.malformed(&format!("a section of {bytes} bytes")));
        }
        let section = self.exact(bytes)?;
        let mut rest = &section[..];
        let cid = Cid::read_bytes(&mut rest).map_err(|error| self.malformed(&error.to_string()))?;
        let block = section.slice(section.len() - rest.len()..);
        Ok(Some((cid, block)))
    }

    fn malformed(&self, what: &str) -> RpcError {
        RpcError::new(format!("malformed CAR before byte {}: {what}", self.at))
    }

    /// `None` when the input ends before it.
    fn varint(&mut self) -> Result<Option<u64>, RpcError> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let mut byte = [0];
            let count = loop {
                match self.input.read(&mut byte) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    result => break result?,
                }
            };
            if count == 0 {
                if shift == 0 {
                    return Ok(None);
                }
                return Err(self.truncated());
            }
            self.count(1)?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(Some(value));
            }
            shift += 7;
            if shift > 56 {
                return Err(self.malformed("a length of more than nine bytes"));
            }
        }
    }

    fn exact(&mut self, bytes: u64) -> Result<Bytes, RpcError> {
        let mut out = vec![0; usize::try_from(bytes).map_err(|_| self.truncated())?];
        self.input.read_exact(&mut out).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.truncated(),
            _ => RpcError::of(&error),
        })?;
        self.count(bytes)?;
        Ok(out.into())
    }

    fn count(&mut self, bytes: u64) -> Result<(), RpcError> {
        self.at += bytes;
        if let Some(left) = self.left {
            self.left =
                Some(left.checked_sub(bytes).ok_or_else(|| self.malformed("a section beyond the data"))?);
        }
        Ok(())
    }

    fn truncated(&self) -> RpcError {
        RpcError::new(format!("the CAR ends too early, after byte {}", self.at))
    }
}

fn roots(header: &Bytes) -> Result<Vec<Cid>, RpcError> {
    let wrong = |what: &str| RpcError::new(format!("no CAR: {what}"));
    let Ipld::Map(map) = super::ipld::decode(hpips_types::content::DAG_CBOR, header)? else {
        return Err(wrong("the header is no map"));
    };
    if map.get("version") != Some(&Ipld::Integer(1)) {
        return Err(wrong("not of version 1 or 2"));
    }
    let Some(Ipld::List(roots)) = map.get("roots") else { return Err(wrong("no roots")) };
    roots
        .iter()
        .map(|root| if let Ipld::Link(cid) = root { Ok(*cid) } else { Err(wrong("a root is no link")) })
        .collect()
}

#[cfg(test)]
mod tests {
    use hpips_types::content::cid_v1;

    use super::*;

    fn car() -> Vec<u8> {
        let block = Bytes::from_static(b"hello");
        let cid = cid_v1(hpips_types::content::RAW, &block);
        [header(&cid).unwrap(), section(&cid, &block)].concat()
    }

    fn read(bytes: &[u8]) -> Result<Vec<(Cid, Bytes)>, RpcError> {
        let mut reader = CarReader::new(bytes)?;
        assert_eq!(reader.roots().len(), 1);
        let mut all = Vec::new();
        while let Some(block) = reader.next_block()? {
            all.push(block);
        }
        Ok(all)
    }

    #[test]
    fn what_is_written_is_read_and_cuts_are_told() {
        let car = car();
        assert_eq!(read(&car).unwrap()[0].1, Bytes::from_static(b"hello"));
        let start = header(&read(&car).unwrap()[0].0).unwrap().len();
        for len in 0..car.len() {
            match read(&car[..len]) {
                Ok(blocks) => assert!(blocks.is_empty() && len == start, "{len}"),
                Err(error) => assert!(error.message().contains("CAR"), "{error}"),
            }
        }
    }

    #[test]
    fn version_2_is_read_up_to_the_end_of_its_data() {
        let car = car();
        let mut v2 = vec![10];
        v2.extend_from_slice(PRAGMA);
        v2.extend_from_slice(&[0; 16]);
        for number in [51 + 7, u64::try_from(car.len()).unwrap(), 0] {
            v2.extend_from_slice(&number.to_le_bytes());
        }
        v2.extend_from_slice(&[0; 7]);
        v2.extend_from_slice(&car);
        v2.extend_from_slice(b"an index");
        assert_eq!(read(&v2).unwrap().len(), 1);
    }

    #[test]
    fn lengths_without_end_are_refused() {
        for bad in [&[0xff; 40][..], &[0x80, 0x80, 0x80, 0x80, 0x7f], b"hello world, no car", &[0]] {
            assert!(read(bad).is_err());
        }
    }
}
