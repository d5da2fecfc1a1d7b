//! Numbers drawn from a seed that all agree on.
//!
//! A draw is the extendable output of BLAKE3 over a domain and length-prefixed parts, cut into little-endian
//! words; bounds are met by rejection, so that every value is equally likely. No type of a random-number
//! crate is involved: those may change their streams between versions, and an agreed draw may not.

use core::fmt;

/// A stream of drawn numbers.
pub struct Draw {
    output: blake3::OutputReader,
    /// The block that is being used up: a block costs the same whether eight bytes are taken or all.
    block: [u8; BLOCK_BYTES],
    /// Bytes of it that are used up.
    used: usize,
}

/// Bytes that one compression of BLAKE3 gives.
const BLOCK_BYTES: usize = 64;

impl Draw {
    /// Starts a stream. `domain` names the use (`hpips/<room>/<use>/v1`) and is frozen once used; the parts
    /// are length-prefixed, so that no two lists of parts give the same stream.
    pub fn new(domain: &'static str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(domain);
        for part in parts {
            hasher.update(&length(part).to_le_bytes());
            hasher.update(part);
        }
        Self { output: hasher.finalize_xof(), block: [0; BLOCK_BYTES], used: BLOCK_BYTES }
    }

    /// The next bytes of the stream.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.used == BLOCK_BYTES {
                self.output.fill(&mut self.block);
                self.used = 0;
            }
            let (now, later) = rest.split_at_mut(rest.len().min(BLOCK_BYTES - self.used));
            now.copy_from_slice(&self.block[self.used..][..now.len()]);
            self.used += now.len();
            rest = later;
        }
    }

    /// The next 64 bits.
    pub fn u64(&mut self) -> u64 {
        let mut bytes = [0u8; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// The next 128 bits.
    pub fn u128(&mut self) -> u128 {
        let mut bytes = [0u8; 16];
        self.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }

    /// A number below `bound`, each equally likely.
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        // The values from `limit` up are the incomplete last run of `bound` values.
        let excess = (u64::MAX % bound + 1) % bound;
        loop {
            let value = self.u64();
            if value <= u64::MAX - excess {
                return value % bound;
            }
        }
    }

    /// A number below `bound`, each equally likely; for sums of 64-bit weights.
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn below_wide(&mut self, bound: u128) -> u128 {
        assert!(bound > 0, "nothing is below zero");
        let excess = (u128::MAX % bound + 1) % bound;
        loop {
            let value = self.u128();
            if value <= u128::MAX - excess {
                return value % bound;
            }
        }
    }

    /// An index into `weights`, each with a chance in proportion to its weight. `None` when all are zero.
    pub fn weighted(&mut self, weights: &[u64]) -> Option<usize> {
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        if total == 0 {
            return None;
        }
        let mut point = self.below_wide(total);
        for (index, weight) in weights.iter().enumerate() {
            match point.checked_sub(u128::from(*weight)) {
                Some(rest) => point = rest,
                None => return Some(index),
            }
        }
        unreachable!("the point is below the sum of the weights")
    }

    /// Puts the items into a uniformly drawn order (Fisher-Yates from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index_below(last + 1));
        }
    }

    /// `count` different indices below `bound`, in drawn order; all of them when `bound` is less.
    ///
    /// Memory grows with `bound`.
    pub fn choose(&mut self, bound: usize, count: usize) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..bound).collect();
        let count = count.min(bound);
        for place in 0..count {
            let other = place + self.index_below(bound - place);
            indices.swap(place, other);
        }
        indices.truncate(count);
        indices
    }

    fn index_below(&mut self, bound: usize) -> usize {
        let index = self.below(u64::try_from(bound).expect("a slice has fewer than 2^64 items"));
        usize::try_from(index).expect("below a slice's length")
    }
}

impl fmt::Debug for Draw {
    /// The position only: a stream may stand for a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unused = u64::try_from(BLOCK_BYTES - self.used).unwrap_or_default();
        let position = self.output.position() - if self.output.position() == 0 { 0 } else { unused };
        f.debug_struct("Draw").field("position", &position).finish_non_exhaustive()
    }
}

fn length(part: &[u8]) -> u64 {
    u64::try_from(part.len()).expect("a length in memory fits 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw() -> Draw {
        Draw::new("hpips/test/draw/v1", &[b"seed"])
    }

    #[test]
    fn the_stream_is_frozen() {
        let mut draw = draw();
        let first = draw.u64();
        let few: Vec<u64> = (0..8).map(|_| draw.below(10)).collect();
        let wide = draw.below_wide(1 << 70);
        let chosen = draw.choose(10, 4);
        let mut items = [0, 1, 2, 3, 4, 5, 6, 7];
        draw.shuffle(&mut items);
        let weighted: Vec<Option<usize>> = (0..6).map(|_| draw.weighted(&[5, 0, 1, 4])).collect();
        let all = format!("{first} {few:?} {wide} {chosen:?} {items:?} {weighted:?}");
        let expected = "8826826988236357833 [8, 9, 3, 8, 2, 6, 8, 6] 783129991991304841814 [3, 0, 7, 5] \
                        [0, 2, 3, 5, 7, 1, 6, 4] [Some(3), Some(0), Some(0), Some(0), Some(0), Some(3)]";
        assert_eq!(all, expected);
    }

    #[test]
    fn pieces_of_the_stream_are_the_stream() {
        let mut whole = [0; 1_000];
        draw().fill(&mut whole);
        let (mut pieces, mut parts) = (draw(), Vec::new());
        for length in 0..40 {
            let mut piece = vec![0; length];
            pieces.fill(&mut piece);
            parts.extend(piece);
        }
        assert_eq!(parts, whole[..parts.len()]);
    }

    #[test]
    fn parts_do_not_run_together() {
        let first = |parts: &[&[u8]]| Draw::new("hpips/test/draw/v1", parts).u64();
        let all = [
            first(&[b"ab", b"c"]),
            first(&[b"a", b"bc"]),
            first(&[b"abc"]),
            first(&[b"abc", b""]),
            first(&[]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one), "{index}");
        }
        assert_ne!(draw().u64(), Draw::new("hpips/test/other/v1", &[b"seed"]).u64());
    }

    #[test]
    fn bounds_hold_and_every_value_comes() {
        let mut draw = draw();
        for bound in [1, 2, 3, 7, 1000, u64::MAX, (1 << 63) + 1] {
            for _ in 0..200 {
                assert!(draw.below(bound) < bound);
                assert!(draw.below_wide(u128::from(bound)) < u128::from(bound));
            }
        }
        let mut seen = [0u32; 7];
        for _ in 0..7_000 {
            seen[usize::try_from(draw.below(7)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
    }

    #[test]
    fn weights_are_chances() {
        let mut draw = draw();
        assert_eq!(draw.weighted(&[]), None);
        assert_eq!(draw.weighted(&[0, 0]), None);
        let mut seen = [0u32; 4];
        for _ in 0..10_000 {
            seen[draw.weighted(&[1, 0, 2, 7]).unwrap()] += 1;
        }
        assert_eq!(seen[1], 0);
        for (index, expected) in [(0, 1_000), (2, 2_000), (3, 7_000)] {
            assert!(seen[index].abs_diff(expected) < 250, "{seen:?}");
        }
        assert!(draw.weighted(&[u64::MAX, u64::MAX, u64::MAX]).is_some());
    }

    #[test]
    fn a_choice_has_no_doubles() {
        let mut draw = draw();
        for (bound, count) in [(0, 3), (1, 1), (5, 9), (50, 20)] {
            let mut chosen = draw.choose(bound, count);
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(chosen.len(), count.min(bound));
            assert!(chosen.iter().all(|index| *index < bound));
        }
    }
}
