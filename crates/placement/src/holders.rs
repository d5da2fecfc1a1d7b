//! The draw of an object's holders.

use hpips_crypto::draw::Draw;
use hpips_types::{AccountId, ProposalId};

/// Separates this draw from all others. Frozen.
const DOMAIN: &str = "hpips/placement/holders/v1";

/// A provider that could take a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Who.
    pub provider: AccountId,
    /// Its weight: open space that is free, as far as its collateral covers. Nobody with zero is drawn.
    pub free_bytes: u64,
}

/// Draws holders without replacement, each with a chance in proportion to its free space, from a beacon.
///
/// The result has `count` providers, or all with free space when there are fewer, in drawn order: the first is
/// the holder of slot 0. A longer draw begins with the shorter one, so whoever draws more than the slots has
/// the replacements of those who refuse. The order of the candidates does not matter; of a provider that is
/// listed twice, the smaller weight counts.
///
/// Time grows with `candidates * count`.
pub fn draw(beacon: &[u8], proposal: ProposalId, candidates: &[Candidate], count: u16) -> Vec<AccountId> {
    draw_apart(beacon, proposal, candidates, count, |_, _| false)
}

/// As [`draw`], but nobody is drawn of whom `is_close(drawn, candidate)` says that it shares an operator or an
/// address range with one drawn before.
pub fn draw_apart(
    beacon: &[u8],
    proposal: ProposalId,
    candidates: &[Candidate],
    count: u16,
    is_close: impl Fn(&AccountId, &AccountId) -> bool,
) -> Vec<AccountId> {
    let mut candidates = candidates.to_vec();
    candidates.sort_unstable();
    candidates.dedup_by_key(|candidate| candidate.provider);
    let mut weights: Vec<u64> = candidates.iter().map(|candidate| candidate.free_bytes).collect();
    let mut numbers = Draw::new(DOMAIN, &[beacon, &proposal.get().to_le_bytes()]);
    let mut holders = Vec::with_capacity(usize::from(count).min(candidates.len()));
    while holders.len() < usize::from(count) {
        let Some(index) = numbers.weighted(&weights) else { break };
        let drawn = candidates[index].provider;
        weights[index] = 0;
        for (weight, candidate) in weights.iter_mut().zip(&candidates) {
            if *weight > 0 && is_close(&drawn, &candidate.provider) {
                *weight = 0;
            }
        }
        holders.push(drawn);
    }
    holders
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(number: u8) -> AccountId {
        AccountId::new([number; 32])
    }

    fn candidates(weights: &[u64]) -> Vec<Candidate> {
        (0u8..)
            .zip(weights)
            .map(|(number, free_bytes)| Candidate { provider: account(number), free_bytes: *free_bytes })
            .collect()
    }

    fn numbers(holders: &[AccountId]) -> Vec<u8> {
        holders.iter().map(|holder| holder.as_bytes()[0]).collect()
    }

    #[test]
    fn draws_are_frozen() {
        let equal = candidates(&[1 << 30; 8]);
        let unequal = candidates(&[1, 1_000, 0, u64::MAX, u64::MAX, 1 << 40, 5, 7]);
        for (beacon, proposal, candidates, expected) in [
            (&b"beacon"[..], 1, &equal, [2, 4, 5, 3, 7, 0]),
            (b"beacon", 2, &equal, [3, 6, 2, 7, 0, 5]),
            (b"beacoo", 1, &equal, [5, 7, 2, 1, 0, 4]),
            (b"", 0, &unequal, [3, 4, 5, 1, 6, 7]),
        ] {
            let holders = draw(beacon, ProposalId::new(proposal), candidates, 6);
            assert_eq!(numbers(&holders), expected, "{beacon:?} {proposal}");
        }
    }

    #[test]
    fn chances_follow_the_weights() {
        let candidates = candidates(&[1, 2, 0, 7]);
        let mut firsts = [0u32; 4];
        for proposal in 0..10_000 {
            let holders = draw(b"beacon", ProposalId::new(proposal), &candidates, 1);
            firsts[usize::from(numbers(&holders)[0])] += 1;
        }
        for (seen, expected) in firsts.into_iter().zip([1_000, 2_000, 0, 7_000]) {
            assert!(seen.abs_diff(expected) < 250, "{firsts:?}");
        }
    }

    #[test]
    fn close_ones_are_passed_over() {
        let candidates = candidates(&[10; 9]);
        let is_close = |a: &AccountId, b: &AccountId| a.as_bytes()[0] / 3 == b.as_bytes()[0] / 3;
        for proposal in 0..50 {
            let holders = draw_apart(b"beacon", ProposalId::new(proposal), &candidates, 9, is_close);
            let mut groups: Vec<u8> = numbers(&holders).iter().map(|number| number / 3).collect();
            groups.sort_unstable();
            assert_eq!(groups, [0, 1, 2], "{proposal}");
        }
    }

    proptest! {
        #[test]
        fn nobody_twice_and_longer_draws_begin_alike(
            weights in proptest::collection::vec(prop_oneof![Just(0u64), any::<u64>()], 0..30),
            count in 0u16..40,
            proposal: u64,
        ) {
            let mut candidates = candidates(&weights);
            let proposal = ProposalId::new(proposal);
            let holders = draw(b"b", proposal, &candidates, count);
            let willing = weights.iter().filter(|weight| **weight > 0).count();
            prop_assert_eq!(holders.len(), willing.min(usize::from(count)));
            let mut sorted = numbers(&holders);
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), holders.len());
            prop_assert!(sorted.iter().all(|number| weights[usize::from(*number)] > 0));
            let longer = draw(b"b", proposal, &candidates, count + 5);
            prop_assert_eq!(&longer[..holders.len()], &holders[..]);
            candidates.reverse();
            candidates.extend(candidates.clone());
            prop_assert_eq!(draw(b"b", proposal, &candidates, count), holders);
        }
    }
}
