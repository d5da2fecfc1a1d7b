//! Where a file is cut into chunks.

mod buzhash;
mod constants;
mod rabin;

use core::fmt;
use core::str::FromStr;

use buzhash::Buzhash;
use rabin::Rabin;

/// Largest chunk: a block of 2 MiB less 256 bytes for the envelope of wrapped leaves (boxo `ChunkSizeLimit`).
pub const CHUNK_BYTES_MAX: usize = 2 * 1024 * 1024 - 256;
/// What plain `rabin` aims at, bytes.
const RABIN_AVERAGE: usize = 256 * 1024;
/// Least chunk of rabin: its window.
const RABIN_LEAST: usize = 16;

/// How a file is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chunking {
    /// Chunks of so many bytes, the last one shorter.
    Size(usize),
    /// Content-defined by a Rabin fingerprint: least, average and largest chunk, bytes.
    Rabin {
        /// No chunk but the last is shorter.
        min: usize,
        /// Its logarithm, rounded down, is the number of bits that must be zero at a cut.
        average: usize,
        /// No chunk is longer.
        max: usize,
    },
    /// Content-defined by a cyclic polynomial: 128 KiB to 512 KiB, fixed.
    Buzhash,
}

/// Why a text names no chunker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkingError {
    /// No such name.
    #[error("no chunker is called {0:?}: use size-N, rabin, rabin-AVERAGE, rabin-MIN-AVERAGE-MAX or buzhash")]
    Unknown(String),
    /// Not a number where one belongs.
    #[error("{0:?} is no number of bytes")]
    Number(String),
    /// Zero, or larger than a block may be.
    #[error("a chunk has 1 to {CHUNK_BYTES_MAX} bytes, not {0}")]
    Size(usize),
    /// The rabin parameters do not ascend, or are too small for its window.
    #[error("rabin needs {RABIN_LEAST} <= min < average < max, not {min}, {average}, {max}")]
    Order {
        /// Least chunk.
        min: usize,
        /// Average chunk.
        average: usize,
        /// Largest chunk.
        max: usize,
    },
}

impl FromStr for Chunking {
    type Err = ChunkingError;

    /// Reads `size-N`, `rabin`, `rabin-AVERAGE`, `rabin-MIN-AVERAGE-MAX`, `buzhash`, as `ipfs add --chunker`.
    fn from_str(text: &str) -> Result<Self, ChunkingError> {
        let parts: Vec<&str> = text.split('-').collect();
        match parts.as_slice() {
            ["default" | ""] => Self::size(256 * 1024),
            ["size", bytes] => Self::size(number(bytes)?),
            ["rabin"] => Self::rabin_of(RABIN_AVERAGE),
            ["rabin", average] => Self::rabin_of(number(average)?),
            ["rabin", min, average, max] => Self::rabin(
                number(min.strip_prefix("min:").unwrap_or(min))?,
                number(average.strip_prefix("avg:").unwrap_or(average))?,
                number(max.strip_prefix("max:").unwrap_or(max))?,
            ),
            ["buzhash"] => Ok(Self::Buzhash),
            _ => Err(ChunkingError::Unknown(text.to_owned())),
        }
    }
}

fn number(text: &str) -> Result<usize, ChunkingError> {
    text.parse().map_err(|_| ChunkingError::Number(text.to_owned()))
}

impl Chunking {
    /// Chunks of `bytes` each.
    ///
    /// # Errors
    /// [`ChunkingError::Size`].
    pub fn size(bytes: usize) -> Result<Self, ChunkingError> {
        if (1..=CHUNK_BYTES_MAX).contains(&bytes) {
            Ok(Self::Size(bytes))
        } else {
            Err(ChunkingError::Size(bytes))
        }
    }

    /// Rabin with these bounds.
    ///
    /// # Errors
    /// [`ChunkingError::Order`] or [`ChunkingError::Size`].
    pub fn rabin(min: usize, average: usize, max: usize) -> Result<Self, ChunkingError> {
        if min < RABIN_LEAST || min >= average || average >= max {
            return Err(ChunkingError::Order { min, average, max });
        }
        if max > CHUNK_BYTES_MAX {
            Err(ChunkingError::Size(max))
        } else {
            Ok(Self::Rabin { min, average, max })
        }
    }

    /// Rabin with a third of the average as least and half as much again as largest chunk.
    fn rabin_of(average: usize) -> Result<Self, ChunkingError> {
        Self::rabin(average / 3, average, average.saturating_add(average / 2))
    }

    /// Bytes of the largest chunk that is ever cut.
    pub const fn bytes_max(&self) -> usize {
        match self {
            Self::Size(bytes) => *bytes,
            Self::Rabin { max, .. } => *max,
            Self::Buzhash => buzhash::BYTES_MAX,
        }
    }
}

impl fmt::Display for Chunking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(bytes) => write!(f, "size-{bytes}"),
            Self::Rabin { min, average, max } => write!(f, "rabin-{min}-{average}-{max}"),
            Self::Buzhash => f.write_str("buzhash"),
        }
    }
}

/// Finds cuts in bytes that arrive piece by piece.
///
/// The caller keeps the bytes since the last cut and shows them again with more behind; what was looked at
/// once is not looked at again.
#[derive(Clone, Debug)]
pub struct Cutter {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Size(usize),
    Rabin(Box<Rabin>),
    Buzhash(Buzhash),
}

impl Cutter {
    /// A cutter at the start of a file.
    pub fn new(chunking: Chunking) -> Self {
        let kind = match chunking {
            Chunking::Size(bytes) => Kind::Size(bytes),
            Chunking::Rabin { min, average, max } => Kind::Rabin(Box::new(Rabin::new(min, average, max))),
            Chunking::Buzhash => Kind::Buzhash(Buzhash::default()),
        };
        Self { kind }
    }

    /// Length of the chunk that `bytes` begin with, or `None` when it does not end in them.
    ///
    /// `bytes` are everything since the last cut. At the end of the file what is left is the last chunk.
    pub fn cut(&mut self, bytes: &[u8]) -> Option<usize> {
        match &mut self.kind {
            Kind::Size(size) => (bytes.len() >= *size).then_some(*size),
            Kind::Rabin(rabin) => rabin.cut(bytes),
            Kind::Buzhash(buzhash) => buzhash.cut(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_parse_and_print() {
        for (text, wanted) in [
            ("size-1048576", Ok("size-1048576")),
            ("default", Ok("size-262144")),
            ("rabin", Ok("rabin-87381-262144-393216")),
            ("rabin-300-600-900", Ok("rabin-300-600-900")),
            ("rabin-min:300-avg:600-max:900", Ok("rabin-300-600-900")),
            ("buzhash", Ok("buzhash")),
            ("size-0", Err("1 to 2096896")),
            ("size-2096897", Err("1 to 2096896")),
            ("size-x", Err("no number")),
            ("rabin-15-600-900", Err("min < average")),
            ("rabin-600-600-900", Err("min < average")),
            ("rabin-16-600-9000000", Err("1 to 2096896")),
            ("fastcdc", Err("size-N")),
        ] {
            match (text.parse::<Chunking>(), wanted) {
                (Ok(chunking), Ok(wanted)) => assert_eq!(chunking.to_string(), wanted),
                (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{text}: {error}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    fn cuts(chunking: Chunking, bytes: &[u8], piece: usize) -> Vec<usize> {
        let mut cutter = Cutter::new(chunking);
        let (mut start, mut cuts) = (0, Vec::new());
        let mut end = 0;
        while end < bytes.len() {
            end = (end + piece).min(bytes.len());
            while let Some(length) = cutter.cut(&bytes[start..end]) {
                start += length;
                cuts.push(length);
            }
        }
        if start < bytes.len() {
            cuts.push(bytes.len() - start);
        }
        cuts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn cuts_do_not_depend_on_how_bytes_arrive(seed in any::<u64>(), piece in 1usize..70_000) {
            let mut state = seed | 1;
            let bytes: Vec<u8> = (0..700_000)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_be_bytes()[0]
                })
                .collect();
            for text in ["size-1000", "rabin-1000-4000-9000", "buzhash"] {
                let chunking: Chunking = text.parse().unwrap();
                let whole = cuts(chunking, &bytes, bytes.len());
                prop_assert_eq!(whole.iter().sum::<usize>(), bytes.len());
                prop_assert!(whole.iter().all(|length| *length <= chunking.bytes_max()));
                prop_assert_eq!(cuts(chunking, &bytes, piece), whole);
            }
        }
    }
}
