//! The road of `hpips add`: from blocks in the local store to an active deal.
//!
//! | step | here | does |
//! |---|---|---|
//! | 2 | [`Client::add_local`] | files -> blocks, root pinned |
//! | 3, 4 | [`Client::quote`] | blocks -> plan -> price; nothing is sent |
//! | 3 | `encode` | plan -> piece files, manifest |
//! | 4 | `propose` | terms and deposit onto the chain |
//! | 5 | `await_draw` | the next beacon draws holders |
//! | 6 | `Slots::place` | pieces to holders, receipts back, each commitment checked against our own |
//! | 7 | `activate` | receipts and escrow -> an active deal |
//!
//! Every step looks first at what stands already, on the chain and in the check-point, and does only what is
//! missing: killed at any point, the same call goes on and pays once.

use hpips_chain::WalletError;
use hpips_ledger::{ActivateDeal, Event, Failure, Operation, ProposalEnd, Propose, query};
use hpips_types::{Cid, DealId, Height, ProposalId, TokenAmount};
use tracing::info;

use crate::chainwatch::{Watch, WatchError};
use crate::client::Client;
use crate::commitments::Commitments;
use crate::encode::{EncodeError, encode};
use crate::outgoing::{CheckpointError, Outgoing, State};
use crate::progress::{Reporter, Stage};
use crate::quote::Quote;
use crate::slots::{Placed, Slots};
use crate::stage::{Standing, may_still_come, own_proposal, standing};

/// Proposals in one transaction at most; each names up to 51 lengths.
const PROPOSALS_AT_ONCE: usize = 16;

/// An object that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The object.
    pub root: Cid,
    /// Its deals, one an extent.
    pub deals: Vec<DealId>,
    /// Slots with a holder, over all deals.
    pub held: usize,
    /// Slots in all.
    pub slots: usize,
    /// When the first of the deals ends.
    pub ends: Height,
}

/// Why an object is not stored. It is in the local store all the same; the same call goes on where this one
/// ended, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Too few coins.
    #[error("{needed} HPIPS needed, {free} free; kept locally as {root}; nothing was spent")]
    Funds {
        /// The object.
        root: Cid,
        /// Price and fees.
        needed: TokenAmount,
        /// What the account has.
        free: TokenAmount,
    },
    /// The ceiling is too low.
    #[error(
        "a ceiling of {ask_max} HPIPS a GiB admits less than two thirds of the free space; nothing was spent"
    )]
    Ceiling {
        /// The ceiling.
        ask_max: TokenAmount,
    },
    /// Another call stores the same root.
    #[error("{0} is being stored already")]
    Busy(Cid),
    /// A block is gone since the quote.
    #[error("block {0} is not in the local store any more")]
    Missing(Cid),
    /// The local store.
    #[error("the local store cannot be read")]
    Read(#[source] hpips_store::ReadError),
    /// Pieces could not be made.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The check-point.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Our own manifest cannot be read back.
    #[error("manifest {cid} cannot be read")]
    Manifest {
        /// The manifest.
        cid: Cid,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A transaction did not get through.
    #[error("a transaction did not get through")]
    Wallet(#[from] WalletError),
    /// The chain does not move.
    #[error("the chain does not move: {0}; repeat the command to go on")]
    Chain(String),
    /// Nobody was drawn.
    #[error("no holders were drawn ({0:?}); the deposit came back")]
    NotDrawn(ProposalEnd),
    /// The time to activate is over.
    #[error("the holders did not have all pieces in time; the deposit went to the community fund")]
    Expired,
    /// Too many holders do not answer.
    #[error(
        "{missing} of {n} holders do not take their slot, {allowed} may be missing; only the deposit is at stake: \
         repeat the command before block {deadline}"
    )]
    TooFewHolders {
        /// Slots without a holder.
        missing: usize,
        /// How many may be missing.
        allowed: u16,
        /// Slots.
        n: u16,
        /// Last block that accepts the activation.
        deadline: Height,
    },
    /// The account's coins went elsewhere meanwhile.
    #[error("not enough coins for the escrow any more; only the deposit is at stake until block {deadline}")]
    Escrow {
        /// Last block that accepts the activation.
        deadline: Height,
    },
}

impl From<WatchError> for StoreError {
    fn from(error: WatchError) -> Self {
        Self::Chain(error.to_string())
    }
}

impl Client {
    /// Stores an object as quoted: encodes, proposes, uploads, activates. Returns when all of its deals are
    /// active; at once when they are. Dropping the future is as a kill: the same call goes on.
    ///
    /// # Errors
    /// [`StoreError`] by variant.
    pub async fn store(&self, quote: &Quote, report: &Reporter) -> Result<Stored, StoreError> {
        let _turn = self.turn(quote.root).ok_or(StoreError::Busy(quote.root))?;
        if !quote.deals.is_empty() {
            return self.finish(quote, quote.deals.clone());
        }
        check_funds(quote)?;
        let mut outgoing = self.encode(quote, report).await?;
        let mut commitments = Commitments::start(&outgoing);
        self.propose(quote, &mut outgoing, report).await?;
        let mut deals = Vec::new();
        for (extent, terms) in quote.terms().iter().enumerate() {
            let proposal = match self.await_draw(terms, report).await? {
                Standing::Active(deal) => {
                    deals.push(deal);
                    continue;
                }
                Standing::Drawn(id) | Standing::Proposed(id) => id,
                Standing::Nothing => return Err(StoreError::Expired),
            };
            let slots = Slots { client: self, proposal, extent, code: quote.code };
            let placed = slots.place(&mut outgoing, &mut commitments, report).await?;
            report.at(Stage::Activating, 0, 0);
            deals.push(self.activate(proposal, &outgoing, placed).await?);
        }
        self.finish(quote, deals)
    }

    /// Roots that an earlier call began to store and did not finish: quote and store them again.
    ///
    /// # Errors
    /// [`CheckpointError`] when the folder cannot be read.
    pub fn unfinished(&self) -> Result<Vec<Cid>, CheckpointError> {
        Outgoing::all(&self.outgoing_dir())
    }

    /// Gives up what an earlier call began: its pieces are removed. A deposit on the chain is lost when its
    /// time is over.
    ///
    /// # Errors
    /// [`CheckpointError`] when the files cannot be removed.
    pub fn abandon(&self, root: &Cid) -> Result<(), CheckpointError> {
        Outgoing::find(&self.outgoing_dir(), root)?.map_or(Ok(()), |outgoing| outgoing.remove())
    }

    /// Step 3: piece files, manifest and check-point on disk; nothing to do where they are.
    async fn encode(&self, quote: &Quote, report: &Reporter) -> Result<Outgoing, StoreError> {
        let found = Outgoing::find(&self.outgoing_dir(), &quote.root)?;
        let mut state = State::new(quote.root, quote.code, quote.term_windows, quote.ask_max);
        if let Some(before) = found {
            state.resume(before.state);
        }
        let mut outgoing = Outgoing::begin(&self.outgoing_dir(), state)?;
        let (plan, store, report) = (quote.plan.clone(), self.parts.store.clone(), report.clone());
        let encoding = tokio::task::spawn_blocking(move || {
            if !outgoing.is_encoded() {
                outgoing.state.encoded = None;
                outgoing.save()?;
                outgoing.state.encoded = Some(encode(&plan, &store, &outgoing, &report)?);
                outgoing.save()?;
            }
            Ok(outgoing)
        });
        encoding.await.map_err(|_| StoreError::Encode(EncodeError::Stopped))?
    }

    /// Step 4: the proposals of all extents that have neither deal nor proposal.
    async fn propose(
        &self,
        quote: &Quote,
        outgoing: &mut Outgoing,
        report: &Reporter,
    ) -> Result<(), StoreError> {
        report.at(Stage::Proposing, 0, 0);
        self.await_stragglers(quote, outgoing).await?;
        let missing = self.not_proposed(quote);
        for terms in missing.chunks(PROPOSALS_AT_ONCE) {
            // Noted before it is sent: after a kill nobody proposes again while this may still come.
            outgoing.state.proposed = Some(self.parts.chain.height());
            outgoing.save()?;
            let operations = terms.iter().cloned().map(Operation::Propose).collect();
            let executed = self.execute(operations).await;
            if !matches!(executed, Err(WalletError::Wait(_))) {
                // It stands in a block, or nobody was told of it.
                outgoing.state.proposed = None;
                outgoing.save()?;
            }
            let height = executed?;
            info!(root = %quote.root, %height, extents = terms.len(), "proposed");
        }
        Ok(())
    }

    fn not_proposed(&self, quote: &Quote) -> Vec<Propose> {
        let (view, me) = (self.parts.chain.state(), self.account());
        quote.terms().into_iter().filter(|terms| standing(&view, &me, terms) == Standing::Nothing).collect()
    }

    /// Waits for proposals that were handed out before a kill, until they stand or can no longer come.
    async fn await_stragglers(&self, quote: &Quote, outgoing: &Outgoing) -> Result<(), StoreError> {
        let proposed = outgoing.state.proposed;
        let mut watch = Watch::new(&self.parts.chain);
        let waited = watch.until(|view, _| {
            let is_over = !may_still_come(proposed, view.height()) || self.not_proposed(quote).is_empty();
            is_over.then_some(())
        });
        Ok(waited.await?)
    }

    /// Step 5: waits until the holders of an extent are drawn.
    async fn await_draw(&self, terms: &Propose, report: &Reporter) -> Result<Standing, StoreError> {
        report.at(Stage::Drawing, 0, 0);
        let me = self.account();
        let mut watch = Watch::new(&self.parts.chain);
        let known = own_proposal(&self.parts.chain.state(), &me, terms).map(|(id, _)| id);
        let drawn = watch.until(|view, events| match standing(view, &me, terms) {
            Standing::Proposed(_) => None,
            Standing::Nothing => Some(Err(ended(events, known))),
            standing => Some(Ok(standing)),
        });
        drawn.await?
    }

    /// Step 7: the receipts onto the chain.
    async fn activate(
        &self,
        proposal: ProposalId,
        outgoing: &Outgoing,
        placed: Placed,
    ) -> Result<DealId, StoreError> {
        let deal = DealId::new(proposal.get());
        let encoded = outgoing.state.encoded.as_ref().ok_or(StoreError::Encode(EncodeError::Stopped))?;
        let Placed { receipts, left_out } = placed;
        let activation = ActivateDeal { proposal, manifest: encoded.manifest, receipts, left_out };
        let sent = self.execute(vec![Operation::ActivateDeal(activation)]).await;
        let view = self.parts.chain.state();
        if query::deal(&view, deal).is_some() {
            // Also when an activation of before a kill came first and this one failed.
            info!(%deal, "deal active");
            return Ok(deal);
        }
        let deadline = query::proposal(&view, proposal).and_then(|row| row.draw).map(|draw| draw.deadline);
        match (sent, deadline) {
            (Err(error), Some(deadline)) if error.failure() == Some(Failure::Balance) => {
                Err(StoreError::Escrow { deadline })
            }
            (Err(error), Some(_)) => Err(error.into()),
            _ => Err(StoreError::Expired),
        }
    }

    /// The deals stand: the store has the blocks, the pieces are no longer needed.
    fn finish(&self, quote: &Quote, deals: Vec<DealId>) -> Result<Stored, StoreError> {
        self.abandon(&quote.root)?;
        let view = self.parts.chain.state();
        let (mut held, mut slots, mut ends) = (0, 0, Height::new(u64::MAX));
        for deal in deals.iter().filter_map(|deal| query::deal(&view, *deal)) {
            held += usize::from(deal.healthy);
            slots += usize::from(deal.n);
            ends = ends.min(deal.ends);
        }
        Ok(Stored { root: quote.root, deals, held, slots, ends })
    }
}

/// Refuses before anything is sent what the ledger would refuse afterwards.
fn check_funds(quote: &Quote) -> Result<(), StoreError> {
    if !quote.admits && !quote.is_resumed {
        return Err(StoreError::Ceiling { ask_max: quote.ask_max });
    }
    if quote.balance_after().is_none() {
        let (root, needed, free) = (quote.root, quote.needed(), quote.balance);
        return Err(StoreError::Funds { root, needed, free });
    }
    Ok(())
}

/// Why a proposal is no longer there.
fn ended(events: &[Event], known: Option<ProposalId>) -> StoreError {
    let reason = events.iter().find_map(|event| match event {
        Event::ProposalEnded { proposal, reason } if Some(*proposal) == known => Some(*reason),
        _ => None,
    });
    match reason {
        None | Some(ProposalEnd::Expired) => StoreError::Expired,
        Some(reason) => StoreError::NotDrawn(reason),
    }
}
