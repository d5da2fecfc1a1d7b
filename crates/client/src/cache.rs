//! Blocks in memory, bounded by bytes, the oldest out first.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use hpips_types::Cid;

/// A bounded map of blocks.
#[derive(Debug)]
pub(crate) struct Cache {
    blocks: HashMap<Cid, Bytes>,
    order: VecDeque<Cid>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { blocks: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn get(&self, cid: &Cid) -> Option<Bytes> {
        self.blocks.get(cid).cloned()
    }

    pub(crate) fn has(&self, cid: &Cid) -> bool {
        self.blocks.contains_key(cid)
    }

    /// Keeps a block; one alone may be larger than the bound.
    pub(crate) fn put(&mut self, cid: Cid, block: Bytes) {
        self.bytes += block.len();
        match self.blocks.insert(cid, block) {
            Some(old) => self.bytes -= old.len(),
            None => self.order.push_back(cid),
        }
        while self.bytes > self.bytes_max && self.order.len() > 1 {
            if let Some(old) = self.order.pop_front().and_then(|cid| self.blocks.remove(&cid)) {
                self.bytes -= old.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hpips_types::content::{RAW, cid_v1};

    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut cache = Cache::new(25);
        let blocks: Vec<Bytes> = (0..4u8).map(|index| vec![index; 10].into()).collect();
        let cids: Vec<Cid> = blocks.iter().map(|block| cid_v1(RAW, block)).collect();
        for (cid, block) in cids.iter().zip(&blocks) {
            cache.put(*cid, block.clone());
            cache.put(*cid, block.clone());
        }
        let held: Vec<bool> = cids.iter().map(|cid| cache.has(cid)).collect();
        assert_eq!(held, [false, false, true, true]);
        let large = Bytes::from(vec![9; 100]);
        cache.put(cid_v1(RAW, &large), large.clone());
        assert_eq!(cache.get(&cid_v1(RAW, &large)), Some(large));
        assert!(!cache.has(&cids[3]));
    }
}
