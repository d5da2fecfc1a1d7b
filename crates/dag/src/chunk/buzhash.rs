//! Cuts where a cyclic polynomial over 32 bytes ends in 17 zero bits.

use super::constants::WORDS;

/// Shortest chunk but the last.
const BYTES_MIN: usize = 128 * 1024;
/// Longest chunk.
pub(super) const BYTES_MAX: usize = 512 * 1024;
/// Bits that are zero at a cut: one cut in 128 KiB beyond the least.
const MASK: u32 = (1 << 17) - 1;
/// Bytes the hash covers. Rotating a word 32 times gives it back, so the byte that leaves needs no rotation.
const WINDOW: usize = 32;

/// State within a chunk.
#[derive(Clone, Debug, Default)]
pub(super) struct Buzhash {
    /// Length whose window is hashed in `hash`; 0 before the least length.
    at: usize,
    hash: u32,
}

fn word(byte: u8) -> u32 {
    WORDS[usize::from(byte)]
}

impl Buzhash {
    pub(super) fn cut(&mut self, bytes: &[u8]) -> Option<usize> {
        if bytes.len() < BYTES_MIN {
            return None;
        }
        if self.at == 0 {
            let window = &bytes[BYTES_MIN - WINDOW..BYTES_MIN];
            self.hash = window.iter().fold(0, |hash: u32, byte| hash.rotate_left(1) ^ word(*byte));
            self.at = BYTES_MIN;
        }
        let end = bytes.len().min(BYTES_MAX);
        // The last length is not judged by its hash: either more bytes follow or it is the longest.
        let pairs = bytes[self.at - WINDOW..].iter().zip(&bytes[self.at..end]);
        let mut hash = self.hash;
        let mut at = self.at;
        for (leaves, enters) in pairs {
            if hash & MASK == 0 {
                break;
            }
            hash = hash.rotate_left(1) ^ word(*leaves) ^ word(*enters);
            at += 1;
        }
        self.hash = hash;
        self.at = at;
        if at < end || at == BYTES_MAX {
            *self = Self::default();
            return Some(at);
        }
        None
    }
}
