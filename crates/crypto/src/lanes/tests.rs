use ark_ff::{AdditiveGroup, Field, PrimeField};

use super::*;
use crate::field::from_hash;

/// Zero, one, the largest, powers of two near the seams of limbs and words, and elements of a seed.
fn elements(seed: u64, count: usize) -> Vec<Fr> {
    let powers = [26, 29, 51, 52, 53, 63, 64, 104, 128, 156, 192, 208, 232, 253, 254];
    let mut all = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(2u64).inverse().unwrap()];
    for power in powers {
        let element = Fr::from(2u64).pow([power]);
        all.extend([element, element - Fr::ONE, -element, element.inverse().unwrap()]);
    }
    for index in 0u64.. {
        if all.len() >= count {
            break;
        }
        all.push(from_hash("hpips/test/lanes/v1", &[&seed.to_le_bytes(), &index.to_le_bytes()]));
    }
    // Mixed, so that edges meet in one state and not in the same lanes every time.
    crate::draw::Draw::new("hpips/test/lanes-mix/v1", &[&seed.to_le_bytes()]).shuffle(&mut all);
    all.truncate(count);
    all
}

fn states<const T: usize>(seed: u64, count: usize) -> Vec<[Fr; T]> {
    let mut all: Vec<[Fr; T]> = vec![[Fr::ZERO; T], [-Fr::ONE; T], [Fr::ONE; T]];
    all.extend(elements(seed, count * T).chunks_exact(T).map(|state| <[Fr; T]>::try_from(state).unwrap()));
    all.truncate(count);
    all
}

fn check<const T: usize>(kernel: Kernel) {
    for seed in 0..20 {
        for count in [0, 1, 2, 3, 4, 7, 8, 9, 40] {
            let inputs = states::<T>(seed, count);
            let mut permuted = inputs.clone();
            kernel.permute(&mut permuted);
            let mut expected = inputs.clone();
            expected.iter_mut().for_each(poseidon2::permute_any);
            assert_eq!(permuted, expected, "{kernel:?}, width {T}, seed {seed}, {count} states");

            let sums: Vec<Fr> = expected.iter().zip(&inputs).map(|(out, first)| out[0] + first[0]).collect();
            let numbers: Vec<Canonical> = sums.iter().copied().map(Canonical::from).collect();
            let canonical: Vec<[Canonical; T]> =
                inputs.iter().map(|state| state.map(Canonical::from)).collect();
            let (mut a, mut b) = (vec![Fr::ONE; count], vec![Canonical::ZERO; count]);
            kernel.compress(&inputs, &mut a);
            kernel.compress(&inputs, &mut b);
            assert_eq!((&a, &b), (&sums, &numbers), "{kernel:?}, width {T}, seed {seed}, {count} states");
            kernel.compress(&canonical, &mut a);
            kernel.compress(&canonical, &mut b);
            assert_eq!((&a, &b), (&sums, &numbers), "{kernel:?}, width {T}, seed {seed}, {count} states");
        }
    }
}

#[test]
fn every_kernel_equals_the_scalar_permutation() {
    for kernel in Kernel::available() {
        check::<3>(kernel);
        check::<4>(kernel);
        check::<8>(kernel);
    }
}

#[test]
fn numbers_are_canonical_only() {
    let modulus: [u8; 32] = crate::field::integer_bytes(&Fr::MODULUS);
    assert_eq!(Canonical::from_bytes(&modulus), None);
    assert_eq!(Canonical::from_bytes(&[0xff; 32]), None);
    for element in elements(1, 200) {
        let number = Canonical::from(element);
        assert_eq!(number.to_bytes(), crate::field::to_bytes(&element).to_bytes());
        assert_eq!(Canonical::from_bytes(&number.to_bytes()), Some(number));
        assert_eq!(Fr::from(number), element);
    }
    let data = [0xff; 31];
    assert_eq!(Fr::from(Canonical::from_data(&data)), crate::field::element(&data));
    assert_eq!(Fr::from(Canonical::from_data(b"short")), crate::field::element(b"short"));
}

#[test]
#[should_panic(expected = "an output for each input")]
fn outputs_are_as_many_as_inputs() {
    compress(&[[Fr::ONE; 8]; 2], &mut [Fr::ONE; 3]);
}
