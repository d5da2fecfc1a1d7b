//! Our nodes, blocks and the raw stream they are held against.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use super::*;
use crate::table::fill;
use hpips_bitswap::{BlockSource, SourceError};
use hpips_types::content::sha256;
use tokio::io::{AsyncReadExt, BufReader};

pub(super) type Blocks = Vec<(Cid, Bytes)>;

/// Blocks in memory.
pub(super) struct Memory(HashMap<Cid, Bytes>);

impl Memory {
    pub(super) fn of(blocks: &Blocks) -> Self {
        Self(blocks.iter().cloned().collect())
    }
}

impl BlockSource for Memory {
    fn size(&self, cid: &Cid) -> Result<Option<u32>, SourceError> {
        Ok(self.0.get(cid).map(|block| u32::try_from(block.len()).expect("a short block")))
    }

    fn get(&self, cid: &Cid) -> Result<Option<Bytes>, SourceError> {
        Ok(self.0.get(cid).cloned())
    }
}

/// Different blocks of `length` bytes each, `size` bytes in all.
pub(super) fn blocks(size: u64, length: usize, salt: u64) -> Blocks {
    let count = size / length as u64;
    let block = |number: u64| {
        let mut block = vec![0; length];
        fill(&mut block, number + (salt << 50) + ((length as u64) << 24));
        (cid_v1(RAW, &block), Bytes::from(block))
    };
    (1..=count).map(block).collect()
}

pub(super) fn total(blocks: &Blocks) -> u64 {
    blocks.iter().map(|(_, block)| block.len() as u64).sum()
}

pub(super) async fn start(config: Config, source: impl BlockSource) -> Net {
    Net::start(config, Arc::new(source)).await.expect("a free port")
}

pub(super) async fn node(seed: u8, source: impl BlockSource) -> Net {
    start(Config::loopback([seed; 32]), source).await
}

/// Connects, and waits until both know.
pub(super) async fn join(a: &Net, b: &Net) {
    a.dial(b.full_addrs()[0].clone()).await.expect("it listens");
    b.wait_connected(&[a.account()]).await;
}

/// Fetches all blocks from candidates in a session of its own.
pub(super) async fn fetch(reader: &Net, from: &[&Net], all: &Blocks) -> Duration {
    let cids = all.iter().map(|(cid, _)| *cid).collect();
    let begin = Instant::now();
    let session = Session::new(reader, from.iter().map(|net| net.account()).collect());
    let mut stream = session.get(cids);
    let mut count = 0;
    while let Some(item) = stream.next().await {
        item.expect("somebody has it");
        count += 1;
    }
    assert_eq!(count, all.len(), "every block once");
    begin.elapsed()
}

/// One stream with lengths and blocks; the receiver hashes each. What any protocol over this transport can reach.
pub(super) async fn raw(from: &Net, to: &Net, all: &Blocks) -> Duration {
    const NAME: &str = "/bench/raw/1";
    let mut incoming = to.accept(NAME).expect("nobody else has this name");
    let mut stream = from.open(to.account(), NAME).await.expect("they are connected");
    let data: Vec<Bytes> = all.iter().map(|(_, block)| block.clone()).collect();
    let begin = Instant::now();
    tokio::spawn(async move {
        for block in data {
            let length = u32::try_from(block.len()).expect("a short block");
            stream.write_all(&length.to_le_bytes()).await.expect("a reader");
            stream.write_all(&block).await.expect("a reader");
        }
        stream.flush().await.expect("a reader");
        // Dropping it would reset it.
        let _ = stream.read(&mut [0]).await;
    });
    let (_, stream) = incoming.next().await.expect("the stream just opened");
    let mut stream = BufReader::with_capacity(16 << 10, stream);
    for (cid, _) in all {
        let length = stream.read_u32_le().await.expect("a length");
        let mut block = Vec::with_capacity(usize::try_from(length).expect("a short block"));
        (&mut stream).take(length.into()).read_to_end(&mut block).await.expect("a block");
        assert_eq!(cid.hash().digest(), sha256(&block).as_bytes(), "the blocks in order");
    }
    begin.elapsed()
}

/// The most memory this process had, bytes.
pub(super) fn peak_rss() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
}
