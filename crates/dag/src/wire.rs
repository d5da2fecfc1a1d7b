//! Protobuf as far as dag-pb and UnixFS need it: varints and length-delimited fields.

use crate::codec::DecodeError;

/// Wire type of a varint.
pub(crate) const VARINT: u8 = 0;
/// Wire type of a length-delimited field.
pub(crate) const BYTES: u8 = 2;

/// Appends a varint.
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a varint field.
pub(crate) fn put_number(field: u8, value: u64, out: &mut Vec<u8>) {
    out.push(field << 3 | VARINT);
    put_varint(value, out);
}

/// Appends a length-delimited field.
pub(crate) fn put_bytes(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | BYTES);
    put_varint(count(bytes.len()), out);
    out.extend_from_slice(bytes);
}

/// Bytes that [`put_bytes`] writes for a value of this length.
pub(crate) fn bytes_field_len(len: usize) -> usize {
    1 + varint_len(count(len)) + len
}

/// Bytes of a varint.
pub(crate) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).expect("at most ten")
}

/// A length as the wire has it.
pub(crate) fn count(len: usize) -> u64 {
    u64::try_from(len).expect("usize has at most 64 bits")
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Varint.
    Number(u64),
    /// Four bytes, little-endian.
    Fixed32(u32),
    /// Eight bytes, which no field of ours has.
    Fixed64,
    /// Length-delimited: where it starts in the input, and the bytes.
    Bytes(usize, &'a [u8]),
}

/// Reads fields of one message in order.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.input.get(self.at).ok_or(DecodeError::Truncated)?;
            self.at += 1;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(DecodeError::Malformed("varint of more than 64 bits"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("varint of more than 64 bits"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(len).ok_or(DecodeError::Truncated)?;
        let bytes = self.input.get(self.at..end).ok_or(DecodeError::Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    /// The next field's number and value; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, DecodeError> {
        if self.at == self.input.len() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)?;
                let at = self.at;
                Value::Bytes(at, self.take(len)?)
            }
            5 => {
                let bytes = self.take(4)?.try_into().expect("four bytes were taken");
                Value::Fixed32(u32::from_le_bytes(bytes))
            }
            _ => return Err(DecodeError::Malformed("unknown protobuf wire type")),
        };
        Ok(Some((key >> 3, value)))
    }
}

/// The varints of a packed field.
pub(crate) fn packed(bytes: &[u8], mut each: impl FnMut(u64)) -> Result<(), DecodeError> {
    let mut fields = Fields::new(bytes);
    while fields.at < bytes.len() {
        each(fields.varint()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_and_overlong_ones_are_refused() {
        for value in [0, 1, 127, 128, 300, 1 << 35, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            assert_eq!(bytes.len(), varint_len(value), "{value}");
            assert_eq!(Fields::new(&bytes).varint(), Ok(value));
        }
        assert_eq!(Fields::new(&[0x80; 3]).varint(), Err(DecodeError::Truncated));
        assert!(Fields::new(&[0xff; 11]).varint().is_err());
        assert!(Fields::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint().is_err());
    }
}
