//! Bytes that change on the disk cost the blocks they belong to, and no others.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use hpips_types::content::{RAW, cid_v1};

use super::{block, small};
use crate::layer::Layer;
use crate::mocks::MemoryDisk;
use crate::{Config, PinKind, Store};

const FIRST: &str = "/store/packs/00000000.pack";

fn open(disk: &MemoryDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), Path::new("/store"), small(), || Ok(None)).unwrap()
}

/// As if the file of the index had never been.
fn lose_index(disk: &MemoryDisk) {
    disk.edit(Path::new("/store/index.redb"), |index| index.truncate(100));
}

/// Where the record of a block begins: its length comes before its CID.
fn record_of(pack: &[u8], cid: &hpips_types::Cid) -> usize {
    let cid = cid.to_bytes();
    pack.windows(cid.len()).position(|window| window == cid).unwrap() - 5
}

#[test]
fn a_rotten_length_hides_no_other_block() {
    for flip in [0, 8, 16, 24, 31] {
        let disk = MemoryDisk::new(1);
        let blocks: Vec<_> = (0..5).map(|number| block(number, 200)).collect();
        let store = open(&disk);
        store.put(blocks.clone()).unwrap();
        drop(store);
        lose_index(&disk);
        disk.edit(Path::new(FIRST), |pack| {
            let at = record_of(pack, &blocks[1].0);
            pack[at + flip / 8] ^= 1 << (flip % 8);
        });
        let store = open(&disk);
        for (number, (cid, bytes)) in blocks.iter().enumerate() {
            let expected = (number != 1).then(|| bytes.clone());
            assert_eq!(store.get(cid).unwrap(), expected, "bit {flip}, block {number}");
        }
        // What comes now goes elsewhere, and all is there after another start.
        store.put(vec![blocks[1].clone(), block(9, 200)]).unwrap();
        drop(store);
        let store = open(&disk);
        for (cid, bytes) in blocks.iter().chain([&block(9, 200)]) {
            assert_eq!(store.get(cid).unwrap().as_ref(), Some(bytes), "bit {flip}");
        }
    }
}

#[test]
fn a_rotten_header_costs_nothing() {
    for is_index_lost in [false, true] {
        let disk = MemoryDisk::new(1);
        let blocks: Vec<_> = (0..5).map(|number| block(number, 200)).collect();
        let store = open(&disk);
        store.put(blocks.clone()).unwrap();
        drop(store);
        if is_index_lost {
            lose_index(&disk);
        }
        disk.edit(Path::new(FIRST), |pack| pack[3] ^= 1);
        for _ in 0..2 {
            let store = open(&disk);
            for (cid, bytes) in &blocks {
                assert_eq!(store.get(cid).unwrap().as_ref(), Some(bytes), "index lost: {is_index_lost}");
            }
            store.put(vec![block(9, 300)]).unwrap();
        }
    }
}

#[test]
fn of_two_copies_the_later_one_counts_when_the_index_is_made_anew() {
    let disk = MemoryDisk::new(1);
    let store = open(&disk);
    let first: Vec<_> = (0..12).map(|number| block(number, 300)).collect();
    for block in &first {
        store.put(vec![block.clone()]).unwrap();
    }
    let (cid, bytes) = &first[0];
    // It rots in the first pack, which is full, is noticed, and comes again.
    disk.edit(Path::new(FIRST), |pack| {
        let at = record_of(pack, cid);
        pack[at + 100] ^= 1;
    });
    assert!(store.get(cid).is_err());
    store.put(vec![first[0].clone()]).unwrap();
    store.pin(cid, PinKind::Direct, "").unwrap();
    let stat = store.stat().unwrap();
    drop(store);
    lose_index(&disk);
    let store = open(&disk);
    assert_eq!(store.get(cid).unwrap().as_ref(), Some(bytes));
    assert_eq!(store.stat().unwrap().live_bytes, stat.live_bytes, "counted once");
    // The old place is dead for the collection too.
    store.collect(&[]).unwrap();
    assert_eq!(store.get(cid).unwrap().as_ref(), Some(bytes));
}

#[test]
fn a_pack_that_cannot_be_read_does_not_end_a_collection() {
    let disk = MemoryDisk::new(1);
    let store = open(&disk);
    let blocks: Vec<_> = (0..24).map(|number| block(number, 300)).collect();
    for block in &blocks {
        store.put(vec![block.clone()]).unwrap();
    }
    // One block of each pack stays.
    let kept: Vec<_> = blocks.iter().step_by(6).collect();
    for (cid, _) in &kept {
        store.pin(cid, PinKind::Direct, "").unwrap();
    }
    let packs = store.stat().unwrap().bytes;
    drop(store);
    // Its end is gone, and with it what the index promises there.
    disk.edit(Path::new(FIRST), |pack| pack.truncate(30));
    let store = open(&disk);
    let report = store.collect(&[]).unwrap();
    assert!(report.packs > 0, "{report:?}");
    assert!(store.stat().unwrap().bytes < packs / 2, "the packs behind it were emptied");
    for (cid, bytes) in &kept[1..] {
        assert_eq!(store.get(cid).unwrap().as_ref(), Some(bytes));
    }
}

/// Every byte of a footer, changed in two ways, with and without an index.
#[test]
fn a_damaged_footer_costs_nothing() {
    let whole = MemoryDisk::new(1);
    let blocks: Vec<_> = (0..12).map(|number| block(number, 300)).collect();
    let store = open(&whole);
    for block in &blocks {
        store.put(vec![block.clone()]).unwrap();
    }
    drop(store);
    let mut pack = Vec::new();
    whole.edit(Path::new(FIRST), |bytes| pack.clone_from(bytes));
    let start = u64::from_le_bytes(pack[pack.len() - 16..pack.len() - 8].try_into().unwrap());
    let start = usize::try_from(start).unwrap();
    assert!(pack.ends_with(b"HPIPSFT1") && pack.len() - start > 200);
    let mut seconds = Vec::new();
    whole.edit(Path::new("/store/packs/00000001.pack"), |bytes| seconds.clone_from(bytes));
    for at in start..pack.len() {
        for flip in [0x01, 0xff] {
            let disk = MemoryDisk::new(1);
            drop(open(&disk));
            for (name, bytes) in [(FIRST, &pack), ("/store/packs/00000001.pack", &seconds)] {
                disk.create(Path::new(name)).unwrap();
                disk.edit(Path::new(name), |content| content.clone_from(bytes));
            }
            disk.edit(Path::new(FIRST), |bytes| bytes[at] ^= flip);
            for round in 0..2 {
                let store = open(&disk);
                for (cid, bytes) in &blocks {
                    assert_eq!(store.get(cid).unwrap().as_ref(), Some(bytes), "byte {at}, round {round}");
                }
                store.put(vec![block(100 + round, 500)]).unwrap();
            }
        }
    }
}

/// A block that holds what looks like a record of another block, with a right CRC: it must not take the other's place
/// when the record around it rots.
#[test]
fn a_record_inside_a_block_is_no_record() {
    let disk = MemoryDisk::new(1);
    let store = open(&disk);
    let (victim, bytes) = block(1, 200);
    store.put(vec![(victim, bytes.clone())]).unwrap();
    let mut forged = vec![7; 40];
    crate::pack::put_record(&victim, &[9; 200], &mut forged);
    forged.extend_from_slice(&[7; 40]);
    let forged = bytes::Bytes::from(forged);
    let outer = cid_v1(RAW, &forged);
    store.put(vec![(outer, forged)]).unwrap();
    let last = block(2, 200);
    store.put(vec![last.clone()]).unwrap();
    drop(store);
    lose_index(&disk);
    disk.edit(Path::new(FIRST), |pack| {
        let at = record_of(pack, &outer);
        pack[at + 50] ^= 1;
    });
    let store = open(&disk);
    assert_eq!(store.get(&victim).unwrap(), Some(bytes));
    assert_eq!(store.get(&last.0).unwrap(), Some(last.1));
    assert_eq!(store.get(&outer).unwrap(), None);
}

/// Content that looks like footers or records at every byte must not make opening take for ever.
#[test]
fn content_that_looks_like_records_everywhere_is_searched_in_time() {
    let config = Config { pack_bytes: 64 << 20, ..small() };
    let head = [0, 0, 8, 0, 36, 1, 0x55, 0x12, 0x20];
    let records: Vec<u8> = head.iter().chain(&[0; 36]).copied().cycle().take(1 << 20).collect();
    for content in [vec![0xff; 1 << 20], records] {
        let content = bytes::Bytes::from(content);
        let disk = MemoryDisk::new(1);
        let open =
            || Store::open_on(Arc::new(disk.clone()), Path::new("/store"), config, || Ok(None)).unwrap();
        let store = open();
        let (cid, last) = (cid_v1(RAW, &content), block(1, 200));
        store.put(vec![(cid, content)]).unwrap();
        store.put(vec![last.clone()]).unwrap();
        drop(store);
        lose_index(&disk);
        disk.edit(Path::new(FIRST), |pack| {
            let at = record_of(pack, &cid);
            pack[at + 3] ^= 0xf0;
        });
        // Whether the block behind is found or the search is given up: the file stays as it is.
        let mut len = 0;
        disk.edit(Path::new(FIRST), |pack| len = pack.len());
        drop(open());
        disk.edit(Path::new(FIRST), |pack| assert_eq!(pack.len(), len));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Also footers are no place where damage could do more harm.
    #[test]
    fn a_flipped_bit_costs_one_block_at_most(at in any::<prop::sample::Index>(), bit in 0u8..8, pack in 0u8..2) {
        let disk = MemoryDisk::new(1);
        let store = open(&disk);
        let blocks: Vec<_> = (0..12).map(|number| block(number, 250)).collect();
        for block in &blocks {
            store.put(vec![block.clone()]).unwrap();
        }
        drop(store);
        lose_index(&disk);
        let name = format!("/store/packs/0000000{pack}.pack");
        disk.edit(Path::new(&name), |pack| {
            let at = at.index(pack.len());
            pack[at] ^= 1 << bit;
        });
        let store = open(&disk);
        let mut lost = 0;
        for (cid, bytes) in &blocks {
            match store.get(cid) {
                Ok(Some(found)) => prop_assert_eq!(&found, bytes),
                Ok(None) | Err(_) => lost += 1,
            }
        }
        prop_assert!(lost <= 1, "{lost} blocks lost in {name}");
        // Whatever was lost can come again.
        store.put(blocks.clone()).unwrap();
        for (cid, bytes) in &blocks {
            prop_assert_eq!(store.get(cid).unwrap(), Some(bytes.clone()));
        }
    }
}
