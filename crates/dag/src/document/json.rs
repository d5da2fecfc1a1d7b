//! JSON read, value by value (RFC 8259). Strings are left to `serde_json`; the structure is not, because it neither
//! tells of keys that come twice nor keeps its stack off the thread's.

use std::borrow::Cow;

use super::build::{Fault, Leaf, Sink};
use crate::codec::Place;

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Value,
    /// The first item of a list, or its end.
    FirstItem,
    Key,
    /// The first key of a map, or its end.
    FirstKey,
    /// What follows a value: a comma, an end, or nothing.
    Next,
}

impl<'a> Input<'a> {
    /// The next byte that is no white space; stays before it.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn string(&mut self) -> Result<String, Fault> {
        let mut end = self.at + 1;
        loop {
            match self.bytes.get(end) {
                None => return Err(Fault::Truncated),
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
            }
        }
        let token = &self.bytes[self.at..=end];
        let wrong = |_| Fault::Malformed("text that is not as JSON has it");
        let text = serde_json::from_slice(token).map_err(wrong)?;
        self.at = end + 1;
        Ok(text)
    }

    fn literal(&mut self, word: &str, leaf: Leaf<'a>) -> Result<Leaf<'a>, Fault> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(Fault::Malformed("a value is due"));
        }
        self.at += word.len();
        Ok(leaf)
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(Fault::Malformed("a digit is due")) } else { Ok(()) }
    }

    fn take(&mut self, any_of: &[u8]) -> bool {
        let is_one = self.bytes.get(self.at).is_some_and(|byte| any_of.contains(byte));
        self.at += usize::from(is_one);
        is_one
    }

    fn number(&mut self) -> Result<Leaf<'a>, Fault> {
        let start = self.at;
        self.take(b"-");
        if !self.take(b"0") {
            self.digits()?;
        }
        let mut is_integer = true;
        if self.take(b".") {
            is_integer = false;
            self.digits()?;
        }
        if self.take(b"eE") {
            is_integer = false;
            self.take(b"+-");
            self.digits()?;
        }
        let wrong = Fault::Malformed("a number that is none");
        let text = std::str::from_utf8(&self.bytes[start..self.at]).map_err(|_| wrong)?;
        if is_integer {
            let in_range = -(1i128 << 64)..=i128::from(u64::MAX);
            let value = text.parse().ok().filter(|value| in_range.contains(value));
            return value.map(Leaf::Integer).ok_or(Fault::Malformed("an integer of more than 64 bits"));
        }
        let value = text.parse().ok().filter(|value: &f64| value.is_finite());
        value.map(Leaf::Float).ok_or(wrong)
    }

    fn leaf(&mut self, first: u8) -> Result<Leaf<'a>, Fault> {
        match first {
            b'"' => self.string().map(|text| Leaf::Text(Cow::Owned(text))),
            b'n' => self.literal("null", Leaf::Null),
            b't' => self.literal("true", Leaf::Bool(true)),
            b'f' => self.literal("false", Leaf::Bool(false)),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(Fault::Malformed("a value is due")),
        }
    }
}

/// Reads one document and tells `sink` of it; an error comes with the byte at which it was noticed.
pub(super) fn read(block: &[u8], sink: &mut impl Sink) -> Result<(), (Fault, usize)> {
    let mut input = Input { bytes: block, at: 0 };
    let result = read_all(&mut input, sink);
    result.map_err(|fault| (fault, input.at))
}

fn read_all(input: &mut Input<'_>, sink: &mut impl Sink) -> Result<(), Fault> {
    // Whether each list or map that is open is a map, outermost first.
    let mut open: Vec<bool> = Vec::new();
    let mut due = Due::Value;
    loop {
        let Some(byte) = input.peek() else {
            return if due == Due::Next && open.is_empty() { Ok(()) } else { Err(Fault::Truncated) };
        };
        due = match (due, byte, open.last()) {
            (Due::Next | Due::FirstItem, b']', Some(false))
            | (Due::Next | Due::FirstKey, b'}', Some(true)) => {
                input.at += 1;
                open.pop();
                sink.close()?;
                Due::Next
            }
            (Due::Next, b',', Some(is_map)) => {
                input.at += 1;
                if *is_map { Due::Key } else { Due::Value }
            }
            (Due::Next, _, None) => return Err(Fault::Malformed("more after the document")),
            (Due::Next, ..) => return Err(Fault::Malformed("a comma or an end is due")),
            (Due::Key | Due::FirstKey, b'"', _) => {
                let key = input.string()?;
                if input.peek() != Some(b':') {
                    return Err(Fault::Malformed("a colon is due"));
                }
                input.at += 1;
                sink.key(Cow::Owned(key))?;
                Due::Value
            }
            (Due::Key | Due::FirstKey, ..) => return Err(Fault::Malformed("a key is due")),
            (Due::Value | Due::FirstItem, b'[' | b'{', _) => {
                input.at += 1;
                let is_map = byte == b'{';
                open.push(is_map);
                sink.open(is_map, open.len())?;
                if is_map { Due::FirstKey } else { Due::FirstItem }
            }
            (Due::Value | Due::FirstItem, ..) => {
                let leaf = input.leaf(byte)?;
                sink.leaf(leaf)?;
                Due::Next
            }
        };
    }
}

/// The place of a byte as people look for it.
pub(super) fn place(block: &[u8], at: usize) -> Place {
    let before = &block[..at.min(block.len())];
    let lines = before.split(|byte| *byte == b'\n');
    let (line, last) = lines.zip(1..).last().map_or((1, &[][..]), |(text, line)| (line, text));
    Place::Line(line, last.len() + 1)
}
