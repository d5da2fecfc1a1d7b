use super::*;

#[test]
fn depth_robust_parents_come_before_their_node() {
    for height in [2, 4] {
        let graph = Graph::new(height);
        assert_eq!(graph.parents(0).drg, [0; 7]);
        assert_eq!(graph.parents(1).drg, [0; 7]);
        for node in 1..graph.nodes() {
            let parents = graph.parents(node);
            assert_eq!(parents.drg[0], node - 1, "the predecessor is first");
            assert!(parents.drg.iter().all(|parent| *parent < node), "{node}: {parents:?}");
            assert!(parents.expander.iter().all(|parent| *parent < graph.nodes()));
        }
    }
}

/// A permutation of the edges: every node is an expander parent exactly as often as it has parents.
#[test]
fn every_node_is_an_expander_parent_twice() {
    for height in [2, 3, 4] {
        let graph = Graph::new(height);
        let mut count = vec![0; graph.nodes() as usize];
        for node in 0..graph.nodes() {
            for parent in graph.expander(node) {
                count[parent as usize] += 1;
            }
        }
        assert!(count.iter().all(|count| *count == EXPANDER_PARENTS), "height {height}");
    }
}

/// BucketSample gives each power of two of distance about the same weight; a uniform draw would put half of all
/// parents into the most distant bucket.
#[test]
fn bucket_parents_spread_over_all_scales() {
    let graph = Graph::new(6);
    let scales = 18;
    let mut count = vec![0u32; scales];
    let first = graph.nodes() - 2_000;
    for node in first..graph.nodes() {
        for parent in &graph.drg(node)[1..] {
            count[(node - parent).ilog2() as usize] += 1;
        }
    }
    let total: u32 = count.iter().sum();
    for (scale, count) in count.iter().enumerate().take(scales - 1).skip(3) {
        let share = f64::from(*count) / f64::from(total);
        assert!((0.03..0.08).contains(&share), "scale {scale}: {share}");
    }
}

#[test]
fn vectors() {
    for (height, node, drg, expander) in VECTORS {
        let parents = Graph::new(height).parents(node);
        assert_eq!((parents.drg, parents.expander), (drg, expander), "({height}, {node})");
    }
}

type Vector = (u8, u32, [u32; 7], [u32; 2]);

/// Changing one makes every sealed sector worthless.
const VECTORS: [Vector; 9] = [
    (2, 0, [0, 0, 0, 0, 0, 0, 0], [47, 55]),
    (2, 1, [0, 0, 0, 0, 0, 0, 0], [11, 32]),
    (2, 2, [1, 1, 1, 1, 0, 0, 1], [7, 31]),
    (2, 63, [62, 53, 62, 62, 35, 18, 62], [47, 46]),
    (4, 77, [76, 76, 76, 13, 73, 53, 76], [2_842, 1_765]),
    (4, 4_095, [4_094, 4_018, 4_084, 4_013, 4_094, 1_655, 4_094], [4_029, 2_418]),
    (6, 200_000, [199_999, 199_996, 177_622, 199_985, 199_998, 199_997, 199_867], [256_902, 236_764]),
    (8, 3, [2, 2, 1, 0, 2, 2, 1], [13_180_271, 11_869_661]),
    (
        8,
        16_777_215,
        [16_777_214, 15_890_727, 16_777_193, 16_777_200, 16_735_607, 16_777_210, 16_777_063],
        [16_014_153, 10_704_581],
    ),
];
