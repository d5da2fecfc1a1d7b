//! How fast, beside the limit that the machine sets; printed, not judged.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hpips_dag::{Block, FileBuilder, Profile};

use super::block;
use crate::{Config, PinKind, Store};

/// Time since the start, and what of it this process had of all cores: on a busy machine only that says much.
struct Watch(Instant, rustix::time::Timespec);

impl Watch {
    fn start() -> Self {
        Self(Instant::now(), rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime))
    }

    fn print(&self, what: &str) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu = (now.tv_sec - self.1.tv_sec) * 1000 + (now.tv_nsec - self.1.tv_nsec) / 1_000_000;
        println!("{what}: {} ms, CPU {cpu} ms", self.0.elapsed().as_millis());
    }
}

fn megabytes(bytes: usize, start: Instant) -> u64 {
    let micros = start.elapsed().as_micros().max(1);
    u64::try_from(u128::try_from(bytes).unwrap() / micros).unwrap()
}

fn check(name: &str, blocks: &[Block]) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Config::default()).unwrap();
    let bytes: usize = blocks.iter().map(|block| block.bytes.len()).sum();
    let start = Instant::now();
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    for block in blocks {
        batch_bytes += block.bytes.len();
        batch.push(block.clone());
        if batch_bytes >= 32 << 20 {
            store.put_built(std::mem::take(&mut batch)).unwrap();
            batch_bytes = 0;
        }
    }
    store.put_built(batch).unwrap();
    let put = megabytes(bytes, start);
    let start = Instant::now();
    for block in blocks {
        black_box(store.get(&block.cid).unwrap().unwrap());
    }
    println!("{name}: put {put} MB/s, get {} MB/s", megabytes(bytes, start));
}

#[test]
#[ignore = "writes half a gigabyte and prints what it took"]
fn throughput_slow() {
    for (name, count, bytes) in [("4 KiB", 16_384, 4096), ("32 KiB", 2048, 32 << 10), ("1 MiB", 256, 1 << 20)]
    {
        let blocks = (0..count).map(|number| block(number, bytes));
        let blocks: Vec<_> = blocks.map(|(cid, bytes)| Block { cid, bytes }).collect();
        check(name, &blocks);
    }
    let mut out = Vec::new();
    let mut file = FileBuilder::new(Profile::unixfs_v1_2025());
    let content = vec![7; 8 << 20];
    let start = Instant::now();
    for _ in 0..32 {
        file.push(&content, &mut out);
        out.clear();
    }
    file.finish(&mut out);
    println!("build, both cores: {} MB/s", megabytes(32 << 23, start));
}

/// A million blocks in trees, half of them pinned, collected while somebody reads; then how long opening takes, after an
/// orderly end and after one without.
#[test]
#[ignore = "writes two gigabytes and prints what it took"]
fn a_million_blocks_slow() {
    const LEAVES: u64 = 499;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Config::default()).unwrap();
    let bytes: usize = std::env::var("BLOCK_BYTES").ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(256);
    let start = Watch::start();
    let mut kept = Vec::new();
    let hold = store.hold().unwrap();
    let mut batch = Vec::new();
    for tree in 0..2000u64 {
        let leaves: Vec<_> = (0..LEAVES).map(|leaf| block(tree * LEAVES + leaf, bytes)).collect();
        let cids: Vec<_> = leaves.iter().map(|(cid, _)| *cid).collect();
        let (root, node) = super::parent(&cids);
        let blocks = leaves.into_iter().chain([(root, node)]).map(|(cid, bytes)| Block { cid, bytes });
        batch.extend(blocks);
        if batch.len() > 8_000 {
            store.put_built(std::mem::take(&mut batch)).unwrap();
        }
        if tree % 2 == 0 {
            kept.push((root, cids));
        }
    }
    store.put_built(batch).unwrap();
    start.print("put of a million");
    drop(hold);
    for (root, _) in &kept {
        store.pin(root, PinKind::Recursive, "").unwrap();
    }
    let is_done = AtomicBool::new(false);
    let start = Watch::start();
    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0u64;
            while !is_done.load(Ordering::Relaxed) {
                for (_, cids) in &kept {
                    assert!(store.get(&cids[usize::try_from(reads % LEAVES).unwrap()]).unwrap().is_some());
                    reads += 1;
                    std::thread::yield_now();
                }
            }
            reads
        });
        let report = store.collect(&[]).unwrap();
        start.print("collected");
        is_done.store(true, Ordering::Relaxed);
        println!("{report:?}");
        reader.join().unwrap()
    });
    println!("{reads} reads meanwhile");
    assert_eq!(store.block_count().unwrap(), 500_000);
    // The rest of a million again, so that opening meets them.
    store
        .put_built(
            (0..500_000).map(|number| block(1 << 40 | number, 64)).map(|(cid, bytes)| Block { cid, bytes }),
        )
        .unwrap();
    let start = Watch::start();
    drop(store);
    start.print("closed");
    let start = Watch::start();
    let store = Store::open(dir.path(), Config::default()).unwrap();
    start.print("opened");
    for number in 0..2000u64 {
        store.put_built([block(1 << 41 | number, 64)].map(|(cid, bytes)| Block { cid, bytes })).unwrap();
    }
    // As a killed process leaves it: nothing is flushed, the lock is gone.
    let copy = tempfile::tempdir().unwrap();
    copy_all(dir.path(), copy.path());
    let start = Watch::start();
    let again = Store::open(copy.path(), Config::default()).unwrap();
    start.print("opened after a kill");
    assert_eq!(again.block_count().unwrap(), 1_002_000);
    drop(again);
    std::fs::remove_file(copy.path().join("index.redb")).unwrap();
    let start = Watch::start();
    let again = Store::open(copy.path(), Config::default()).unwrap();
    start.print("opened without an index");
    assert_eq!(again.block_count().unwrap(), 1_002_000);
    let start = Watch::start();
    let report = again.verify().unwrap();
    start.print(&format!("verified {} MB", report.sound_bytes / 1_000_000));
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_all(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
