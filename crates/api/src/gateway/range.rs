//! The `Range` header (RFC 9110, section 14).

use std::ops::Range;

use super::error::GatewayError;

/// Ranges in one header at most; a header with more is not heard, as the RFC allows.
const RANGES_MAX: usize = 16;

/// What of a representation is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ranged {
    /// All of it.
    Whole,
    /// One part: of several ranges the first, as Kubo does, which a client must expect.
    Part(Range<u64>),
    /// The ranges lie outside.
    Unsatisfiable,
}

/// Reads the header for a representation of this many bytes.
///
/// Ranges that ask for more bytes in all than there are, are not heard: no honest client does that.
pub(super) fn ranged(value: &str, size: u64) -> Result<Ranged, GatewayError> {
    let syntax = |reason| GatewayError::RangeSyntax { reason };
    let specs = value.strip_prefix("bytes=").ok_or(syntax("only bytes can be asked for"))?;
    let mut found: Option<Range<u64>> = None;
    let (mut total, mut asked) = (0u64, 0);
    for spec in specs.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        asked += 1;
        let (first, last) = spec.split_once('-').ok_or(syntax("a range without a dash"))?;
        let (first, last) = (first.trim(), last.trim());
        let range = match (first, last) {
            ("", "") => return Err(syntax("a range without numbers")),
            ("", suffix) => size.saturating_sub(number(suffix)?)..size,
            (first, "") => number(first)?..size,
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return Err(syntax("a range that ends before it begins"));
                }
                first..last.saturating_add(1).min(size)
            }
        };
        if range.start < range.end {
            total = total.saturating_add(range.end - range.start);
            found.get_or_insert(range);
        }
    }
    if asked == 0 {
        return Err(syntax("no range"));
    }
    Ok(match found {
        // Some clients send a range with every request; there is nothing to refuse in an empty file.
        None if size == 0 => Ranged::Whole,
        None => Ranged::Unsatisfiable,
        Some(_) if total > size || asked > RANGES_MAX => Ranged::Whole,
        Some(range) => Ranged::Part(range),
    })
}

fn number(text: &str) -> Result<u64, GatewayError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = text.parse().ok().filter(|_| is_number);
    parsed.ok_or(GatewayError::RangeSyntax { reason: "a range that is no number" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_as_kubo_reads_them() {
        for (value, size, expected) in [
            ("bytes=6-16", 31, Some(Ranged::Part(6..17))),
            ("bytes=0-", 31, Some(Ranged::Part(0..31))),
            ("bytes=-3", 31, Some(Ranged::Part(28..31))),
            ("bytes=-99", 31, Some(Ranged::Part(0..31))),
            ("bytes=20-99", 31, Some(Ranged::Part(20..31))),
            ("bytes=6-16,0-4", 31, Some(Ranged::Part(6..17))),
            ("bytes= 6-16 , ,0-4", 31, Some(Ranged::Part(6..17))),
            ("bytes=31-", 31, Some(Ranged::Unsatisfiable)),
            ("bytes=-0", 31, Some(Ranged::Unsatisfiable)),
            ("bytes=99-,1-2", 31, Some(Ranged::Part(1..3))),
            ("bytes=5-", 0, Some(Ranged::Whole)),
            ("bytes=0-30,0-30", 31, Some(Ranged::Whole)),
            (
                "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,0-0,0-0,0-0,0-0,0-0,0-0,0-0",
                31,
                Some(Ranged::Whole),
            ),
            ("bytes=0-18446744073709551615", 31, Some(Ranged::Part(0..31))),
            ("bytes=0-18446744073709551616", 31, None),
            ("bytes=5-2", 31, None),
            ("bytes=a-b", 31, None),
            ("bytes=+1-2", 31, None),
            ("bytes=--1", 31, None),
            ("bytes=", 31, None),
            ("items=0-1", 31, None),
            ("bytes=1", 31, None),
        ] {
            assert_eq!(ranged(value, size).ok(), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_within_the_whole(value in "bytes=[0-9,-]{0,30}", size in 0u64..100) {
            if let Ok(Ranged::Part(range)) = ranged(&value, size) {
                prop_assert!(range.start < range.end && range.end <= size, "{:?}", range);
            }
        }
    }
}
