//! How much of something each peer may have going on at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hpips_types::AccountId;

/// Who has how much going on.
#[derive(Debug)]
pub(crate) struct Crowd {
    each: usize,
    peers: Mutex<BTreeMap<AccountId, usize>>,
}

impl Crowd {
    /// At most so many for each peer.
    pub(crate) fn new(each: usize) -> Arc<Self> {
        Arc::new(Self { each, peers: Mutex::default() })
    }

    /// One more for a peer; `None` when it has as many as it may.
    pub(crate) fn seat(self: &Arc<Self>, peer: AccountId) -> Option<Seat> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer).or_default();
        if *count == self.each {
            return None;
        }
        *count += 1;
        Some(Seat { crowd: Arc::clone(self), peer })
    }
}

/// One of what a peer has going on; given up when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    crowd: Arc<Crowd>,
    peer: AccountId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut peers = self.crowd.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_its_share() {
        let crowd = Crowd::new(3);
        let peer = AccountId::new([1; 32]);
        let mut seats: Vec<Seat> = (0..5).map_while(|_| crowd.seat(peer)).collect();
        assert_eq!(seats.len(), 3);
        assert!(crowd.seat(AccountId::new([2; 32])).is_some());
        seats.pop();
        assert!(crowd.seat(peer).is_some());
        seats.clear();
        assert!(crowd.peers.lock().unwrap().is_empty());
    }
}
