//! Reed-Solomon over one stripe.

use hpips_types::{Code, ShardIndex};

use crate::field::{Matrix, invert, parity_rows, times};
use crate::product::product;

/// The systematic Reed-Solomon code of a `k` of `n`: the data shards stay as they are, any `k` shards give
/// all others.
///
/// GF(2^8) with polynomial 0x11D, Vandermonde matrix; equal to the crate `reed-solomon-erasure`.
#[derive(Clone, Debug)]
pub struct Coding {
    code: Code,
    parity: Matrix,
}

/// Why shards cannot be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// Fewer than `k` different shards.
    #[error("{have} different shards given, {need} are needed")]
    TooFew {
        /// Different shards given, absent data shards included.
        have: u16,
        /// `k`.
        need: u16,
    },
    /// A shard index at or above `n`.
    #[error("shard {0} is outside the code")]
    Outside(ShardIndex),
    /// A shard longer than the stripe's coding length.
    #[error("shard {shard} has {got} bytes, more than the {max} of its stripe")]
    TooLong {
        /// Which.
        shard: ShardIndex,
        /// Its length, bytes.
        got: usize,
        /// The coding length, bytes.
        max: usize,
    },
    /// What came out is not what the manifest names: a shard given was wrong.
    #[error("block {cid} rebuilt from the shards given does not match its CID")]
    Mismatch {
        /// The block that differs.
        cid: cid::Cid,
    },
}

impl Coding {
    /// Computes the matrix: about `k^3 + (n - k) k^2` products.
    pub fn new(code: Code) -> Self {
        Self { code, parity: parity_rows(usize::from(code.k()), usize::from(code.n())) }
    }

    /// Its `k` of `n`.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The `n - k` parity shards, each `coded_bytes` long, by all threads of the current pool.
    ///
    /// `data`: at most `k` shards of at most `coded_bytes`; shorter ones count as zero-extended and absent
    /// ones as zeros.
    ///
    /// # Panics
    /// When there are more shards than `k` or one is too long.
    pub fn encode(&self, data: &[&[u8]], coded_bytes: usize) -> Vec<Vec<u8>> {
        assert!(data.len() <= usize::from(self.code.k()), "more data shards than the code has");
        let matrix: Matrix = self.parity.iter().map(|row| row[..data.len()].to_vec()).collect();
        product(&matrix, data, coded_bytes)
    }

    /// The wanted shards, each `coded_bytes` long, from any `k` others.
    ///
    /// `shards`: different shards, each at most `coded_bytes` and counted as zero-extended; the first `k` are
    /// used. A data shard that is absent from its stripe is given as an empty one.
    ///
    /// # Errors
    /// [`RebuildError`] by variant, never `Mismatch`.
    pub fn reconstruct(
        &self,
        shards: &[(ShardIndex, &[u8])],
        want: &[ShardIndex],
        coded_bytes: usize,
    ) -> Result<Vec<Vec<u8>>, RebuildError> {
        let (k, n) = (self.code.k(), self.code.n());
        let mut used: Vec<(ShardIndex, &[u8])> = Vec::with_capacity(usize::from(k));
        for (shard, bytes) in shards {
            if shard.get() >= n {
                return Err(RebuildError::Outside(*shard));
            }
            if bytes.len() > coded_bytes {
                return Err(RebuildError::TooLong { shard: *shard, got: bytes.len(), max: coded_bytes });
            }
            if used.len() < usize::from(k) && used.iter().all(|(other, _)| other != shard) {
                used.push((*shard, bytes));
            }
        }
        if let Some(outside) = want.iter().find(|shard| shard.get() >= n) {
            return Err(RebuildError::Outside(*outside));
        }
        if used.len() < usize::from(k) {
            let have = u16::try_from(used.len()).expect("fewer than k");
            return Err(RebuildError::TooFew { have, need: k });
        }
        let square: Matrix = used.iter().map(|(shard, _)| self.row(*shard)).collect();
        let inverted = invert(square).expect("any k rows of the code are regular");
        let matrix: Matrix = want.iter().map(|shard| times(&self.row(*shard), &inverted)).collect();
        let inputs: Vec<&[u8]> = used.iter().map(|(_, bytes)| *bytes).collect();
        Ok(product(&matrix, &inputs, coded_bytes))
    }

    /// The row of the code's matrix that makes a shard from the data.
    fn row(&self, shard: ShardIndex) -> Vec<u8> {
        let (shard, k) = (usize::from(shard.get()), usize::from(self.code.k()));
        if shard < k {
            (0..k).map(|column| u8::from(column == shard)).collect()
        } else {
            self.parity[shard - k].clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reed_solomon_erasure::galois_8::ReedSolomon;

    use super::*;

    fn bytes(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        hpips_crypto::draw::Draw::new("hpips/test/erasure/v1", &[&seed.to_le_bytes()]).fill(&mut bytes);
        bytes
    }

    #[test]
    fn parity_equals_the_reference() {
        for (k, n) in
            [(1, 2), (1, 4), (2, 3), (3, 6), (5, 6), (10, 30), (20, 51), (17, 256), (128, 256), (255, 256)]
        {
            let data: Vec<Vec<u8>> = (0..k).map(|i| bytes(i, 192)).collect();
            let rows: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
            let (k, n) = (u16::try_from(k).unwrap(), n);
            let parity = Coding::new(Code::new(k, n).unwrap()).encode(&rows, 192);
            let reference = ReedSolomon::new(k.into(), usize::from(n - k)).unwrap();
            let mut expected = vec![vec![0; 192]; usize::from(n - k)];
            reference.encode_sep(&data, &mut expected).unwrap();
            assert_eq!(parity, expected, "{k} of {n}");
        }
    }

    #[test]
    fn parity_is_frozen() {
        let data: Vec<Vec<u8>> = (0..3).map(|i| bytes(i, 1000)).collect();
        let rows: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let parity = Coding::new(Code::new(3, 6).unwrap()).encode(&rows, 1024);
        assert_eq!(
            blake3::hash(&parity.concat()).to_string(),
            "c79449e8306e3a1d5fb308dd2b8ec8c11f9edc60495cd102ecd4d3427ca6abf3"
        );
    }

    #[test]
    fn one_of_one_has_no_parity() {
        assert!(Coding::new(Code::new(1, 1).unwrap()).encode(&[b"x"], 64).is_empty());
    }

    #[test]
    fn too_little_is_refused() {
        let coding = Coding::new(Code::new(3, 5).unwrap());
        let shard = |index: u16| (ShardIndex::new(index), &b"abc"[..]);
        let want = [ShardIndex::new(4)];
        for (given, want, error) in [
            (vec![shard(0), shard(1)], want, RebuildError::TooFew { have: 2, need: 3 }),
            (vec![shard(0), shard(1), shard(1)], want, RebuildError::TooFew { have: 2, need: 3 }),
            (vec![shard(0), shard(1), shard(5)], want, RebuildError::Outside(ShardIndex::new(5))),
            (
                vec![shard(0), shard(1), shard(2)],
                [ShardIndex::new(9)],
                RebuildError::Outside(ShardIndex::new(9)),
            ),
        ] {
            assert_eq!(coding.reconstruct(&given, &want, 64), Err(error));
        }
        let long = [shard(0), shard(1), shard(2)];
        let error = RebuildError::TooLong { shard: ShardIndex::new(0), got: 3, max: 2 };
        assert_eq!(coding.reconstruct(&long, &want, 2), Err(error));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Any `k` of the `n` shards give all of them back, with shorter and absent data shards.
        #[test]
        fn any_k_restore_all(k in 1u16..24, parity in 0u16..24, present in 1u16..24, seed: u64, tasks in 1usize..3) {
            let code = Code::new(k, k + parity).unwrap();
            let present = present.min(k);
            let coded_bytes = 64 * 257 * tasks;
            let mut draw = hpips_crypto::draw::Draw::new("hpips/test/any-k/v1", &[&seed.to_le_bytes()]);
            let mut shards: Vec<Vec<u8>> = (0..present)
                .map(|_| {
                    let length = usize::try_from(draw.below(u64::try_from(coded_bytes).unwrap() + 1)).unwrap();
                    bytes(draw.u64(), length)
                })
                .collect();
            shards.resize(usize::from(k), Vec::new());
            let coding = Coding::new(code);
            let rows: Vec<&[u8]> = shards[..usize::from(present)].iter().map(Vec::as_slice).collect();
            let encoded = coding.encode(&rows, coded_bytes);
            shards.extend(encoded);

            let chosen = draw.choose(shards.len(), usize::from(k));
            let given: Vec<(ShardIndex, &[u8])> = chosen
                .iter()
                .map(|shard| (ShardIndex::new(u16::try_from(*shard).unwrap()), shards[*shard].as_slice()))
                .collect();
            let all: Vec<ShardIndex> = (0..code.n()).map(ShardIndex::new).collect();
            let rebuilt = coding.reconstruct(&given, &all, coded_bytes).unwrap();
            for (mut shard, rebuilt) in shards.into_iter().zip(rebuilt) {
                shard.resize(coded_bytes, 0);
                prop_assert!(shard == rebuilt);
            }
        }
    }
}
