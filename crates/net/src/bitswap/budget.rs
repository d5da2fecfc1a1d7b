//! What a peer may cost that brings nobody anything.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a want costs that cannot be answered: a look-up, a line, a place in memory.
pub(super) const MISS: u64 = 1;
/// What a block costs that nobody asked for: it was received and hashed.
pub(super) const UNWANTED: u64 = 64;
/// Costs a second that are borne for ever: 16 wantlists of 1,024 lines that name nothing here. An honest peer that looks
/// for more is slowed, not refused; with no bound, one flood takes what the machine has.
const A_SECOND: u64 = 16 * 1024;
/// Costs that are borne at once.
const BURST: u64 = 16 * 1024;

/// A leaky bucket, shared by the streams of one peer.
#[derive(Debug)]
pub(super) struct Budget(Mutex<(u64, Instant)>);

impl Default for Budget {
    fn default() -> Self {
        Self(Mutex::new((0, Instant::now())))
    }
}

impl Budget {
    /// Adds costs.
    pub(super) fn charge(&self, cost: u64) {
        self.update(Instant::now(), cost);
    }

    /// How long the peer's next message has to wait.
    pub(super) fn wait(&self) -> Duration {
        delay(self.update(Instant::now(), 0))
    }

    /// Whether all costs are borne.
    pub(super) fn is_clear(&self) -> bool {
        self.update(Instant::now(), 0) == 0
    }

    fn update(&self, now: Instant, cost: u64) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (costs, since) = &mut *state;
        let micros = u64::try_from(now.saturating_duration_since(*since).as_micros()).unwrap_or(u64::MAX);
        let leaked = micros.saturating_mul(A_SECOND) / 1_000_000;
        // Less than one unit is left to the next time.
        if leaked > 0 {
            *since = now;
        }
        *costs = costs.saturating_sub(leaked).saturating_add(cost);
        *costs
    }
}

fn delay(costs: u64) -> Duration {
    Duration::from_micros(costs.saturating_sub(BURST).saturating_mul(1_000_000) / A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_borne_up_to_a_rate() {
        let budget = Budget::default();
        let start = Instant::now();
        assert_eq!(delay(budget.update(start, BURST)), Duration::ZERO);
        assert_eq!(delay(budget.update(start, A_SECOND)), Duration::from_secs(1));
        let later = start + Duration::from_secs(1);
        assert_eq!(delay(budget.update(later, 0)), Duration::ZERO);
        assert_eq!(delay(budget.update(later, A_SECOND / 2)), Duration::from_millis(500));
        assert_eq!(budget.update(later + Duration::from_secs(3600), 0), 0);
    }
}
