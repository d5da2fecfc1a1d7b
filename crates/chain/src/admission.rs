//! The way into the mempool: from this node, from gossip, from peers that ask directly; and the care that
//! what this node sent does arrive.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hpips_ledger::{LaneFault, Refused};
use hpips_net::{Gossip, Net, Publisher, rpc};
use hpips_types::{AccountId, Height};
use tokio::sync::broadcast::error::RecvError;
use tracing::{debug, trace};

use crate::machine::{Machine, SubmitError};
use crate::wire::Candidate;

/// Candidates that wait for the next finalized block because they were early, at most.
const EARLY_MAX: usize = 512;
/// Finalized blocks an early candidate is tried again after.
const EARLY_TRIES: u8 = 4;
/// How long the author of something false is not listened to.
const FAULT: Duration = Duration::from_secs(60);
/// Authors remembered for it, at most.
const FAULTY_MAX: usize = 1_024;
/// Own candidates whose arrival is watched, at most.
const OWN_MAX: usize = 4_096;
/// Blocks between two sendings of the same candidate.
const RESEND_BLOCKS: u64 = 2;
/// Sendings of the same candidate.
const RESENDS_MAX: u8 = 16;
/// Validators asked in one sending.
const RESEND_PEERS: usize = 2;
/// Deadline of a direct sending.
const RESEND: Duration = Duration::from_secs(3);

/// Answer to a direct sending: taken, or known already.
const TAKEN: u8 = 1;
/// Answer to a direct sending: refused.
const REFUSED: u8 = 0;

/// Checks candidates and puts them into the mempool.
#[derive(Clone)]
pub(crate) struct Intake {
    machine: Arc<Machine>,
}

impl Intake {
    pub(crate) fn new(machine: Arc<Machine>) -> Self {
        Self { machine }
    }

    /// Checks a candidate off the async threads.
    pub(crate) async fn admit(&self, candidate: Candidate) -> Result<(), SubmitError> {
        let machine = Arc::clone(&self.machine);
        match tokio::task::spawn_blocking(move || machine.admit(&candidate)).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(SubmitError::Stopped),
        }
    }

    /// Takes candidates from gossip, one at a time; what is only early is tried again after the next blocks.
    pub(crate) async fn listen(self, mut gossip: Gossip) {
        let mut blocks = self.machine.subscribe();
        let mut early: VecDeque<(Candidate, u8)> = VecDeque::new();
        let mut faulty: HashMap<AccountId, Instant> = HashMap::new();
        loop {
            tokio::select! {
                message = gossip.recv() => {
                    let Some((author, bytes)) = message else { return };
                    if faulty.contains_key(&author) {
                        continue;
                    }
                    let is_false = match Candidate::decode(&bytes) {
                        Some(candidate) => self.try_one(candidate, EARLY_TRIES, &mut early).await,
                        None => true,
                    };
                    // A false proof or signature takes us longer to refuse than anyone to write.
                    if is_false && faulty.len() < FAULTY_MAX {
                        debug!(%author, "sent something false: not listened to for a minute");
                        faulty.insert(author, Instant::now());
                    }
                }
                block = blocks.recv() => {
                    if matches!(block, Err(RecvError::Closed)) {
                        return;
                    }
                    faulty.retain(|_, since| since.elapsed() < FAULT);
                    for (candidate, tries) in std::mem::take(&mut early) {
                        self.try_one(candidate, tries, &mut early).await;
                    }
                }
            }
        }
    }

    /// Whether the candidate is false, which its author could have known.
    async fn try_one(&self, candidate: Candidate, tries: u8, early: &mut VecDeque<(Candidate, u8)>) -> bool {
        match self.admit(candidate.clone()).await {
            Ok(()) => {}
            Err(SubmitError::Lane(LaneFault::False) | SubmitError::Refused(Refused::Signature(_))) => {
                return true;
            }
            Err(error) if is_early(&error) && tries > 0 => {
                if early.len() < EARLY_MAX {
                    early.push_back((candidate, tries - 1));
                }
            }
            Err(error) => trace!(%error, "candidate refused"),
        }
        false
    }
}

/// Whether the next block may change the answer: the sender may have seen a block that we have not.
fn is_early(error: &SubmitError) -> bool {
    match error {
        SubmitError::Lane(LaneFault::Window | LaneFault::Beacon | LaneFault::Uncommitted) => true,
        SubmitError::Refused(Refused::Nonce { got, expected }) => got > expected,
        SubmitError::Refused(Refused::Balance { .. }) => true,
        _ => false,
    }
}

/// Answers a direct sending; what is new is gossiped on. `None` for a malformed one.
pub(crate) async fn answer(
    machine: Weak<Machine>,
    publisher: Publisher,
    question: Vec<u8>,
) -> Option<Vec<u8>> {
    let candidate = Candidate::decode(&question)?;
    let intake = Intake::new(machine.upgrade()?);
    match intake.admit(candidate).await {
        Ok(()) => {
            if let Err(error) = publisher.publish(Bytes::from(question)).await {
                trace!(%error, "candidate not gossiped on");
            }
            Some(vec![TAKEN])
        }
        Err(SubmitError::Pool(_)) => Some(vec![TAKEN]),
        Err(_) => Some(vec![REFUSED]),
    }
}

/// Watches over what this node sent until it stands in a block.
#[derive(Clone)]
pub(crate) struct Resender {
    validators: Arc<[AccountId]>,
    own: Arc<Mutex<Vec<Own>>>,
}

struct Own {
    candidate: Candidate,
    sent: Height,
    left: u8,
}

impl Resender {
    pub(crate) fn new(validators: Vec<AccountId>) -> Self {
        Self { validators: validators.into(), own: Arc::default() }
    }

    /// Begins to watch a candidate that was sent at this height.
    pub(crate) fn keep(&self, candidate: Candidate, sent: Height) {
        let mut own = self.own.lock().expect("no panic while the lock is held");
        if own.len() < OWN_MAX {
            own.push(Own { candidate, sent, left: RESENDS_MAX });
        }
    }

    /// What is due at a height; forgets what no longer waits.
    fn due(&self, machine: &Machine, height: Height) -> Vec<Vec<u8>> {
        let mut own = self.own.lock().expect("no panic while the lock is held");
        let pool = machine.pool();
        own.retain(|own| own.left > 0 && pool.waits(&own.candidate));
        let mut due = Vec::new();
        for own in own.iter_mut().filter(|own| own.sent.get() + RESEND_BLOCKS <= height.get()) {
            own.sent = height;
            own.left -= 1;
            due.push(own.candidate.encode());
        }
        due
    }

    /// Sends again, directly to validators, what gossip did not bring into a block.
    pub(crate) async fn run(self, machine: Arc<Machine>, net: Net, protocol: String) {
        let mut blocks = machine.subscribe();
        let mut turn = 0usize;
        loop {
            let height = match blocks.recv().await {
                Ok(block) => block.height,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            let due = self.due(&machine, height);
            if due.is_empty() {
                continue;
            }
            let mut peers = net.connected();
            if peers.iter().any(|peer| self.validators.contains(peer)) {
                peers.retain(|peer| self.validators.contains(peer));
            }
            turn = turn.wrapping_add(1);
            if !peers.is_empty() {
                let first = turn % peers.len();
                peers.rotate_left(first);
            }
            for candidate in due {
                for peer in peers.iter().take(RESEND_PEERS) {
                    let sent = rpc::request(&net, *peer, &protocol, &candidate, 1, RESEND).await;
                    if let Err(error) = sent {
                        debug!(%peer, %error, "candidate not sent");
                    }
                }
            }
        }
    }
}
