//! What a proof takes, known before its circuit is recorded.

use hpips_proofs::{CircuitKind, Shape};

/// Bytes of a proving key for each constraint, on disk.
const KEY_BYTES: u64 = 600;
/// Memory of a proof whatever its size, for each constraint (matrices, values) and for each place of the domain
/// (polynomials, buckets): [`hpips_circuits::proving_bytes`] without recording the circuit, which takes seconds at `main`.
const PROOF_BYTES: u64 = 60_000_000;
const CONSTRAINT_BYTES: u64 = 230;
const PLACE_BYTES: u64 = 200;

/// Constraints of a circuit. Counted from the gadgets, a test compares with recorded circuits.
pub fn constraints(kind: CircuitKind, shape: &Shape) -> u64 {
    // One Poseidon2 permutation of width 8, and one with what a level of a path adds.
    let (permutation, level) = (363, 373);
    let records = level * u64::from(shape.set_depth());
    match kind {
        CircuitKind::Window => {
            let challenges = u64::from(shape.window_challenges());
            // The commitment to the leaves absorbs seven at a time, as does the digest packed challenges.
            let elements = challenges.div_ceil(u64::from(shape.window_per_element()));
            let sponges = challenges.div_ceil(7) + elements.div_ceil(7);
            3 + permutation * sponges + challenges * (3_249 + records)
        }
        CircuitKind::Activation => {
            let challenges = u64::from(shape.activation_challenges());
            let heights = 3_737 * u64::from(shape.sector_height());
            2 + permutation * challenges.div_ceil(7) + challenges * (7_075 + records + heights)
        }
    }
}

/// Memory of one proof, bytes; its key stays in its file. An estimate, within a tenth.
pub fn proving_bytes(kind: CircuitKind, shape: &Shape) -> u64 {
    let constraints = constraints(kind, shape);
    PROOF_BYTES + constraints * CONSTRAINT_BYTES + constraints.next_power_of_two() * PLACE_BYTES
}

/// Bytes of a circuit's proving key on disk. An estimate, within a tenth.
pub fn key_bytes(kind: CircuitKind, shape: &Shape) -> u64 {
    constraints(kind, shape) * KEY_BYTES
}

#[cfg(test)]
mod tests {
    use hpips_circuits::circuit;
    use hpips_types::NetworkParams;

    use super::*;
    use crate::config::MEMORY_BYTES;

    #[test]
    fn constraints_are_those_of_the_circuits() {
        for (height, depth, window, activation) in
            [(2, 1, 1, 1), (2, 1, 9, 1), (3, 2, 8, 2), (4, 2, 3, 1), (2, 4, 30, 8)]
        {
            let shape = Shape::new(height, depth, window, activation, 1).unwrap();
            for kind in circuit::KINDS {
                let recorded = circuit::matrices(kind, &shape).constraints();
                let counted = constraints(kind, &shape);
                assert_eq!(counted, u64::try_from(recorded).unwrap(), "{kind:?} {shape:?}");
            }
        }
    }

    #[test]
    fn the_estimate_of_memory_is_near_the_count() {
        let dev = Shape::of(&NetworkParams::dev()).unwrap();
        let testnet = Shape::of(&NetworkParams::testnet()).unwrap();
        for (kind, shape) in
            [(CircuitKind::Window, &dev), (CircuitKind::Activation, &dev), (CircuitKind::Window, &testnet)]
        {
            let counted = hpips_circuits::proving_bytes(&circuit::matrices(kind, shape));
            let estimated = proving_bytes(kind, shape);
            assert!(estimated.abs_diff(counted) < counted / 10, "{kind:?}: {estimated} for {counted}");
        }
    }

    #[test]
    fn what_is_allowed_without_a_word_is_enough_for_main() {
        let shape = Shape::of(&NetworkParams::main()).unwrap();
        let window = proving_bytes(CircuitKind::Window, &shape);
        let activation = proving_bytes(CircuitKind::Activation, &shape);
        assert!(window < activation && activation <= MEMORY_BYTES, "{activation}");
    }
}
