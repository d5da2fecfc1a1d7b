use hpips_crypto::draw::Draw;
use hpips_crypto::merkle::Tree;
use hpips_types::cbor;

use super::*;

fn comm(seed: u64) -> Element {
    Fr::from(seed + 1_000).into()
}

/// The root from the row of height-3 subtrees, with larger pieces put in where their height's row is computed.
fn naive(bundle: &Bundle) -> Element {
    let mut row = vec![merkle::zero_root(3); 1 << 15];
    for level in 3..=LEAF_DEPTH {
        for piece in bundle.pieces() {
            if piece_height(piece.bytes) == Some(level) {
                row[(piece.offset / leaves_of(level)) as usize] = piece.comm_p.fr();
            }
        }
        if level < LEAF_DEPTH {
            let tree = Tree::from_row(row, level, level + 1 + (LEAF_DEPTH - level - 1));
            row = (0..merkle::capacity(LEAF_DEPTH - level - 1)).map(|i| tree.node(level + 1, i)).collect();
        }
    }
    row[0].into()
}

#[test]
fn roots_follow_from_places_and_commitments() {
    let empty = Bundle::new();
    assert_eq!(empty.root().fr(), merkle::zero_root(LEAF_DEPTH));
    assert_eq!(empty.hashes(), 0);
    let mut whole = Bundle::new();
    assert_eq!(whole.add(496 << 20, comm(1)), Ok(0));
    assert_eq!(whole.root(), comm(1));
    assert_eq!(whole.add(1, comm(2)), Err(BundleError::Full(1)));

    let seed = 17u64;
    let mut draw = Draw::new("hpips/proofs/test/v1", &[&seed.to_le_bytes()]);
    let mut bundle = Bundle::new();
    let mut roots = vec![bundle.root()];
    for step in 0..6u64 {
        let height = 3 + draw.below(4);
        let bytes = 1 + draw.below(31 << (3 * height));
        bundle.add(bytes, comm(step)).unwrap();
        assert_eq!(bundle.root(), naive(&bundle), "seed {seed}, step {step}");
        roots.push(bundle.root());
    }
    assert!(bundle.hashes() <= 5 * 6, "at most one path each: {}", bundle.hashes());
    let pieces = bundle.pieces().to_vec();
    let decoded: Bundle = cbor::decode(&cbor::encode(&bundle), 10_000).unwrap();
    assert_eq!(decoded, bundle);
    for piece in pieces {
        assert_eq!(bundle.remove(piece.offset), Some(piece));
        assert_eq!(bundle.remove(piece.offset), None);
    }
    assert_eq!(bundle.root(), roots[0]);
}

#[test]
fn the_lowest_aligned_place_is_taken_and_freed_places_again() {
    let mut bundle = Bundle::new();
    assert_eq!(bundle.add(1_000, comm(0)), Ok(0));
    assert_eq!(bundle.add(20_000, comm(1)), Ok(4_096));
    assert_eq!(bundle.add(15_872, comm(2)), Ok(512));
    assert_eq!(bundle.add(500_000, comm(3)), Ok(32_768));
    assert_eq!(bundle.add(100_000, comm(4)), Ok(8_192));
    for offset in (1_024..4_096).step_by(512) {
        assert_eq!(bundle.add(1, comm(5)), Ok(offset));
    }
    assert_eq!(bundle.add(1, comm(6)), Ok(12_288), "the first hole is full");
    assert_eq!(bundle.remove(1_536).map(|piece| piece.comm_p), Some(comm(5)));
    assert_eq!(bundle.add(9, comm(7)), Ok(1_536));
    assert_eq!(bundle.remove(4_096).map(|piece| piece.bytes), Some(20_000));
    assert_eq!(bundle.add(16_000, comm(8)), Ok(4_096));
    let extents = |bundle: &Bundle| match bundle.layout() {
        RecordLayout::Bundle(extents) => extents,
        other => panic!("{other:?}"),
    };
    assert_eq!(first_fit(1, extents(&bundle)), bundle.place(1));
    assert_eq!(first_fit(1 << 30, []), Err(BundleError::TooLong(1 << 30)));
}

#[test]
fn pieces_never_overlap_and_always_align() {
    let mut bundle = Bundle::new();
    let piece = |offset, bytes| BundlePiece { offset, bytes, comm_p: comm(1) };
    assert_eq!(bundle.insert(piece(4_096, 100_000)), Ok(()));
    let refused = [
        (piece(4_096, 1), BundleError::Taken(4_096)),
        (piece(4_608, 1), BundleError::Taken(4_608)),
        (piece(0, 300_000), BundleError::Taken(0)),
        (piece(100, 1), BundleError::Misplaced(100)),
        (piece(512, 20_000), BundleError::Misplaced(512)),
        (piece(LEAVES, 1), BundleError::Misplaced(LEAVES)),
        (piece(0, u64::MAX), BundleError::TooLong(u64::MAX)),
    ];
    for (piece, error) in refused {
        assert_eq!(bundle.insert(piece), Err(error), "{piece:?}");
    }
    assert_eq!(bundle.piece_at(4_095), None);
    assert_eq!(bundle.piece_at(8_191).map(|piece| piece.offset), Some(4_096));
    assert_eq!(bundle.piece_at(8_192), None);
    let unsorted = vec![piece(4_096, 1), piece(0, 1)];
    assert!(cbor::decode::<Bundle>(&cbor::encode(&unsorted), 10_000).is_err());
}

#[test]
fn a_root_alone_can_be_updated() {
    let mut bundle = Bundle::new();
    for (seed, bytes) in [(1, 1_000), (2, 90_000), (3, 700)] {
        let before = bundle.root();
        let extent = DataExtent { offset: bundle.place(bytes).unwrap(), bytes };
        let path = bundle.path(&extent).unwrap();
        let empty = empty_subtree(bytes).unwrap();
        let after = replace_subtree(before, &extent, empty, comm(seed).fr(), &path).unwrap();
        bundle.add(bytes, comm(seed)).unwrap();
        assert_eq!(after, bundle.root());
        assert_eq!(
            replace_subtree(after, &extent, empty, comm(9).fr(), &path),
            None,
            "it is not empty any more"
        );
        assert_eq!(replace_subtree(after, &extent, comm(seed).fr(), empty, &path), Some(before));
        let mut short = path.clone();
        short.siblings.pop();
        assert_eq!(replace_subtree(before, &extent, empty, empty, &short), None);
    }
}
