use proptest::prelude::*;

use super::*;

fn leaves(count: u64) -> Vec<Fr> {
    (0..count).map(|index| Fr::from(index * index + 1)).collect()
}

/// The definition, with every zero written out.
fn plain_root(given: &[Fr], depth: u8) -> Fr {
    let mut row = given.to_vec();
    row.resize(usize::try_from(capacity(depth)).unwrap(), Fr::ZERO);
    for _ in 0..depth {
        row = row.chunks_exact(8).map(|group| h8(group.try_into().unwrap())).collect();
    }
    row[0]
}

#[test]
fn roots_equal_the_definition_and_are_frozen() {
    let hex_of = |root: Fr| hex::encode(field::to_bytes(&root).as_bytes());
    for (count, depth, expected) in [
        (0, 0, "0000000000000000000000000000000000000000000000000000000000000000"),
        (1, 0, "0100000000000000000000000000000000000000000000000000000000000000"),
        (1, 1, "1a1d4bbc415b75e5639c49845bd57e71d2332b7a5953f0f600f328b4716b3f32"),
        (8, 1, "4838d88f6541c28490f03388d42c3cb1341481e76517ef89973009d4a86d5002"),
        (9, 2, "70fab49de3476e37f2949c63dc34b96c94e1adc3a23611053c9388230e51b81f"),
        (70, 3, "c39e8eb66b73b9856b4ddf8c8fa1168ef1b95e411af9a782bc6fe07127287059"),
    ] {
        let leaves = leaves(count);
        let root = Tree::build(&leaves, depth).root();
        assert_eq!(root, plain_root(&leaves, depth), "{count} {depth}");
        assert_eq!(hex_of(root), expected, "{count} {depth}");
    }
    assert_eq!(hex_of(zero_root(8)), "793ad597dc030c4a628d635d1c660c4a638688fb1ce94b4c2ac3ddb6c7b48616");
}

#[test]
fn every_leaf_opens_and_no_other_does() {
    let leaves = leaves(20);
    let tree = Tree::build(&leaves, 2);
    for index in 0..64 {
        let leaf = leaves.get(usize::try_from(index).unwrap()).copied().unwrap_or(Fr::ZERO);
        let path = tree.open(index);
        assert_eq!(path.root(leaf, index), Some(tree.root()), "{index}");
        assert_eq!(path.root(leaf, index + 64), None, "{index}");
        assert_ne!(path.root(leaf + Fr::from(1u64), index), Some(tree.root()), "{index}");
        if index < 20 {
            assert_ne!(path.root(leaf, index + 1), Some(tree.root()), "{index}");
        }
        assert_eq!(Path::from_bytes(&path.to_bytes(), 2), Some(path.clone()));
        assert_eq!(Path::from_bytes(&path.to_bytes(), 3), None);
    }
}

#[test]
fn long_rows_are_the_same_by_all_threads() {
    let leaves = leaves(5_000);
    let tree = Tree::build(&leaves, 5);
    let mut one_by_one = Builder::new();
    leaves.iter().for_each(|leaf| one_by_one.push(*leaf));
    assert_eq!(one_by_one.finish(5), tree.root());
    let mut at_once = Builder::keeping(3);
    at_once.extend(&leaves);
    let mut upper = tree.clone();
    upper.truncate(3);
    assert_eq!(at_once.finish_tree(5), upper);
}

#[test]
fn kept_rows_open_with_the_leaves_given_again() {
    let leaves = leaves(700);
    let tree = Tree::build(&leaves, 4);
    for base in 0..=4u8 {
        let mut upper = tree.clone();
        upper.truncate(base);
        let bytes = upper.rows_to_bytes();
        assert_eq!(Tree::from_row_bytes(&bytes, 700, base, 4), Some(upper.clone()), "{base}");
        assert_eq!(Tree::from_row_bytes(&bytes[1..], 700, base, 4), None, "{base}");
        for index in [0, 1, 511, 512, 699, 700, 4_000] {
            let span = capacity(base);
            let first = usize::try_from(index / span * span).unwrap().min(700);
            let last = usize::try_from((index / span + 1) * span).unwrap().min(700);
            let mut below = leaves[first..last].to_vec();
            assert_eq!(upper.open_with(index, &below), Some(tree.open(index)), "{base} {index}");
            if let Some(leaf) = below.first_mut() {
                *leaf += Fr::from(1u64);
                assert_eq!(upper.open_with(index, &below), None, "{base} {index}");
            }
        }
    }
}

#[test]
fn sizes_fit() {
    assert_eq!([0, 1, 2, 8, 9, 64, 65].map(depth_for), [0, 0, 1, 1, 2, 2, 3]);
    assert_eq!(capacity(8), 1 << 24);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn builders_equal_trees(cuts in proptest::collection::vec(0usize..700, 0..5), kept in proptest::option::of(0u8..4)) {
        let total: usize = cuts.iter().sum();
        let leaves = leaves(u64::try_from(total).unwrap());
        let mut builder = kept.map_or_else(Builder::new, Builder::keeping);
        let mut at = 0;
        for cut in cuts {
            builder.extend(&leaves[at..at + cut]);
            at += cut;
        }
        prop_assert_eq!(builder.count(), u64::try_from(total).unwrap());
        prop_assert_eq!(builder.finish(4), Tree::build(&leaves, 4).root());
    }

    #[test]
    fn alignment_is_zeros(first in 0u64..80, second in 1u64..20, level in 0u8..3) {
        let (a, b) = (leaves(first), leaves(second));
        let mut builder = Builder::new();
        builder.extend(&a);
        builder.align(level);
        builder.extend(&b);
        let mut all = a;
        all.resize(usize::try_from(first.next_multiple_of(capacity(level))).unwrap(), Fr::ZERO);
        all.extend(b);
        prop_assert_eq!(builder.finish(3), Tree::build(&all, 3).root());
    }
}
