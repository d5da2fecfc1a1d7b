//! Bitswap against one raw stream of the same transport, and against Kubo: TCP, noise and yamux on loopback, all of our
//! nodes in this process.
//!
//! `--size 1GiB` is what travels between two nodes; `--only pair,kubo,peers,fifty,far,hostile,found,rest` picks parts. Kubo
//! is measured where `HPIPS_KUBO` names it or it stands on the path. Sizes and times of our nodes' processes are of this
//! process with all nodes in it, but for `found` and `rest`, which watch the program.

mod daemon;
mod delay;
mod kubo;
mod nodes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use hpips_bitswap::{Entry, Message, PROTOCOL, Payload, WantType};
use hpips_net::{Config, Net, NoBlocks, Session};
use hpips_store::Store;
use hpips_types::Cid;
use hpips_types::content::{RAW, cid_v1};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

use crate::table::{Row, Table, a_second, bytes_of};
use nodes::{Blocks, Memory, blocks, fetch, join, node, peak_rss, raw, start, total};

/// Rounds of a pair of figures; the better of each counts, since the machine only ever takes away.
const ROUNDS: usize = 3;
/// Parts that can be picked.
const PARTS: &[&str] = &["fifty", "pair", "peers", "far", "hostile", "found", "rest", "kubo"];

/// Measures and tabulates.
pub(crate) fn run(flags: &[String]) -> Table {
    let mut table = Table::default();
    let (mut size, mut parts) = (256 << 20, PARTS.to_vec());
    for pair in flags.chunks(2) {
        match pair {
            [flag, value] if flag == "--size" && bytes_of(value).is_some() => {
                size = bytes_of(value).unwrap_or(size);
            }
            [flag, value] if flag == "--only" => {
                parts.retain(|part| value.split(',').any(|one| one == *part))
            }
            _ => {
                table.note(format!("{pair:?} is unknown: --size BYTES, --only {}", PARTS.join(",")));
                return table;
            }
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    table.note(format!("{cores} threads, {} MiB between two nodes, best of {ROUNDS}", size >> 20));
    let runtime = Runtime::new().expect("threads for a runtime");
    for part in parts {
        match part {
            // First, because memory that was used once may stay with the process.
            "fifty" => runtime.block_on(fifty(&mut table)),
            "pair" => runtime.block_on(pair(size, &mut table)),
            "peers" => runtime.block_on(peers(size, &mut table)),
            "far" => runtime.block_on(far(&mut table)),
            "hostile" => runtime.block_on(hostile(&mut table)),
            "found" => daemon::found(&runtime, &mut table),
            "rest" => daemon::rest(&runtime, &mut table),
            _ => kubo::run(&runtime, size, &mut table),
        }
    }
    table
}

/// Two nodes: bitswap beside one raw stream with the same blocks, out of memory and off the disk.
async fn pair(size: u64, table: &mut Table) {
    for (name, length, reach) in [("1 MiB", 1 << 20, "0.70"), ("256 KiB", 256 << 10, "0.60")] {
        let all = blocks(size, length, 1);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Store::open(folder.path().join("store"), hpips_store::Config::default()).expect("a store");
        for part in all.chunks(64) {
            disk.put(part.to_vec()).expect("room on the disk");
        }
        let memory = node(1, Memory::of(&all)).await;
        let stored = node(2, disk).await;
        let reader = node(3, NoBlocks).await;
        join(&reader, &memory).await;
        join(&reader, &stored).await;
        let (mut limit, mut from_memory, mut from_disk) = (Duration::MAX, Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            limit = limit.min(raw(&memory, &reader, &all).await);
            from_memory = from_memory.min(fetch(&reader, &[&memory], &all).await);
            from_disk = from_disk.min(fetch(&reader, &[&stored], &all).await);
        }
        let limit = a_second(total(&all), limit);
        table.speed(&format!("machine::raw stream + sha256/block={name}"), limit, None, "a limit");
        let beside = Some(("raw stream", limit));
        let what = format!("net::bitswap/block={name},source=memory");
        table.speed(&what, a_second(total(&all), from_memory), beside, reach);
        let what = format!("net::bitswap/block={name},source=disk");
        table.speed(&what, a_second(total(&all), from_disk), beside, reach);
        for net in [memory, stored, reader] {
            net.shutdown().await;
        }
    }
}

/// Ten peers, each with a random half, against one with everything.
async fn peers(size: u64, table: &mut Table) {
    let all = blocks(size, 256 << 10, 2);
    let full = node(1, Memory::of(&all)).await;
    let mut random = Random(7);
    let mut halves = vec![Blocks::new(); 10];
    for block in &all {
        let before = halves.iter().map(Vec::len).sum::<usize>();
        for half in &mut halves {
            if random.next().is_multiple_of(2) {
                half.push(block.clone());
            }
        }
        // One in a thousand blocks would be with nobody.
        if halves.iter().map(Vec::len).sum::<usize>() == before {
            halves[0].push(block.clone());
        }
    }
    let (mut one, mut ten, mut duplicates) = (Duration::MAX, Duration::MAX, 0.0_f64);
    let mut nodes = Vec::new();
    for (seed, half) in (10..).zip(&halves) {
        nodes.push(node(seed, Memory::of(half)).await);
    }
    for seed in [30, 31, 32] {
        let reader = node(seed, NoBlocks).await;
        join(&reader, &full).await;
        one = one.min(fetch(&reader, &[&full], &all).await);
        reader.disconnect(full.account()).await;
        for node in &nodes {
            join(&reader, node).await;
        }
        let before = reader.bitswap_stats();
        ten = ten.min(fetch(&reader, &nodes.iter().collect::<Vec<_>>(), &all).await);
        let late = reader.bitswap_stats().blocks_late - before.blocks_late;
        duplicates = duplicates.max(100.0 * late as f64 / all.len() as f64);
        reader.shutdown().await;
    }
    let one = a_second(total(&all), one);
    let what = "net::bitswap/peers=10, half each";
    table.speed(what, a_second(total(&all), ten), Some(("one full source", one)), "0.80");
    figure(table, "net::bitswap/peers=10, duplicates", format!("{duplicates:.2} %"), "<= 2 %");
    for net in nodes.into_iter().chain([full]) {
        net.shutdown().await;
    }
}

/// Fifty readers of one source at once: whether they end together, and what all of it takes.
async fn fifty(table: &mut Table) {
    let all = blocks(32 << 20, 256 << 10, 3);
    let source = node(1, Memory::of(&all)).await;
    let mut readers = Vec::new();
    for seed in 100..150 {
        let reader = node(seed, NoBlocks).await;
        join(&reader, &source).await;
        readers.push(reader);
    }
    let begin = Instant::now();
    let fetches = readers.iter().map(|reader| async {
        fetch(reader, &[&source], &all).await;
        begin.elapsed()
    });
    let mut times = futures::future::join_all(fetches).await;
    times.sort();
    let (first, last) = (times[0], times[times.len() - 1]);
    let spread = 100.0 * (last - first).as_secs_f64() / last.as_secs_f64();
    table.speed("net::bitswap/readers=50, together", a_second(50 * total(&all), last), None, "");
    figure(table, "net::bitswap/readers=50, first ends before last", format!("{spread:.1} %"), "<= 10 %");
    let rss = peak_rss() >> 20;
    figure(table, "net::bitswap/readers=50, memory of all 51 nodes", format!("{rss} MiB"), "<= 300 MiB");
    for net in readers.into_iter().chain([source]) {
        net.shutdown().await;
    }
}

/// A round trip of 50 ms and a link of 50 MB/s.
async fn far(table: &mut Table) {
    const BYTES_A_SECOND: u32 = 50_000_000;
    for (name, length) in [("1 MiB", 1 << 20), ("256 KiB", 256 << 10)] {
        let all = blocks(256 << 20, length, 4);
        let source = node(1, Memory::of(&all)).await;
        let reader = node(2, NoBlocks).await;
        let address = source.full_addrs()[0].clone();
        let link = delay::link(&address, Duration::from_millis(25), BYTES_A_SECOND).await;
        reader.dial(link).await.expect("the link leads to the source");
        let took = fetch(&reader, &[&source], &all).await;
        let what = format!("net::bitswap/round trip=50 ms,block={name}");
        let limit = Some(("the link", f64::from(BYTES_A_SECOND)));
        table.speed(&what, a_second(total(&all), took), limit, "0.60");
        reader.shutdown().await;
        source.shutdown().await;
    }
}

/// An honest reader while others send what they should not.
async fn hostile(table: &mut Table) {
    let all = blocks(256 << 20, 256 << 10, 5);
    let source = node(1, Memory::of(&all)).await;
    let reader = node(2, NoBlocks).await;
    join(&reader, &source).await;
    let mut alone = Duration::MAX;
    for _ in 0..ROUNDS {
        alone = alone.min(fetch(&reader, &[&source], &all).await);
    }
    let alone = a_second(total(&all), alone);
    let absent = |index: u32| Entry::want(cid_v1(RAW, &index.to_le_bytes()), WantType::Block);
    let wants = Message { wants: (0..1024).map(absent).collect(), ..Message::default() };
    let gift = Bytes::from(vec![7; 1000]);
    let gifts = Message { blocks: vec![Payload::new(&cid_v1(RAW, &gift), gift); 16], ..Message::default() };
    for (name, message) in [("wants", Some(wants)), ("blocks", Some(gifts)), ("streams", None)] {
        let attacker = start(Config::loopback([9; 32]), NoBlocks).await;
        join(&attacker, &source).await;
        let attack = tokio::spawn(attacks(attacker.clone(), source.account(), message));
        let mut took = Duration::MAX;
        for _ in 0..ROUNDS {
            took = took.min(fetch(&reader, &[&source], &all).await);
        }
        let what = format!("net::bitswap/beside a flood of {name}");
        table.speed(&what, a_second(total(&all), took), Some(("undisturbed", alone)), "0.50");
        attack.abort();
        attacker.shutdown().await;
    }
    let rss = peak_rss() >> 20;
    figure(table, "net::bitswap/hostile peers, memory with the source's 256 MiB", format!("{rss} MiB"), "");
    reader.shutdown().await;
    source.shutdown().await;
}

/// Sends a message again and again as fast as it is taken, or opens streams and leaves them, until it is stopped.
async fn attacks(net: Net, to: hpips_types::AccountId, message: Option<Message>) {
    let mut left = Vec::new();
    let bytes = message.map(|message| message.encode().concat());
    loop {
        let Ok(mut stream) = net.open(to, PROTOCOL).await else { continue };
        match &bytes {
            // Ten thousand messages a stream, so that one that is closed is not the end.
            Some(bytes) => {
                for _ in 0..10_000 {
                    if stream.write_all(bytes).await.is_err() {
                        break;
                    }
                }
            }
            None => {
                // A length and nothing behind it.
                let _ = stream.write_all(&[0xff, 0xff, 0xff, 0x01]).await;
                let _ = stream.flush().await;
                left.push(stream);
                if left.len() > 5000 {
                    left.clear();
                }
            }
        }
    }
}

fn figure(table: &mut Table, what: &str, figure: String, reach: &str) {
    let (limit, reach) = (String::new(), reach.to_owned());
    table.rows.push(Row { what: what.to_owned(), figure, limit, ratio: None, reach });
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
