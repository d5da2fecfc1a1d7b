use ark_bls12_381::{Fq, G2Affine};
use ark_ec::AffineRepr;
use hpips_proofs::CircuitKind;
use hpips_types::NetworkParams;

use super::transcript::Delta;
use super::verify::{CeremonyError as Error, KeyPart};
use super::*;
use crate::builder::{Builder, Recorder};
use crate::prove::{Blinding, create};
use crate::testing::{dev, key_file, number};
use crate::verify::{Claim, WellFormed};
use crate::{Matrices, StoredKey, circuit};

/// `x^3 = y`: two constraints, so that `l` has two points.
fn tiny() -> Matrices {
    let mut recorder = Recorder::default();
    let [y] = recorder.inputs([0u64.into()]);
    let x = recorder.witness(0u64.into());
    let square = recorder.mul("square", &x, &x);
    recorder.enforce("cube", &square, &x, &y);
    recorder.finish()
}

fn first_key() -> ProvingKey {
    let id = circuit::id(CircuitKind::Window, &dev());
    ProvingKey::from_bytes(&key_file(id, &tiny()), id, &NetworkParams::dev()).unwrap()
}

/// A ceremony under way.
#[derive(Clone)]
struct Ceremony {
    first: ProvingKey,
    key: ProvingKey,
    transcript: Transcript,
}

impl Ceremony {
    fn start() -> Self {
        let first = first_key();
        Self { transcript: Transcript::new(&first), key: first.clone(), first }
    }

    fn contribute(&mut self, seed: u8) {
        let hash = contribute(&mut self.key, &mut self.transcript, &[seed; 64]).unwrap();
        assert_eq!(hash, self.transcript.tip());
    }

    fn of(seeds: &[u8]) -> Self {
        let mut ceremony = Self::start();
        for &seed in seeds {
            ceremony.contribute(seed);
        }
        ceremony
    }

    /// A party that scales by `factor`, then changes the key as it likes and records the result properly.
    fn cheat(&mut self, factor: Fr, change: impl FnOnce(&mut ProvingKey)) {
        let secret = Secret { factor: Zeroizing::new(factor), base: Zeroizing::new(number("base", 0)) };
        let before = Delta::of(&self.key);
        let inverse = factor.inverse().unwrap_or(Fr::ZERO);
        scale_delta(&mut self.key, &factor);
        scale(&mut self.key.inner.h_query, &inverse);
        scale(&mut self.key.inner.l_query, &inverse);
        change(&mut self.key);
        let entry = Entry::new(self.transcript.tip(), before, &self.key, &secret);
        self.transcript.push(entry);
    }

    fn verify(&self) -> Result<(), Error> {
        verify_transcript(&self.first, &self.transcript, &self.key)
    }
}

fn factor() -> Fr {
    number("factor", 0)
}

fn proof_holds(key: &ProvingKey, under: &ProvingKey) -> bool {
    let x = Fr::from(3u64);
    let values = [Fr::ONE, x * x * x, x, x * x];
    let key = StoredKey::open(key.to_bytes(), key.of().circuit, &NetworkParams::dev()).unwrap();
    let proof = create(&key, &tiny(), &values, &Blinding::from_random(&[5; 128])).unwrap();
    let claim = Claim { inputs: vec![values[1]], proof: WellFormed::parse(&proof).unwrap() };
    under.verifying_key().verify(&claim).is_ok()
}

#[test]
fn three_contributions_hold_and_their_key_proves() {
    let ceremony = Ceremony::of(&[1, 2, 3]);
    assert_eq!(ceremony.verify(), Ok(()));
    assert_eq!(ceremony.transcript.entries().len(), 3);
    assert!(proof_holds(&ceremony.key, &ceremony.key));
    assert!(!proof_holds(&ceremony.key, &ceremony.first));
    assert!(!proof_holds(&ceremony.first, &ceremony.key));
    // Nothing that came out of the insecure setup passes for anything else.
    assert_eq!(ceremony.key.of(), ceremony.first.of());
}

#[test]
fn our_circuits_hold_too() {
    let first = crate::testing::ready(CircuitKind::Window).whole();
    let mut key = first.clone();
    let mut transcript = Transcript::new(&key);
    contribute(&mut key, &mut transcript, &[1; 64]).unwrap();
    assert_eq!(verify_transcript(&first, &transcript, &key), Ok(()));
    // One point in the middle of a long list.
    let mut cheat = Ceremony { transcript: Transcript::new(&first), key: first.clone(), first };
    cheat.cheat(factor(), |key| {
        let middle = key.inner.h_query.len() / 2;
        key.inner.h_query[middle] = key.inner.h_query[middle + 1];
    });
    assert_eq!(cheat.verify(), Err(Error::Scale(KeyPart::H)));
}

#[test]
fn the_same_randomness_gives_another_factor_at_another_place() {
    let ceremony = Ceremony::of(&[1, 1]);
    assert_eq!(ceremony.verify(), Ok(()));
    let [first, second] = ceremony.transcript.entries() else { panic!("two entries") };
    assert_ne!((first.s_scaled, first.r_scaled), (second.s_scaled, second.r_scaled));
    let previous = |byte| Blake3Hash::new([byte; 32]);
    assert_ne!(*Secret::draw(&[1; 64], &previous(1)).factor, *Secret::draw(&[1; 64], &previous(2)).factor);
}

#[test]
fn the_format_is_frozen() {
    // When this fails, transcripts made before do not verify any more: raise the version.
    let tip = Ceremony::of(&[1, 2]).transcript.tip();
    assert_eq!(tip.to_string(), "48c632b39a03a8a1ff8ca156bbf6f813ae33137893e6572352983ba15ad1db1a");
}

#[test]
fn contributions_go_to_the_key_that_the_transcript_ends_with() {
    let mut ceremony = Ceremony::of(&[1]);
    let mut stale = ceremony.first.clone();
    let transcript = ceremony.transcript.clone();
    let refused = contribute(&mut stale, &mut ceremony.transcript, &[2; 64]);
    assert_eq!(refused, Err(ContributeError::OtherKey));
    assert_eq!((&ceremony.transcript, &stale.inner), (&transcript, &ceremony.first.inner));
    let entry = ceremony.transcript.entries()[0].clone();
    ceremony.transcript.entries = vec![entry; ENTRIES_MAX];
    let refused = contribute(&mut ceremony.key, &mut ceremony.transcript, &[2; 64]);
    assert_eq!(refused, Err(ContributeError::Full));
}

#[test]
fn a_ceremony_without_contributions_is_none() {
    assert_eq!(Ceremony::start().verify(), Err(Error::Empty));
}

#[test]
fn lists_that_are_not_scaled_as_delta_are_caught() {
    type Change = fn(&mut ProvingKey, &Fr);
    let cases: [(KeyPart, Change); 5] = [
        // Only l is scaled: h is put back.
        (KeyPart::H, |key, factor| scale(&mut key.inner.h_query, factor)),
        (KeyPart::L, |key, factor| scale(&mut key.inner.l_query, factor)),
        (KeyPart::H, |key, _| key.inner.h_query.swap(0, 1)),
        (KeyPart::L, |key, _| key.inner.l_query[1] = G1Affine::identity()),
        (KeyPart::L, |key, _| key.inner.l_query[0] = G1Affine::generator()),
    ];
    for (index, (part, change)) in cases.into_iter().enumerate() {
        let mut ceremony = Ceremony::of(&[1]);
        ceremony.cheat(factor(), |key| change(key, &factor()));
        // An honest party afterwards heals nothing.
        ceremony.contribute(3);
        assert_eq!(ceremony.verify(), Err(Error::Scale(part)), "case {index}");
    }
}

#[test]
fn changes_to_anything_else_are_caught() {
    type Change = fn(&mut ProvingKey);
    let changes: [(KeyPart, Change); 12] = [
        (KeyPart::Header, |key| key.of.origin = crate::Origin::Ceremony),
        (KeyPart::Alpha, |key| key.inner.vk.alpha_g1 = G1Affine::generator()),
        (KeyPart::BetaG1, |key| key.inner.beta_g1 = G1Affine::generator()),
        (KeyPart::BetaG2, |key| key.inner.vk.beta_g2 = G2Affine::generator()),
        (KeyPart::Gamma, |key| key.inner.vk.gamma_g2 = G2Affine::generator()),
        (KeyPart::Inputs, |key| key.inner.vk.gamma_abc_g1[1] = G1Affine::generator()),
        (KeyPart::Inputs, |key| key.inner.vk.gamma_abc_g1.push(G1Affine::generator())),
        (KeyPart::A, |key| key.inner.a_query[1] = G1Affine::generator()),
        (KeyPart::BG1, |key| key.inner.b_g1_query[1] = G1Affine::generator()),
        (KeyPart::BG2, |key| key.inner.b_g2_query[1] = G2Affine::generator()),
        (KeyPart::H, |key| key.inner.h_query.push(G1Affine::identity())),
        (KeyPart::L, |key| key.inner.l_query.truncate(1)),
    ];
    for (part, change) in changes {
        let mut recorded = Ceremony::of(&[1]);
        recorded.cheat(factor(), change);
        assert_eq!(recorded.verify(), Err(Error::Changed(part)));
        // The same after the last entry was written.
        let mut later = Ceremony::of(&[1, 2]);
        change(&mut later.key);
        assert_eq!(later.verify(), Err(Error::OtherFinalKey), "{part}");
    }
}

/// A point of the curve outside the prime-order subgroup.
fn outside() -> G1Affine {
    (1u64..)
        .filter_map(|x| G1Affine::get_point_from_x_unchecked(Fq::from(x), false))
        .find(|point| !point.is_in_correct_subgroup_assuming_on_curve())
        .unwrap()
}

#[test]
fn points_outside_the_subgroup_are_caught() {
    let mut ceremony = Ceremony::of(&[1]);
    ceremony.cheat(factor(), |key| key.inner.h_query[0] = outside());
    assert_eq!(ceremony.verify(), Err(Error::OutsideSubgroup(KeyPart::H)));
    let mut ceremony = Ceremony::of(&[1]);
    ceremony.cheat(factor(), |key| key.inner.l_query[0] = G1Affine::new_unchecked(Fq::from(1), Fq::from(1)));
    assert_eq!(ceremony.verify(), Err(Error::OutsideSubgroup(KeyPart::L)));
    // Already in the first key, where every later one has it too.
    let mut first = first_key();
    first.inner.a_query[0] = outside();
    let mut ceremony = Ceremony { transcript: Transcript::new(&first), key: first.clone(), first };
    ceremony.contribute(1);
    assert_eq!(ceremony.verify(), Err(Error::OutsideSubgroup(KeyPart::A)));
    let mut ceremony = Ceremony::of(&[1]);
    ceremony.cheat(factor(), |key| {
        key.inner.delta_g1 = (key.inner.delta_g1 + outside()).into_affine();
    });
    assert_eq!(ceremony.verify(), Err(Error::Subgroup { entry: 1 }));
    assert_eq!(Transcript::from_bytes(&ceremony.transcript.to_bytes()), Err(DecodeError::Point { entry: 1 }));
}

#[test]
fn a_first_key_whose_deltas_differ_is_refused() {
    let changes: [fn(&mut ProvingKey); 3] = [
        |key| key.inner.delta_g1 = G1Affine::generator(),
        |key| key.inner.delta_g1 = outside(),
        |key| {
            key.inner.delta_g1 = G1Affine::identity();
            key.inner.vk.delta_g2 = G2Affine::identity();
        },
    ];
    for change in changes {
        let mut first = first_key();
        change(&mut first);
        let mut ceremony = Ceremony { transcript: Transcript::new(&first), key: first.clone(), first };
        ceremony.cheat(factor(), |_| {});
        assert_eq!(ceremony.verify(), Err(Error::InitialDelta));
    }
}

#[test]
fn factors_that_hide_nothing_are_caught() {
    let mut one = Ceremony::of(&[1]);
    one.cheat(Fr::ONE, |_| {});
    assert_eq!(one.verify(), Err(Error::Unchanged { entry: 1 }));
    let mut zero = Ceremony::of(&[1]);
    zero.cheat(Fr::ZERO, |_| {});
    assert_eq!(zero.verify(), Err(Error::Infinity { entry: 1 }));
    // Each point of an entry at infinity by itself, in an entry that is in order otherwise.
    let changes: [fn(&mut Entry); 5] = [
        |entry| entry.after.g1 = G1Affine::identity(),
        |entry| entry.after.g2 = G2Affine::identity(),
        |entry| entry.s = G1Affine::identity(),
        |entry| entry.s_scaled = G1Affine::identity(),
        |entry| entry.r_scaled = G2Affine::identity(),
    ];
    for change in changes {
        let mut ceremony = Ceremony::of(&[1]);
        change(&mut ceremony.transcript.entries[0]);
        assert_eq!(ceremony.verify(), Err(Error::Infinity { entry: 0 }));
    }
}

#[test]
fn wrong_proofs_of_knowledge_are_caught() {
    let changes: [fn(&mut Entry); 5] = [
        |entry| entry.r_scaled = G2Affine::generator(),
        |entry| entry.s = G1Affine::generator(),
        |entry| entry.s_scaled = G1Affine::generator(),
        |entry| entry.after.g1 = G1Affine::generator(),
        // The proof covers the key that came out, too.
        |entry| entry.parameters = Blake3Hash::new([7; 32]),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut ceremony = Ceremony::of(&[1, 2]);
        change(&mut ceremony.transcript.entries[1]);
        assert_eq!(ceremony.verify(), Err(Error::Knowledge { entry: 1 }), "change {index}");
    }
}

#[test]
fn deltas_that_are_not_what_was_shown_are_caught() {
    // Knowledge of one factor is shown while delta is scaled by another.
    let mut ceremony = Ceremony::of(&[1]);
    ceremony.cheat(factor(), |key| scale_delta(key, &factor()));
    assert_eq!(ceremony.verify(), Err(Error::Factor { entry: 1 }));
    let mut ceremony = Ceremony::of(&[1]);
    ceremony.cheat(factor(), |key| key.inner.vk.delta_g2 = G2Affine::generator());
    assert_eq!(ceremony.verify(), Err(Error::Groups { entry: 1 }));
}

#[test]
fn entries_stay_where_they_were_made() {
    let honest = Ceremony::of(&[1, 2, 3]);
    let with = |entries: &[usize]| {
        let mut changed = honest.clone();
        changed.transcript.entries =
            entries.iter().map(|&index| honest.transcript.entries[index].clone()).collect();
        changed.verify()
    };
    assert_eq!(with(&[0, 1, 2]), Ok(()));
    for (entries, entry) in [(&[0, 0, 1, 2][..], 1), (&[0, 1, 2, 2], 3), (&[1, 0, 2], 0), (&[0, 2, 1], 1)] {
        assert_eq!(with(entries), Err(Error::Link { entry }), "{entries:?}");
    }
    for (entries, entry) in [(&[0, 2][..], 1), (&[1, 2], 0), (&[2], 0)] {
        assert_eq!(with(entries), Err(Error::Link { entry }), "{entries:?}");
    }
    // The end cut off: nothing but the key shows it.
    assert_eq!(with(&[0, 1]), Err(Error::FinalDelta));
    assert_eq!(with(&[]), Err(Error::Empty));
}

#[test]
fn replayed_entries_that_are_linked_anew_are_caught() {
    let honest = Ceremony::of(&[1, 2]);
    let mut replay = honest.transcript.entries[0].clone();
    replay.previous = honest.transcript.tip();
    let mut ceremony = honest.clone();
    ceremony.transcript.push(replay.clone());
    assert_eq!(ceremony.verify(), Err(Error::Before { entry: 2 }));
    // Somebody else's proof under one's own claim: the challenge is another one.
    replay.before = Delta::of(&honest.key);
    let mut ceremony = honest;
    ceremony.transcript.push(replay);
    assert_eq!(ceremony.verify(), Err(Error::Knowledge { entry: 2 }));
}

#[test]
fn keys_and_transcripts_of_two_ceremonies_do_not_mix() {
    let (ours, theirs) = (Ceremony::of(&[1, 2]), Ceremony::of(&[1, 9]));
    let mixed = Ceremony { key: theirs.key.clone(), ..ours.clone() };
    assert_eq!(mixed.verify(), Err(Error::FinalDelta));
    let mixed = Ceremony { first: ours.key.clone(), ..ours.clone() };
    assert_eq!(mixed.verify(), Err(Error::OtherInitialKey));
    let mut mixed = ours;
    mixed.transcript.entries[1] = Ceremony::of(&[8, 9]).transcript.entries[1].clone();
    assert_eq!(mixed.verify(), Err(Error::Link { entry: 1 }));
}

#[test]
fn transcripts_round_trip() {
    for seeds in [&[][..], &[1], &[1, 2, 3]] {
        let transcript = Ceremony::of(seeds).transcript;
        let bytes = transcript.to_bytes();
        assert_eq!(bytes.len(), 24 + 4 + 32 + 4 + 544 * seeds.len() + 32);
        assert_eq!(Transcript::from_bytes(&bytes), Ok(transcript));
    }
}

/// Replaces the hash at the end by the right one, as whoever writes files on purpose can.
fn resealed(mut file: Vec<u8>) -> Vec<u8> {
    file.truncate(file.len() - 32);
    let hash = blake3::hash(&file);
    file.extend(hash.as_bytes());
    file
}

#[test]
fn cut_and_flipped_transcripts_are_refused_without_panic() {
    let ceremony = Ceremony::of(&[1]);
    let file = ceremony.transcript.to_bytes();
    for end in 0..file.len() {
        assert!(Transcript::from_bytes(&file[..end]).is_err(), "cut at {end}");
        if end >= 32 {
            assert!(Transcript::from_bytes(&resealed(file[..end].to_vec())).is_err(), "cut at {end}");
        }
    }
    for position in 0..file.len() {
        for flip in [1, 0x80] {
            let mut flipped = file.clone();
            flipped[position] ^= flip;
            assert!(Transcript::from_bytes(&flipped).is_err(), "byte {position}");
            // With a right hash the form protects, and behind it the check.
            if position >= file.len() - 32 {
                continue;
            }
            if let Ok(transcript) = Transcript::from_bytes(&resealed(flipped)) {
                let changed = Ceremony { transcript, ..ceremony.clone() };
                assert!(changed.verify().is_err(), "byte {position} by {flip:#x}");
            }
        }
    }
    let with = |position: usize, bytes: &[u8]| {
        let mut changed = file.clone();
        changed[position..position + bytes.len()].copy_from_slice(bytes);
        Transcript::from_bytes(&resealed(changed)).unwrap_err()
    };
    assert_eq!(with(0, b"h"), DecodeError::Magic);
    assert_eq!(with(24, &[2, 0, 0, 0]), DecodeError::Version(2));
    assert_eq!(with(60, &1025u32.to_le_bytes()), DecodeError::Count(1025));
    assert_eq!(with(60, &[0xff; 4]), DecodeError::Count(u32::MAX));
    assert_eq!(with(60, &[2, 0, 0, 0]), DecodeError::Length { got: 640, expected: 1184 });
    assert_eq!(with(64 + 32, &[0xff; 48]), DecodeError::Point { entry: 0 });
    // Infinity with a coordinate: a second encoding of a point.
    assert_eq!(with(64 + 32, &[0xc0, 1]), DecodeError::Point { entry: 0 });
    let mut damaged = file.clone();
    damaged[70] ^= 1;
    assert_eq!(Transcript::from_bytes(&damaged), Err(DecodeError::Hash));
}
