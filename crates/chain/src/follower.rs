//! A node without a seat: takes finalized blocks from anyone, believes none of them, checks the committee's
//! certificate, executes, and compares the state root.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hpips_net::{Gossip, Net, rpc};
use hpips_types::{AccountId, Height, cbor};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::finality::{Run, RunError};
use crate::machine::{ExecuteError, Machine};
use crate::wire::{BlocksRequest, BlocksResponse, Finality, RUN_BLOCKS_MAX, RUN_MESSAGE_BYTES_MAX};

/// How long a peer that sent something false is not listened to.
const FAULT: Duration = Duration::from_secs(60);
/// Peers remembered as faulty, and authors counted, at most.
const PEERS_MAX: usize = 1_024;
/// Messages taken from one author between two ticks.
const PER_AUTHOR_MAX: u32 = 64;
/// Deadline of a request for blocks.
const REQUEST: Duration = Duration::from_secs(5);
/// Peers asked in one go, so that silent ones do not keep us from listening to gossip.
const PEERS_ASKED: usize = 4;
/// Requests to one peer in a row, so that one that answers slowly does not keep us for ever.
const REQUESTS_MAX: usize = 64;

/// Follows the chain.
pub(crate) struct Follower {
    machine: Arc<Machine>,
    net: Net,
    protocol: String,
    gossip: Gossip,
    faulty: HashMap<AccountId, Instant>,
    authors: HashMap<AccountId, u32>,
    turn: usize,
    asked: bool,
}

/// A certified block that our own state contradicts.
#[derive(Debug, thiserror::Error)]
#[error("certified block {height} contradicts the state")]
pub(crate) struct Diverged {
    height: Height,
    #[source]
    pub(crate) source: ExecuteError,
}

impl Follower {
    pub(crate) fn new(machine: Arc<Machine>, net: Net, protocol: String, gossip: Gossip) -> Self {
        Self {
            machine,
            net,
            protocol,
            gossip,
            faulty: HashMap::new(),
            authors: HashMap::new(),
            turn: 0,
            asked: false,
        }
    }

    /// Follows until the network is gone. Dropping the future is safe.
    pub(crate) async fn run(mut self) -> Result<(), Diverged> {
        let pace = Duration::from_millis(self.machine.params().block_ms);
        let mut ticks = interval((pace * 2).max(Duration::from_millis(200)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.authors.clear();
                    self.asked = false;
                    self.faulty.retain(|_, since| since.elapsed() < FAULT);
                    // Gossip brings the blocks; whoever hears nothing new asks.
                    let height = self.machine.height();
                    if last.replace(height) == Some(height) || height == Height::ZERO {
                        self.catch_up().await?;
                    }
                }
                message = self.gossip.recv() => match message {
                    Some((author, bytes)) => self.hear(author, &bytes).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Takes an announcement.
    async fn hear(&mut self, author: AccountId, bytes: &[u8]) -> Result<(), Diverged> {
        if self.faulty.contains_key(&author) || !self.admit(author) {
            return Ok(());
        }
        let Some(run) = Finality::decode(bytes).map(Run::decode) else {
            self.blame(author, &"announcement is malformed");
            return Ok(());
        };
        let run = match run {
            Ok(run) => run,
            Err(error) => {
                self.blame(author, &error);
                return Ok(());
            }
        };
        let next = self.machine.height().next();
        if run.first_height() > next {
            // It may be true: then others have the blocks in between, and it is checked with them. At most one
            // such claim is looked into between two ticks.
            if !std::mem::replace(&mut self.asked, true) {
                return self.catch_up().await;
            }
            return Ok(());
        }
        self.take(author, run).await
    }

    /// Counts a message; `false` when the author has used up its share.
    fn admit(&mut self, author: AccountId) -> bool {
        if self.authors.len() >= PEERS_MAX && !self.authors.contains_key(&author) {
            return false;
        }
        let count = self.authors.entry(author).or_default();
        *count += 1;
        *count <= PER_AUTHOR_MAX
    }

    fn blame(&mut self, peer: AccountId, fault: &dyn std::fmt::Display) {
        if self.faulty.len() < PEERS_MAX && self.faulty.insert(peer, Instant::now()).is_none() {
            warn!(%peer, %fault, "peer sent false blocks: not listened to for a minute");
        }
    }

    /// Verifies and applies what is new in a run.
    async fn take(&mut self, from: AccountId, mut run: Run) -> Result<(), Diverged> {
        let snapshot = self.machine.snapshot();
        run.blocks.retain(|block| block.height() > snapshot.height());
        if run.blocks.is_empty() {
            return Ok(());
        }
        let machine = Arc::clone(&self.machine);
        let head = (snapshot.height(), snapshot.digest());
        let applied = tokio::task::spawn_blocking(move || apply(&machine, head, &run)).await;
        match applied {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => {
                self.blame(from, &error);
                Ok(())
            }
            Ok(Err(diverged)) => Err(diverged),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Ok(()),
        }
    }

    /// Asks connected peers, one after the other, for everything above our height.
    async fn catch_up(&mut self) -> Result<(), Diverged> {
        let mut peers = self.net.connected();
        peers.retain(|peer| !self.faulty.contains_key(peer));
        if peers.is_empty() {
            return Ok(());
        }
        self.turn = self.turn.wrapping_add(PEERS_ASKED - 1);
        let first = self.turn % peers.len();
        peers.rotate_left(first);
        for peer in peers.into_iter().take(PEERS_ASKED) {
            let before = self.machine.height();
            self.catch_up_from(peer).await?;
            if self.machine.height() > before {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn catch_up_from(&mut self, peer: AccountId) -> Result<(), Diverged> {
        let started = self.machine.height();
        for _ in 0..REQUESTS_MAX {
            let before = self.machine.height();
            let question = cbor::encode(&BlocksRequest { from: before.next() });
            let answer =
                rpc::request(&self.net, peer, &self.protocol, &question, RUN_MESSAGE_BYTES_MAX, REQUEST)
                    .await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    // Unhelpful is not false: it may be restarting, or too young to have the blocks.
                    debug!(%peer, %error, "no blocks from this peer");
                    return Ok(());
                }
            };
            let Ok(response) = cbor::decode::<BlocksResponse>(&answer, RUN_MESSAGE_BYTES_MAX) else {
                self.blame(peer, &"answer is malformed");
                return Ok(());
            };
            self.machine.note_claim(peer, response.tip);
            if response.runs.len() > RUN_BLOCKS_MAX {
                self.blame(peer, &"answer is too long");
                return Ok(());
            }
            for finality in response.runs {
                match Run::decode(finality) {
                    Ok(run) => self.take(peer, run).await?,
                    Err(error) => self.blame(peer, &error),
                }
                if self.faulty.contains_key(&peer) {
                    return Ok(());
                }
            }
            if self.machine.height() == before {
                break;
            }
        }
        let height = self.machine.height();
        if height.get() > started.get() + 1 {
            info!(%peer, from = %started, to = %height, "caught up");
        }
        Ok(())
    }
}

/// Outer error: our state contradicts a certified block. Inner: the run is worth nothing.
fn apply(
    machine: &Machine,
    head: (Height, hpips_types::Sha256Digest),
    run: &Run,
) -> Result<Result<(), RunError>, Diverged> {
    if let Err(error) = run.verify(head, machine.certificates()) {
        return Ok(Err(error));
    }
    let last = run.blocks.len() - 1;
    for (index, block) in run.blocks.iter().enumerate() {
        let certificate = (index == last).then_some(&run.certificate);
        machine.finalize(block, certificate).map_err(|source| Diverged { height: block.height(), source })?;
    }
    Ok(Ok(()))
}
