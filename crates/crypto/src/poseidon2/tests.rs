use ark_ff::PrimeField;
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

/// The reference's width 8 has the same rounds with another diagonal: it checks the generic rounds apart from
/// the small diagonal.
#[test]
fn rounds_of_width_eight_equal_the_reference() {
    let vectors = vectors();
    let diagonal = elements(&vectors["instances"]["8"]["internal_diagonal_minus_one"]);
    let answer = &vectors["known_answers"]["8"];
    let mut state: [Fr; 8] = elements(&answer["input"]).try_into().unwrap();
    permute(&mut state, &constants::WIDTH_8, external_eight, |state| {
        let sum: Fr = state.iter().sum();
        for (lane, factor) in state.iter_mut().zip(&diagonal) {
            *lane = *lane * factor + sum;
        }
    });
    assert_eq!(elements(&answer["output"]), state);
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

/// Prints the speed of one permutation of width 8; `cargo test -p hpips-crypto speed -- --ignored --nocapture`.
#[test]
#[ignore = "prints a measurement"]
fn speed_of_width_eight_slow() {
    let mut state = lanes::<8>();
    let count = 20_000u32;
    let start = std::time::Instant::now();
    for _ in 0..count {
        permute8(&mut state);
    }
    println!("permute8: {:?} each ({})", start.elapsed() / count, hex_of(state[0]));
}
