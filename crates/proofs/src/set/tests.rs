use hpips_crypto::draw::Draw;
use hpips_types::cbor;

use super::*;

fn record(seed: u64) -> Record {
    match seed % 3 {
        0 => Record::Empty,
        1 => Record::Bundle { root: Fr::from(seed).into() },
        _ => Record::Sealed { replica_id: Fr::from(seed).into(), comm_r: Fr::from(seed + 1).into() },
    }
}

#[test]
fn changes_one_at_a_time_equal_building_anew() {
    let shape = Shape::new(2, 2, 1, 1, 1).unwrap();
    let seed = 5u64;
    let mut draw = Draw::new("hpips/proofs/test/v1", &[&seed.to_le_bytes()]);
    let mut records = vec![Record::Empty; 64];
    let mut tree = SetTree::new(&shape);
    assert_eq!(tree, SetTree::from_records(&shape, &records).unwrap());
    for step in 0..60 {
        let place = draw.below(64);
        let index = RecordIndex::new(u16::try_from(place).unwrap());
        let new = record(draw.below(30));
        records[usize::from(index.get())] = new;
        tree.put(&shape, index, &new).unwrap();
        assert_eq!(tree, SetTree::from_records(&shape, &records).unwrap(), "seed {seed}, step {step}");
        let path = tree.open(index);
        assert_eq!(path.root(new.commitment(&shape), place), Some(tree.root().fr()));
        assert_eq!(cbor::decode::<SetTree>(&cbor::encode(&tree), 10_000).unwrap(), tree);
    }
    for index in 0..64 {
        tree.put(&shape, RecordIndex::new(index), &Record::Empty).unwrap();
    }
    assert_eq!(tree, SetTree::new(&shape), "an emptied set is an empty set");
    assert_eq!(tree.root().fr(), merkle::zero_root(2));
}

#[test]
fn sets_are_bounded() {
    let shape = Shape::new(2, 1, 1, 1, 1).unwrap();
    let mut tree = SetTree::new(&shape);
    let outside = RecordIndex::new(8);
    assert_eq!(tree.put(&shape, outside, &record(1)), Err(OutsideSet { index: outside, max: 8 }));
    let many = vec![record(1); 9];
    assert_eq!(SetTree::from_records(&shape, &many), Err(StatementError::Records { got: 9, max: 8 }));
    assert_eq!(batch_root(&shape, &[]), Err(StatementError::Nothing));
    #[derive(Serialize)]
    struct Raw {
        rows: Vec<Vec<Element>>,
    }
    let zero = Element::ZERO;
    for rows in [vec![], vec![vec![zero]], vec![vec![zero], vec![]], vec![vec![zero; 9], vec![zero; 2]]] {
        assert!(
            cbor::decode::<SetTree>(&cbor::encode(&Raw { rows: rows.clone() }), 1_000).is_err(),
            "{rows:?}"
        );
    }
}

#[test]
fn records_differ_by_kind_and_content() {
    let shape = Shape::new(2, 2, 1, 1, 1).unwrap();
    let (a, b) = (Element::from(Fr::from(1u64)), Element::from(Fr::from(2u64)));
    let all = [
        Record::Empty,
        Record::Bundle { root: a },
        Record::Bundle { root: b },
        Record::Sealed { replica_id: a, comm_r: b },
        Record::Sealed { replica_id: b, comm_r: a },
    ];
    for (i, one) in all.iter().enumerate() {
        for other in &all[i + 1..] {
            assert_ne!(one.commitment(&shape), other.commitment(&shape), "{one:?} {other:?}");
        }
    }
    let taller = Shape::new(3, 2, 1, 1, 1).unwrap();
    assert_ne!(
        all[3].commitment(&shape),
        all[3].commitment(&taller),
        "the height is part of a sealed record"
    );
}
