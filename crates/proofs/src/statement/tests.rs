use hpips_types::cbor;

use super::*;
use crate::fixture::{PAYEE, PROVIDER, Provider, beacon};
use crate::shape::LEAVES;

fn shape(window_challenges: u16) -> Shape {
    Shape::new(4, 2, window_challenges, 100, 2).unwrap()
}

fn terms(window_challenges: u16, layouts: Vec<RecordLayout>) -> WindowTerms {
    WindowTerms {
        shape: shape(window_challenges),
        network: ChainId::new([1; 32]),
        set: SetId { provider: PROVIDER, number: 0 },
        payee: PAYEE,
        window: WindowIndex::new(3),
        set_root: Element::ZERO,
        layouts,
        beacon: beacon(1),
        entry: None,
    }
}

fn bundle(extents: &[(u32, u64)]) -> RecordLayout {
    RecordLayout::Bundle(
        extents.iter().map(|(offset, bytes)| DataExtent { offset: *offset, bytes: *bytes }).collect(),
    )
}

#[test]
fn half_of_the_challenges_fall_on_data_and_all_on_bytes_that_exist() {
    let extents = [(0, 15_872), (4_096, 100), (8_192, 126_976)];
    let layouts = vec![
        RecordLayout::Sealed,
        RecordLayout::Empty,
        bundle(&extents),
        bundle(&[(512, 62)]),
        RecordLayout::Sealed,
    ];
    let challenges = terms(2_000, layouts).challenges().unwrap();
    let mut by_extent = [0u32; 4];
    let mut by_sector = [0u32; 5];
    for (index, WindowChallenge { record, leaf }) in challenges.iter().enumerate() {
        match (index % 2, record.get()) {
            (1, sector @ (0 | 4)) => {
                assert!(*leaf < 4_096);
                by_sector[usize::from(sector)] += 1;
            }
            (0, 2) => {
                let at = extents.iter().position(|(offset, bytes)| {
                    (u64::from(*offset)..u64::from(*offset) + bytes.div_ceil(31)).contains(&u64::from(*leaf))
                });
                by_extent[at.unwrap()] += 1;
            }
            (0, 3) => {
                assert!((512..514).contains(leaf));
                by_extent[3] += 1;
            }
            other => panic!("challenge {index}: {other:?}"),
        }
    }
    let total: u32 = by_extent.iter().sum();
    assert_eq!(total, 1_000);
    assert!((80..140).contains(&by_extent[0]), "a ninth of the bytes: {by_extent:?}");
    assert!(by_extent[2] > 840, "{by_extent:?}");
    assert!((430..570).contains(&by_sector[0]), "{by_sector:?}");
}

#[test]
fn where_one_kind_is_missing_all_challenges_fall_on_the_other() {
    let sealed = terms(9, vec![RecordLayout::Sealed]).challenges().unwrap();
    assert!(sealed.iter().all(|challenge| challenge.record.get() == 0));
    let data = terms(9, vec![RecordLayout::Empty, bundle(&[(512, 40)])]).challenges().unwrap();
    assert!(data.iter().all(|challenge| challenge.record.get() == 1));
    let none = terms(9, vec![RecordLayout::Empty, bundle(&[(0, 0)])]);
    assert_eq!(none.challenges(), Err(StatementError::Nothing));
}

#[test]
fn an_entry_proof_asks_for_one_piece_only() {
    let mut terms = terms(200, vec![RecordLayout::Sealed, bundle(&[(0, 900), (512, 100), (1_024, 900)])]);
    let all = terms.clone();
    terms.entry = Some(Entry { record: RecordIndex::new(1), offset: 512 });
    let challenges = terms.challenges().unwrap();
    assert!(challenges.iter().all(|c| c.record.get() == 1 && (512..516).contains(&c.leaf)));
    assert_eq!((512..516).filter(|leaf| challenges.iter().any(|c| c.leaf == *leaf)).count(), 4);
    assert_ne!(terms.clone().commit(Element::ZERO).tag(), all.commit(Element::ZERO).tag());
    for (record, offset) in [(1, 513), (1, 2_000), (0, 0), (7, 512)] {
        let record = RecordIndex::new(record);
        terms.entry = Some(Entry { record, offset });
        assert_eq!(terms.challenges(), Err(StatementError::Entry(record)));
    }
}

#[test]
fn impossible_layouts_are_refused() {
    let one = RecordIndex::new(1);
    for (offset, bytes) in [(LEAVES, 1), (LEAVES - 1, 32), (u32::MAX, 1), (0, u64::MAX), (0, (496 << 20) + 1)]
    {
        let terms = terms(3, vec![RecordLayout::Sealed, bundle(&[(offset, bytes)])]);
        assert_eq!(terms.challenges(), Err(StatementError::Extent(one)), "{offset} {bytes}");
    }
    let whole = terms(3, vec![bundle(&[(0, 496 << 20)]); 64]);
    assert!(whole.challenges().is_ok());
    let many = terms(3, vec![RecordLayout::Empty; 65]);
    assert_eq!(many.challenges(), Err(StatementError::Records { got: 65, max: 64 }));
}

#[test]
fn every_part_of_a_window_reaches_the_public_inputs() {
    let layouts = vec![RecordLayout::Sealed, bundle(&[(0, 90_000)])];
    let base = terms(5, layouts).commit(Element::from(Fr::from(9u64)));
    let inputs = base.public_inputs().unwrap();
    assert_eq!(inputs, base.public_inputs().unwrap());
    let change: [fn(&mut WindowStatement); 9] = [
        |s| s.terms.network = ChainId::new([2; 32]),
        |s| s.terms.set.provider = PAYEE,
        |s| s.terms.set.number += 1,
        |s| s.terms.payee = PROVIDER,
        |s| s.terms.window = s.terms.window.next(),
        |s| s.terms.set_root = Fr::from(1u64).into(),
        |s| s.terms.layouts[0] = RecordLayout::Empty,
        |s| s.terms.beacon = beacon(2),
        |s| s.leaf_commitment = Element::ZERO,
    ];
    let differing = change.map(|change| {
        let mut other = base.clone();
        change(&mut other);
        let other = other.public_inputs().unwrap();
        core::array::from_fn(|i| other[i] != inputs[i])
    });
    let (challenges_and_tag, tag) = ([false, true, false, true], [false, false, false, true]);
    let (root, challenges, leaves) =
        ([true, false, false, false], [false, true, false, false], [false, false, true, false]);
    assert_eq!(
        differing,
        [
            challenges_and_tag,
            challenges_and_tag,
            challenges_and_tag,
            tag,
            challenges_and_tag,
            root,
            challenges,
            challenges,
            leaves
        ]
    );
}

#[test]
fn every_part_of_an_activation_reaches_the_public_inputs() {
    let base = ActivationStatement {
        shape: shape(3),
        network: ChainId::new([1; 32]),
        set: SetId { provider: PROVIDER, number: 0 },
        payee: PAYEE,
        batch: 1,
        batch_root: Fr::from(5u64).into(),
        sectors: 7,
        beacon: beacon(1),
        partition: 0,
    };
    let inputs = base.public_inputs().unwrap();
    type Change = (fn(&mut ActivationStatement), [bool; 3]);
    let change: [Change; 9] = [
        (|s| s.network = ChainId::new([2; 32]), [false, true, true]),
        (|s| s.set.provider = PAYEE, [false, true, true]),
        (|s| s.set.number += 1, [false, true, true]),
        (|s| s.payee = PROVIDER, [false, false, true]),
        (|s| s.batch += 1, [false, true, true]),
        (|s| s.batch_root = Element::ZERO, [true, true, false]),
        (|s| s.sectors += 1, [false, true, false]),
        (|s| s.beacon = beacon(2), [false, true, false]),
        (|s| s.partition = 1, [false, true, true]),
    ];
    for (index, (change, expected)) in change.iter().enumerate() {
        let mut other = base.clone();
        change(&mut other);
        let other = other.public_inputs().unwrap();
        assert_eq!(core::array::from_fn(|i| other[i] != inputs[i]), *expected, "change {index}");
    }
    let challenges = base.challenges().unwrap();
    assert!(challenges.iter().all(|c| c.record.get() < 7 && (1..4_096).contains(&c.node)));
    assert!((0..7).all(|record| challenges.iter().any(|c| c.record.get() == record)));
    for (sectors, partition, error) in [
        (0, 0, StatementError::Nothing),
        (65, 0, StatementError::Records { got: 65, max: 64 }),
        (1, 2, StatementError::Partition { got: 2, count: 2 }),
    ] {
        let wrong = ActivationStatement { sectors, partition, ..base.clone() };
        assert_eq!(wrong.challenges(), Err(error));
    }
}

/// Five hundred windows of 12 challenges against a provider that lost a quarter of its data: the share of
/// windows it survives is near `(3/4)^6`.
#[test]
fn lost_data_is_noticed_as_often_as_computed() {
    let mut terms = terms(12, vec![RecordLayout::Sealed, bundle(&[(0, 31 * 3_000), (4_096, 31 * 1_000)])]);
    let windows = 500;
    let survived = (0..windows)
        .filter(|window| {
            terms.window = WindowIndex::new(*window);
            terms.challenges().unwrap().iter().all(|c| c.record.get() == 0 || c.leaf < 4_096)
        })
        .count();
    let expected = f64::from(500) * 0.75f64.powi(6);
    assert!((expected - survived as f64).abs() < 40.0, "{survived} of {windows}, {expected} expected");
}

#[test]
fn statements_survive_their_encoding() {
    let provider = Provider::new(2);
    let window = Statement::Window(provider.commit(provider.terms()));
    let activation = Statement::Activation(provider.activation(1));
    for statement in [window, activation] {
        let bytes = cbor::encode(&statement);
        assert_eq!(cbor::decode::<Statement>(&bytes, 10_000).unwrap(), statement);
        assert_eq!(statement.public_inputs().unwrap().len(), statement.kind().inputs());
    }
    let mut wrong = provider.activation(1);
    wrong.shape = Shape::new(2, 2, 12, 3, 1).unwrap();
    assert!(Statement::Activation(wrong).public_inputs().is_err());
}

#[test]
fn vectors() {
    let layouts = vec![RecordLayout::Sealed, bundle(&[(0, 90_000), (4_096, 5_000)])];
    let challenges = terms(4, layouts).challenges().unwrap();
    let found: Vec<(u16, u32)> = challenges.iter().map(|c| (c.record.get(), c.leaf)).collect();
    assert_eq!(found, [(1, 1_196), (0, 3_680), (1, 2_295), (0, 2_557)]);
}
