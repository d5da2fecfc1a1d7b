//! Phase 2 of a key ceremony: many parties scale the secret `delta` of a Groth16 key in turn, and anybody can
//! check afterwards that they did nothing else. `delta` stays unknown as long as one of them forgot its factor.
//!
//! A contribution draws a secret `d`, multiplies delta by `d` in both groups and the lists `h` and `l` by
//! `1/d`, proves that it knows `d`, and appends an [`Entry`] to a chain of hashes. [`verify_transcript`] checks
//! a whole ceremony from the first key and the last one; keys in between need not be kept.
//!
//! Refuses to know where the first key comes from. Alpha, beta, gamma and the evaluation point are those of
//! phase 1, and a key that came out of the insecure setup keeps its [`Origin`](crate::Origin): contributing to
//! it does not make it fit for a real network.
//!
//! In reading order: [`contribute`]; `transcript`, entries and their bytes; `knowledge`, the proof that a
//! party knows its factor; `verify`, the check of everything.
//!
//! Source: Bowe, Gabizon, Miers, "Scalable Multi-party Computation for zk-SNARK Parameters in the Random
//! Beacon Model", ePrint 2017/1050. Their random beacon at the end would be a contribution with public
//! randomness. Format: docs/formats/keys.md, section 5.

mod knowledge;
mod transcript;
mod verify;

use ark_bls12_381::{G1Affine, G1Projective};
use ark_ec::CurveGroup;
use ark_ff::{AdditiveGroup, Field, PrimeField};
use hpips_crypto::{Fr, draw::Draw};
use hpips_types::Blake3Hash;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::keys::ProvingKey;
pub use transcript::{DecodeError, ENTRIES_MAX, Entry, Transcript};
pub use verify::{CeremonyError, KeyPart, verify_transcript};

/// Why nothing was contributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContributeError {
    /// The key is not the one that the transcript ends with.
    #[error("the key is not the one that the transcript ends with")]
    OtherKey,
    /// The transcript has as many entries as it may.
    #[error("a transcript has at most {ENTRIES_MAX} entries")]
    Full,
    /// The factor came out as zero or one: by chance once in 2^254, so the randomness is not random.
    #[error("the randomness gives a factor that hides nothing")]
    Degenerate,
}

/// Contributes to a key in place, appends the entry and returns its hash, which the party publishes.
///
/// `randomness`: 64 bytes from a secure source, used for this only; the caller erases its copy. The factor is
/// bound to the place in the transcript, so that randomness used twice does not give the same factor twice.
/// What this module holds of the secret is erased, except copies that the compiler, the hash function or the
/// multiplications, which do not run in constant time, left on the stack: take a machine that is switched off
/// afterwards. Verify the transcript first, lest the work be for nothing.
///
/// Costs about two multiplications in G1 a constraint, 0.5 ms of a core, on the current rayon pool, and the
/// memory of the key's file.
///
/// # Errors
/// [`ContributeError`] by variant; then neither the key nor the transcript changed.
pub fn contribute(
    key: &mut ProvingKey,
    transcript: &mut Transcript,
    randomness: &[u8; 64],
) -> Result<Blake3Hash, ContributeError> {
    if transcript.entries().len() >= ENTRIES_MAX {
        return Err(ContributeError::Full);
    }
    if key.hash() != transcript.parameters() {
        return Err(ContributeError::OtherKey);
    }
    let previous = transcript.tip();
    let secret = Secret::draw(randomness, &previous);
    let inverse = match secret.factor.inverse() {
        Some(inverse) if *secret.factor != Fr::ONE => Zeroizing::new(inverse),
        _ => return Err(ContributeError::Degenerate),
    };
    let before = transcript::Delta::of(key);
    scale_delta(key, &secret.factor);
    scale(&mut key.inner.h_query, &inverse);
    scale(&mut key.inner.l_query, &inverse);
    transcript.push(Entry::new(previous, before, key, &secret));
    Ok(transcript.tip())
}

/// What a contribution must forget. Erased when dropped; it cannot be printed.
struct Secret {
    /// What delta is multiplied by.
    factor: Zeroizing<Fr>,
    /// The logarithm of the point `s` of the proof of knowledge.
    base: Zeroizing<Fr>,
}

impl Secret {
    fn draw(randomness: &[u8; 64], previous: &Blake3Hash) -> Self {
        let mut draw =
            Draw::new("hpips/circuits/ceremony-secret/v1", &[&randomness[..], &previous.as_bytes()[..]]);
        let mut element = || {
            let mut wide = Zeroizing::new([0; 64]);
            draw.fill(&mut wide[..]);
            Zeroizing::new(Fr::from_le_bytes_mod_order(&wide[..]))
        };
        let (factor, base) = (element(), element());
        // A draw keeps its last block of 64 bytes: overwrite it, for it is `base`.
        draw.fill(&mut [0; 64]);
        Self { factor, base }
    }
}

fn scale_delta(key: &mut ProvingKey, factor: &Fr) {
    let inner = &mut key.inner;
    inner.delta_g1 = (inner.delta_g1 * factor).into_affine();
    inner.vk.delta_g2 = (inner.vk.delta_g2 * factor).into_affine();
}

/// Multiplies every point, in pieces so that projective points of a large key need little memory.
fn scale(points: &mut [G1Affine], factor: &Fr) {
    /// Large enough that the inversion shared by a piece costs nothing. Picked by estimate, not measured.
    const PIECE: usize = 1 << 10;
    points.par_chunks_mut(PIECE).for_each(|piece| {
        let mut scaled = vec![G1Projective::ZERO; piece.len()];
        for (scaled, point) in scaled.iter_mut().zip(piece.iter()) {
            *scaled = *point * factor;
        }
        piece.copy_from_slice(&G1Projective::normalize_batch(&scaled));
    });
}

#[cfg(test)]
mod tests;
