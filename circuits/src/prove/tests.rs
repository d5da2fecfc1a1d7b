use std::io;

use ark_bls12_381::Bls12_381;
use ark_ff::Field;
use ark_groth16::Groth16;
use ark_groth16::r1cs_to_qap::LibsnarkReduction;
use hpips_proofs::{CircuitKind, Shape};
use hpips_types::NetworkParams;

use super::*;
use crate::builder::{Builder, Recorder};
use crate::testing::{dev, key_file, ready, window};
use crate::{ProvingKey, circuit};

/// The proof that `ark-groth16` makes from its own form of key and matrices.
fn reference(key: &ProvingKey, matrices: &Matrices, values: &[Fr], blinding: &Blinding) -> ProofBytes {
    let rows = |matrix| {
        (0..matrices.constraints()).map(move |row| {
            matrices.row(matrix, row).map(|(column, factor)| (factor, column)).collect::<Vec<_>>()
        })
    };
    let proof = Groth16::<Bls12_381, LibsnarkReduction>::create_proof_with_reduction_and_matrices(
        &key.inner,
        blinding.r,
        blinding.s,
        &[0, 1, 2].map(|matrix| rows(matrix).collect()),
        matrices.inputs() + 1,
        matrices.constraints(),
        values,
    );
    encode(&proof.unwrap())
}

#[test]
fn proofs_are_those_of_ark_groth16_byte_for_byte() {
    let ready = ready(CircuitKind::Window);
    let whole = ready.whole();
    let (statement, witness) = window(dev(), 8);
    let values = crate::window::assign(&statement, &witness).unwrap();
    // Values that satisfy nothing give the same useless proof, too.
    let mut wrong = values.clone();
    wrong[5] += Fr::ONE;
    let drawn = Blinding::from_random(&[9; 128]);
    let none = Blinding { r: Fr::from(0u64), s: Fr::from(0u64) };
    let half = Blinding { r: Fr::ONE, s: Fr::from(0u64) };
    for (values, blinding) in [(&values, &drawn), (&values, &none), (&wrong, &half)] {
        let proof = create(&ready.key, &ready.matrices, values, blinding).unwrap();
        assert_eq!(proof, reference(&whole, &ready.matrices, values, blinding));
    }
}

/// Bytes that are there when the key is opened, and end early or fail later.
struct Failing {
    file: Vec<u8>,
    good: std::sync::atomic::AtomicUsize,
}

impl KeySource for Failing {
    fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        use std::sync::atomic::Ordering;
        if self.good.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_at(offset, into)
    }
}

/// `x * x = y`.
fn square() -> Matrices {
    let mut recorder = Recorder::default();
    let [y] = recorder.inputs([Fr::from(0u64)]);
    let x = recorder.witness(Fr::from(0u64));
    recorder.enforce("square", &x, &x, &y);
    recorder.finish()
}

#[test]
fn a_key_that_ends_or_changes_under_its_reader_is_an_error() {
    let id = circuit::id(CircuitKind::Window, &dev());
    let (matrices, values) = (square(), [1u64, 9, 3].map(Fr::from));
    let blinding = Blinding::from_random(&[1; 128]);
    let file = key_file(id, &matrices);
    let open = |good| StoredKey::open(Failing { file: file.clone(), good }, id, &NetworkParams::dev());
    let ended = KeyError::Read(io::ErrorKind::UnexpectedEof);
    // The body, its hash, the header; then five lists.
    for good in 0..3usize {
        assert_eq!(open(good.into()).err(), Some(ended.clone()), "{good} reads");
    }
    for good in 3..8usize {
        let refused = create(&open(good.into()).unwrap(), &matrices, &values, &blinding);
        assert_eq!(refused, Err(CreateError::Key(ended.clone())), "{good} reads");
    }
    create(&open(8.into()).unwrap(), &matrices, &values, &blinding).unwrap();

    // An encoding that is no point, under a right hash.
    let mut broken = file;
    broken.truncate(broken.len() - 32);
    let last = broken.len() - 96;
    broken[last..].fill(0xff);
    broken.extend(*blake3::hash(&broken).as_bytes());
    let key = StoredKey::open(broken, id, &NetworkParams::dev()).unwrap();
    assert_eq!(create(&key, &matrices, &values, &blinding), Err(CreateError::Key(KeyError::Point)));
}

#[test]
fn keys_with_other_numbers_of_points_are_refused() {
    let id = circuit::id(CircuitKind::Window, &dev());
    let blinding = Blinding::from_random(&[1; 128]);
    let key = StoredKey::open(key_file(id, &square()), id, &NetworkParams::dev()).unwrap();
    // One more of each: a row, a witness variable, a public input.
    let mut rows = Recorder::default();
    let [y] = rows.inputs([Fr::from(0u64)]);
    let x = rows.witness(Fr::from(0u64));
    for _ in 0..3 {
        rows.enforce("square", &x, &x, &y);
    }
    let mut witness = Recorder::default();
    let [y] = witness.inputs([Fr::from(0u64)]);
    let x = witness.witness(Fr::from(0u64));
    witness.witness(Fr::from(0u64));
    witness.enforce("square", &x, &x, &y);
    let mut inputs = Recorder::default();
    let [x, y] = inputs.inputs([Fr::from(0u64); 2]);
    inputs.enforce("square", &x, &x, &y);
    for (matrices, values) in [(rows, 3), (witness, 4), (inputs, 3)].map(|(r, n)| (r.finish(), n)) {
        let refused = create(&key, &matrices, &vec![Fr::ONE; values], &blinding);
        assert_eq!(refused, Err(CreateError::OtherConstraints));
    }
}

/// The table in docs/proofs.md, "Sizes".
#[test]
fn sizes_of_all_networks() {
    let (dev, testnet, main) = (NetworkParams::dev(), NetworkParams::testnet(), NetworkParams::main());
    for (params, kind, constraints, domain_log) in [
        (&dev, CircuitKind::Window, 12_714, 14),
        (&dev, CircuitKind::Activation, 23_134, 15),
        (&testnet, CircuitKind::Window, 119_754, 17),
        (&testnet, CircuitKind::Activation, 276_272, 19),
        (&main, CircuitKind::Window, 518_928, 19),
        (&main, CircuitKind::Activation, 1_039_955, 20),
    ] {
        let shape = Shape::of(params).unwrap();
        let counted = match kind {
            CircuitKind::Window => crate::window::constraints(&shape),
            CircuitKind::Activation => crate::activation::constraints(&shape),
        };
        let matrices = circuit::matrices(kind, &shape);
        assert_eq!(
            (counted, matrices.constraints()),
            (constraints, constraints),
            "{kind:?} of {}",
            params.name
        );
        assert_eq!(qap::domain(&matrices).unwrap().size(), 1 << domain_log, "{kind:?} of {}", params.name);
        let bytes = proving_bytes(&matrices);
        println!(
            "{kind:?} of {}: {} variables, {} factors, {} MB of matrices, {} MB to prove",
            params.name,
            matrices.variables(),
            matrices.nonzeros(),
            matrices.bytes() / 1_000_000,
            bytes / 1_000_000
        );
        // 1.3 GiB, the limit of the design for the window of `main`.
        assert!(bytes <= 1_395_864_371, "{bytes} bytes for {kind:?} of {}", params.name);
    }
}
