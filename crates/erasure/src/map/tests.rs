use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use hpips_crypto::draw::Draw;
use hpips_types::Manifest;
use hpips_types::content::{DAG_CBOR, DAG_PB, cid_v1};
use proptest::prelude::*;

use super::*;
use crate::manifest::{read_index, read_manifest};
use crate::plan::{Limits, plan_within};
use crate::{Built, Plan, build};

/// An object of generated blocks with its encoded pieces: `pieces[extent][slot]`.
struct Object {
    blocks: HashMap<Cid, Bytes>,
    order: Vec<Cid>,
    plan: Plan,
    built: Built,
    pieces: Vec<Vec<Vec<u8>>>,
}

fn object(code: Code, limits: Limits, lengths: &[usize], seed: u64) -> Object {
    let mut draw = Draw::new("hpips/test/object/v1", &[&seed.to_le_bytes()]);
    let mut blocks = HashMap::new();
    let mut order = Vec::new();
    for (length, at) in lengths.iter().zip(0u64..) {
        let mut block = vec![0; *length];
        draw.fill(&mut block);
        let cid = cid_v1(if at % 4 == 0 { DAG_PB } else { RAW }, &block);
        if blocks.insert(cid, Bytes::from(block)).is_none() {
            order.push(cid);
        }
    }
    let list = order.iter().map(|cid| (*cid, u32::try_from(blocks[cid].len()).unwrap()));
    let plan = plan_within(limits, code, order[0], &[], list).unwrap();
    let mut pieces = vec![vec![Vec::new(); usize::from(code.n())]; plan.extents().len()];
    let built = build(&plan, &mut |cid| Ok::<_, std::io::Error>(blocks[cid].clone()), &mut |part| {
        let extent = usize::try_from(part.extent.get()).unwrap();
        let piece: &mut Vec<u8> = &mut pieces[extent][usize::from(part.slot.get())];
        assert_eq!(part.offset, u64::try_from(piece.len()).unwrap());
        piece.extend_from_slice(part.bytes);
        piece.resize(piece.len() + part.padding, 0);
        Ok(())
    })
    .unwrap();
    Object { blocks, order, plan, built, pieces }
}

impl Object {
    /// Reads the manifest back as a stranger would.
    fn manifest(&self) -> Manifest {
        let manifest = read_manifest(&self.built.bytes).unwrap();
        assert_eq!(manifest, self.built.manifest);
        manifest
    }

    fn maps(&self) -> Vec<StripeMap> {
        let code = self.plan.code();
        let index: HashMap<Cid, &Bytes> = self.built.index.iter().map(|(cid, bytes)| (*cid, bytes)).collect();
        let map = |extent: &Extent| {
            let nodes: Vec<IndexNode> =
                extent.index.iter().map(|cid| read_index(index[cid], code).unwrap()).collect();
            StripeMap::new(code, extent, &nodes).unwrap()
        };
        self.manifest().extents.iter().map(map).collect()
    }
}

/// Bytes of a shard cut out of a piece by the layout's rows.
fn cut(piece: &[u8], map: &StripeMap, stripe: StripeIndex, shard: ShardIndex) -> Vec<u8> {
    let layout = map.layout(slot_of(map.code(), stripe, shard));
    let wanted = map.blocks(stripe, shard);
    let before =
        |earlier| map.blocks(earlier, map.shard_of_slot(earlier, slot_of(map.code(), stripe, shard))).len();
    let skipped: usize = map.stripes().take_while(|earlier| *earlier < stripe).map(before).sum();
    let rows = &layout.rows[skipped..skipped + wanted.len()];
    let mut bytes = Vec::new();
    for (row, entry) in rows.iter().zip(&wanted) {
        assert_eq!((row.cid, row.bytes), (entry.cid, entry.bytes));
        let start = usize::try_from(row.offset).unwrap();
        bytes.extend_from_slice(&piece[start..start + usize::try_from(row.bytes).unwrap()]);
    }
    bytes
}

/// Layouts cover every block once and say where its bytes are.
fn check_layouts(object: &Object) {
    let code = object.plan.code();
    let mut covered = Vec::new();
    for (map, pieces) in object.maps().iter().zip(&object.pieces) {
        for (slot, piece) in (0..code.n()).map(SlotIndex::new).zip(pieces) {
            let layout = map.layout(slot);
            assert_eq!(layout.bytes, u64::try_from(piece.len()).unwrap());
            assert_eq!(layout.bytes % 31, 0);
            for row in &layout.rows {
                let start = usize::try_from(row.offset).unwrap();
                let bytes = &piece[start..start + usize::try_from(row.bytes).unwrap()];
                assert_eq!(verify_block(&row.cid, bytes), Ok(()));
            }
        }
        for stripe in map.stripes() {
            for shard in (0..code.n()).map(ShardIndex::new) {
                let slot = slot_of(code, stripe, shard);
                let blocks = map.blocks(stripe, shard);
                // Parity may be equal to a block: with `k = 1` it is a copy.
                if shard.get() < code.k() {
                    covered
                        .extend(blocks.iter().map(|e| e.cid).filter(|cid| object.blocks.contains_key(cid)));
                }
                let first = blocks.first().copied();
                let row = first.and_then(|e| map.layout(slot).rows.into_iter().find(|row| row.cid == e.cid));
                assert!(row.is_none_or(|row| row.offset % 31 == 0), "shards begin at element boundaries");
            }
        }
    }
    covered.sort_unstable();
    let mut all = object.order.clone();
    all.sort_unstable();
    assert_eq!(covered, all);
}

/// With only `alive` slots: every index node and every shard comes back, and so do whole pieces.
fn check_restore(object: &Object, alive: &BTreeSet<SlotIndex>) {
    let code = object.plan.code();
    let manifest = object.manifest();
    for (at, (map, pieces)) in object.maps().iter().zip(&object.pieces).enumerate() {
        let of_index = StripeMap::of_index(code, &manifest.extents[at]);
        for cid in &manifest.extents[at].index {
            let location = of_index.locate(cid).unwrap();
            assert_eq!(map.locate(cid), Some(location));
            let rebuilt = restore(&of_index, map, pieces, location.stripe, location.shard, alive);
            let start = usize::try_from(location.offset).unwrap();
            let node = &rebuilt[start..start + usize::try_from(location.bytes).unwrap()];
            assert_eq!(verify_block(cid, node), Ok(()));
        }
        for slot in (0..code.n()).map(SlotIndex::new) {
            let mut piece = Vec::new();
            for stripe in map.stripes() {
                let shard = map.shard_of_slot(stripe, slot);
                piece.extend(restore(map, map, pieces, stripe, shard, alive));
                piece.resize(piece.len().next_multiple_of(31), 0);
            }
            assert!(piece == pieces[usize::from(slot.get())], "{slot}");
        }
    }
}

fn restore(
    map: &StripeMap,
    full: &StripeMap,
    pieces: &[Vec<u8>],
    stripe: StripeIndex,
    shard: ShardIndex,
    alive: &BTreeSet<SlotIndex>,
) -> Vec<u8> {
    let sources = map.sources(stripe, |slot| alive.contains(&slot)).unwrap();
    let bytes: Vec<Vec<u8>> = sources
        .iter()
        .map(|source| {
            let slot = slot_of(map.code(), stripe, *source);
            assert!(alive.contains(&slot));
            cut(&pieces[usize::from(slot.get())], full, stripe, *source)
        })
        .collect();
    let shards: Vec<(ShardIndex, &[u8])> =
        sources.iter().zip(&bytes).map(|(shard, bytes)| (*shard, bytes.as_slice())).collect();
    map.rebuild(stripe, &shards, &[shard]).unwrap().remove(0)
}

fn alive(code: Code, count: u16, seed: u64) -> BTreeSet<SlotIndex> {
    let mut draw = Draw::new("hpips/test/alive/v1", &[&seed.to_le_bytes()]);
    let chosen = draw.choose(usize::from(code.n()), usize::from(count));
    chosen.into_iter().map(|slot| SlotIndex::new(u16::try_from(slot).unwrap())).collect()
}

fn small() -> Limits {
    Limits { shard_bytes: 1000, piece_bytes: 1 << 20, index_node_bytes: 2000 }
}

#[test]
fn a_small_object_survives_every_loss_it_should() {
    let code = Code::new(3, 6).unwrap();
    let lengths: Vec<usize> = (0..40).map(|i| (i * 137) % 700).collect();
    let object = object(code, small(), &lengths, 1);
    assert!(object.built.index.len() > 1, "several index nodes");
    check_layouts(&object);
    for first in 0..6u16 {
        for second in first + 1..6 {
            for third in second + 1..6 {
                let alive = [first, second, third].map(SlotIndex::new).into();
                check_restore(&object, &alive);
            }
        }
    }
}

#[test]
fn one_block_and_one_of_one() {
    for (k, n) in [(1, 1), (1, 2), (2, 3), (3, 6), (20, 51)] {
        let code = Code::new(k, n).unwrap();
        for length in [0, 1, 31, 64, 100_000] {
            let object = object(code, Limits::default(), &[length], 2);
            check_layouts(&object);
            check_restore(&object, &alive(code, k, 3));
        }
    }
}

#[test]
fn a_long_object_has_several_extents() {
    let code = Code::new(2, 4).unwrap();
    let limits = Limits { piece_bytes: 31 << 10, ..small() };
    let object = object(code, limits, &vec![900; 150], 4);
    assert!(object.plan.extents().len() > 2);
    for extent in object.plan.extents() {
        assert!(extent.piece_bytes().iter().all(|bytes| *bytes <= 31 << 10));
    }
    check_layouts(&object);
    check_restore(&object, &alive(code, 2, 5));
}

#[test]
fn too_few_slots_and_wrong_shards_are_noticed() {
    let code = Code::new(3, 6).unwrap();
    let object = object(code, small(), &[900; 9], 6);
    let map = &object.maps()[0];
    let stripe = StripeIndex::new(1);
    let two = alive(code, 2, 7);
    assert_eq!(map.sources(stripe, |slot| two.contains(&slot)), None);
    let sources = map.sources(stripe, |_| true).unwrap();
    assert_eq!(sources, [0, 1, 2].map(ShardIndex::new), "data first");
    let mut shards: Vec<Vec<u8>> = sources
        .iter()
        .map(|shard| {
            cut(&object.pieces[0][usize::from(slot_of(code, stripe, *shard).get())], map, stripe, *shard)
        })
        .collect();
    shards[1][5] ^= 1;
    let given: Vec<(ShardIndex, &[u8])> =
        sources.iter().zip(&shards).map(|(shard, bytes)| (*shard, bytes.as_slice())).collect();
    let wrong = map.rebuild(stripe, &given, &[ShardIndex::new(4)]);
    assert!(matches!(wrong, Err(RebuildError::Mismatch { .. })), "{wrong:?}");
}

#[test]
fn index_nodes_of_another_extent_make_no_map() {
    let code = Code::new(3, 6).unwrap();
    let object = object(code, small(), &[900; 30], 8);
    let extent = &object.manifest().extents[0];
    let nodes: Vec<IndexNode> =
        object.built.index.iter().map(|(_, bytes)| read_index(bytes, code).unwrap()).collect();
    let short = StripeMap::new(code, extent, &nodes[1..]).unwrap_err();
    assert!(matches!(short, MapError::StripeCount { .. }), "{short}");
    let mut longer = extent.clone();
    longer.piece_bytes[2] += 31;
    assert_eq!(StripeMap::new(code, &longer, &nodes).unwrap_err(), MapError::PieceBytes);
}

#[test]
fn interior_blocks_are_bounded() {
    let code = Code::new(3, 6).unwrap();
    let object = object(code, small(), &[500; 40], 9);
    let map = &object.maps()[0];
    assert_eq!(map.interior_blocks(u64::MAX).len(), 10);
    assert_eq!(map.interior_blocks(1_600).len(), 3);
    assert!(map.interior_blocks(u64::MAX).iter().all(|entry| entry.cid.codec() == DAG_PB));
}

#[test]
fn the_format_is_frozen() {
    let object = object(Code::new(3, 6).unwrap(), small(), &[900, 100, 0, 450, 450, 451, 7], 10);
    assert_eq!(object.built.cid.codec(), DAG_CBOR);
    let pieces: Vec<String> =
        object.pieces[0].iter().map(|piece| blake3::hash(piece).to_hex()[..16].to_string()).collect();
    let expected = "bafyreicyicxxvtzbh4fp24ia6uh4jksfd5bgahebnl7smtfkbicog4udmy \
                    01b2b138bab1dc45 0d05a098c5c06f49 b0919e2eeba61da6 95419d21aab2db97 41a883ae586c5df2 5490d3452667b756";
    assert_eq!(format!("{} {}", object.built.cid, pieces.join(" ")), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_n_minus_k_slots_may_go(
        k in 1u16..8,
        parity in 0u16..8,
        lengths in proptest::collection::vec(prop_oneof![0usize..200, 0usize..3_000], 1..60),
        seed: u64,
    ) {
        let code = Code::new(k, k + parity).unwrap();
        let object = object(code, small(), &lengths, seed);
        check_layouts(&object);
        check_restore(&object, &alive(code, k, seed));
    }
}

#[test]
#[ignore = "prints a measurement"]
fn speed_of_build_slow() {
    for (k, n) in [(3, 6), (20, 51)] {
        let code = Code::new(k, n).unwrap();
        let block = Bytes::from(vec![7u8; 1 << 20]);
        let list: Vec<(Cid, u32)> = (0..100u32).map(|i| (cid_v1(RAW, &i.to_le_bytes()), 1 << 20)).collect();
        let plan = crate::plan(code, list[0].0, &[], list).unwrap();
        let start = std::time::Instant::now();
        let mut total = 0;
        build(&plan, &mut |_| Ok::<_, std::io::Error>(block.clone()), &mut |part| {
            total += part.bytes.len();
            Ok(())
        })
        .unwrap();
        let seconds = start.elapsed().as_secs_f64();
        println!("{k} of {n}: {:.0} MB/s of content, {total} bytes out", 104.8576 / seconds);
    }
}
