use hpips_crypto::merkle::{Path, Tree};

use super::*;
use crate::fixture::sector_id;
use crate::sector::KeptLabels;
use crate::vanilla::activation::SectorLabels;

/// The scheme as its definition reads, all in memory.
fn naive(height: u8, rid: Fr) -> (Vec<Fr>, Vec<Fr>) {
    let graph = Graph::new(height);
    let nodes = graph.nodes();
    let lane = |layer, node: u32| label::lane_base(rid, layer) + Fr::from(node);
    let (mut first, mut second): (Vec<Fr>, Vec<Fr>) = (Vec::new(), Vec::new());
    for node in 0..nodes {
        let parents = graph.parents(node).drg;
        let labels = parents.map(|parent| if node == 0 { Fr::from(0u64) } else { first[parent as usize] });
        first.push(label::label_first(lane(Layer::First, node), &labels));
    }
    for node in 0..nodes {
        let parents = graph.parents(node);
        let drg: [Fr; 5] = core::array::from_fn(|i| match node {
            0 => Fr::from(0u64),
            _ => second[parents.drg[i] as usize],
        });
        let expander = parents.expander.map(|parent| first[parent as usize]);
        second.push(label::label_second(lane(Layer::Second, node), &drg, &expander));
    }
    (first, second)
}

fn bytes(labels: &[Fr]) -> Vec<u8> {
    labels.iter().flat_map(|label| hpips_crypto::field::to_bytes(label).to_bytes()).collect()
}

#[test]
fn the_sealer_computes_the_definition() {
    for height in [2, 4] {
        let id = sector_id(5);
        let (first, second) = naive(height, id.replica_id());
        let columns: Vec<Fr> = first.iter().zip(&second).map(|(a, b)| label::column(*a, *b)).collect();
        let labels = seal(height, id, |_| true).unwrap();
        assert_eq!(labels.first, bytes(&first), "height {height}");
        assert_eq!(labels.second, bytes(&second), "height {height}");
        let SealedSector { comm_c, comm_k, .. } = labels.sealed.sector;
        assert_eq!(comm_c.fr(), Tree::build(&columns, height).root());
        assert_eq!(comm_k.fr(), Tree::build(&second, height).root());
    }
}

#[test]
fn steps_of_any_size_and_restarts_change_nothing() {
    let (height, id) = (2, sector_id(1));
    let whole = seal(height, id, |_| true).unwrap();
    let (mut first, mut second) = (vec![0; 2_048], vec![0; 2_048]);
    let mut at = Progress::START;
    let mut restarts = 0;
    let sealed = loop {
        let lane = Lane { id, first: &mut first, second: &mut second };
        let mut sealer = Sealer::new(height, vec![lane], at).unwrap();
        let before = at;
        for _ in 0..3 {
            at = sealer.step(7).unwrap();
        }
        if sealer.is_done() {
            break sealer.finish().unwrap().remove(0);
        }
        assert!(at > before);
        restarts += 1;
    };
    assert_eq!(restarts, 6);
    assert_eq!(SealedLabels { sealed, first, second }, whole);
}

/// However many sectors are sealed at once, each is as if it were alone; and from any check-point on.
#[test]
fn lanes_do_not_touch_each_other() {
    for count in [2, 3, 5, LANES_MAX] {
        let ids: Vec<SectorId> = (0..count).map(|number| sector_id(u64::try_from(number).unwrap())).collect();
        let together = seal_all(2, &ids, |_| true).unwrap();
        let alone: Vec<SealedLabels> = ids.iter().map(|id| seal(2, *id, |_| true).unwrap()).collect();
        assert_eq!(together, alone, "{count} lanes");
    }
    let ids: Vec<SectorId> = (0..4).map(sector_id).collect();
    let whole = seal_all(4, &ids, |_| true).unwrap();
    for at in [1usize, 4_095, 4_096, 5_000, 8_191, 8_192, 9_000] {
        let mut killed = whole.clone();
        for labels in &mut killed {
            // What had not been computed is not there; a label half written is computed anew.
            let done = |layer: usize| (32 * at + 17).saturating_sub(layer * 4_096 * 32).min(4_096 * 32);
            labels.first[done(0)..].fill(0xee);
            labels.second[done(1)..].fill(0xee);
        }
        let buffers = ids.iter().zip(&mut killed);
        let lanes = buffers.map(|(id, labels)| Lane {
            id: *id,
            first: &mut labels.first,
            second: &mut labels.second,
        });
        let resumed = Sealer::new(4, lanes.collect(), Progress::at(u64::try_from(at).unwrap())).unwrap();
        for (sealed, labels) in resumed.finish().unwrap().into_iter().zip(&mut killed) {
            labels.sealed = sealed;
        }
        assert!(killed == whole, "from {at}");
    }
}

#[test]
fn memory_bounds_the_lanes() {
    let gib = 1 << 30;
    assert_eq!([0, gib, 3 * gib / 2, 4 * gib, 64 * gib].map(|bytes| lanes_within(8, bytes)), [0, 0, 1, 3, 8]);
    assert_eq!(lanes_within(4, 3 * gib / 2), 8);
}

#[test]
fn sealing_stops_when_told() {
    let mut asked = 0;
    let stopped = seal(4, sector_id(1), |progress| {
        asked += 1;
        progress.done() < 3_000
    });
    assert_eq!((stopped, asked), (None, 3));
}

#[test]
fn labels_differ_by_every_part_of_the_name() {
    let id = sector_id(1);
    let others = [
        SectorId { number: 2, ..id },
        SectorId { provider: crate::fixture::PAYEE, ..id },
        SectorId { ticket: crate::fixture::beacon(8), ..id },
    ];
    for other in others {
        assert_ne!(other.replica_id(), id.replica_id(), "{other:?}");
    }
    let rid = id.replica_id();
    assert_ne!(label::lane_base(rid, Layer::First), label::lane_base(rid, Layer::Second));
}

#[test]
fn wrong_buffers_and_damaged_labels_are_errors() {
    let (mut first, mut second) = (vec![0; 2_048], vec![0; 2_047]);
    let id = sector_id(1);
    let lane = Lane { id, first: &mut first, second: &mut second };
    let error = Sealer::new(2, vec![lane], Progress::START).map(drop);
    assert_eq!(error, Err(SealError::Buffer { got: 2_047, want: 2_048 }));
    assert_eq!(Sealer::new(2, vec![], Progress::START).map(drop), Err(SealError::Lanes(0)));
    second.push(0);
    let lane = Lane { id, first: &mut first, second: &mut second };
    let mut sealer = Sealer::new(2, vec![lane], Progress::START).unwrap();
    let at = sealer.step(64).unwrap();
    first[3 * 32..4 * 32].fill(0xff);
    let lane = Lane { id, first: &mut first, second: &mut second };
    let sealer = Sealer::new(2, vec![lane], at).unwrap();
    assert!(matches!(sealer.finish(), Err(SealError::Damaged(3))));
}

#[test]
fn every_node_opens_and_damage_is_noticed() {
    for height in [2, 4] {
        let labels = seal(height, sector_id(1), |_| true).unwrap();
        let SealedLabels { sealed, first, second } = &labels;
        let kept = KeptLabels { sealed, first, second };
        let comm_r = crate::record::pad_root(sealed.sector.comm_k.fr(), height);
        let tree = SectorTree::from_bytes(&sealed.replica.to_bytes(), height).unwrap();
        assert_eq!(tree, sealed.replica);
        for node in [0, 1, 17, 63] {
            let column = kept.column(node).unwrap();
            let leaf = label::column(column.first, column.second);
            assert_eq!(column.path.root(leaf, node.into()), Some(sealed.sector.comm_c.fr()));
            let path: Path = kept.replica_path(node).unwrap();
            assert_eq!(path.root(column.second, node.into()), Some(comm_r), "padded to depth 8");
            let range = tree.group(node);
            let group = &second[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
            let opening = tree.open(node, group).unwrap();
            assert_eq!((opening.leaf, &opening.path), (column.second, &path));
            let mut damaged = group.to_vec();
            damaged[40] ^= 1;
            assert_eq!(tree.open(node, &damaged), None);
            assert_eq!(tree.open(node, &group[32..]), None);
        }
        let mut damaged = first.clone();
        damaged[0] ^= 1;
        let kept = KeptLabels { first: &damaged, ..kept };
        assert!(matches!(kept.column(2), Err(SealError::Damaged(2))));
        assert_eq!(SectorTree::from_bytes(&sealed.replica.to_bytes(), height + 2), None);
        assert_eq!(SectorTree::from_bytes(&[], 9), None);
    }
}

#[test]
fn vectors() {
    for (height, comm_c, comm_k) in VECTORS {
        let sector = seal(height, sector_id(1), |_| true).unwrap().sealed.sector;
        assert_eq!(
            (format!("{:?}", sector.comm_c), format!("{:?}", sector.comm_k)),
            (format!("Element(FieldBytes({comm_c}))"), format!("Element(FieldBytes({comm_k}))")),
            "height {height}"
        );
    }
}

/// Changing one makes every sealed sector worthless.
const VECTORS: [(u8, &str, &str); 2] = [
    (
        2,
        "bbf360a53a399dd362c4e80890749cad8c26572fe227f6472a5875bcbc6a810c",
        "07f902dfc85880a615bdba929ab392cc7a6bebe9697cb0d13546ff4659f33436",
    ),
    (
        4,
        "bc817071dc05f27ac84e1d8c15e56b1af2ca19acb0a0be85acf656c39f42a350",
        "707b3b55b3b5a07de7da7cb7f8b3d71761cd32dc75c6ef395b75751bfc950155",
    ),
];

/// The commitments of sector 5 at a height: what a sector sealed by an older program must still open to.
fn check_frozen(height: u8, comm_c: &str, comm_k: &str) {
    let SealedSector { comm_c: c, comm_k: k, .. } =
        seal(height, sector_id(5), |_| true).unwrap().sealed.sector;
    let found = [c, k].map(|root| hpips_crypto::field::to_bytes(&root.fr()).to_bytes());
    let found = found.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    assert_eq!(found, [comm_c, comm_k], "height {height}");
}

#[test]
fn commitments_are_frozen() {
    check_frozen(
        2,
        "be0c5864070c2fd35cc1d54fe11c37236904f286b8f492e5cd760dbf6b238407",
        "03fdd13bed835f859eb135328a0deb7b56448a17c8aa2f899c38e8b00129bd2b",
    );
    check_frozen(
        4,
        "26a7178564bc9038e46a4bfc192e10db8668228a833857727375c4322bae3a65",
        "89884e8ecd919b36d78b8fc3f03f7a5335889057325a8027e5df73744b9cb709",
    );
    check_frozen(
        5,
        "bdf4eeaa2582d7b4f97b0988b7f686fc2ad221c39ebcad26f3ab949f3380a659",
        "ff0d56067ea7faa6e301b98e065d47362fb06dc587b0e89617d106d03ed7b056",
    );
}

/// A sector of 8 MiB, that of the public test network.
#[test]
#[ignore = "a quarter of a minute"]
fn commitments_of_a_testnet_sector_are_frozen_slow() {
    check_frozen(
        6,
        "ed2ec8c6555abeba1f617d9454450a9199bb378d34f70686a492627b7f6fee47",
        "53449915eab24e2bc97fcf606ee6862dbfc4c18229c6b3a1495cd086b3eca928",
    );
}
