//! What the store promises while nothing fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hpips_bitswap::{BlockSource, SourceError};
use hpips_types::content::{BlockError, DAG_PB, IDENTITY, RAW, cid_v1};
use hpips_types::{Cid, DealId, SlotIndex};

use super::{block, parent, small};
use crate::mocks::{Fault, MemoryDisk};
use crate::{
    BLOCK_BYTES_MAX, BadBlock, Config, IndexError, KeptBy, LentStatus, Migrated, OldPin, OpenError, PieceKey,
    Pin, PinKind, Store, WriteError,
};

fn in_memory() -> (MemoryDisk, Store) {
    let disk = MemoryDisk::new(1);
    let store = open(&disk);
    (disk, store)
}

fn open(disk: &MemoryDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), Path::new("/store"), small(), || Ok(None)).unwrap()
}

#[test]
fn a_second_process_is_told_who_has_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Config::default()).unwrap();
    match Store::open(dir.path(), Config::default()) {
        Err(OpenError::Locked { holder, .. }) => assert_eq!(holder, std::process::id().to_string()),
        other => panic!("opened twice: {other:?}"),
    }
    let (cid, bytes) = block(1, 5000);
    store.put(vec![(cid, bytes.clone())]).unwrap();
    let clone = store.clone();
    drop(store);
    assert!(Store::open(dir.path(), Config::default()).is_err(), "a clone keeps the store open");
    drop(clone);
    let store = Store::open(dir.path(), Config::default()).unwrap();
    assert_eq!(store.get(&cid).unwrap(), Some(bytes));
}

#[test]
fn other_formats_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("version");
    for (content, expected) in [
        ("hpips-store 2\n", "knows up to 1: use a newer hpips"),
        ("hpips-store 0\n", "run `hpips repo migrate`"),
        ("hpips-store one\n", "is no store of this program"),
        ("", "is no store of this program"),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = Store::open(dir.path(), Config::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{content:?}: {error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        assert!(!dir.path().join("index.redb").exists());
    }
    std::fs::write(&path, "hpips-store 1\n").unwrap();
    assert_eq!(Store::migrate(dir.path()).unwrap(), Migrated { from: 1, to: 1 });
    Store::open(dir.path(), Config::default()).unwrap();
}

#[test]
fn blocks_that_are_not_what_they_say_are_refused_as_a_whole() {
    let (_, store) = in_memory();
    let (good, bytes) = block(1, 10);
    let (other, _) = block(2, 10);
    let refused = store.put(vec![(good, bytes.clone()), (other, bytes.clone())]);
    assert!(matches!(refused, Err(WriteError::Block(BlockError::Mismatch { cid })) if cid == other));
    assert!(!store.has(&good).unwrap());
    let large = Bytes::from(vec![0; BLOCK_BYTES_MAX + 1]);
    let cid = cid_v1(RAW, &large);
    assert!(matches!(store.put(vec![(cid, large)]), Err(WriteError::TooLarge { .. })));
    store.put(vec![(good, bytes.clone()), (good, bytes.clone())]).unwrap();
    store.put(vec![(good, bytes)]).unwrap();
    assert_eq!(store.block_count().unwrap(), 1);
}

#[test]
fn a_block_is_found_under_every_cid_of_its_hash() {
    let (_, store) = in_memory();
    let (cid, bytes) = block(1, 100);
    store.put(vec![(cid, bytes.clone())]).unwrap();
    let other = cid_v1(DAG_PB, &bytes);
    assert_eq!(store.get(&other).unwrap(), Some(bytes));
    let inline = Cid::new_v1(RAW, cid::multihash::Multihash::wrap(IDENTITY, b"tiny").unwrap());
    assert_eq!(store.get(&inline).unwrap().as_deref(), Some(&b"tiny"[..]));
    store.put(vec![(inline, Bytes::from_static(b"tiny"))]).unwrap();
    assert_eq!(store.block_count().unwrap(), 1, "identity blocks are not kept");
    let (missing, _) = block(2, 100);
    assert_eq!(BlockSource::get(&store, &missing).unwrap(), None);
    assert_eq!(BlockSource::size(&store, &cid).unwrap(), Some(100));
}

#[test]
fn pins_survive_and_can_be_renamed() {
    let (disk, store) = in_memory();
    let (a, _) = block(1, 10);
    let (b, _) = block(2, 10);
    store.pin(&a, PinKind::Recursive, "first").unwrap();
    store.pin(&b, PinKind::Direct, "").unwrap();
    store.pin(&a, PinKind::Direct, "renamed").unwrap();
    assert!(store.unpin(&b).unwrap());
    assert!(!store.unpin(&b).unwrap());
    assert!(matches!(store.pin(&a, PinKind::Direct, &"x".repeat(256)), Err(WriteError::NameTooLong { .. })));
    for _ in 0..1100 {
        store.pin(&b, PinKind::Direct, "again").unwrap();
        store.unpin(&b).unwrap();
    }
    drop(store);
    // Opening writes the journal anew, and reading that gives the same.
    for _ in 0..2 {
        let store = open(&disk);
        assert_eq!(store.pins(), [Pin { cid: a, kind: PinKind::Direct, name: "renamed".into() }]);
    }
}

#[test]
fn the_root_of_the_files_survives_and_keeps_what_it_reaches() {
    let (disk, store) = in_memory();
    assert_eq!(store.files_root(), None);
    let (leaf, other) = (block(1, 300), block(2, 300));
    let root = parent(&[leaf.0]);
    store.put(vec![leaf.clone(), other.clone(), root.clone()]).unwrap();
    store.set_files_root(&other.0).unwrap();
    store.set_files_root(&root.0).unwrap();
    store.pin(&other.0, PinKind::Direct, "kept").unwrap();
    assert!(store.update_pin(&other.0, &root.0, OldPin::Keep).unwrap());
    assert!(store.update_pin(&root.0, &leaf.0, OldPin::Remove).unwrap());
    assert!(!store.update_pin(&root.0, &leaf.0, OldPin::Remove).unwrap());
    store.unpin(&other.0).unwrap();
    store.unpin(&leaf.0).unwrap();
    drop(store);
    let store = open(&disk);
    assert_eq!(store.files_root(), Some(root.0));
    assert_eq!(store.pins(), []);
    assert_eq!(store.collect(&[]).unwrap().blocks, 1);
    assert_eq!(store.get(&leaf.0).unwrap(), Some(leaf.1));
    assert_eq!(store.get(&other.0).unwrap(), None);
}

#[test]
fn what_keeps_a_block_is_known() {
    let (_, store) = in_memory();
    let [leaf, other, direct, file, free] = [1, 2, 3, 4, 5].map(|number| block(number, 300));
    let node = parent(&[leaf.0, other.0]);
    let root = parent(&[node.0, leaf.0]);
    let files = parent(&[file.0, leaf.0]);
    for block in [&leaf, &other, &direct, &file, &free, &node, &root, &files] {
        store.put(vec![block.clone()]).unwrap();
    }
    store.pin(&root.0, PinKind::Recursive, "").unwrap();
    store.pin(&direct.0, PinKind::Direct, "").unwrap();
    store.set_files_root(&files.0).unwrap();
    let asked = [root.0, direct.0, leaf.0, node.0, file.0, files.0, free.0, leaf.0];
    let indirect = Some(KeptBy::Indirect(root.0));
    assert_eq!(
        store.kept_by(&asked),
        [
            Some(KeptBy::Recursive),
            Some(KeptBy::Direct),
            indirect,
            indirect,
            Some(KeptBy::Files),
            Some(KeptBy::Files),
            None,
            indirect,
        ]
    );
    let mut found = Vec::new();
    store
        .for_each_indirect(|cid, from| {
            assert_eq!(*from, root.0);
            found.push(*cid);
            Ok::<_, ()>(())
        })
        .unwrap();
    found.sort();
    let mut expected = [node.0, leaf.0, other.0];
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn pins_that_lack_something_are_named() {
    let (disk, store) = in_memory();
    let [shared, damaged, missing] = [1, 2, 3].map(|number| block(number, 300));
    let node = parent(&[shared.0, damaged.0]);
    let whole = parent(&[shared.0]);
    let one = parent(&[node.0, whole.0]);
    let two = parent(&[node.0, missing.0]);
    let gone = parent(&[two.0]);
    store.put(vec![shared, damaged.clone(), node, whole.clone(), one.clone(), two.clone()]).unwrap();
    for cid in [whole.0, one.0, two.0, gone.0] {
        store.pin(&cid, PinKind::Recursive, "").unwrap();
    }
    store.pin(&missing.0, PinKind::Direct, "").unwrap();
    disk.edit(Path::new("/store/packs/00000000.pack"), |pack| {
        let at = pack.windows(300).position(|window| window == &damaged.1[..]).unwrap();
        pack[at + 150] ^= 1;
    });
    let mut found = std::collections::HashMap::new();
    store
        .verify_pins(|pin, bad| {
            found.insert(pin.cid, bad.to_vec());
            Ok::<_, IndexError>(())
        })
        .unwrap();
    let (lost, rotten) = (BadBlock::Missing(missing.0), BadBlock::Damaged(damaged.0));
    assert_eq!(found.remove(&whole.0).unwrap(), []);
    assert_eq!(found.remove(&one.0).unwrap(), [rotten]);
    let mut of_two = found.remove(&two.0).unwrap();
    of_two.sort_by_key(|bad| *bad != lost);
    assert_eq!(of_two, [lost, rotten]);
    assert_eq!(found.remove(&missing.0).unwrap(), [lost]);
    assert_eq!(found.remove(&gone.0).unwrap(), [BadBlock::Missing(gone.0)]);
    assert!(found.is_empty());
    let mut steps = 0;
    let report = store
        .verify_with(|_| {
            steps += 1;
            Ok::<_, IndexError>(())
        })
        .unwrap();
    assert_eq!((report.sound_blocks, steps), (5, 1));
    let [damage] = &report.damaged[..] else { panic!("{report:?}") };
    assert_eq!((damage.cid, damage.is_lost), (damaged.0, true));
    assert!(matches!(damage.kept_by, Some(KeptBy::Indirect(root)) if root == one.0 || root == two.0));
    assert!(damage.path.ends_with("packs/00000000.pack"));
}

#[test]
fn damage_is_noticed_forgotten_and_can_be_repaired() {
    let (disk, store) = in_memory();
    let blocks: Vec<_> = (0..3).map(|number| block(number, 300)).collect();
    store.put(blocks.clone()).unwrap();
    let (cid, bytes) = &blocks[1];
    disk.edit(Path::new("/store/packs/00000000.pack"), |pack| {
        let at = pack.windows(300).position(|window| window == &bytes[..]).unwrap();
        pack[at + 150] ^= 1;
    });
    match BlockSource::get(&store, cid) {
        Err(SourceError::Damaged { cid: damaged }) => assert_eq!(damaged, *cid),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.get(cid).unwrap(), None, "forgotten, so that it is fetched again");
    store.put(blocks.clone()).unwrap();
    assert_eq!(store.get(cid).unwrap().as_ref(), Some(bytes));
    // Without the index, the damaged record does not hide those behind it.
    drop(store);
    disk.edit(Path::new("/store/index.redb"), |index| index.truncate(100));
    let store = open(&disk);
    for (cid, bytes) in blocks {
        assert_eq!(store.get(&cid).unwrap(), Some(bytes));
    }
}

#[test]
fn a_missing_pack_loses_its_blocks_and_no_others() {
    let (disk, store) = in_memory();
    let blocks: Vec<_> = (0..20).map(|number| block(number, 300)).collect();
    for block in &blocks {
        store.put(vec![block.clone()]).unwrap();
    }
    drop(store);
    crate::layer::Layer::remove(&disk, Path::new("/store/packs/00000001.pack")).unwrap();
    let store = open(&disk);
    let left = blocks.iter().filter(|(cid, _)| store.get(cid).unwrap().is_some()).count();
    assert!((10..20).contains(&left), "{left}");
    assert_eq!(store.block_count().unwrap(), left as u64);
}

#[test]
fn pieces_serve_their_blocks_until_they_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("repo"), small()).unwrap();
    let (first, second, third) = (block(1, 500), block(2, 700), block(3, 100));
    let path = dir.path().join("piece");
    std::fs::write(&path, [&first.1[..], &[0; 13], &second.1[..]].concat()).unwrap();
    let rows = [(first.0, 0, 500), (second.0, 513, 700)];
    let key = PieceKey { deal: DealId::new(7), slot: SlotIndex::new(2) };
    store.add_piece(key, &path, &rows).unwrap();
    store.add_piece(key, &path, &rows).unwrap();
    assert_eq!(store.pieces().unwrap(), [key]);
    assert_eq!(store.get(&first.0).unwrap().as_ref(), Some(&first.1));
    assert_eq!(store.get(&second.0).unwrap().as_ref(), Some(&second.1));
    assert_eq!(store.block_count().unwrap(), 2);
    // A block that is in a pack as well outlives the piece.
    store.put(vec![second.clone(), third]).unwrap();
    assert_eq!(store.block_count().unwrap(), 3);
    assert!(store.remove_piece(key).unwrap());
    assert!(!store.remove_piece(key).unwrap());
    assert_eq!(store.pieces().unwrap(), []);
    assert_eq!(store.get(&first.0).unwrap(), None);
    assert_eq!(store.get(&second.0).unwrap().as_ref(), Some(&second.1));
    assert_eq!(store.block_count().unwrap(), 2);
    for (path, rows) in [
        (path.clone(), &[(first.0, 1000, 500)][..]),
        (path.clone(), &[(first.0, u64::MAX, 500)]),
        (dir.path().join("absent"), &rows),
        ("relative".into(), &rows),
    ] {
        assert!(matches!(store.add_piece(key, &path, rows), Err(WriteError::Io { .. })), "{path:?}");
    }
    assert_eq!(store.pieces().unwrap(), []);
}

#[test]
fn one_reference_to_a_users_file_can_be_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("repo"), small()).unwrap();
    let path = dir.path().join("file");
    let (one, two) = (block(1, 500), block(2, 500));
    std::fs::write(&path, [&one.1[..], &two.1[..]].concat()).unwrap();
    let rows = vec![(one.0, 0, 500), (two.0, 500, 500)];
    store.add_user_files(&[(path, rows)]).unwrap();
    let before = store.epoch().unwrap();
    let lent = store.lent(&one.0).unwrap().remove(0);
    assert!(store.forget_lent(&lent).unwrap() && !store.forget_lent(&lent).unwrap());
    assert_ne!(store.epoch().unwrap(), before, "a block is gone");
    assert_eq!((store.get(&one.0).unwrap(), store.get(&two.0).unwrap()), (None, Some(two.1)));
}

#[test]
fn a_users_file_that_changes_no_longer_has_the_block() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("repo"), small()).unwrap();
    let (cid, bytes) = block(1, 500);
    let path = dir.path().join("file");
    std::fs::write(&path, &bytes).unwrap();
    store.add_user_file(&path, &[(cid, 0, 500)]).unwrap();
    assert_eq!(store.get(&cid).unwrap(), Some(bytes.clone()));
    let status = || {
        let mut found = Vec::new();
        store
            .verify_lent(|lent, status| {
                found.push((lent, status));
                Ok::<_, IndexError>(())
            })
            .unwrap();
        let (lent, status) = found.pop().unwrap();
        assert_eq!((lent.cid, &lent.path, lent.offset, lent.bytes), (cid, &path, 0, 500));
        assert!(found.is_empty());
        status
    };
    assert!(matches!(status(), LentStatus::Sound));
    for content in [&b"changed"[..], &[0; 500]] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(store.get(&cid).unwrap(), None);
        assert!(matches!(status(), LentStatus::Changed));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(status(), LentStatus::NoFile));
    // Another file with the same bytes: one of the sources is enough.
    let other = dir.path().join("other");
    std::fs::write(&other, [&[0; 7], &bytes[..]].concat()).unwrap();
    store.add_user_file(&other, &[(cid, 7, 500)]).unwrap();
    assert_eq!(store.get(&cid).unwrap(), Some(bytes.clone()));
    assert_eq!(store.lent(&cid).unwrap().len(), 2);
    let statuses = store.verify_lent_block(&cid).unwrap();
    assert!(matches!(&statuses[..], [(_, LentStatus::NoFile), (_, LentStatus::Sound)]), "{statuses:?}");
    let duplicates = || {
        let mut found = Vec::new();
        store
            .for_each_duplicate(|cid| {
                found.push(*cid);
                Ok::<_, IndexError>(())
            })
            .unwrap();
        found
    };
    assert_eq!(duplicates(), []);
    store.put(vec![(cid, bytes.clone())]).unwrap();
    assert_eq!(duplicates(), [cid]);
    store.delete(&cid).unwrap();
    assert!(store.remove_user_file(&other).unwrap());
    assert_eq!(store.get(&cid).unwrap(), None);
    store.put(vec![(cid, bytes.clone())]).unwrap();
    assert_eq!(store.get(&cid).unwrap(), Some(bytes), "another copy is used");
    assert!(store.remove_user_file(&path).unwrap());
    assert!(!store.remove_user_file(&path).unwrap());
    assert_eq!(store.block_count().unwrap(), 1);
}

#[test]
fn collection_keeps_what_is_pinned_and_gives_space_back() {
    let (disk, store) = in_memory();
    let leaves: Vec<_> = (0..12).map(|number| block(number, 300)).collect();
    let kept: Vec<Cid> = leaves[..4].iter().map(|(cid, _)| *cid).collect();
    let root = parent(&kept);
    let direct = parent(&[leaves[5].0]);
    for block in &leaves {
        store.put(vec![block.clone()]).unwrap();
    }
    store.put(vec![root.clone(), direct.clone()]).unwrap();
    store.pin(&root.0, PinKind::Recursive, "").unwrap();
    store.pin(&direct.0, PinKind::Direct, "").unwrap();
    let before = store.pack_bytes().unwrap();
    let report = store.collect(&[leaves[4].0]).unwrap();
    assert_eq!(report.blocks, 7);
    assert!(report.packs > 0 && store.pack_bytes().unwrap() < before, "{report:?}");
    for store in [store.clone(), {
        drop(store);
        open(&disk)
    }] {
        for (index, (cid, bytes)) in leaves.iter().enumerate() {
            let expected = (index < 5).then_some(bytes);
            assert_eq!(store.get(cid).unwrap().as_ref(), expected, "leaf {index}");
        }
        assert_eq!(store.get(&root.0).unwrap(), Some(root.1.clone()));
        assert_eq!(store.get(&direct.0).unwrap(), Some(direct.1.clone()));
        assert_eq!(store.block_count().unwrap(), 7);
    }
}

#[test]
fn readers_go_on_while_packs_are_written_moved_and_unlinked() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), small()).unwrap();
    let kept: Vec<_> = (0..20).map(|number| block(number, 200)).collect();
    for block in &kept {
        store.put(vec![block.clone(), super::block(1000 + u64::from(block.1[0]), 250)]).unwrap();
    }
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    for (cid, bytes) in &kept {
                        assert_eq!(store.get(cid).unwrap().as_ref(), Some(bytes));
                    }
                }
            });
        }
        for round in 0..15 {
            let dead: Vec<_> = (0..20).map(|number| block(10_000 + round * 100 + number, 250)).collect();
            store.put(dead).unwrap();
            store.retain(|cid| kept.iter().any(|(kept, _)| kept == cid)).unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert_eq!(store.block_count().unwrap(), 20);
    let packs = std::fs::read_dir(dir.path().join("packs")).unwrap().count();
    assert!(packs < 12, "{packs} packs for 4 kB");
}

#[test]
fn threads_that_store_at_once_share_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Config::default()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..20 {
                    // Half of the blocks are everybody's.
                    let blocks = vec![block(round, 500), block(1000 * (thread + 1) + round, 500)];
                    store.put(blocks.clone()).unwrap();
                    for (cid, bytes) in blocks {
                        assert_eq!(store.get(&cid).unwrap(), Some(bytes), "durable when it returns");
                    }
                }
            });
        }
    });
    assert_eq!(store.block_count().unwrap(), 20 + 8 * 20);
    let report = store.verify().unwrap();
    assert_eq!((report.sound_blocks, report.damaged), (180, vec![]));
    let built = |number| block(number, 700);
    let hold = store.hold().unwrap();
    for number in 0..300 {
        store.put_built([built(number)].map(|(cid, bytes)| hpips_dag::Block { cid, bytes })).unwrap();
    }
    store.collect(&[]).unwrap();
    assert!((0..300).all(|number| store.has(&built(number).0).unwrap()), "leased until the pin");
    drop(hold);
    let large = hpips_dag::Block { cid: built(1).0, bytes: vec![0; BLOCK_BYTES_MAX + 1].into() };
    let refused = store.put_built([large]);
    assert!(matches!(refused, Err(WriteError::TooLarge { .. })), "{refused:?}");
}

#[test]
fn a_pack_cut_at_any_byte_loses_what_is_behind_and_nothing_else() {
    let (disk, store) = in_memory();
    let blocks: Vec<_> = (0..4).map(|number| block(number, 40)).collect();
    let mut ends = Vec::new();
    for block in &blocks {
        store.put(vec![block.clone()]).unwrap();
        ends.push(store.stat().unwrap().bytes);
    }
    drop(store);
    let path = Path::new("/store/packs/00000000.pack");
    let mut whole = Vec::new();
    disk.edit(path, |pack| whole = pack.clone());
    for cut in (0..whole.len()).rev() {
        let disk = MemoryDisk::new(1);
        drop(open(&disk));
        crate::layer::Layer::create(&disk, path).unwrap();
        disk.edit(path, |pack| *pack = whole[..cut].to_vec());
        let store = open(&disk);
        for ((cid, bytes), end) in blocks.iter().zip(&ends) {
            let expected = (*end <= cut as u64).then_some(bytes);
            assert_eq!(store.get(cid).unwrap().as_ref(), expected, "cut at {cut}");
        }
        store.put(blocks.clone()).unwrap();
        assert_eq!(store.verify().unwrap().sound_blocks, 4);
    }
}

/// Nobody may make folders there, not even root, whose files no mode protects.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_to_is_named_with_a_way_out() {
    let path = Path::new("/sys/kernel/hpips-store");
    match Store::open(path, Config::default()) {
        Err(error @ OpenError::Forbidden { .. }) => {
            let text = error.to_string();
            assert!(text.contains("/sys/kernel/hpips-store") && text.contains("--repo-dir"), "{text}");
        }
        // Where there is no such folder there is nothing to try.
        Err(OpenError::Io { source, .. }) => assert_eq!(source.kind(), std::io::ErrorKind::NotFound),
        other => panic!("{other:?}"),
    }
}

/// The same for a store that is there already, on a disk that takes nothing any more.
#[test]
fn a_store_on_a_read_only_disk_is_named_and_left_alone() {
    let (disk, store) = in_memory();
    let (cid, bytes) = block(1, 300);
    store.put(vec![(cid, bytes.clone())]).unwrap();
    drop(store);
    disk.set_fault(Some(Fault::ReadOnly));
    match Store::open_on(Arc::new(disk.clone()), Path::new("/store"), small(), || Ok(None)) {
        Err(error @ OpenError::Forbidden { .. }) => {
            let text = error.to_string();
            assert!(text.contains("/store") && text.contains("owner or mode"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    disk.set_fault(None);
    assert_eq!(open(&disk).get(&cid).unwrap(), Some(bytes));
}
