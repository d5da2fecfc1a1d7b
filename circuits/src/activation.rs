//! The activation circuit, the twin of [`VanillaActivation::check_native`]: one partition of a batch.
//!
//! Public inputs: batch root, challenge digest, tag.
//!
//! | constraints | what they demand |
//! |---|---|
//! | for each challenge: | |
//! | 30 h + 3 d | the bits of ten node indices and the record index are zero or one |
//! | 10 * 240 | column `j` is `H3(L1, K, 0)` of its two labels |
//! | 10 * (370 h + 1) | column `j` opens at its node index in `comm_c` |
//! | 370 h + 363 (8 - h) | the node's `K` opens at the node index in `comm_r`, which follows from it |
//! | 264 | the record is `H4(comm_r, comm_d, rid, meta)` |
//! | 240 | the batch leaf is `H3(record, comm_c, TAG_BATCH)` |
//! | 370 d + 1 | the batch leaf opens at the record index in the batch root |
//! | 2 * 264 | the lane bases of both layers are `H4(rid, layer, TAG_LANE, 0)` |
//! | 363 + 1 | the node's `L1` is `H8` of its lane and `L1` of its seven parents |
//! | 363 + 1 | the node's `K` is `H8` of its lane, `K` of five parents and `L1` of two expander parents |
//! | once: | |
//! | 363 for every 7 challenges, 1 | the packed bits of all challenges hash to the challenge digest |
//! | 1 | the square of the tag is a witness, so that no proof is independent of the tag |
//!
//! `h` is the sector height, `d` the set depth. The replica's tree is padded to depth 8; above `h` the node's
//! subtree is always the first child, so those levels need no selection. That it is padded with zeros, and
//! what `comm_d` and `meta` are, the verifier knows: it computed the batch root from the sectors itself.

use ark_ff::AdditiveGroup;
use hpips_crypto::Fr;
use hpips_crypto::merkle::Path;
use hpips_proofs::graph::{DRG_PARENTS, DRG_PARENTS_SECOND, Parents};
use hpips_proofs::record::RecordParts;
use hpips_proofs::shape::LEAF_DEPTH;
use hpips_proofs::statement::ActivationStatement;
use hpips_proofs::vanilla::activation::COLUMNS;
use hpips_proofs::vanilla::{ActivationWitness, ColumnOpening, RecordOpening, VanillaActivation};
use hpips_proofs::{ActivationChallenge, Shape, label};
use hpips_types::RecordIndex;

use crate::assign::{AssignError, check_count, check_depth};
use crate::builder::{Assigner, Builder, Recorder};
use crate::gadget::{bits, merkle, poseidon2};

/// Public inputs.
pub const INPUTS: usize = 3;

/// Number of constraints at a shape, by the table above.
pub fn constraints(shape: &Shape) -> usize {
    let challenges = usize::from(shape.activation_challenges());
    let (depth, height) = (usize::from(shape.set_depth()), usize::from(shape.sector_height()));
    let indices = 30 * height + 3 * depth;
    let columns = 10 * 240 + 10 * (370 * height + 1);
    let replica = 370 * height + 363 * (8 - height);
    let record = 264 + 240 + 370 * depth + 1;
    let labels = 2 * 264 + 2 * (363 + 1);
    challenges * (indices + columns + replica + record + labels) + 363 * challenges.div_ceil(7) + 1 + 1
}

/// All values of a proof of this statement: one, public inputs, witness.
///
/// # Errors
/// [`AssignError::Unsatisfied`] when the witness does not show the statement, at no cost of a proof; the
/// other variants when the two have nothing to do with each other.
pub fn assign(statement: &ActivationStatement, witness: &VanillaActivation) -> Result<Vec<Fr>, AssignError> {
    let challenges = statement.challenges()?;
    let mut assigner = Assigner::default();
    let shape = &statement.shape;
    check(shape, &challenges, &witness.challenges)?;
    synthesize(&mut assigner, shape, statement.public_inputs()?, &challenges, &witness.challenges);
    Ok(assigner.finish()?)
}

fn check(
    shape: &Shape,
    challenges: &[ActivationChallenge],
    witness: &[ActivationWitness],
) -> Result<(), AssignError> {
    check_count(witness.len(), challenges.len())?;
    for (index, witness) in witness.iter().enumerate() {
        check_depth(index, &witness.record.path, shape.set_depth())?;
        check_depth(index, &witness.replica_path, LEAF_DEPTH)?;
        for column in &witness.columns {
            check_depth(index, &column.path, shape.sector_height())?;
        }
    }
    Ok(())
}

/// Records the constraints of a shape.
pub(crate) fn record(recorder: &mut Recorder, shape: &Shape) {
    let zeros = |depth: u8| Path { siblings: vec![[Fr::ZERO; 7]; depth.into()] };
    let parts = RecordParts { comm_r: Fr::ZERO, comm_d: Fr::ZERO, rid: Fr::ZERO, meta: Fr::ZERO };
    let column = ColumnOpening { first: Fr::ZERO, second: Fr::ZERO, path: zeros(shape.sector_height()) };
    let blank = ActivationWitness {
        record: RecordOpening { parts, path: zeros(shape.set_depth()) },
        comm_c: Fr::ZERO,
        columns: core::array::from_fn(|_| column.clone()),
        replica_path: zeros(LEAF_DEPTH),
    };
    let challenge = ActivationChallenge {
        record: RecordIndex::ZERO,
        node: 0,
        parents: Parents { drg: [0; DRG_PARENTS], expander: [0; 2] },
    };
    let count = usize::from(shape.activation_challenges());
    synthesize(recorder, shape, [Fr::ZERO; INPUTS], &vec![challenge; count], &vec![blank; count]);
}

pub(crate) fn synthesize<B: Builder>(
    builder: &mut B,
    shape: &Shape,
    inputs: [Fr; INPUTS],
    challenges: &[ActivationChallenge],
    witness: &[ActivationWitness],
) {
    let [batch_root, challenge_digest, tag] = builder.inputs(inputs);
    let packed: Vec<B::Number> = challenges
        .iter()
        .zip(witness)
        .map(|(challenge, witness)| one_challenge(builder, shape, &batch_root, challenge, witness))
        .collect();
    let digest = poseidon2::sponge(builder, &packed);
    builder.equal("the indices are those challenged", &digest, &challenge_digest);
    builder.mul("the tag is bound", &tag, &tag);
}

/// Both labels of one node.
struct Column<N> {
    first: N,
    second: N,
}

/// Constrains one challenge and returns its packed indices.
fn one_challenge<B: Builder>(
    builder: &mut B,
    shape: &Shape,
    batch_root: &B::Number,
    challenge: &ActivationChallenge,
    witness: &ActivationWitness,
) -> B::Number {
    let node_bits = 3 * usize::from(shape.sector_height());
    let nodes: [Vec<B::Number>; COLUMNS] =
        challenge.columns().map(|node| bits::allocate(builder, node.into(), node_bits));
    let record_bits =
        bits::allocate(builder, challenge.record.get().into(), 3 * usize::from(shape.set_depth()));
    let comm_c = builder.witness(witness.comm_c);

    let columns: [Column<B::Number>; COLUMNS] = core::array::from_fn(|i| {
        let opening = &witness.columns[i];
        let (first, second) = (builder.witness(opening.first), builder.witness(opening.second));
        let zero = builder.constant(Fr::ZERO);
        let column = poseidon2::compress(builder, &[first.clone(), second.clone(), zero]);
        let root =
            merkle::root(builder, &column, &opening.path.siblings, &nodes[i], "the column is at its node");
        builder.equal("the column opens in comm_c", &root, &comm_c);
        Column { first, second }
    });

    let [node, parents @ ..] = &columns;
    let (within, above) = witness.replica_path.siblings.split_at(shape.sector_height().into());
    let sector_root =
        merkle::root(builder, &node.second, within, &nodes[0], "the replica node is at its index");
    let comm_r =
        above.iter().fold(sector_root, |node, siblings| merkle::first_child(builder, &node, siblings));

    let parts = &witness.record.parts;
    let [comm_d, rid, meta] = [parts.comm_d, parts.rid, parts.meta].map(|part| builder.witness(part));
    let record = poseidon2::compress(builder, &[comm_r, comm_d, rid.clone(), meta]);
    let tag_batch = builder.constant(label::tag_batch());
    let leaf = poseidon2::compress(builder, &[record, comm_c, tag_batch]);
    let root = merkle::root(
        builder,
        &leaf,
        &witness.record.path.siblings,
        &record_bits,
        "the record is at its index",
    );
    builder.equal("the record opens in the batch root", &root, batch_root);

    let (drg, expander) = parents.split_at(DRG_PARENTS);
    let number = bits::pack(builder, &nodes[0]);
    let lane = lane(builder, &rid, 1, &number);
    let mut inputs = vec![lane];
    inputs.extend(drg.iter().map(|parent| parent.first.clone()));
    let first = poseidon2::compress::<_, 8>(builder, &eight(inputs));
    builder.equal("L1 is the hash of its lane and parents", &first, &node.first);

    let lane = self::lane(builder, &rid, 2, &number);
    let mut inputs = vec![lane];
    inputs.extend(drg[..DRG_PARENTS_SECOND].iter().map(|parent| parent.second.clone()));
    inputs.extend(expander.iter().map(|parent| parent.first.clone()));
    let second = poseidon2::compress::<_, 8>(builder, &eight(inputs));
    builder.equal("K is the hash of its lane and parents", &second, &node.second);

    let mut all = nodes.concat();
    all.extend(record_bits);
    bits::pack(builder, &all)
}

/// `H4(rid, layer, TAG_LANE, 0) + node`.
fn lane<B: Builder>(builder: &mut B, rid: &B::Number, layer: u64, node: &B::Number) -> B::Number {
    let [layer, tag, zero] =
        [Fr::from(layer), label::tag_lane(), Fr::ZERO].map(|value| builder.constant(value));
    let base = poseidon2::compress(builder, &[rid.clone(), layer, tag, zero]);
    builder.add(&base, node)
}

fn eight<N: core::fmt::Debug>(inputs: Vec<N>) -> [N; 8] {
    inputs.try_into().expect("a label has a lane and seven parents")
}

#[cfg(test)]
mod tests;
