//! The check of a whole ceremony.

use ark_bls12_381::{G1Affine, G1Projective, G2Affine};
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use hpips_crypto::{Fr, draw::Draw};
use hpips_types::Blake3Hash;
use rayon::prelude::*;

use super::knowledge::same_ratio;
use super::transcript::{Delta, Entry, Transcript};
use crate::keys::ProvingKey;

/// A part of a proving key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// Origin, circuit and constraints.
    Header,
    /// `alpha` in G1.
    Alpha,
    /// `beta` in G1.
    BetaG1,
    /// `beta` in G2.
    BetaG2,
    /// `gamma` in G2.
    Gamma,
    /// `delta` in both groups.
    Delta,
    /// The points that public inputs are combined with.
    Inputs,
    /// The list `a`.
    A,
    /// The list `b` in G1.
    BG1,
    /// The list `b` in G2.
    BG2,
    /// The list `h`.
    H,
    /// The list `l`.
    L,
}

impl core::fmt::Display for KeyPart {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Alpha => "alpha",
            Self::BetaG1 => "beta in G1",
            Self::BetaG2 => "beta in G2",
            Self::Gamma => "gamma",
            Self::Delta => "delta",
            Self::Inputs => "points of the public inputs",
            Self::A => "list a",
            Self::BG1 => "list b in G1",
            Self::BG2 => "list b in G2",
            Self::H => "list h",
            Self::L => "list l",
        })
    }
}

/// Why a ceremony does not hold. Entries are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CeremonyError {
    /// The transcript starts from another key.
    #[error("the transcript starts from another key")]
    OtherInitialKey,
    /// Nobody contributed: the secret is that of the first key.
    #[error("nobody contributed")]
    Empty,
    /// Delta of the first key is at infinity, in the wrong subgroup, or differs between G1 and G2.
    #[error("delta of the first key is malformed")]
    InitialDelta,
    /// The entry does not name the one before it: entries are missing, repeated or out of order.
    #[error("entry {entry} does not follow the one before it")]
    Link {
        /// Index of the entry.
        entry: usize,
    },
    /// The entry starts from another delta than the one before it left.
    #[error("entry {entry} starts from another delta than was left")]
    Before {
        /// Index of the entry.
        entry: usize,
    },
    /// A point of the entry is at infinity, as with a factor of zero.
    #[error("entry {entry} has a point at infinity")]
    Infinity {
        /// Index of the entry.
        entry: usize,
    },
    /// A point of the entry is off the curve or outside the prime-order subgroup.
    #[error("entry {entry} has a point outside the subgroup")]
    Subgroup {
        /// Index of the entry.
        entry: usize,
    },
    /// Delta is what it was: a factor of one adds nothing.
    #[error("entry {entry} leaves delta as it was")]
    Unchanged {
        /// Index of the entry.
        entry: usize,
    },
    /// The party did not show that it knows a factor.
    #[error("entry {entry} has no valid proof of knowledge")]
    Knowledge {
        /// Index of the entry.
        entry: usize,
    },
    /// Delta in G1 is not the one before times the factor that was shown.
    #[error("entry {entry} scales delta by another factor than was shown")]
    Factor {
        /// Index of the entry.
        entry: usize,
    },
    /// Delta in G2 is not delta in G1.
    #[error("entry {entry} has different deltas in the two groups")]
    Groups {
        /// Index of the entry.
        entry: usize,
    },
    /// The last key has another delta than the last entry.
    #[error("the last key has another delta than the last entry")]
    FinalDelta,
    /// The last key is not the one that the last entry names.
    #[error("the last key is not the one that the last entry names")]
    OtherFinalKey,
    /// A part that no contribution may touch differs, or a list has another length.
    #[error("the ceremony changed the {0} of the key")]
    Changed(KeyPart),
    /// A point is off the curve or outside the prime-order subgroup.
    #[error("a point outside the subgroup in the {0} of the key")]
    OutsideSubgroup(KeyPart),
    /// The list is not the first key's, scaled by as much as delta was scaled up.
    #[error("the {0} is not scaled as delta is")]
    Scale(KeyPart),
}

/// Checks a ceremony from its first key to its last.
///
/// Holds when at least one entry exists, each follows the one before it and shows knowledge of the factor by
/// which it scaled delta, alike in both groups; the last key has the last entry's delta and hash; its lists `h`
/// and `l` are the first key's divided by the product of the factors, except with chance 2^-128; everything
/// else is the first key's; and every point lies in the prime-order subgroup.
///
/// The caller makes sure that `initial` is the key that phase 1 gives for the circuit, by making it again, and
/// that somebody whom it trusts made one of the entries: a transcript that one party made alone holds, too.
///
/// Costs four multi-scalar products over `h` and `l`, two hashes of a key, the subgroup check of every point,
/// and about 13 ms an entry.
///
/// # Errors
/// [`CeremonyError`] by variant, for the first thing that does not hold.
pub fn verify_transcript(
    initial: &ProvingKey,
    transcript: &Transcript,
    last: &ProvingKey,
) -> Result<(), CeremonyError> {
    if initial.hash() != transcript.initial() {
        return Err(CeremonyError::OtherInitialKey);
    }
    let start = Delta::of(initial);
    let is_sound = !start.g1.is_zero() && in_subgroup_g1(&start.g1) && in_subgroup_g2(&start.g2);
    // Delta in G1 is not at infinity, so neither is one in G2 that equals it.
    if !(is_sound && same_in_both(&start)) {
        return Err(CeremonyError::InitialDelta);
    }
    let (mut previous, mut delta) = (transcript.start(), start);
    for (index, entry) in transcript.entries().iter().enumerate() {
        check_entry(index, entry, previous, &delta)?;
        (previous, delta) = (entry.hash(), entry.after);
    }
    if transcript.entries().is_empty() {
        return Err(CeremonyError::Empty);
    }
    if Delta::of(last) != delta {
        return Err(CeremonyError::FinalDelta);
    }
    if last.hash() != transcript.parameters() {
        return Err(CeremonyError::OtherFinalKey);
    }
    check_unchanged(initial, last)?;
    check_points(initial, last)?;
    check_scaled(initial, last, &previous)
}

fn check_entry(
    index: usize,
    entry: &Entry,
    previous: Blake3Hash,
    delta: &Delta,
) -> Result<(), CeremonyError> {
    if entry.previous != previous {
        return Err(CeremonyError::Link { entry: index });
    }
    if entry.before != *delta {
        return Err(CeremonyError::Before { entry: index });
    }
    let g1 = [entry.after.g1, entry.s, entry.s_scaled];
    let g2 = [entry.after.g2, entry.r_scaled];
    // At infinity both sides of every pairing below would be one.
    if g1.iter().any(AffineRepr::is_zero) || g2.iter().any(AffineRepr::is_zero) {
        return Err(CeremonyError::Infinity { entry: index });
    }
    if !(g1.iter().all(in_subgroup_g1) && g2.iter().all(in_subgroup_g2)) {
        return Err(CeremonyError::Subgroup { entry: index });
    }
    if entry.after.g1 == delta.g1 {
        return Err(CeremonyError::Unchanged { entry: index });
    }
    let shown = (entry.challenge(), entry.r_scaled);
    if !same_ratio((entry.s, entry.s_scaled), shown) {
        return Err(CeremonyError::Knowledge { entry: index });
    }
    if !same_ratio((delta.g1, entry.after.g1), shown) {
        return Err(CeremonyError::Factor { entry: index });
    }
    if !same_in_both(&entry.after) {
        return Err(CeremonyError::Groups { entry: index });
    }
    Ok(())
}

/// Whether delta in G1 and in G2 have one logarithm: `e(delta1, G2) = e(G1, delta2)`.
fn same_in_both(delta: &Delta) -> bool {
    same_ratio((G1Affine::generator(), delta.g1), (G2Affine::generator(), delta.g2))
}

/// Everything but delta, `h` and `l`, and the lengths of those.
fn check_unchanged(initial: &ProvingKey, last: &ProvingKey) -> Result<(), CeremonyError> {
    let (a, b) = (&initial.inner, &last.inner);
    let same = [
        (KeyPart::Header, initial.of == last.of),
        (KeyPart::Alpha, a.vk.alpha_g1 == b.vk.alpha_g1),
        (KeyPart::BetaG1, a.beta_g1 == b.beta_g1),
        (KeyPart::BetaG2, a.vk.beta_g2 == b.vk.beta_g2),
        (KeyPart::Gamma, a.vk.gamma_g2 == b.vk.gamma_g2),
        (KeyPart::Inputs, a.vk.gamma_abc_g1 == b.vk.gamma_abc_g1),
        (KeyPart::A, a.a_query == b.a_query),
        (KeyPart::BG1, a.b_g1_query == b.b_g1_query),
        (KeyPart::BG2, a.b_g2_query == b.b_g2_query),
        (KeyPart::H, a.h_query.len() == b.h_query.len()),
        (KeyPart::L, a.l_query.len() == b.l_query.len()),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        Some((part, _)) => Err(CeremonyError::Changed(part)),
        None => Ok(()),
    }
}

/// Subgroups of every point: keys are read without that check. What is equal in both keys is checked in one.
fn check_points(initial: &ProvingKey, last: &ProvingKey) -> Result<(), CeremonyError> {
    let (first, key) = (&initial.inner, &last.inner);
    let g1 = |points: &[G1Affine]| points.par_iter().all(in_subgroup_g1);
    let g2 = |points: &[G2Affine]| points.par_iter().all(in_subgroup_g2);
    let lists_g1: [(KeyPart, &[G1Affine]); 9] = [
        (KeyPart::Alpha, &[key.vk.alpha_g1]),
        (KeyPart::BetaG1, &[key.beta_g1]),
        (KeyPart::Inputs, &key.vk.gamma_abc_g1),
        (KeyPart::A, &key.a_query),
        (KeyPart::BG1, &key.b_g1_query),
        (KeyPart::H, &key.h_query),
        (KeyPart::H, &first.h_query),
        (KeyPart::L, &key.l_query),
        (KeyPart::L, &first.l_query),
    ];
    let lists_g2: [(KeyPart, &[G2Affine]); 3] = [
        (KeyPart::BetaG2, &[key.vk.beta_g2]),
        (KeyPart::Gamma, &[key.vk.gamma_g2]),
        (KeyPart::BG2, &key.b_g2_query),
    ];
    let bad = lists_g1.iter().find(|(_, points)| !g1(points)).map(|(part, _)| *part);
    let bad = bad.or_else(|| lists_g2.iter().find(|(_, points)| !g2(points)).map(|(part, _)| *part));
    bad.map_or(Ok(()), |part| Err(CeremonyError::OutsideSubgroup(part)))
}

/// `e(sum f_i new_i, new delta) = e(sum f_i old_i, old delta)` for `h` and for `l`: a random linear combination.
///
/// Its factors are drawn from the hash of the last entry, which covers both keys, so that they are fixed only
/// after the points are.
fn check_scaled(initial: &ProvingKey, last: &ProvingKey, tip: &Blake3Hash) -> Result<(), CeremonyError> {
    let deltas = (last.inner.vk.delta_g2, initial.inner.vk.delta_g2);
    let lists = [
        (KeyPart::H, &initial.inner.h_query, &last.inner.h_query),
        (KeyPart::L, &initial.inner.l_query, &last.inner.l_query),
    ];
    let mut draw = Draw::new("hpips/circuits/ceremony-check/v1", &[&tip.as_bytes()[..]]);
    for (part, old, new) in lists {
        let factors: Vec<Fr> = old.iter().map(|_| Fr::from(draw.u128())).collect();
        let sum = |points: &[G1Affine]| {
            G1Projective::msm(points, &factors).expect("as many points as factors").into_affine()
        };
        if !same_ratio((sum(old), sum(new)), deltas) {
            return Err(CeremonyError::Scale(part));
        }
    }
    Ok(())
}

fn in_subgroup_g1(point: &G1Affine) -> bool {
    point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve()
}

fn in_subgroup_g2(point: &G2Affine) -> bool {
    point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve()
}
