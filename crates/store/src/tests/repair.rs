//! Damage that is found: what is said of it, what is forgotten, and how it heals.

use std::path::Path;
use std::sync::Arc;

use hpips_types::Cid;
use hpips_types::content::{DAG_PB, cid_v0, cid_v1};
use redb::ReadableTable;

use super::{block, parent, small};
use crate::index::Durable;
use crate::layer::Layer;
use crate::mocks::MemoryDisk;
use crate::tables::{Kind, PACKS};
use crate::{CopyKind, Fault, IndexError, Missing, PinKind, ReadError, Store};

const FIRST: &str = "/store/packs/00000000.pack";

fn in_memory() -> (MemoryDisk, Store) {
    let disk = MemoryDisk::new(1);
    let store = Store::open_on(Arc::new(disk.clone()), Path::new("/store"), small(), || Ok(None)).unwrap();
    (disk, store)
}

/// Where a block's bytes are in the first pack.
fn place_of(disk: &MemoryDisk, bytes: &[u8]) -> usize {
    let mut at = None;
    disk.edit(Path::new(FIRST), |pack| at = pack.windows(bytes.len()).position(|window| window == bytes));
    at.unwrap()
}

fn rot(disk: &MemoryDisk, bytes: &[u8]) {
    let at = place_of(disk, bytes);
    disk.edit(Path::new(FIRST), |pack| pack[at + bytes.len() / 2] ^= 1);
}

fn pack_of(store: &Store, cid: &Cid) -> Option<u64> {
    let places = store.inner.index.lookup(cid).unwrap();
    places.iter().find(|place| place.kind == Kind::Pack).map(|place| place.container)
}

#[test]
fn verification_says_what_is_wrong_and_changes_nothing() {
    let (disk, store) = in_memory();
    let [rotten, lent, unreadable, sound, absent] = [1, 2, 3, 4, 5].map(|number| block(number, 300));
    // Links to what is rotten, so that looking for what keeps it goes through a damaged node as well.
    let node = parent(&[rotten.0, absent.0]);
    let root = parent(&[node.0, sound.0, absent.0]);
    store.put([&rotten, &lent, &unreadable, &sound].map(Clone::clone).to_vec()).unwrap();
    store.put(vec![node.clone(), root.clone()]).unwrap();
    store.pin(&root.0, PinKind::Recursive, "").unwrap();
    let file = Path::new("/home/file");
    disk.create(file).unwrap();
    disk.edit(file, |bytes| bytes.extend_from_slice(&lent.1));
    store.add_user_file(file, &[(lent.0, 0, 300)]).unwrap();
    rot(&disk, &rotten.1);
    rot(&disk, &lent.1);
    let at = place_of(&disk, &unreadable.1);
    disk.set_unreadable(Some((Path::new(FIRST), at..at + 1)));

    let report = store.verify().unwrap();
    assert_eq!(store.verify().unwrap(), report, "nothing was forgotten");
    assert_eq!(report.missing, [Missing { cid: absent.0, pin: root.0 }]);
    assert_eq!(report.damaged.len(), 3);
    let damage = |cid: &Cid| report.damaged.iter().find(|damage| damage.cid == *cid).unwrap();
    assert_eq!((&damage(&rotten.0).fault, damage(&rotten.0).is_lost), (&Fault::Mismatch, true));
    assert_eq!((&damage(&lent.0).fault, damage(&lent.0).is_lost), (&Fault::Mismatch, false));
    assert_eq!(damage(&lent.0).kind, CopyKind::Pack);
    let failed = &damage(&unreadable.0).fault;
    assert!(matches!(failed, Fault::Io { message, .. } if message.contains("bad spot")), "{failed:?}");

    // Only what is known to be other bytes is dropped, and of that only this copy.
    assert!(store.drop_damaged(damage(&rotten.0)).unwrap() && !store.has(&rotten.0).unwrap());
    assert!(!store.drop_damaged(damage(&rotten.0)).unwrap(), "it is gone");
    assert!(store.drop_damaged(damage(&lent.0)).unwrap());
    assert_eq!((pack_of(&store, &lent.0), store.get(&lent.0).unwrap()), (None, Some(lent.1.clone())));
    assert!(!store.drop_damaged(damage(&unreadable.0)).unwrap());
    disk.set_unreadable(None);
    assert_eq!(store.get(&unreadable.0).unwrap(), Some(unreadable.1));
    store.put(vec![rotten.clone(), absent]).unwrap();
    let healed = store.verify().unwrap();
    assert_eq!((healed.damaged, healed.missing), (vec![], vec![]));
    // The user changes the file: its copy can be dropped as well, and then the file is forgotten.
    disk.edit(file, |bytes| bytes[7] ^= 1);
    let report = store.verify().unwrap();
    let [damage] = &report.damaged[..] else { panic!("{report:?}") };
    assert_eq!((damage.kind, &damage.path), (CopyKind::UserFile, &file.to_owned()));
    assert!(store.drop_damaged(damage).unwrap() && !store.remove_user_file(file).unwrap());
}

#[test]
fn verification_stops_when_it_is_told_to_and_forgets_no_node() {
    let (disk, store) = in_memory();
    let leaf = block(1, 300);
    let node = parent(&[leaf.0]);
    store.put(vec![leaf, node.clone()]).unwrap();
    store.pin(&node.0, PinKind::Recursive, "").unwrap();
    rot(&disk, &node.1);
    for _ in 0..2 {
        assert_eq!(store.verify().unwrap().damaged.len(), 1);
        store
            .verify_pins(|_, bad| {
                assert_eq!(bad.len(), 1);
                Ok::<_, IndexError>(())
            })
            .unwrap();
    }
    #[derive(Debug, PartialEq)]
    struct Left;
    impl From<IndexError> for Left {
        fn from(error: IndexError) -> Self {
            panic!("{error}")
        }
    }
    let mut calls = 0;
    let stopped = store.verify_with(|_| {
        calls += 1;
        Err(Left)
    });
    assert_eq!((stopped, calls), (Err(Left), 1));
    let mut calls = 0;
    let stopped = store.for_each_block(|_, _| {
        calls += 1;
        Err(Left)
    });
    assert_eq!((stopped, calls), (Err(Left), 1));
}

#[test]
fn what_is_forgotten_is_what_was_read_and_counts_as_it_was_stored() {
    let (disk, store) = in_memory();
    let (_, bytes) = block(1, 300);
    // The two names differ in length, and so do their records.
    let (long, short) = (cid_v1(DAG_PB, &bytes), cid_v0(&bytes));
    store.put(vec![(long, bytes.clone())]).unwrap();
    let offset = store.inner.index.lookup(&long).unwrap()[0].row.offset;
    let elsewhere = [(0, offset + 1, short), (1, offset, short)];
    let removed = store.inner.index.write(Durable::Now, |tx| tx.remove_records(&elsewhere)).unwrap();
    assert_eq!(removed, 0, "a reader that was slow points to where the block was");
    assert!(store.has(&long).unwrap());
    rot(&disk, &bytes);
    assert!(matches!(store.get(&short), Err(ReadError::Damaged { .. })));
    let stat = store.stat().unwrap();
    assert_eq!((stat.blocks, stat.live_bytes), (0, 0));
}

#[test]
fn damage_that_is_met_while_somebody_writes_heals_with_the_next_batch() {
    let (disk, store) = in_memory();
    let (cid, bytes) = block(1, 300);
    store.put(vec![(cid, bytes.clone())]).unwrap();
    rot(&disk, &bytes);
    let writer = store.inner.writer().unwrap();
    store.get(&cid).unwrap_err();
    assert!(store.has(&cid).unwrap(), "nobody but the writer may forget it");
    drop(writer);
    store.put(vec![(cid, bytes.clone())]).unwrap();
    assert_eq!(store.get(&cid).unwrap(), Some(bytes));
}

#[test]
fn a_wrong_counter_costs_no_block() {
    let (_, store) = in_memory();
    let blocks: Vec<_> = (0..12).map(|number| block(number, 300)).collect();
    for block in &blocks {
        store.put(vec![block.clone()]).unwrap();
        store.pin(&block.0, PinKind::Direct, "").unwrap();
    }
    store
        .inner
        .index
        .write(Durable::Now, |tx| {
            let mut packs = tx.0.open_table(PACKS)?;
            let (end, state, _) = packs.get(0)?.unwrap().value();
            packs.insert(0, (end, state, 0))?;
            Ok(())
        })
        .unwrap();
    store.collect(&[]).unwrap();
    for (cid, bytes) in blocks {
        assert_eq!(store.get(&cid).unwrap(), Some(bytes));
    }
}

#[test]
fn a_bad_spot_keeps_its_pack_and_no_other_block() {
    let (disk, store) = in_memory();
    let blocks: Vec<_> = (0..12).map(|number| block(number, 300)).collect();
    for block in &blocks {
        store.put(vec![block.clone()]).unwrap();
    }
    // Two neighbours in the first pack stay alive, and are read together.
    for (cid, _) in &blocks[..2] {
        store.pin(cid, PinKind::Direct, "").unwrap();
    }
    let at = place_of(&disk, &blocks[1].1);
    disk.set_unreadable(Some((Path::new(FIRST), at + 5..at + 6)));
    for _ in 0..2 {
        store.collect(&[]).unwrap();
        assert_ne!(pack_of(&store, &blocks[0].0), Some(0), "it was moved");
        assert_eq!(pack_of(&store, &blocks[1].0), Some(0), "it stays known");
    }
    disk.set_unreadable(None);
    store.collect(&[]).unwrap();
    assert!(disk.open(Path::new(FIRST)).unwrap().is_none());
    for (cid, bytes) in &blocks[..2] {
        assert_eq!(store.get(cid).unwrap().as_ref(), Some(bytes));
    }
}

#[test]
fn a_file_that_was_replaced_under_its_name_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("repo"), small()).unwrap();
    let path = dir.path().join("file");
    let (cid, bytes) = block(1, 300);
    let files: Vec<_> = [&path, &dir.path().join("other")]
        .map(|path| {
            std::fs::write(path, &bytes).unwrap();
            (path.clone(), vec![(cid, 0, 300)])
        })
        .into();
    store.add_user_files(&files).unwrap();
    assert_eq!(store.lent(&cid).unwrap().len(), 2);
    assert!(store.remove_user_file(&files[1].0).unwrap());
    assert_eq!(store.get(&cid).unwrap(), Some(bytes.clone()));
    let old = dir.path().join("old");
    std::fs::rename(&path, &old).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    std::fs::write(&old, b"").unwrap();
    assert_eq!(store.get(&cid).unwrap(), Some(bytes));
    // One file that is not as it should be, and none of them is added.
    let (more, _) = block(2, 300);
    let bad = [(path.clone(), vec![(more, 0, 300)]), (dir.path().join("absent"), vec![(cid, 0, 300)])];
    store.add_user_files(&bad).unwrap_err();
    assert_eq!((store.has(&more).unwrap(), store.lent(&cid).unwrap().len()), (false, 1));
}
