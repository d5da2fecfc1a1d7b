//! How many slots an object has and how many of them restore it.

use hpips_types::Code;

use crate::durability::{Model, estimate};

/// Most slots of an object: the founding paper's 51 holders.
pub const SLOTS_MAX: u16 = 51;
/// Most data shards of a stripe: with 51 slots an expansion of 2.55.
pub const DATA_SHARDS_MAX: u16 = 20;

/// The code that planning starts from, for a number of operators that could take a slot. A quarter of them
/// stays spare, so that lost slots find a new holder. `None` without any.
pub fn starting_code(eligible_operators: u64) -> Option<Code> {
    let n = (eligible_operators - eligible_operators / 4).min(u64::from(SLOTS_MAX));
    let n = u16::try_from(n).expect("at most the largest number of slots");
    let k = (2 * n).div_ceil(5).min(DATA_SHARDS_MAX);
    Code::new(k, n)
}

/// The starting code, with `k` lowered as far as the loss asked for needs: fewer shards restore the object, at
/// the price of a larger expansion. `None` when no `k` reaches it: whoever stores then accepts the risk.
pub fn code_for(eligible_operators: u64, model: &Model, yearly_loss_max: f64) -> Option<Code> {
    let start = starting_code(eligible_operators)?;
    (1..=start.k())
        .rev()
        .filter_map(|k| Code::new(k, start.n()))
        .find(|code| estimate(*code, model).yearly_loss <= yearly_loss_max)
}

/// Healthy slots at which lost ones are offered for repair: halfway between full and the least that restores,
/// so that one decoding replaces many slots.
pub fn repair_threshold(code: Code) -> u16 {
    (code.n() - 1).min(code.k() + code.parity().div_ceil(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(k: u16, n: u16) -> Option<Code> {
        Code::new(k, n)
    }

    #[test]
    fn the_starting_rule() {
        for (eligible, expected) in [
            (0, None),
            (1, code(1, 1)),
            (2, code(1, 2)),
            (3, code(2, 3)),
            (4, code(2, 3)),
            (5, code(2, 4)),
            (8, code(3, 6)),
            (67, code(20, 51)),
            (68, code(20, 51)),
            (69, code(20, 51)),
            (1_204, code(20, 51)),
            (u64::MAX, code(20, 51)),
        ] {
            assert_eq!(starting_code(eligible), expected, "{eligible}");
        }
        for eligible in 1..200 {
            let code = starting_code(eligible).unwrap();
            assert!(u64::from(code.n()) <= eligible, "{eligible}");
        }
    }

    #[test]
    fn repair_begins_halfway() {
        for (k, n, expected) in [(1, 1, 0), (2, 3, 2), (3, 6, 5), (20, 51, 36), (1, 2, 1)] {
            assert_eq!(repair_threshold(code(k, n).unwrap()), expected, "{k} of {n}");
        }
    }

    #[test]
    fn a_stricter_target_lowers_k() {
        let model = Model::default();
        assert_eq!(code_for(1_204, &model, 1e-11), code(20, 51));
        assert_eq!(code_for(8, &model, 1e-11), None);
        assert_eq!(code_for(8, &model, 1.0), code(3, 6));
        let start = estimate(code(3, 6).unwrap(), &model).yearly_loss;
        let stricter = code_for(8, &model, start / 10.0).unwrap();
        assert!(stricter.k() < 3 && stricter.n() == 6);
    }
}
