//! Nodes and block sources for the tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hpips_bitswap::{BlockSource, SourceError};
use hpips_net::{Config, Net};
use hpips_types::Cid;
use hpips_types::content::{RAW, cid_v1};

/// Longest wait for anything; reached only by a failing test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Blocks in memory.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) blocks: BTreeMap<Cid, Bytes>,
    /// Sends these bytes in place of the block.
    pub(crate) lie: Option<Bytes>,
    /// After so many blocks every read waits until the gate opens.
    pub(crate) gate: Option<(usize, Arc<Gate>)>,
    pub(crate) served: AtomicUsize,
}

/// Holds threads until it is opened; opens when the test drops its [`Opener`].
#[derive(Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

pub(crate) struct Opener(pub(crate) Arc<Gate>);

impl Drop for Opener {
    fn drop(&mut self) {
        *self.0.open.lock().unwrap() = true;
        self.0.changed.notify_all();
    }
}

impl BlockSource for Memory {
    fn size(&self, cid: &Cid) -> Result<Option<u32>, SourceError> {
        Ok(self.blocks.get(cid).map(|block| u32::try_from(block.len()).unwrap()))
    }

    fn get(&self, cid: &Cid) -> Result<Option<Bytes>, SourceError> {
        let served = self.served.fetch_add(1, Ordering::Relaxed);
        if let Some((after, gate)) = &self.gate
            && served >= *after
        {
            let open = gate.open.lock().unwrap();
            let _open = gate.changed.wait_while(open, |open| !*open).unwrap();
        }
        match &self.lie {
            Some(lie) => Ok(Some(lie.clone())),
            None => Ok(self.blocks.get(cid).cloned()),
        }
    }
}

/// `count` different blocks of `bytes` each.
pub(crate) fn blocks(count: u32, bytes: usize) -> BTreeMap<Cid, Bytes> {
    (0..count)
        .map(|index| {
            let mut block = vec![0; bytes];
            blake3::Hasher::new().update(&index.to_le_bytes()).finalize_xof().fill(&mut block);
            (cid_v1(RAW, &block), Bytes::from(block))
        })
        .collect()
}

pub(crate) fn memory(blocks: &BTreeMap<Cid, Bytes>) -> Memory {
    Memory { blocks: blocks.clone(), ..Memory::default() }
}

pub(crate) async fn node(seed: u8, source: Memory) -> Net {
    Net::start(Config::loopback([seed; 32]), Arc::new(source)).await.unwrap()
}

/// Connects `a` to `b` and waits until both know.
pub(crate) async fn join(a: &Net, b: &Net) {
    within(a.dial(b.full_addrs()[0].clone())).await.unwrap();
    within(b.wait_connected(&[a.account()])).await;
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("takes too long")
}

/// Waits for a condition that no event announces.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
