//! How fast, beside the limit that the machine sets; printed, not judged.

use std::hint::black_box;
use std::time::Instant;

use hpips_dag::{Block, FileBuilder, Profile};

use super::block;
use crate::{Config, Store};

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
