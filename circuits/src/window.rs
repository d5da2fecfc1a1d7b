//! The window circuit, the twin of [`VanillaWindow::check_native`].
//!
//! Public inputs: set root, challenge digest, leaf commitment, tag.
//!
//! | constraints | what they demand |
//! |---|---|
//! | for each challenge: | |
//! | 24 + 3 d | the bits of leaf index and record index are zero or one |
//! | 8 * 370 | the leaf opens at the leaf index in `comm_r`, which follows from it |
//! | 264 | the record is `H4(comm_r, comm_d, rid, meta)` |
//! | 370 d | the record opens at the record index in a root, which follows from it |
//! | 1 | that root is the set root |
//! | once: | |
//! | 363 for every 7 elements, 1 | the packed bits of all challenges hash to the challenge digest |
//! | 363 for every 7 leaves, 1 | the leaves hash to the leaf commitment |
//! | 1 | the square of the tag is a witness, so that no proof is independent of the tag |
//!
//! `d` is the set depth. `comm_d`, `rid` and `meta` are free here: the verifier computed the set root from
//! records that it knows, so a collision-resistant hash leaves the prover one choice.

use ark_ff::AdditiveGroup;
use hpips_crypto::Fr;
use hpips_crypto::merkle::Path;
use hpips_proofs::record::RecordParts;
use hpips_proofs::shape::LEAF_DEPTH;
use hpips_proofs::statement::WindowStatement;
use hpips_proofs::vanilla::{LeafOpening, RecordOpening, VanillaWindow, WindowWitness};
use hpips_proofs::{Shape, WindowChallenge};
use hpips_types::RecordIndex;

use crate::assign::{AssignError, check_count, check_depth};
use crate::builder::{Assigner, Builder, Recorder};
use crate::gadget::{bits, merkle, poseidon2};

/// Public inputs.
pub const INPUTS: usize = 4;

/// Number of constraints at a shape, by the table above.
pub fn constraints(shape: &Shape) -> usize {
    let challenges = usize::from(shape.window_challenges());
    let depth = usize::from(shape.set_depth());
    let per_element = usize::try_from(shape.window_per_element()).expect("at most 252");
    let each = 24 + 3 * depth + 8 * 370 + 264 + 370 * depth + 1;
    let digest = 363 * challenges.div_ceil(per_element).div_ceil(7) + 1;
    let leaves = 363 * challenges.div_ceil(7) + 1;
    challenges * each + digest + leaves + 1
}

/// All values of a proof of this statement: one, public inputs, witness.
///
/// # Errors
/// [`AssignError::Unsatisfied`] when the witness does not show the statement, at no cost of a proof; the
/// other variants when the two have nothing to do with each other.
pub fn assign(statement: &WindowStatement, witness: &VanillaWindow) -> Result<Vec<Fr>, AssignError> {
    let challenges = statement.terms.challenges()?;
    let mut assigner = Assigner::default();
    let shape = &statement.terms.shape;
    check(shape, &challenges, &witness.challenges)?;
    synthesize(&mut assigner, shape, statement.public_inputs()?, &challenges, &witness.challenges);
    Ok(assigner.finish()?)
}

fn check(
    shape: &Shape,
    challenges: &[WindowChallenge],
    witness: &[WindowWitness],
) -> Result<(), AssignError> {
    check_count(witness.len(), challenges.len())?;
    for (index, witness) in witness.iter().enumerate() {
        check_depth(index, &witness.leaf.path, LEAF_DEPTH)?;
        check_depth(index, &witness.record.path, shape.set_depth())?;
    }
    Ok(())
}

/// Records the constraints of a shape.
pub(crate) fn record(recorder: &mut Recorder, shape: &Shape) {
    let zeros = |depth: u8| Path { siblings: vec![[Fr::ZERO; 7]; depth.into()] };
    let parts = RecordParts { comm_r: Fr::ZERO, comm_d: Fr::ZERO, rid: Fr::ZERO, meta: Fr::ZERO };
    let blank = WindowWitness {
        leaf: LeafOpening { leaf: Fr::ZERO, path: zeros(LEAF_DEPTH) },
        record: RecordOpening { parts, path: zeros(shape.set_depth()) },
    };
    let count = usize::from(shape.window_challenges());
    let challenges = vec![WindowChallenge { record: RecordIndex::ZERO, leaf: 0 }; count];
    synthesize(recorder, shape, [Fr::ZERO; INPUTS], &challenges, &vec![blank; count]);
}

pub(crate) fn synthesize<B: Builder>(
    builder: &mut B,
    shape: &Shape,
    inputs: [Fr; INPUTS],
    challenges: &[WindowChallenge],
    witness: &[WindowWitness],
) {
    let [set_root, challenge_digest, leaf_commitment, tag] = builder.inputs(inputs);
    let (mut indices, mut leaves) = (Vec::new(), Vec::new());
    for (challenge, witness) in challenges.iter().zip(witness) {
        let leaf_bits = bits::allocate(builder, challenge.leaf.into(), 3 * usize::from(LEAF_DEPTH));
        let record_bits =
            bits::allocate(builder, challenge.record.get().into(), 3 * usize::from(shape.set_depth()));
        let leaf = builder.witness(witness.leaf.leaf);
        let comm_r =
            merkle::root(builder, &leaf, &witness.leaf.path.siblings, &leaf_bits, "the leaf is at its index");
        let parts = &witness.record.parts;
        let [comm_d, rid, meta] = [parts.comm_d, parts.rid, parts.meta].map(|part| builder.witness(part));
        let record = poseidon2::compress(builder, &[comm_r, comm_d, rid, meta]);
        let root = merkle::root(
            builder,
            &record,
            &witness.record.path.siblings,
            &record_bits,
            "the record is at its index",
        );
        builder.equal("leaf and record open in the set root", &root, &set_root);
        leaves.push(leaf);
        indices.push([leaf_bits, record_bits].concat());
    }
    let per_element = usize::try_from(shape.window_per_element()).expect("at most 252");
    let packed: Vec<B::Number> =
        indices.chunks(per_element).map(|group| bits::pack(builder, &group.concat())).collect();
    let digest = poseidon2::sponge(builder, &packed);
    builder.equal("the indices are those challenged", &digest, &challenge_digest);
    let commitment = poseidon2::sponge(builder, &leaves);
    builder.equal("the leaves are those committed to", &commitment, &leaf_commitment);
    builder.mul("the tag is bound", &tag, &tag);
}

#[cfg(test)]
mod tests;
