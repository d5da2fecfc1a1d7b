//! What statements and roots cost every node, in native Poseidon2 permutations.

use hpips_proofs::Shape;

use crate::operation::Operation;

/// Verifying a proof of a transaction takes as long as so many permutations. Unlike the lane, where a false
/// proof makes the block invalid, transactions may carry false ones for a fee.
const VERIFICATION: u64 = 64;

/// Permutations of one window proof: its packed challenges through the sponge.
pub(crate) fn window(shape: &Shape) -> u64 {
    u64::from(u32::from(shape.window_challenges()).div_ceil(shape.window_per_element())).div_ceil(7) + 1
}

/// Permutations of an operation, those its later effects cost included, rounded up.
pub(crate) fn operation(shape: &Shape, op: &Operation) -> u64 {
    let depth = u64::from(shape.set_depth());
    let count = |length: usize| u64::try_from(length).expect("a length in memory fits 64 bits");
    match op {
        // A batch leaf and its record each, the tree above them; later one path of the set's tree each.
        Operation::PreCommit(sectors) => count(sectors.sectors.len()) * (4 + 2 * depth) + depth,
        Operation::Activate { proofs, .. } => {
            count(proofs.len()) * (u64::from(shape.activation_challenges()).div_ceil(7) + 1 + VERIFICATION)
        }
        // A path inside a bundle for each piece, and the record's path.
        Operation::ActivateDeal(deal) => count(deal.receipts.len()) * (6 + depth),
        Operation::ClaimRepair { .. } => 6 + depth,
        Operation::ProveEntry { .. } => window(shape) + VERIFICATION,
        Operation::DeclareLost { records, .. } => count(records.len()) * (6 + depth),
        Operation::Transfer { .. }
        | Operation::Pledge(_)
        | Operation::Unpledge {}
        | Operation::Propose(_)
        | Operation::Replace { .. }
        | Operation::Renew { .. }
        | Operation::EndDeal { .. } => 0,
    }
}
