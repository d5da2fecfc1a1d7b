//! Walks a DAG with blocks from a getter, which reads on while the last ones are handed out.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use bytes::Bytes;
use hpips_dag::{DriveError, Step, Walk};
use hpips_types::Cid;

use crate::blocks::{BlockGetter, GetBlockError};

/// Blocks announced before they are needed.
const ANNOUNCED: usize = 32;
/// Blocks read together. Two such windows are in memory: 32 MiB where every block is of 2 MiB.
const WINDOW: usize = 8;
/// A window of fewer blocks is not worth a thread.
const WINDOW_MIN: usize = 4;

/// Walks a DAG and hands every item to `item`. Blocks that come next are announced, and those that are at hand are
/// read on all cores before they are asked for, a window of them while `item` takes what the last one gave.
///
/// # Errors
/// As [`DriveError`], or what `item` returns.
pub fn walk<W: Walk, E: From<DriveError<GetBlockError>>>(
    mut walk: W,
    blocks: &dyn BlockGetter,
    mut item: impl FnMut(W::Item) -> Result<(), E>,
) -> Result<(), E> {
    std::thread::scope(|scope| {
        let mut ahead = Ahead { blocks, scope, now: HashMap::new(), reader: None, is_reading: false };
        loop {
            match walk.step().map_err(DriveError::Walk)? {
                Step::Item(found) => item(found)?,
                Step::Done => return Ok(()),
                Step::Need(cid) => {
                    let block = ahead.get(&cid, &walk).map_err(|error| DriveError::Get(cid, error))?;
                    walk.feed(block).map_err(DriveError::Walk)?;
                }
            }
        }
    })
}

/// A thread that reads windows, and the way to it and back.
struct Reader {
    wanted: SyncSender<Vec<Cid>>,
    read: Receiver<Vec<(Cid, Bytes)>>,
}

struct Ahead<'scope, 'env> {
    blocks: &'env dyn BlockGetter,
    scope: &'scope Scope<'scope, 'env>,
    /// The window that is handed out.
    now: HashMap<Cid, Bytes>,
    /// Begun with the first window that is worth it.
    reader: Option<Reader>,
    is_reading: bool,
}

impl<'env> Ahead<'_, 'env> {
    fn get<W: Walk>(&mut self, cid: &Cid, walk: &W) -> Result<Bytes, GetBlockError> {
        if !self.now.contains_key(cid) {
            self.turn(cid, walk);
        }
        if !self.is_reading {
            self.read_on(walk);
        }
        match self.now.get(cid) {
            Some(block) => Ok(block.clone()),
            None => self.blocks.get(cid),
        }
    }

    /// Goes to the next window: the one that was read meanwhile, or one that is read now.
    fn turn<W: Walk>(&mut self, cid: &Cid, walk: &W) {
        // The old blocks go before more come.
        self.now.clear();
        if let Some(reader) = self.reader.as_ref().filter(|_| self.is_reading) {
            self.now.extend(reader.read.recv().into_iter().flatten());
            self.is_reading = false;
        }
        let next = walk.upcoming(ANNOUNCED);
        self.blocks.prefetch(&next);
        if !self.now.contains_key(cid) {
            let others = next.into_iter().filter(|next| next != cid);
            let window: Vec<Cid> = [*cid].into_iter().chain(others).take(WINDOW).collect();
            self.now.extend(self.blocks.at_hand(&window));
        }
    }

    /// Has the window behind this one read.
    fn read_on<W: Walk>(&mut self, walk: &W) {
        let next = walk.upcoming(2 * WINDOW).into_iter().filter(|cid| !self.now.contains_key(cid));
        let window: Vec<Cid> = next.take(WINDOW).collect();
        if window.len() < WINDOW_MIN {
            return;
        }
        let blocks = self.blocks;
        let reader = self.reader.get_or_insert_with(|| {
            let (wanted, windows) = sync_channel::<Vec<Cid>>(1);
            let (give, read) = sync_channel(1);
            self.scope.spawn(move || {
                for window in windows {
                    if give.send(blocks.at_hand(&window)).is_err() {
                        return;
                    }
                }
            });
            Reader { wanted, read }
        });
        self.is_reading = reader.wanted.send(window).is_ok();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hpips_dag::{Block, Chunking, FileBuilder, FileReader, Profile};

    use super::*;

    /// Has every second block at hand, and counts how it is asked.
    struct Half {
        blocks: HashMap<Cid, Bytes>,
        asked: Mutex<HashMap<Cid, usize>>,
        got: AtomicUsize,
    }

    impl BlockGetter for Half {
        fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
            self.got.fetch_add(1, Ordering::Relaxed);
            self.blocks.get(cid).cloned().ok_or(GetBlockError::NotFound { cid: *cid, peers: None })
        }

        fn at_hand(&self, cids: &[Cid]) -> Vec<(Cid, Bytes)> {
            assert!(cids.len() <= WINDOW);
            let mut asked = self.asked.lock().unwrap();
            let mut found = Vec::new();
            for cid in cids {
                *asked.entry(*cid).or_default() += 1;
                let is_here = cid.hash().digest()[0].is_multiple_of(2);
                found.extend(self.blocks.get(cid).filter(|_| is_here).map(|block| (*cid, block.clone())));
            }
            found
        }
    }

    fn file(leaves: u32, distinct: u32) -> (Cid, Vec<u8>, Vec<Block>) {
        let profile = Profile::default().with_chunking(Chunking::Size(4)).with_file_links(7).unwrap();
        let content: Vec<u8> = (0..leaves).flat_map(|leaf| (leaf % distinct).to_le_bytes()).collect();
        let mut blocks = Vec::new();
        let mut builder = FileBuilder::new(profile);
        builder.push(&content, &mut blocks);
        (builder.finish(&mut blocks).cid, content, blocks)
    }

    #[test]
    fn every_item_comes_in_order_whatever_is_at_hand() {
        for (leaves, distinct) in [(1, 1), (3, 3), (500, 500), (500, 5), (40, 39)] {
            let (root, content, blocks) = file(leaves, distinct);
            let blocks: HashMap<_, _> = blocks.into_iter().map(|block| (block.cid, block.bytes)).collect();
            let count = blocks.len();
            let getter = Half { blocks, asked: Mutex::default(), got: AtomicUsize::new(0) };
            let mut read = Vec::new();
            let take = |part: Bytes| -> Result<(), DriveError<GetBlockError>> {
                read.extend_from_slice(&part);
                Ok(())
            };
            walk(FileReader::new(root, ..), &getter, take).unwrap();
            assert!(read == content, "{leaves} leaves");
            if distinct == leaves {
                assert!(
                    getter.got.into_inner() < count * 2 / 3 + 8,
                    "what is at hand is not asked for again"
                );
            }
        }
    }

    #[test]
    fn a_missing_block_and_a_refusal_end_the_walk() {
        let (root, _, blocks) = file(300, 300);
        let mut blocks: HashMap<_, _> = blocks.into_iter().map(|block| (block.cid, block.bytes)).collect();
        let getter = |blocks| Half { blocks, asked: Mutex::default(), got: AtomicUsize::new(0) };
        let whole = getter(blocks.clone());
        let refuse = |_| Err(DriveError::Walk(hpips_dag::WalkError::NotAsked));
        assert!(walk(FileReader::new(root, ..), &whole, refuse).is_err());
        let leaf = hpips_types::content::cid_v1(hpips_types::content::RAW, &200u32.to_le_bytes());
        assert!(blocks.remove(&leaf).is_some());
        let mut parts = 0;
        let count = |_| {
            parts += 1;
            Ok(())
        };
        let error = walk::<_, DriveError<GetBlockError>>(FileReader::new(root, ..), &getter(blocks), count);
        assert!(matches!(error, Err(DriveError::Get(cid, _)) if cid == leaf), "{error:?}");
        assert_eq!(parts, 200);
    }
}
