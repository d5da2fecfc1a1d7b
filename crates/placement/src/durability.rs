//! What a quote says about durability. Never agreed on, hence in floating point.
//!
//! The model, a chain of states by the number of healthy slots: each healthy slot is lost at a constant rate
//! that follows from the share of slots lost in a year, independently of all others. From the repair
//! threshold down, all lost slots come back together after a time that is exponentially distributed around
//! the repair time. The object is lost with the slot that leaves fewer than `k`.
//!
//! What it leaves out: losses that strike many holders together (one operator, one flaw in the program, one
//! region), holders that prove without keeping, and nobody being left to repair. Eleven nines are therefore a
//! statement about disks that fail one by one, not about the world.

use hpips_types::Code;

use crate::planner::repair_threshold;

/// The loss that a quote aims at by default: eleven nines a year.
pub const YEARLY_LOSS_DEFAULT: f64 = 1e-11;
const DAYS_OF_YEAR: f64 = 365.25;

/// Assumptions of an estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// Share of slots lost in a year without repair, from 0 to below 1.
    pub yearly_slot_loss: f64,
    /// Mean days from the threshold to the last rebuilt slot: noticing, drawing, decoding, proving.
    pub repair_days: f64,
}

impl Default for Model {
    /// A fifth of all slots lost in a year, repairs that take a week.
    fn default() -> Self {
        Self { yearly_slot_loss: 0.2, repair_days: 7.0 }
    }
}

/// What the model says of a code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Chance that the object is lost within a year.
    pub yearly_loss: f64,
}

impl Estimate {
    /// Whole nines of a year's durability, at most 15: beyond that the model says nothing.
    pub fn nines(&self) -> u8 {
        let nines = -self.yearly_loss.log10();
        // A hair is forgiven, so that one in a thousand is three nines in spite of rounding.
        (0..=15u8).rev().find(|count| f64::from(*count) <= nines + 1e-9).unwrap_or(0)
    }
}

/// Estimates the durability of an object.
pub fn estimate(code: Code, model: &Model) -> Estimate {
    let loss_rate = -(1.0 - model.yearly_slot_loss).ln();
    if loss_rate <= 0.0 {
        return Estimate { yearly_loss: 0.0 };
    }
    let repair_rate = DAYS_OF_YEAR / model.repair_days;
    let threshold = repair_threshold(code);
    // One cycle begins with all slots healthy and ends with a repair or the loss of the object. `reached` is
    // the chance that a cycle comes down to a state, `years` what a cycle takes on average.
    let mut reached = 1.0;
    let mut years = 0.0;
    for healthy in (code.k()..=code.n()).rev() {
        let losing = f64::from(healthy) * loss_rate;
        let repairing = if healthy <= threshold { repair_rate } else { 0.0 };
        years += reached / (losing + repairing);
        reached *= losing / (losing + repairing);
    }
    Estimate { yearly_loss: -(-reached / years).exp_m1() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(k: u16, n: u16, model: &Model) -> f64 {
        estimate(Code::new(k, n).unwrap(), model).yearly_loss
    }

    #[test]
    fn a_single_copy_is_lost_as_its_slot() {
        assert!((loss(1, 1, &Model::default()) - 0.2).abs() < 1e-12);
        assert_eq!(loss(1, 1, &Model { yearly_slot_loss: 0.0, repair_days: 7.0 }), 0.0);
    }

    /// Two copies, solved by hand: lost when the second goes before the first is back.
    #[test]
    fn two_copies() {
        let model = Model::default();
        let (rate, repair) = (-(0.8f64).ln(), 365.25 / 7.0);
        let chance = rate / (rate + repair);
        let years = 1.0 / (2.0 * rate) + 1.0 / (rate + repair);
        assert!((loss(1, 2, &model) - (1.0 - (-chance / years).exp())).abs() < 1e-12);
    }

    #[test]
    fn more_parity_and_faster_repair_help() {
        let model = Model::default();
        let slow = Model { repair_days: 30.0, ..model };
        let worse = Model { yearly_slot_loss: 0.4, ..model };
        for n in 4..51 {
            for k in 2..n {
                assert!(
                    loss(k, n, &model) <= loss(k, n - 1, &model).max(loss(k + 1, n, &model)),
                    "{k} of {n}"
                );
                assert!(loss(k, n, &model) <= loss(k, n, &slow));
                assert!(loss(k, n, &model) <= loss(k, n, &worse));
            }
        }
    }

    #[test]
    fn the_usual_codes() {
        let nines = |k, n| estimate(Code::new(k, n).unwrap(), &Model::default()).nines();
        assert!(nines(20, 51) >= 11);
        assert!((2..8).contains(&nines(3, 6)), "{}", nines(3, 6));
        assert_eq!(Estimate { yearly_loss: 1e-3 }.nines(), 3);
        assert_eq!(Estimate { yearly_loss: 0.0 }.nines(), 15);
        assert_eq!(Estimate { yearly_loss: 1.0 }.nines(), 0);
    }
}
