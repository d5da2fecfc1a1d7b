//! What a proof takes, known before its circuit is recorded.

use hpips_proofs::{CircuitKind, Shape};

/// Bytes of a proving key for each constraint, on disk and nearly so in memory.
const KEY_BYTES: u64 = 600;
/// Bytes of the matrices for each constraint: 28 factors of 40 bytes.
const MATRIX_BYTES: u64 = 28 * 40;
/// Polynomials over the circuit's domain that are held at once.
const POLYNOMIALS: u64 = 5;
/// Bytes of a coefficient.
const COEFFICIENT_BYTES: u64 = 32;

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

/// Memory of one proof with its key and matrices, bytes. An estimate, within a tenth.
pub fn proving_bytes(kind: CircuitKind, shape: &Shape) -> u64 {
    let constraints = constraints(kind, shape);
    let domain = constraints.next_power_of_two();
    constraints * (KEY_BYTES + MATRIX_BYTES) + domain * POLYNOMIALS * COEFFICIENT_BYTES
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
    fn what_is_allowed_without_a_word_is_enough_for_main() {
        let shape = Shape::of(&NetworkParams::main()).unwrap();
        let window = proving_bytes(CircuitKind::Window, &shape);
        assert!((900_000_000..1_400_000_000).contains(&window), "{window}");
        let activation = proving_bytes(CircuitKind::Activation, &shape);
        assert!(window < activation && activation <= MEMORY_BYTES, "{activation}");
    }
}
