use hpips_types::content::DAG_PB;

use super::*;

fn list(lengths: impl IntoIterator<Item = u32>) -> Vec<(Cid, u32)> {
    lengths.into_iter().zip(0u32..).map(|(bytes, at)| (cid_v1(RAW, &at.to_le_bytes()), bytes)).collect()
}

fn expansion(k: u16, n: u16, blocks: &[(Cid, u32)]) -> f64 {
    let plan = plan(Code::new(k, n).unwrap(), blocks[0].0, &[], blocks.iter().copied()).unwrap();
    #[allow(clippy::cast_precision_loss, reason = "printed figures")]
    let ratio = plan.stored_bytes() as f64 / plan.content_bytes() as f64;
    ratio / (f64::from(n) / f64::from(k))
}

/// The reach of DESIGN 12: at most 1.03 over `n / k` for photos, 1.10 for a tree of 50,000 small files.
#[test]
fn expansion_stays_near_n_over_k() {
    let photos = list((0..600u32).flat_map(|photo| {
        let bytes = 2_500_000 + photo * 7_919 % 3_000_000;
        let last = bytes % (1 << 20);
        [250].into_iter().chain((0..bytes >> 20).map(|_| 1 << 20)).chain([last])
    }));
    let tree = list((0..50_000u32).map(|file| 500 + file * 7_919 % 9_000));
    for (name, blocks, reach) in [("photos", &photos, 1.03), ("tree", &tree, 1.10)] {
        for (k, n) in [(3, 6), (20, 51)] {
            let over = expansion(k, n, blocks);
            println!("{name}, {k} of {n}: {over:.4} over n/k");
            assert!((1.0..=reach).contains(&over), "{name}, {k} of {n}: {over}");
        }
    }
}

#[test]
fn shards_are_whole_consecutive_blocks_and_stripes_sorted() {
    let code = Code::new(3, 6).unwrap();
    let blocks = list((0..500u32).map(|at| at * 40_503 % 300_000));
    let plan = plan(code, blocks[0].0, &[], blocks.iter().copied()).unwrap();
    let shards: Vec<&Vec<BlockEntry>> = plan.extents()[0].content.iter().flat_map(|s| &s.data).collect();
    let lengths: Vec<u64> = shards.iter().map(|shard| shard_bytes(shard)).collect();
    assert!(lengths.is_sorted_by(|a, b| a >= b));
    assert!(lengths.iter().all(|bytes| *bytes <= 1 << 20));
    let place = |entry: &BlockEntry| blocks.iter().position(|(cid, _)| *cid == entry.cid).unwrap();
    let mut seen = Vec::new();
    for shard in shards {
        let places: Vec<usize> = shard.iter().map(place).collect();
        assert!(places.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{places:?}");
        seen.extend(places);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..500).collect::<Vec<_>>());
    for stripe in &plan.extents()[0].content {
        assert_eq!(stripe.coded_bytes % 64, 0);
        assert!(u64::from(stripe.coded_bytes) - shard_bytes(&stripe.data[0]) < 64);
    }
}

#[test]
fn a_short_object_uses_all_data_shards() {
    let code = Code::new(3, 6).unwrap();
    let blocks = list([1_000; 9]);
    let plan = plan(code, blocks[0].0, &[], blocks).unwrap();
    let content = &plan.extents()[0].content;
    assert_eq!(content.len(), 1);
    assert_eq!(content[0].data.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3]);
}

/// Blocks of a few bytes: an index node still holds whole stripes and stays one block.
#[test]
fn tiny_blocks_do_not_burst_the_index() {
    for (k, n) in [(1, 2), (20, 51), (100, 256)] {
        let code = Code::new(k, n).unwrap();
        let blocks = list(vec![3; 60_000]);
        let plan = plan(code, blocks[0].0, &[], blocks).unwrap();
        for extent in plan.extents() {
            for node in extent.placeholder_index(code) {
                assert!(usize::try_from(node.bytes).unwrap() <= INDEX_NODE_BYTES_MAX, "{k} of {n}");
            }
        }
    }
}

#[test]
fn extents_of_the_network_hold_nearly_a_piece() {
    let code = Code::new(20, 51).unwrap();
    let blocks = list(vec![1 << 20; 496 * 20 * 2]);
    let plan = plan(code, blocks[0].0, &[], blocks).unwrap();
    let pieces: Vec<u64> =
        plan.extents().iter().map(|extent| extent.piece_bytes().iter().copied().max().unwrap()).collect();
    assert_eq!(pieces.len(), 3);
    assert!(pieces[..2].iter().all(|bytes| (PIECE_BYTES_MAX * 15 / 16..=PIECE_BYTES_MAX).contains(bytes)));
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let code = Code::new(3, 6).unwrap();
    let inline = Cid::new_v1(RAW, cid::multihash::Multihash::wrap(IDENTITY, b"inline").unwrap());
    assert_eq!(plan(code, inline, &[], [(inline, 6)]).unwrap_err(), PlanError::Empty);
    let cid = cid_v1(DAG_PB, b"x");
    let bytes = u32::try_from(BLOCK_BYTES_MAX).unwrap() + 1;
    assert_eq!(plan(code, cid, &[], [(cid, bytes)]).unwrap_err(), PlanError::BlockTooLarge { cid, bytes });
    let limits = Limits { piece_bytes: 1_000, ..Limits::default() };
    let error = plan_within(limits, code, cid, &[], [(cid, 5_000)]).unwrap_err();
    assert!(matches!(error, PlanError::PieceTooLarge { .. }), "{error}");
}
