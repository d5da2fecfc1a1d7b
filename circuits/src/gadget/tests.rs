use ark_ff::{AdditiveGroup, Field};
use hpips_crypto::merkle::Tree;
use hpips_crypto::{Fr, field, poseidon2 as native};

use super::{bits, merkle, poseidon2};
use crate::builder::{Assigner, Builder, Recorder};

fn numbers(name: &str, count: usize) -> Vec<Fr> {
    (0..count)
        .map(|i| field::from_hash("hpips/test/gadget/v1", &[name.as_bytes(), &i.to_le_bytes()]))
        .collect()
}

/// Runs a circuit both ways; checks the number of constraints, that they hold and that no variable is loose.
macro_rules! run {
    ($constraints:expr, |$builder:ident| $body:expr) => {{
        let $builder = &mut Recorder::default();
        let _ = $body;
        let matrices = core::mem::take($builder).finish();
        let $builder = &mut Assigner::default();
        let result = $body;
        let values = core::mem::take($builder).finish().unwrap();
        assert_eq!(matrices.constraints(), $constraints);
        assert_eq!(matrices.first_violated(&values), None);
        assert_eq!(matrices.loose_variables(&values), Vec::<usize>::new());
        assert_eq!(values.len(), matrices.variables());
        result
    }};
}

fn witnesses<B: Builder, const T: usize>(builder: &mut B, values: &[Fr]) -> [B::Number; T] {
    core::array::from_fn(|i| builder.witness(values[i]))
}

#[test]
fn permutations_and_compressions_equal_their_twins() {
    for seed in ["a", "b"] {
        let x = numbers(seed, 8);
        let [a, b, c] = [x[0], x[1], x[2]];
        let got = run!(240, |builder| {
            let inputs = witnesses::<_, 3>(builder, &x);
            poseidon2::compress(builder, &inputs)
        });
        assert_eq!(got, native::h3(a, b, c));
        let got = run!(264, |builder| {
            let inputs = witnesses::<_, 4>(builder, &x);
            poseidon2::compress(builder, &inputs)
        });
        assert_eq!(got, native::h4(x[..4].try_into().unwrap()));
        let got = run!(363, |builder| {
            let inputs = witnesses::<_, 8>(builder, &x);
            poseidon2::compress(builder, &inputs)
        });
        let x: [Fr; 8] = x.try_into().unwrap();
        assert_eq!(got, native::h8(&x));
        let got = run!(363, |builder| {
            let mut state = witnesses::<_, 8>(builder, &x);
            poseidon2::permute(builder, &mut state);
            state
        });
        let mut expected = x;
        native::permute8(&mut expected);
        assert_eq!(got, expected);
    }
}

#[test]
fn sponges_equal_their_twin_at_every_length() {
    for length in [0usize, 1, 6, 7, 8, 14, 15, 20] {
        let x = numbers("sponge", length);
        let got = run!(363 * length.div_ceil(7).max(1), |builder| {
            let elements: Vec<_> = x.iter().map(|value| builder.witness(*value)).collect();
            poseidon2::sponge(builder, &elements)
        });
        assert_eq!(got, native::sponge8(&x), "{length}");
    }
}

#[test]
fn openings_equal_their_twin_at_every_position() {
    let leaves = numbers("leaves", 60);
    let tree = Tree::build(&leaves, 2);
    for index in 0..64u64 {
        let leaf = leaves.get(usize::try_from(index).unwrap()).copied().unwrap_or(Fr::ZERO);
        let path = tree.open(index);
        let got = run!(2 * 370 + 6, |builder| {
            let bits = bits::allocate(builder, index, 6);
            let leaf = builder.witness(leaf);
            merkle::root(builder, &leaf, &path.siblings, &bits, "leaf")
        });
        assert_eq!(got, tree.root(), "{index}");
    }
}

#[test]
fn another_position_or_child_does_not_satisfy_the_selection() {
    let leaves = numbers("leaves", 8);
    let path = Tree::build(&leaves, 1).open(3);
    let circuit = |builder: &mut Assigner, index: u64| {
        let bits = bits::allocate(builder, index, 3);
        let leaf = builder.witness(leaves[3]);
        merkle::root(builder, &leaf, &path.siblings, &bits, "selected")
    };
    let recorder = &mut Recorder::default();
    let bits = bits::allocate(recorder, 0, 3);
    let leaf = recorder.witness(Fr::ZERO);
    merkle::root(recorder, &leaf, &path.siblings, &bits, "selected");
    let matrices = core::mem::take(recorder).finish();
    let mut assigner = Assigner::default();
    circuit(&mut assigner, 3);
    let honest = assigner.into_values();
    assert_eq!(matrices.first_violated(&honest), None);
    // Bits of another position over the same children select another child.
    for index in (0..8u64).filter(|index| *index != 3) {
        let mut values = honest.clone();
        for bit in 0..3 {
            values[1 + bit] = Fr::from(index >> bit & 1);
        }
        assert!(matrices.first_violated(&values).is_some(), "{index}");
    }
    // A position that is not a bit is refused before it selects anything.
    let mut values = honest;
    values[1] = Fr::ONE.double();
    assert!(matrices.first_violated(&values).is_some_and(|row| row < 3));
}

#[test]
fn packed_bits_are_the_number() {
    for number in [0u64, 1, 5, 0b1011_0110, u64::MAX] {
        let mut builder = Assigner::default();
        let bits = bits::allocate(&mut builder, number, 64);
        assert_eq!(bits::pack(&builder, &bits), Fr::from(number));
        builder.finish().unwrap();
    }
}
