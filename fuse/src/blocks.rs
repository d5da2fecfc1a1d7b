//! The last blocks read, each fetched once, and a few more ahead of a reader.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cid::Cid;
use hpips_dag::{FileReader, Walk};

use crate::{BlockFetcher, FetchError};

/// Bytes of blocks kept. Raising it costs that much memory a mount.
const CACHE_BYTES: usize = 32 << 20;
/// Reads ahead under way at once.
const AHEAD_THREADS: usize = 2;

/// A part of a file to be fetched before it is asked for.
struct Ahead {
    root: Cid,
    file: Cid,
    range: Range<u64>,
}

/// Blocks by CID, through a cache.
pub(crate) struct Blocks {
    fetcher: Arc<dyn BlockFetcher>,
    state: Mutex<State>,
    arrived: Condvar,
    ahead: SyncSender<Ahead>,
}

#[derive(Default)]
struct State {
    cached: HashMap<Cid, (Bytes, u64)>,
    /// CIDs by the time of their last use, oldest first.
    by_use: BTreeMap<u64, Cid>,
    bytes: usize,
    clock: u64,
    under_way: HashSet<Cid>,
}

impl Blocks {
    /// Starts the threads that read ahead; they end with the last handle.
    pub(crate) fn start(fetcher: Arc<dyn BlockFetcher>) -> std::io::Result<Arc<Self>> {
        let (ahead, requests) = sync_channel(AHEAD_THREADS * 4);
        let blocks = Arc::new(Self { fetcher, state: Mutex::default(), arrived: Condvar::new(), ahead });
        let requests = Arc::new(Mutex::new(requests));
        for _ in 0..AHEAD_THREADS {
            let (requests, blocks) = (Arc::clone(&requests), Arc::downgrade(&blocks));
            std::thread::Builder::new().name("mount-ahead".into()).spawn(move || {
                while let Some(Ahead { root, file, range }) = next(&requests) {
                    let Some(blocks) = blocks.upgrade() else { return };
                    // A failure shows again when the range is read, and is told then.
                    let parts = FileReader::new(file, range).drive(|cid: &Cid| blocks.get(&root, cid));
                    parts.take_while(Result::is_ok).for_each(drop);
                }
            })?;
        }
        Ok(blocks)
    }

    /// A block; waits when another thread is fetching it already.
    pub(crate) fn get(&self, root: &Cid, cid: &Cid) -> Result<Bytes, FetchError> {
        let mut state = self.lock();
        loop {
            if let Some(block) = state.touch(cid) {
                return Ok(block);
            }
            if state.under_way.insert(*cid) {
                break;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let fetched = self.fetcher.fetch(root, cid);
        let mut state = self.lock();
        state.under_way.remove(cid);
        if let Ok(block) = &fetched {
            state.keep(*cid, block.clone());
        }
        drop(state);
        self.arrived.notify_all();
        fetched
    }

    /// Fetches what follows in a file, when there is room for it.
    pub(crate) fn read_ahead(&self, root: Cid, file: Cid, range: Range<u64>) {
        if !range.is_empty() {
            // Full: enough is under way.
            let _ = self.ahead.try_send(Ahead { root, file, range });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next(requests: &Mutex<Receiver<Ahead>>) -> Option<Ahead> {
    requests.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl State {
    fn touch(&mut self, cid: &Cid) -> Option<Bytes> {
        let (block, used) = self.cached.get_mut(cid)?;
        self.by_use.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.by_use.insert(self.clock, *cid);
        Some(block.clone())
    }

    fn keep(&mut self, cid: Cid, block: Bytes) {
        self.clock += 1;
        self.bytes += block.len();
        if let Some((old, used)) = self.cached.insert(cid, (block, self.clock)) {
            self.bytes -= old.len();
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.clock, cid);
        while self.bytes > CACHE_BYTES {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some((block, _)) = self.cached.remove(&oldest) {
                self.bytes -= block.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hpips_types::content::{RAW, cid_v1};

    use super::*;

    struct Counting(AtomicUsize);

    impl BlockFetcher for Counting {
        fn fetch(&self, _root: &Cid, cid: &Cid) -> Result<Bytes, FetchError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            if cid.codec() == RAW { Ok(vec![0; 1 << 20].into()) } else { Err(FetchError::NotFound) }
        }
    }

    #[test]
    fn fetched_once_and_bounded() {
        let fetcher = Arc::new(Counting(AtomicUsize::new(0)));
        let blocks = Blocks::start(fetcher.clone()).unwrap();
        let cids: Vec<Cid> = (0..40u8).map(|i| cid_v1(RAW, &[i])).collect();
        for cid in &cids {
            for _ in 0..3 {
                blocks.get(cid, cid).unwrap();
            }
        }
        assert_eq!(fetcher.0.load(Ordering::SeqCst), 40);
        let state = blocks.lock();
        assert!(state.bytes <= CACHE_BYTES);
        assert_eq!(state.cached.len(), state.by_use.len());
        drop(state);
        blocks.get(&cids[0], &cids[0]).unwrap();
        assert_eq!(fetcher.0.load(Ordering::SeqCst), 41, "the oldest was let go");
        let missing = cid_v1(hpips_types::content::DAG_PB, b"x");
        assert_eq!(blocks.get(&missing, &missing), Err(FetchError::NotFound));
        assert_eq!(
            blocks.get(&missing, &missing),
            Err(FetchError::NotFound),
            "and a failure is not remembered"
        );
        let together: Vec<_> = (0..8)
            .map(|_| {
                let (blocks, cid) = (Arc::clone(&blocks), cids[1]);
                std::thread::spawn(move || blocks.get(&cid, &cid).unwrap().len())
            })
            .collect();
        for thread in together {
            assert_eq!(thread.join().unwrap(), 1 << 20);
        }
        assert_eq!(fetcher.0.load(Ordering::SeqCst), 44, "two misses and one more block");
    }
}
