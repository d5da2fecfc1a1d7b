use ark_ff::{Field, PrimeField};
use serde_json::Value;

use super::*;
use crate::field::to_bytes;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../tests/vectors/poseidon2-bls12-381.json")).unwrap()
}

fn element(value: &Value) -> Fr {
    if let Some(number) = value.as_i64() {
        return Fr::from(number);
    }
    let bytes = hex::decode(value.as_str().unwrap().trim_start_matches("0x")).unwrap();
    Fr::from_be_bytes_mod_order(&bytes)
}

fn elements(value: &Value) -> Vec<Fr> {
    value.as_array().unwrap().iter().map(element).collect()
}

fn rows(value: &Value) -> Vec<Vec<Fr>> {
    value.as_array().unwrap().iter().map(elements).collect()
}

fn check<const T: usize>(constants: &str, name: &str, permute: fn(&mut [Fr; T])) {
    let vectors = vectors();
    let instance = instance::<T>();
    let numbers = &vectors["instances"][constants];
    assert_eq!(rows(&numbers["round_constants_full_first"]), instance.first().map(Vec::from), "{name}");
    assert_eq!(elements(&numbers["round_constants_partial"]), instance.partial(), "{name}");
    assert_eq!(rows(&numbers["round_constants_full_last"]), instance.last().map(Vec::from), "{name}");
    let diagonal = &vectors["instances"][name]["internal_diagonal_minus_one"];
    assert_eq!(elements(diagonal), instance.diagonal(), "{name}");

    let answer = &vectors["known_answers"][name];
    let mut state: [Fr; T] = elements(&answer["input"]).try_into().unwrap();
    permute(&mut state);
    assert_eq!(elements(&answer["output"]), state, "{name}");
}

#[test]
fn constants_and_known_answers_equal_the_published_ones() {
    check::<2>("2", "2", permute2);
    check::<3>("3", "3", permute3);
    check::<4>("4", "4", permute4);
    check::<8>("8", "8-small", permute8);
}

/// The permutation as the paper has it, an addition at a time.
mod plain {
    use ark_ff::{AdditiveGroup, Field};

    use super::super::*;

    pub(super) fn permute<const T: usize>(
        state: &mut [Fr; T],
        instance: &Instance<T>,
        external: impl Fn(&mut [Fr; T]),
        internal: impl Fn(&mut [Fr; T]),
    ) {
        let full = |state: &mut [Fr; T], constants: &[Fr; T]| {
            for (lane, constant) in state.iter_mut().zip(constants) {
                *lane += constant;
                *lane = fifth_power(lane);
            }
            external(state);
        };
        external(state);
        for constants in &instance.first {
            full(state, constants);
        }
        for constant in instance.partial {
            state[0] += constant;
            state[0] = fifth_power(&state[0]);
            internal(state);
        }
        for constants in &instance.last {
            full(state, constants);
        }
    }

    fn fifth_power(x: &Fr) -> Fr {
        x.square().square() * x
    }

    /// External matrix of widths 2 and 3: all ones plus the identity.
    pub(super) fn external_sum<const T: usize>(state: &mut [Fr; T]) {
        let sum: Fr = state.iter().sum();
        for lane in state {
            *lane += sum;
        }
    }

    /// The matrix M4 of the paper: rows (5 7 1 3), (4 6 1 1), (1 3 5 7), (1 1 4 6).
    pub(super) fn external_four(lanes: &mut [Fr; 4]) {
        let [a, b, c, d] = *lanes;
        let t0 = a + b;
        let t1 = c + d;
        let t2 = b.double() + t1;
        let t3 = d.double() + t0;
        let t4 = t1.double().double() + t3;
        let t5 = t0.double().double() + t2;
        *lanes = [t3 + t5, t5, t2 + t4, t4];
    }

    /// External matrix of width 8: M4 on both halves, then each half plus the sum of both.
    pub(super) fn external_eight(state: &mut [Fr; 8]) {
        let (low, high) = state.split_at_mut(4);
        let low: &mut [Fr; 4] = low.try_into().expect("half of eight");
        let high: &mut [Fr; 4] = high.try_into().expect("half of eight");
        external_four(low);
        external_four(high);
        for (a, b) in low.iter_mut().zip(high) {
            let sum = *a + *b;
            *a += sum;
            *b += sum;
        }
    }

    /// The internal matrix as the instance has it.
    pub(super) fn internal<const T: usize>(state: &mut [Fr; T]) {
        let sum: Fr = state.iter().sum();
        for (lane, factor) in state.iter_mut().zip(instance::<T>().diagonal()) {
            *lane = *lane * factor + sum;
        }
    }
}

/// The reference's width 8 has the same rounds with another diagonal: it checks the generic rounds apart from
/// the small diagonal.
#[test]
fn rounds_of_width_eight_equal_the_reference() {
    let vectors = vectors();
    let diagonal = elements(&vectors["instances"]["8"]["internal_diagonal_minus_one"]);
    let answer = &vectors["known_answers"]["8"];
    let mut state: [Fr; 8] = elements(&answer["input"]).try_into().unwrap();
    plain::permute(&mut state, &constants::WIDTH_8, plain::external_eight, |state| {
        let sum: Fr = state.iter().sum();
        for (lane, factor) in state.iter_mut().zip(&diagonal) {
            *lane = *lane * factor + sum;
        }
    });
    assert_eq!(elements(&answer["output"]), state);
}

#[test]
fn fast_permutations_equal_the_plain_ones() {
    fn check<const T: usize>(external: fn(&mut [Fr; T])) {
        let edges = [Fr::ZERO, Fr::from(1u64), -Fr::from(1u64), Fr::from(2u64).inverse().unwrap()];
        for seed in 0..300u64 {
            let state: [Fr; T] = core::array::from_fn(|lane| {
                let number = seed * 8 + u64::try_from(lane).unwrap();
                let edge = usize::try_from(number * number % 7).unwrap();
                let random = || crate::field::from_hash("hpips/test/permute/v1", &[&number.to_le_bytes()]);
                edges.get(edge).copied().unwrap_or_else(random)
            });
            let (mut fast, mut slow) = (state, state);
            permute_any(&mut fast);
            plain::permute(&mut slow, instance::<T>(), external, plain::internal);
            assert_eq!(fast, slow, "width {T}, seed {seed}");
        }
    }
    check::<2>(plain::external_sum);
    check::<3>(plain::external_sum);
    check::<4>(plain::external_four);
    check::<8>(plain::external_eight);
}

fn lanes<const T: usize>() -> [Fr; T] {
    core::array::from_fn(|lane| Fr::from(u64::try_from(lane).unwrap() + 1))
}

fn hex_of(element: Fr) -> String {
    hex::encode(to_bytes(&element).as_bytes())
}

#[test]
fn compressions_and_sponge_are_frozen() {
    let [a, b, c] = lanes();
    let list: Vec<Fr> = lanes::<20>().to_vec();
    for (value, expected) in [
        (h3(a, b, c), "95c0e4ede2dd645a5730985ab5a6f7c20fcee16673ab0ca3b23cbee73c7c5820"),
        (h4(&lanes()), "f1ba20e042f205c79240d30883491e13e8df89f758696afc7b9c27b41c29b241"),
        (h8(&lanes()), "9a8a921f4ea747f9af5822e578edcc8ffa93561db8b5bf42a02fefb3f511e93c"),
        (sponge8(&[]), "1ba4e0478f852b31e35d91b68ddff6a340ddac3ede857890486260d3297f5323"),
        (sponge8(&list[..1]), "fa320d5604c8466d5c0959d85fde0c10fa9dd1c41cf0bdf0776d620c1e4d4f4d"),
        (sponge8(&list[..7]), "bb32582c56faa05ab0a465eae6ca216e33e1a3efd1d23461eb1cade0dda29516"),
        (sponge8(&list), "e98dff9cf5b6258f50252efa724d7ce0992ef5a32456bfca024ae28d98332007"),
    ] {
        assert_eq!(hex_of(value), expected);
    }
}

#[test]
fn the_sponge_is_what_its_words_say() {
    let list: Vec<Fr> = lanes::<20>().to_vec();
    for length in 0..list.len() {
        let mut state = [Fr::ZERO; 8];
        let mut groups: Vec<&[Fr]> = list[..length].chunks(7).collect();
        if groups.is_empty() {
            groups.push(&[]);
        }
        for group in groups {
            for (lane, element) in state[1..].iter_mut().zip(group) {
                *lane += element;
            }
            permute8(&mut state);
        }
        assert_eq!(sponge8(&list[..length]), state[1], "{length}");
    }
}
