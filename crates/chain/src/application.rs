//! What the engine asks of us: propose a block, judge a block, take a finalized one.

use std::sync::Arc;
use std::time::Duration;

use commonware_actor::Feedback;
use commonware_consensus::Application;
use commonware_consensus::Reporter;
use commonware_consensus::marshal::Update;
use commonware_consensus::marshal::ancestry::Ancestry;
use commonware_consensus::simplex::types::{Activity, Context};
use commonware_cryptography::Digested;
use commonware_runtime::{Clock, Metrics, Spawner};
use commonware_utils::acknowledgement::Exact;
use futures::StreamExt as _;
use hpips_types::View;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::block::{Block, Proposed};
use crate::machine::{ExecuteError, Machine};
use crate::scheme::{Digest, PublicKey, Scheme, seed_bytes, to_digest};
use crate::state::Layer;

/// The state machine as the engine's application.
#[derive(Clone)]
pub(crate) struct Driver {
    machine: Arc<Machine>,
    pace: Duration,
}

/// Whether a block's ancestors could be judged.
enum Base {
    /// The state after the parent.
    Ready(Arc<Layer>),
    /// An ancestor breaks the rules, so every descendant does.
    Invalid,
    /// The chain has become final without this branch, or the node shuts down: nobody waits for an answer.
    Moot,
}

impl Driver {
    pub(crate) fn new(machine: Arc<Machine>, pace: Duration) -> Self {
        Self { machine, pace }
    }

    /// The state after `block`, executing ancestors that are not known, oldest first.
    async fn state_after(&self, block: Digested<Block>, mut ancestry: impl Ancestry<Block>) -> Base {
        let mut missing = Vec::new();
        let mut next = block;
        let mut layer = loop {
            if let Some(layer) = self.machine.layer(&next.inner().digest()) {
                break layer;
            }
            if next.inner().height() <= self.machine.height() {
                return Base::Moot;
            }
            missing.push(next);
            match ancestry.next().await {
                Some(parent) => next = parent,
                None => return Base::Moot,
            }
        };
        while let Some(block) = missing.pop() {
            let machine = Arc::clone(&self.machine);
            let executed = blocking(move || machine.execute_proposed(&layer, block.inner())).await;
            match executed {
                Some(Ok(next)) => layer = next,
                Some(Err(_)) => return Base::Invalid,
                None => return Base::Moot,
            }
        }
        Base::Ready(layer)
    }
}

/// Runs heavy work off the engine's threads; `None` when the runtime shuts down.
///
/// # Panics
/// When the work panicked: the panic goes on in the caller.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}

impl<E: Spawner + Metrics + Clock> Application<E> for Driver {
    type SigningScheme = Scheme;
    type Context = Context<Digest, PublicKey>;
    type Block = Block;
    type Input = ();

    async fn propose(
        &mut self,
        (clock, context): (E, Self::Context),
        mut ancestry: impl Ancestry<Block>,
        (): (),
    ) -> Option<Digested<Block>> {
        let parent = ancestry.next().await?;
        // The clock only paces proposals; nothing that is agreed on depends on it.
        let wait = self.machine.pace_left(&parent.inner().digest(), self.pace);
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
        let Base::Ready(layer) = self.state_after(parent, ancestry).await else { return None };
        let proposed = Proposed::from_context(&context);
        let machine = Arc::clone(&self.machine);
        let block = blocking(move || machine.build(&layer, proposed)).await??;
        let digest = to_digest(block.digest());
        Some(Digested::precomputed(block, digest))
    }

    async fn verify(&mut self, (_, context): (E, Self::Context), mut ancestry: impl Ancestry<Block>) -> bool {
        let (Some(block), Some(parent)) = (ancestry.next().await, ancestry.next().await) else {
            return std::future::pending().await;
        };
        let digest = block.inner().digest();
        self.machine.note_proposed(digest);
        if block.inner().context() != Proposed::from_context(&context) {
            return false;
        }
        if self.machine.layer(&digest).is_some() || self.machine.is_final(block.inner()) {
            return true;
        }
        let layer = match self.state_after(parent, ancestry).await {
            Base::Ready(layer) => layer,
            Base::Invalid => return false,
            // A verdict on a branch that lost is of no use to anyone, and "invalid" would be untrue.
            Base::Moot => return std::future::pending().await,
        };
        let machine = Arc::clone(&self.machine);
        let verdict = blocking(move || machine.execute_proposed(&layer, block.inner()).map(drop)).await;
        match verdict {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                report_invalid(&context, &error);
                false
            }
            None => std::future::pending().await,
        }
    }
}

fn report_invalid(context: &Context<Digest, PublicKey>, error: &ExecuteError) {
    let view = context.round.view().get();
    warn!(leader = %context.leader, view, %error, "proposed block breaks the rules");
}

/// Collects the seed of every view from the engine's certificates.
#[derive(Clone)]
pub(crate) struct SeedTap(pub(crate) Arc<Machine>);

impl Reporter for SeedTap {
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        let (round, certificate) = match &activity {
            Activity::Notarization(of) => (of.proposal.round, &of.certificate),
            Activity::Finalization(of) => (of.proposal.round, &of.certificate),
            Activity::Nullification(of) => (of.round, &of.certificate),
            Activity::ConflictingNotarize(_)
            | Activity::ConflictingFinalize(_)
            | Activity::NullifyFinalize(_) => {
                warn!("a validator signed conflicting votes");
                return Feedback::Ok;
            }
            _ => return Feedback::Ok,
        };
        let view = View::new(round.view().get());
        match certificate.get() {
            Some(signature) => self.0.note_seed(view, seed_bytes(&signature.seed_signature)),
            None => debug!(%view, "certificate without a readable seed"),
        }
        if matches!(activity, Activity::Nullification(_)) {
            self.0.note_nullified(view);
        }
        Feedback::Ok
    }
}

/// A finalized block and what tells the engine that it is on disk.
pub(crate) type Delivery = (Digested<Block>, Exact);

/// Hands finalized blocks on, in order.
#[derive(Clone)]
pub(crate) struct Outlet(pub(crate) mpsc::Sender<Delivery>);

impl Reporter for Outlet {
    type Activity = Update<Block>;

    fn report(&mut self, update: Self::Activity) -> Feedback {
        if let Update::Block(block, acknowledgement) = update
            && self.0.try_send((block, acknowledgement)).is_err()
        {
            // The queue is longer than the engine's backlog, so only a shutdown closes it; the engine
            // delivers the block again after the restart.
            return Feedback::Closed;
        }
        Feedback::Ok
    }
}
