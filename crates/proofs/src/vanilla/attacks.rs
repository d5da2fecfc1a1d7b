//! Ways to be paid for what is not kept, and what stops each. Rates are measured over many draws and compared
//! with the arithmetic of `docs/proofs.md`; every draw is derived from fixed seeds.

use std::collections::HashMap;

use hpips_types::AccountId;

use super::*;
use crate::element::Element;
use crate::fixture::{PAYEE, Provider, beacon, sector_id};
use crate::graph::Graph;
use crate::record::{Beacon, RecordLayout, SealedSector, SectorId};
use crate::seal::seal;
use crate::set::batch_tree;
use crate::statement::{ActivationStatement, WindowTerms};

/// The beacon of the `index`-th draw.
fn drawn(index: u32) -> Beacon {
    Beacon::from_signature(&index.to_le_bytes())
}

/// Whether a count of hits among draws is what a chance makes it: within five standard deviations.
fn is_likely(hits: u32, draws: u32, chance: f64) -> bool {
    let expected = f64::from(draws) * chance;
    (f64::from(hits) - expected).abs() <= 5.0 * (expected * (1.0 - chance)).sqrt().max(1.0)
}

/// Draws windows and counts those that ask for a leaf of a kind.
fn windows_that_ask(terms: &WindowTerms, draws: u32, bad: impl Fn(&crate::WindowChallenge) -> bool) -> u32 {
    let asks = |index| {
        let terms = WindowTerms { beacon: drawn(index), ..terms.clone() };
        u32::from(terms.challenges().unwrap().iter().any(&bad))
    };
    (0..draws).map(asks).sum()
}

#[test]
fn one_flipped_byte_is_found_as_often_as_the_arithmetic_says() {
    let mut provider = Provider::new(2);
    let terms = provider.terms();
    let draws = 4_000;
    // Half of the challenges are on data, half on sealed space.
    let asked = f64::from(provider.shape.window_challenges()) / 2.0;
    let data_bytes: usize = provider.pieces.iter().map(|(_, bytes, _)| bytes.len()).sum();
    let sealed_bytes: usize = provider.sectors.iter().map(|sector| sector.second.len()).sum();
    let (offset, at) = (provider.pieces[1].0, 700u32);
    let in_piece = |c: &crate::WindowChallenge| c.record.get() == 3 && c.leaf == offset + at / 31;
    let in_sector = |c: &crate::WindowChallenge| c.record.get() == 1 && c.leaf == 40;
    for (name, share, hits) in [
        ("bundle", 31.0 / data_bytes as f64, windows_that_ask(&terms, draws, in_piece)),
        ("sector", 32.0 / sealed_bytes as f64, windows_that_ask(&terms, draws, in_sector)),
    ] {
        let chance = 1.0 - (1.0 - share).powf(asked);
        assert!(is_likely(hits, draws, chance), "{name}: {hits} of {draws}, expected {chance}");
    }
    // What asks for damage cannot be answered, and what does not is answered as before. An opening hashes the
    // whole group of a leaf, here the whole piece, so that damage is noticed before it is asked for.
    provider.pieces[1].1[usize::try_from(at).unwrap()] ^= 1;
    let mut refused = 0;
    for index in 0..60 {
        let terms = WindowTerms { beacon: drawn(index), ..terms.clone() };
        let in_group =
            |c: &crate::WindowChallenge| c.record.get() == 3 && (offset..offset + 512).contains(&c.leaf);
        let asks = terms.challenges().unwrap().iter().any(in_group);
        let error = provider.prove_window(&terms.commit(Element::ZERO)).unwrap_err();
        // All leaves open; only the commitment, left out here, is another.
        let opens = matches!(error, window::ProveError::Check(CheckError::LeafCommitment));
        assert_eq!(opens, !asks, "draw {index}: {error:?}");
        refused += u32::from(asks);
    }
    assert!((1..60).contains(&refused), "both cases were drawn");
}

/// Who keeps a share of the leaves answers a window with the chance of the share to the power of the
/// challenges.
#[test]
fn half_a_sector_answers_next_to_no_window() {
    let provider = Provider::new(2);
    let mut terms = provider.terms();
    terms.layouts = vec![RecordLayout::Sealed];
    let draws = 4_000;
    let challenges = i32::from(provider.shape.window_challenges());
    for (kept, of) in [(63, 64), (58, 64), (32, 64)] {
        let failed = windows_that_ask(&terms, draws, |challenge| challenge.leaf % of >= kept);
        let share = f64::from(kept) / f64::from(of);
        assert!(is_likely(draws - failed, draws, share.powi(challenges)), "kept {kept}: failed {failed}");
    }
}

/// A label: layer and node.
type Label = (u8, u32);

/// How many labels have to be computed, one after the other at best, to have a label again.
struct Recompute<'a> {
    graph: &'a Graph,
    is_kept: &'a dyn Fn(Label) -> bool,
    depths: HashMap<Label, u32>,
}

impl Recompute<'_> {
    /// Longest chain of labels that are not kept, up to this one.
    fn depth(&mut self, (layer, node): Label) -> u32 {
        if (self.is_kept)((layer, node)) {
            return 0;
        }
        if let Some(depth) = self.depths.get(&(layer, node)) {
            return *depth;
        }
        let parents = self.graph.parents(node);
        let mut above = 0;
        if layer == 2 {
            for parent in parents.expander {
                above = above.max(self.depth((1, parent)));
            }
        }
        if node > 0 {
            let count = if layer == 1 { 7 } else { 5 };
            for parent in &parents.drg[..count] {
                above = above.max(self.depth((layer, *parent)));
            }
        }
        self.depths.insert((layer, node), above + 1);
        above + 1
    }
}

/// Half of the replica kept, whichever half, and nothing of the first layer: a missing label takes a chain of
/// hashes as long as a good part of the sector, however many processors there are.
#[test]
fn half_a_sector_is_not_recomputed_in_parallel() {
    let graph = Graph::new(4);
    let nodes = graph.nodes();
    let halves: [(&str, &dyn Fn(Label) -> bool); 3] = [
        ("every other label", &|(layer, node)| layer == 2 && node % 2 == 0),
        ("the first half", &|(layer, node)| layer == 2 && node < nodes / 2),
        ("the second half", &|(layer, node)| layer == 2 && node >= nodes / 2),
    ];
    for (name, is_kept) in halves {
        let mut recompute = Recompute { graph: &graph, is_kept, depths: HashMap::new() };
        // Ascending, so that the recursion is never deep.
        for node in 0..nodes {
            recompute.depth((1, node));
        }
        let mut depths: Vec<u32> =
            (0..nodes).map(|node| recompute.depth((2, node))).filter(|d| *d > 0).collect();
        depths.sort_unstable();
        let (median, labels) = (depths[depths.len() / 2], recompute.depths.len());
        println!(
            "{name}: median chain {median}, longest {:?}, {labels} labels of {}",
            depths.last(),
            2 * nodes
        );
        assert!(median > nodes / 2, "{name}: a missing label takes {median} of {nodes} steps");
    }
}

/// One replica announced under two numbers: the labels of the second are hashes of the first's lanes.
#[test]
fn a_replica_serves_one_sector_only() {
    let labels = seal(2, sector_id(0), |_| true).unwrap();
    let own = labels.sealed.sector;
    let others = [
        SectorId { number: 1, ..own.id },
        SectorId { provider: PAYEE, ..own.id },
        SectorId { ticket: beacon(8), ..own.id },
    ];
    for id in others {
        let provider = Provider::new(2);
        let sectors = [own, SealedSector { id, ..own }];
        let statement = ActivationStatement {
            batch_root: batch_tree(&provider.shape, &sectors).unwrap().root().into(),
            ..provider.activation(0)
        };
        let error = activation::prove(&statement, &sectors, |_| Some(labels.kept())).unwrap_err();
        let is_label = matches!(error, activation::ProveError::Check(CheckError::Label { layer: 1, .. }));
        assert!(is_label, "{id:?}: {error:?}");
    }
}

/// However many names a provider tries, a sector with a share of wrong labels passes as often as the
/// arithmetic says: the seed is drawn after the pre-commitment, and every try costs a seal and a deposit.
#[test]
fn grinding_names_helps_nobody() {
    let provider = Provider::new(4);
    let statement = provider.activation(0);
    let challenges = i32::from(provider.shape.activation_challenges());
    let draws = 4_000;
    for wrong in [205, 1_024] {
        let passes = |index: u32| {
            let mut name = [0; 32];
            name[..4].copy_from_slice(&index.to_le_bytes());
            let mut other = statement.clone();
            (other.set.provider, other.beacon) = (AccountId::new(name), drawn(index));
            u32::from(other.challenges().unwrap().iter().all(|challenge| challenge.node >= wrong))
        };
        let passed = (0..draws).map(passes).sum();
        let chance = (1.0 - f64::from(wrong - 1) / 4_095.0).powi(challenges);
        assert!(is_likely(passed, draws, chance), "{wrong} wrong: {passed} of {draws}, expected {chance}");
    }
}

/// Rows of the trees without the leaves below them, which is a thousandth of the space, open nothing.
#[test]
fn tree_tops_open_no_leaf() {
    let provider = Provider::new(4);
    let labels = &provider.sectors[0];
    let (_, data, piece) = &provider.pieces[0];
    for seed in 0..40 {
        let made_up = crate::fixture::bytes(seed, 16_384);
        let mut canonical = made_up.clone();
        canonical.iter_mut().skip(31).step_by(32).for_each(|byte| *byte &= 0x3f);
        for group in [&canonical, &vec![0; 16_384]] {
            assert_eq!(labels.sealed.replica.open(17, group), None, "seed {seed}");
            assert_eq!(piece.open(17, &group[..15_872]), None, "seed {seed}");
        }
    }
    // Neither does the group of another node of the same tree.
    assert_eq!(labels.sealed.replica.open(17, &labels.second[16_384..32_768]), None);
    assert_eq!(piece.open(17, &data[15_872..31_744]), None);
}
