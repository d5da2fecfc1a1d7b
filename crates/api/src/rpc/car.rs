//! CARs of uploads.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use cid::Cid;
use hpips_dag::car::{Decoder, Item};

use super::error::RpcError;

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 16;

/// Reads a CAR block by block. Blocks are not checked against their CIDs: whoever stores them does.
pub(crate) struct CarReader<R> {
    input: R,
    /// Read and not yet taken.
    buffer: BytesMut,
    decoder: Decoder,
    roots: Vec<Cid>,
}

impl<R: Read> CarReader<R> {
    /// Reads the header.
    pub(crate) fn new(input: R) -> Result<Self, RpcError> {
        let mut reader = Self { input, buffer: BytesMut::new(), decoder: Decoder::new(), roots: Vec::new() };
        if let Some(Item::Header { roots }) = reader.item()? {
            reader.roots = roots;
        }
        Ok(reader)
    }

    /// The roots that the header names.
    pub(crate) fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// The next block.
    pub(crate) fn next_block(&mut self) -> Result<Option<(Cid, Bytes)>, RpcError> {
        Ok(self.item()?.and_then(|item| match item {
            Item::Block { cid, bytes } => Some((cid, bytes)),
            Item::Header { .. } => None,
        }))
    }

    fn item(&mut self) -> Result<Option<Item>, RpcError> {
        loop {
            if let Some(item) = self.decoder.feed(&mut self.buffer)? {
                return Ok(Some(item));
            }
            let filled = self.buffer.len();
            let missing = self.decoder.needed().saturating_sub(filled);
            // A length that is only claimed makes no room: it grows with what has come.
            self.buffer.resize(filled + missing.clamp(READ_BYTES, filled.max(READ_BYTES)), 0);
            let count = self.input.read(&mut self.buffer[filled..]);
            let count = match count {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(0),
                Ok(0) => {
                    self.buffer.truncate(filled);
                    self.decoder.finish(&self.buffer)?;
                    return Ok(None);
                }
                other => other,
            };
            self.buffer.truncate(filled + count.as_ref().copied().unwrap_or(0));
            count?;
        }
    }
}

#[cfg(test)]
mod tests {
    use hpips_dag::car::{header, section};
    use hpips_types::content::{RAW, cid_v1};

    use super::*;

    /// Gives seven bytes at once, and is interrupted in between.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            let count = out.len().min(7);
            self.0.read(&mut out[..count])
        }
    }

    fn read(input: impl Read) -> Result<Vec<(Cid, Bytes)>, RpcError> {
        let mut reader = CarReader::new(input)?;
        assert_eq!(reader.roots().len(), 1);
        std::iter::from_fn(|| reader.next_block().transpose()).collect()
    }

    #[test]
    fn what_is_written_is_read_and_cuts_are_told() {
        let blocks: Vec<(Cid, Bytes)> = [Bytes::from_static(b"hello"), Bytes::from(vec![7; 300_000])]
            .map(|block| (cid_v1(RAW, &block), block))
            .to_vec();
        let mut car = header(&[blocks[0].0]).to_vec();
        blocks.iter().for_each(|(cid, block)| car.extend_from_slice(&section(cid, block)));
        assert_eq!(read(&car[..]).unwrap(), blocks);
        assert_eq!(read(Slow(&car, false)).unwrap(), blocks);
        for len in [0, 1, 20, car.len() - 1] {
            let error = read(&car[..len]).unwrap_err();
            assert!(error.message().contains("CAR"), "{error}");
        }
    }
}
