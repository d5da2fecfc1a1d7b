use hpips_crypto::merkle::Tree;

use super::*;
use crate::fixture::bytes;

/// The commitment without streaming: all elements, padded with real zeros.
fn naive(data: &[u8]) -> Element {
    let height = piece_height(data.len() as u64).unwrap();
    let mut leaves: Vec<Fr> = field::pack31(data).collect();
    leaves.resize(1 << (3 * height), Fr::from(0u64));
    Tree::build(&leaves, height).root().into()
}

#[test]
fn heights_hold_their_bytes() {
    let cases = [
        (0, Some(3)),
        (1, Some(3)),
        (15_872, Some(3)),
        (15_873, Some(4)),
        (65_536, Some(4)),
        (126_976, Some(4)),
        (126_977, Some(5)),
        (PIECE_BYTES_MAX, Some(8)),
        (PIECE_BYTES_MAX + 1, None),
        (u64::MAX, None),
    ];
    for (bytes, height) in cases {
        assert_eq!(piece_height(bytes), height, "{bytes}");
    }
    assert_eq!(PIECE_BYTES_MAX, 496 << 20);
    let params = NetworkParams::dev();
    assert_eq!(billed_bytes(&params, 10), 64 << 10);
    assert_eq!(billed_bytes(&params, 70_000), 70_000);
}

#[test]
fn pushes_of_any_length_give_the_same_commitment() {
    for (seed, count) in [(1, 0), (2, 1), (3, 31), (4, 32), (5, 15_872), (6, 15_873), (7, 300_000)] {
        let data = bytes(seed, count);
        let expected = naive(&data);
        for step in [1usize, 30, 31, 4_096, 1 << 20] {
            if count > 20_000 && step < 31 {
                continue;
            }
            let mut hasher = CommP::new();
            for chunk in data.chunks(step) {
                hasher.push(chunk).unwrap();
            }
            assert_eq!(hasher.bytes(), count as u64);
            let tree = hasher.finish();
            assert_eq!(tree.comm_p(), expected, "seed {seed}, {count} bytes by {step}");
            assert_eq!(PieceTree::from_bytes(&tree.to_bytes(), count as u64), Some(tree));
        }
    }
}

#[test]
fn every_leaf_opens_from_its_group_and_from_no_other_bytes() {
    let data = bytes(9, 40_000);
    let tree = PieceTree::of(&data).unwrap();
    let cut = |range: Range<u64>| {
        data[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
    };
    for leaf in [0, 1, 511, 512, 1_290, 1_291, 2_047, 4_095] {
        let group = cut(tree.group(leaf));
        let (own, path) = tree.open(leaf, &group).unwrap();
        assert_eq!(own, data_leaf(&cut(leaf_range(leaf, 40_000))), "leaf {leaf}");
        assert_eq!(path.root(own, leaf.into()), Some(tree.comm_p().fr()), "leaf {leaf}");
        if let Some(last) = group.len().checked_sub(1) {
            let mut damaged = group.clone();
            damaged[last / 2] ^= 1;
            assert_eq!(tree.open(leaf, &damaged), None);
            assert_eq!(tree.open(leaf, &group[..last]), None);
        }
    }
    let rows = tree.to_bytes();
    assert_eq!(PieceTree::from_bytes(&rows[1..], 40_000), None);
    assert_eq!(PieceTree::from_bytes(&rows, 15_000), None);
    assert_eq!(PieceTree::from_bytes(&rows, u64::MAX), None);
}

#[test]
fn too_long_a_piece_is_refused_and_nothing_taken() {
    let mut hasher = CommP::new();
    hasher.push(&[1; 100]).unwrap();
    hasher.bytes = PIECE_BYTES_MAX - 10;
    assert_eq!(hasher.push(&[0; 11]), Err(PieceTooLong));
    assert_eq!(hasher.bytes(), PIECE_BYTES_MAX - 10);
}
