//! The one place where a network's parameters stand; they are part of genesis (DESIGN 11).

use serde::{Deserialize, Serialize};

use crate::amount::TokenAmount;
use crate::time::{DayIndex, Height, WindowIndex};

/// Every chain-wide value. Two nodes with different parameters are on different chains, because genesis
/// contains them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkParams {
    /// Name of the network; test networks start with `test-`.
    pub name: String,
    /// Pace of proposals, milliseconds. Only the proposer waits by it; nothing is decided by clocks.
    pub block_ms: u64,
    /// Blocks in a window.
    pub window_blocks: u64,
    /// Distance between the staggered openings of different sets' windows, blocks.
    pub offset_blocks: u64,
    /// A window that opens in view `v` uses the beacon of view `v + lag_views`.
    pub lag_views: u64,
    /// Blocks from the one that carries the beacon to the last that accepts the commitment.
    pub commit_blocks: u64,
    /// Windows in a day, the settlement period.
    pub day_windows: u64,
    /// Blocks in an epoch, the term of a committee.
    pub epoch_blocks: u64,
    /// Seats at most; seats are `3f + 1`.
    pub committee_max: u16,
    /// A sector has `8^sector_height` nodes of 32 bytes.
    pub sector_height: u8,
    /// A proving set holds `8^set_depth` records.
    pub set_depth: u8,
    /// Challenges in a window proof.
    pub window_challenges: u16,
    /// Challenges in one partition of an activation.
    pub activation_challenges: u16,
    /// Partitions (proofs) of an activation.
    pub activation_partitions: u16,
    /// Blocks between a pre-commitment and the beacon that challenges it.
    pub activation_seed_blocks: u64,
    /// Missed windows in a row that cost one day's price.
    pub fault_first_windows: u64,
    /// Missed windows in a row that lose the slot.
    pub fault_second_windows: u64,
    /// Bytes sealed and proven for one ticket; also the least pledge.
    pub ticket_bytes: u64,
    /// Windows a ticket's bytes must have been proven before it counts.
    pub ticket_age_windows: u64,
    /// Open bytes per sealed byte at most.
    pub open_per_sealed: u64,
    /// Blocks from a proposal's draw to the last that accepts its activation.
    pub activate_blocks: u64,
    /// Shortest term of a deal, windows.
    pub term_windows_min: u64,
    /// Windows in an audit period.
    pub audit_windows: u64,
    /// `B*`: sealed bytes at which the whole daily reward is paid out.
    pub reward_full_bytes: u64,
    /// The community fund pays its `1 / reward_divisor` a day.
    pub reward_divisor: u64,
    /// Least base fee, nano a byte of transaction.
    pub base_fee_min: TokenAmount,
    /// Windows of grace after a deal's end before its pieces may be deleted.
    pub grace_windows: u64,
    /// Least billed size of a piece, bytes.
    pub piece_bytes_min: u64,
    /// Whether one slot an operator and an address range is enforced.
    pub distinct_operators: bool,
}

impl NetworkParams {
    /// Parameters of a network on one machine.
    pub fn dev() -> Self {
        Self {
            name: "test-dev".into(),
            block_ms: 1_000,
            window_blocks: 16,
            offset_blocks: 1,
            lag_views: 2,
            commit_blocks: 4,
            day_windows: 4,
            epoch_blocks: 64,
            committee_max: 4,
            sector_height: 4,
            set_depth: 2,
            window_challenges: 3,
            activation_challenges: 1,
            activation_partitions: 1,
            activation_seed_blocks: 3,
            fault_first_windows: 1,
            fault_second_windows: 2,
            ticket_bytes: 256 * 1024,
            ticket_age_windows: 1,
            open_per_sealed: 1_024,
            activate_blocks: 60,
            term_windows_min: 4,
            audit_windows: 1,
            reward_full_bytes: 1 << 20,
            reward_divisor: 2_108,
            base_fee_min: TokenAmount::new(1),
            grace_windows: 4,
            piece_bytes_min: 64 * 1024,
            distinct_operators: false,
        }
    }

    /// Parameters of the demonstration: as [`Self::dev`], with a day of one window and one epoch that
    /// outlasts the run.
    pub fn demo() -> Self {
        Self {
            name: "test-demo".into(),
            day_windows: 1,
            term_windows_min: 1,
            epoch_blocks: 1 << 20,
            ..Self::dev()
        }
    }

    /// Parameters of a public test network.
    pub fn testnet() -> Self {
        Self {
            name: "test-1".into(),
            block_ms: 2_000,
            window_blocks: 300,
            offset_blocks: 10,
            lag_views: 8,
            commit_blocks: 15,
            day_windows: 24,
            epoch_blocks: 600,
            committee_max: 16,
            sector_height: 6,
            set_depth: 3,
            window_challenges: 27,
            activation_challenges: 9,
            activation_partitions: 3,
            activation_seed_blocks: 10,
            fault_first_windows: 6,
            fault_second_windows: 36,
            ticket_bytes: 512 << 20,
            ticket_age_windows: 24,
            open_per_sealed: 4,
            activate_blocks: 900,
            term_windows_min: 24,
            audit_windows: 2,
            reward_full_bytes: 1 << 40,
            grace_windows: 24,
            distinct_operators: true,
            ..Self::dev()
        }
    }

    /// Parameters of a network with coins of value.
    pub fn main() -> Self {
        Self {
            name: "main".into(),
            block_ms: 5_000,
            window_blocks: 720,
            offset_blocks: 30,
            lag_views: 16,
            commit_blocks: 12,
            epoch_blocks: 2_160,
            committee_max: 64,
            sector_height: 8,
            set_depth: 4,
            window_challenges: 108,
            activation_challenges: 27,
            activation_partitions: 7,
            activation_seed_blocks: 20,
            fault_first_windows: 12,
            fault_second_windows: 72,
            ticket_bytes: 64 << 30,
            ticket_age_windows: 14 * 24,
            open_per_sealed: 1,
            activate_blocks: 17_280,
            term_windows_min: 30 * 24,
            audit_windows: 4,
            reward_full_bytes: 1 << 50,
            ..Self::testnet()
        }
    }

    /// Whether coins of this network are without value and insecure proving keys are accepted.
    pub fn is_test(&self) -> bool {
        self.name.starts_with("test-")
    }

    /// Bytes of one sealed sector.
    pub fn sector_bytes(&self) -> u64 {
        32 << (3 * u32::from(self.sector_height))
    }

    /// Records a proving set holds.
    pub fn set_records(&self) -> u64 {
        1 << (3 * u32::from(self.set_depth))
    }

    /// The window that a set with this opening offset (blocks, below `window_blocks`) is in at a height.
    /// `None` before its first opening.
    pub fn window_at(&self, height: Height, offset: u64) -> Option<WindowIndex> {
        height.get().checked_sub(offset).map(|since| WindowIndex::new(since / self.window_blocks))
    }

    /// The height at which a window opens for a set with this offset.
    pub fn window_opens(&self, window: WindowIndex, offset: u64) -> Height {
        Height::new(window.get() * self.window_blocks + offset)
    }

    /// The day a height belongs to.
    pub fn day_at(&self, height: Height) -> DayIndex {
        DayIndex::new(height.get() / (self.window_blocks * self.day_windows))
    }

    /// Seats of a committee drawn from this many eligible nodes: the largest `3f + 1` that fits, at most
    /// `committee_max` (DESIGN 7).
    pub fn committee_seats(&self, eligible: u64) -> u64 {
        let most = eligible.min(u64::from(self.committee_max));
        if most == 0 { 0 } else { (most - 1) / 3 * 3 + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_tile_the_heights() {
        let params = NetworkParams::dev();
        for offset in 0..params.window_blocks {
            for height in 0..200 {
                let height = Height::new(height);
                let Some(window) = params.window_at(height, offset) else { continue };
                assert!(params.window_opens(window, offset) <= height);
                assert!(params.window_opens(window.next(), offset) > height);
            }
        }
    }

    #[test]
    fn committees_are_three_f_plus_one() {
        let params = NetworkParams::dev();
        let seats: Vec<u64> = (0..9).map(|eligible| params.committee_seats(eligible)).collect();
        assert_eq!(seats, [0, 1, 1, 1, 4, 4, 4, 4, 4]);
    }

    #[test]
    fn sizes_of_the_three_networks() {
        assert_eq!(NetworkParams::dev().sector_bytes(), 128 << 10);
        assert_eq!(NetworkParams::testnet().sector_bytes(), 8 << 20);
        assert_eq!(NetworkParams::main().sector_bytes(), 512 << 20);
        assert_eq!(NetworkParams::main().set_records(), 4_096);
    }
}
