use ark_ff::AdditiveGroup;

use super::*;
use crate::element::Element;
use crate::fixture::Provider;
use crate::record::{Record, RecordLayout};
use crate::seal::{Lane, Progress, Sealer, seal};
use crate::sector::KeptLabels;
use crate::set::batch_tree;
use crate::statement::{Entry, WindowStatement};

const ONE: Fr = <Fr as ark_ff::Field>::ONE;

#[test]
fn an_activation_is_proven_and_checked() {
    for height in [2, 4] {
        let provider = Provider::new(height);
        for partition in 0..2 {
            let statement = provider.activation(partition);
            let vanilla = provider.prove_activation(&statement);
            assert_eq!(vanilla.check_native(&statement), Ok(()));
            let other = provider.activation(1 - partition);
            assert!(vanilla.check_native(&other).is_err(), "another partition asks for other nodes");
        }
    }
}

/// What one change of the witness must break.
type Flip<T> = (&'static str, fn(&mut T));

#[test]
fn every_flipped_part_of_an_activation_is_noticed() {
    let provider = Provider::new(2);
    let statement = provider.activation(0);
    let good = provider.prove_activation(&statement);
    let flips: [Flip<ActivationWitness>; 9] = [
        ("comm_r", |w| w.record.parts.comm_r += ONE),
        ("comm_d", |w| w.record.parts.comm_d += ONE),
        ("rid", |w| w.record.parts.rid += ONE),
        ("meta", |w| w.record.parts.meta += ONE),
        ("comm_c", |w| w.comm_c += ONE),
        ("record path longer", |w| w.record.path.siblings.push([Fr::ZERO; 7])),
        ("record path shorter", |w| w.record.path.siblings.truncate(1)),
        ("replica path longer", |w| w.replica_path.siblings.push([Fr::ZERO; 7])),
        ("column path shorter", |w| w.columns[4].path.siblings.truncate(1)),
    ];
    for challenge in 0..good.challenges.len() {
        for (name, flip) in flips {
            let mut bad = good.clone();
            flip(&mut bad.challenges[challenge]);
            assert!(bad.check_native(&statement).is_err(), "{name}");
        }
        for column in 0..activation::COLUMNS {
            let mut bad = good.clone();
            bad.challenges[challenge].columns[column].first += ONE;
            assert_eq!(bad.check_native(&statement), Err(CheckError::Column { index: challenge, column }));
            let mut bad = good.clone();
            bad.challenges[challenge].columns[column].second += ONE;
            assert_eq!(bad.check_native(&statement), Err(CheckError::Column { index: challenge, column }));
        }
        for path in 0..activation::COLUMNS + 2 {
            for level in 0..2 {
                let mut bad = good.clone();
                let witness = &mut bad.challenges[challenge];
                let columns = witness.columns.iter_mut().map(|column| &mut column.path);
                let mut paths = columns.chain([&mut witness.replica_path, &mut witness.record.path]);
                paths.nth(path).unwrap().siblings[level][3 * level] += ONE;
                drop(paths);
                assert!(bad.check_native(&statement).is_err(), "path {path}, level {level}");
            }
        }
    }
    let mut short = good.clone();
    short.challenges.pop();
    assert_eq!(short.check_native(&statement), Err(CheckError::Count { got: 2, want: 3 }));
}

/// Labels that open in their trees but are not the hashes of their parents: the trees alone prove nothing.
#[test]
fn labels_that_are_not_hashes_of_their_parents_are_noticed() {
    let provider = Provider::new(2);
    let mut statement = provider.activation(0);
    let challenge = statement.challenges().unwrap()[0];
    let place = usize::from(challenge.record.get());
    let id = provider.batch()[place].id;
    for layer in [1, 2] {
        let mut labels = seal(2, id, |_| true).unwrap();
        let buffer = if layer == 1 { &mut labels.first } else { &mut labels.second };
        let start = challenge.node as usize * 32;
        buffer[start] ^= 1;
        let all_labels = Progress::at(128);
        let lane = Lane { id, first: &mut labels.first, second: &mut labels.second };
        let forged = Sealer::new(2, vec![lane], all_labels).unwrap().finish().unwrap().remove(0);
        let mut sectors = provider.batch();
        sectors[place] = forged.sector;
        let tree = batch_tree(&statement.shape, &sectors).unwrap();
        statement.batch_root = tree.root().into();
        let record = RecordOpening {
            parts: forged.sector.record(&statement.shape).parts(&statement.shape).unwrap(),
            path: tree.open(challenge.record.get().into()),
        };
        let kept = KeptLabels { sealed: &forged, first: &labels.first, second: &labels.second };
        let witness = activation::witness_of(&forged.sector, record, &kept, &challenge).unwrap();
        let error = witness.check_sector(&statement.shape, 0, &challenge);
        assert_eq!(error, Err(CheckError::Label { index: 0, layer }));
    }
}

#[test]
fn a_window_is_proven_and_checked() {
    for height in [2, 4] {
        let provider = Provider::new(height);
        let statement = provider.commit(provider.terms());
        let vanilla = provider.prove_window(&statement).unwrap();
        assert_eq!(vanilla.check_native(&statement), Ok(()));
        assert_eq!(vanilla.leaves().len(), 12);
        for (offset, ..) in &provider.pieces {
            let record = RecordIndex::new(3);
            let mut terms = provider.terms();
            terms.entry = Some(Entry { record, offset: *offset });
            let entry = provider.commit(terms);
            provider.prove_window(&entry).unwrap();
            assert!(vanilla.check_native(&entry).is_err());
        }
    }
}

#[test]
fn every_flipped_part_of_a_window_is_noticed() {
    let provider = Provider::new(2);
    let statement = provider.commit(provider.terms());
    let good = provider.prove_window(&statement).unwrap();
    let flips: [Flip<WindowWitness>; 10] = [
        ("leaf", |w| w.leaf.leaf += ONE),
        ("comm_r", |w| w.record.parts.comm_r += ONE),
        ("comm_d", |w| w.record.parts.comm_d += ONE),
        ("rid", |w| w.record.parts.rid += ONE),
        ("meta", |w| w.record.parts.meta += ONE),
        ("leaf path longer", |w| w.leaf.path.siblings.push([Fr::ZERO; 7])),
        ("leaf path shorter", |w| w.leaf.path.siblings.truncate(1)),
        ("record path longer", |w| w.record.path.siblings.push([Fr::ZERO; 7])),
        ("leaf sibling", |w| w.leaf.path.siblings[0][0] += ONE),
        ("record sibling", |w| w.record.path.siblings[1][6] += ONE),
    ];
    for challenge in 0..good.challenges.len() {
        for (name, flip) in flips {
            let mut bad = good.clone();
            flip(&mut bad.challenges[challenge]);
            assert!(bad.check_native(&statement).is_err(), "challenge {challenge}: {name}");
        }
    }
    let mut swapped = good.clone();
    swapped.challenges.swap(0, 1);
    assert!(swapped.check_native(&statement).is_err());
    let mut short = good.clone();
    short.challenges.pop();
    assert_eq!(short.check_native(&statement), Err(CheckError::Count { got: 11, want: 12 }));
    let changes: [Flip<WindowStatement>; 5] = [
        ("set root", |s| s.terms.set_root = Element::ZERO),
        ("leaf commitment", |s| s.leaf_commitment = Element::ZERO),
        ("beacon", |s| s.terms.beacon = crate::fixture::beacon(77)),
        ("window", |s| s.terms.window = s.terms.window.next()),
        ("layouts", |s| s.terms.layouts[0] = RecordLayout::Empty),
    ];
    for (name, change) in changes {
        let mut other = statement.clone();
        change(&mut other);
        assert!(good.check_native(&other).is_err(), "{name}");
    }
}

/// An answer to a missed window takes that window's beacon and set root, although the set has changed.
#[test]
fn a_missed_window_is_answered_late() {
    let mut provider = Provider::new(2);
    let missed = provider.terms();
    let (records, tree) = (provider.records.clone(), provider.tree.clone());
    provider.records[1] = Record::Empty;
    provider.tree.put(&provider.shape, RecordIndex::new(1), &Record::Empty).unwrap();
    let late = provider.commit(missed);
    assert!(provider.prove_window(&late).is_err(), "the set of today does not answer it");
    let answer = window::prove(&late, &records, &tree, |challenge| provider.open(challenge)).unwrap();
    assert_eq!(answer.check_native(&late), Ok(()));
}

#[test]
fn damage_is_named_by_challenge() {
    let mut provider = Provider::new(2);
    for sector in &mut provider.sectors {
        sector.second.fill(1);
    }
    let statement = provider.terms().commit(Element::ZERO);
    let error = provider.prove_window(&statement).unwrap_err();
    assert!(matches!(error, window::ProveError::Open { index: 1, source: "damaged replica" }), "{error:?}");
}
