//! Limits and full disks.

use std::path::Path;
use std::sync::Arc;

use super::{block, small};
use crate::mocks::{Fault, MemoryDisk};
use crate::{Config, Store, WriteError};

fn open(disk: &MemoryDisk, bytes_max: u64) -> Store {
    let config = Config { bytes_max, ..small() };
    Store::open_on(Arc::new(disk.clone()), Path::new("/store"), config, None).unwrap()
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let disk = MemoryDisk::new(1);
    let store = open(&disk, 1_500);
    store.put(vec![block(1, 1000)]).unwrap();
    let used = store.stat().unwrap().bytes;
    let before = disk.operations();
    match store.put(vec![block(2, 100), block(3, 1000)]) {
        Err(WriteError::Full { used: told, more, max: 1_500 }) => {
            assert_eq!(told, used);
            assert!(more > 1_100 && used + more > 1_500);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(disk.operations(), before);
    store.put(vec![block(1, 1000), block(2, 100)]).unwrap();
    assert_eq!(store.collect(&[block(2, 100).0]).unwrap().blocks, 1);
    drop(store);
    let store = open(&disk, 4_000);
    assert_eq!(store.stat().unwrap().blocks, 1);
    // What was freed is counted: filling and emptying goes on for ever.
    for round in 0..20 {
        store.put(vec![block(100 + round, 1900)]).unwrap();
        store.retain(|_| false).unwrap();
    }
}

#[test]
fn a_full_disk_is_told_and_room_is_used_without_opening_again() {
    let disk = MemoryDisk::new(1);
    let store = open(&disk, u64::MAX);
    let first = block(1, 300);
    store.put(vec![first.clone()]).unwrap();
    disk.set_free_bytes(1 << 20);
    assert!(matches!(store.put(vec![block(2, 300)]), Err(WriteError::NoSpace { free: 1_048_576, .. })));
    store.put(vec![first.clone()]).unwrap();
    assert_eq!(store.get(&first.0).unwrap(), Some(first.1.clone()));
    disk.set_free_bytes(u64::MAX);
    store.put(vec![block(2, 300)]).unwrap();
    // The system may still say no in the middle of a batch, when others fill the disk: at every write and sync that a
    // batch needs before the index.
    let mut number = 100;
    for at in 0..12 {
        disk.set_fault(Some(Fault::FailAfter(at)));
        let batch: Vec<_> = (0..4).map(|more| block(number + more, 900)).collect();
        number += 4;
        let done = store.put(batch.clone());
        disk.set_fault(None);
        assert_eq!(store.get(&first.0).unwrap(), Some(first.1.clone()));
        match done {
            Ok(()) | Err(WriteError::Io { .. }) => store.put(batch.clone()).unwrap(),
            Err(WriteError::Index(_) | WriteError::Poisoned) => return,
            Err(error) => panic!("{error}"),
        }
        for (cid, bytes) in batch {
            assert_eq!(store.get(&cid).unwrap(), Some(bytes));
        }
    }
}
