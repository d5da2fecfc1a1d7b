//! What storing an object costs and what it gets for it, by the ledger's own code.

use std::sync::Arc;

use hpips_dag::EnumerateError;
use hpips_erasure::{Plan, PlanError};
use hpips_ledger::{Propose, StateView, base_fee_of, query};
use hpips_placement::{Estimate, Model, estimate, repair_threshold};
use hpips_store::ReadError;
use hpips_types::{ByteCount, Cid, Code, DealId, TokenAmount, cbor};

use crate::client::Client;
use crate::outgoing::{CheckpointError, Outgoing};
use crate::plan::{Fitted, fit, list_blocks, terms};
use crate::stage;

/// Bytes of a signed receipt in an activation, and of everything around operations: what fees are foreseen by.
const RECEIPT_BYTES: usize = 400;
const ENVELOPE_BYTES: usize = 512;

/// What is asked of the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoreOptions {
    /// For how many windows.
    pub term_windows: u64,
    /// Highest ask accepted, nano per GiB and 720 windows; by default the least that admits two thirds of the
    /// free space.
    pub ask_max: Option<TokenAmount>,
    /// How it is coded; by default what the planner says.
    pub code: Option<Code>,
    /// Largest modelled chance of loss in a year; by default what the planner's starting rule gives.
    pub yearly_loss_max: Option<f64>,
}

impl StoreOptions {
    /// For so many windows, all else by default.
    pub const fn of_windows(term_windows: u64) -> Self {
        Self { term_windows, ask_max: None, code: None, yearly_loss_max: None }
    }
}

/// Why there is no quote. Nothing was sent or spent.
#[derive(Debug, thiserror::Error)]
pub enum QuoteError {
    /// The object is not all here.
    #[error("block {0} is not in the local store: fetch the whole object first")]
    Missing(Cid),
    /// The local store.
    #[error("the local store cannot be read")]
    Read(#[source] ReadError),
    /// A block is not what its codec says, or there are too many.
    #[error("the object cannot be walked")]
    Enumerate(#[source] EnumerateError),
    /// The object cannot be cut.
    #[error("the object cannot be stored as one")]
    Plan(#[from] PlanError),
    /// Nobody, or too few, have room.
    #[error("{have} providers have room for a slot, {need} are needed; nothing was spent")]
    TooFewProviders {
        /// Operators with room.
        have: u64,
        /// Slots.
        need: u16,
    },
    /// No code of these operators lasts as long as was asked for.
    #[error("{operators} operators cannot give the durability asked for; nothing was spent")]
    Durability {
        /// Operators with room.
        operators: u64,
    },
    /// Shorter than the network takes.
    #[error("{asked} windows are asked for, the network takes {least} at least; nothing was spent")]
    Term {
        /// Windows asked for.
        asked: u64,
        /// Windows at least.
        least: u64,
    },
    /// What an earlier call left.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The task was stopped.
    #[error("quoting was stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// What an object costs. All amounts are exact.
#[derive(Clone, Debug)]
pub struct Quote {
    /// The object.
    pub root: Cid,
    /// Any `k` of `n` slots restore it.
    pub code: Code,
    /// Operators that have room for a slot; those beyond `n` stay spare for repair.
    pub operators: u64,
    /// Bytes of its blocks.
    pub content_bytes: ByteCount,
    /// Bytes that the network stores: all pieces, and the manifest once a holder.
    pub stored_bytes: ByteCount,
    /// Parts with a deal each.
    pub extents: usize,
    /// Windows it is stored for.
    pub term_windows: u64,
    /// Highest ask accepted, nano per GiB and 720 windows.
    pub ask_max: TokenAmount,
    /// The whole term if every holder asked the ceiling; what is not proven comes back.
    pub price_max: TokenAmount,
    /// Part of the price that is taken with the proposal, and lost if the object is not stored in time.
    pub deposit: TokenAmount,
    /// Fees of the transactions at the present base fee.
    pub fees: TokenAmount,
    /// What the account has now.
    pub balance: TokenAmount,
    /// Healthy slots at which lost ones are rebuilt.
    pub repair_threshold: u16,
    /// Modelled chance of loss in a year.
    pub yearly_loss: f64,
    /// The same as whole nines of durability.
    pub nines: u8,
    /// Whether the ceiling admits two thirds of the free space; the ledger draws nobody otherwise.
    pub admits: bool,
    /// Deals that store the object already; then [`Client::store`] returns them and nothing is spent.
    pub deals: Vec<DealId>,
    /// Whether an earlier call has begun to store it; its terms hold.
    pub is_resumed: bool,
    pub(crate) plan: Arc<Plan>,
    /// Deposits that stand on the chain already.
    pub(crate) deposited: TokenAmount,
}

impl Quote {
    /// Stored bytes for each byte of content, manifest included. For people.
    #[allow(clippy::cast_precision_loss)]
    pub fn expansion(&self) -> f64 {
        self.stored_bytes.get() as f64 / self.content_bytes.get().max(1) as f64
    }

    /// Price and fees that the account has to have still.
    pub fn needed(&self) -> TokenAmount {
        let price = self.price_max.saturating_sub(self.deposited);
        price.checked_add(self.fees).unwrap_or(TokenAmount::SUPPLY)
    }

    /// What is left of the balance afterwards; `None` when it does not suffice.
    pub fn balance_after(&self) -> Option<TokenAmount> {
        self.balance.checked_sub(self.needed())
    }

    /// The proposals, one an extent.
    pub(crate) fn terms(&self) -> Vec<Propose> {
        let count = self.plan.extents().len();
        (0..count).map(|extent| terms(&self.plan, extent, self.term_windows, self.ask_max)).collect()
    }
}

impl Client {
    /// Plans an object of the local store for the providers there are now and asks the ledger what it costs.
    /// Sends nothing. Where an earlier call has begun to store the object, its terms are quoted again,
    /// whatever the options.
    ///
    /// # Errors
    /// [`QuoteError`] by variant.
    pub async fn quote(&self, root: Cid, options: &StoreOptions) -> Result<Quote, QuoteError> {
        let (client, options) = (self.clone(), *options);
        tokio::task::spawn_blocking(move || client.quote_now(root, options)).await?
    }

    fn quote_now(&self, root: Cid, mut options: StoreOptions) -> Result<Quote, QuoteError> {
        let begun = Outgoing::find(&self.outgoing_dir(), &root)?;
        let view = self.parts.chain.state();
        let me = self.account();
        let own = stage::own_deals(&view, &me, &root);
        let binding = stage::binding(&view, &me, &root, begun.as_ref().map(|begun| &begun.state), &own);
        if let Some(binding) = &binding {
            options.term_windows = binding.term_windows;
        }
        let least = self.parts.chain.params().term_windows_min;
        if options.term_windows < least {
            return Err(QuoteError::Term { asked: options.term_windows, least });
        }
        let blocks = list_blocks(&self.parts.store, root)?;
        let content: u64 = blocks.iter().map(|(_, bytes)| u64::from(*bytes)).sum();
        let deals =
            if stage::covers(&own, content) { own.iter().map(|(id, _)| *id).collect() } else { Vec::new() };
        let fitted = match &binding {
            // Providers may have come or gone since: what was begun stays as it was cut.
            Some(binding) => {
                let plan = hpips_erasure::plan(binding.code, root, &[], blocks.iter().copied())?;
                Fitted { plan, ask_max: binding.ask_max, operators: u64::from(binding.code.n()) }
            }
            None => fit(&view, self.parts.chain.params(), root, &blocks, &options)?,
        };
        let is_resumed = binding.is_some();
        Ok(self.priced(&view, fitted, options.term_windows, deals, is_resumed))
    }

    fn priced(
        &self,
        view: &dyn StateView,
        fitted: Fitted,
        term_windows: u64,
        deals: Vec<DealId>,
        is_resumed: bool,
    ) -> Quote {
        let Fitted { plan, ask_max, operators } = fitted;
        let (code, me) = (plan.code(), self.account());
        let (mut price_max, mut deposit, mut deposited) =
            (TokenAmount::ZERO, TokenAmount::ZERO, TokenAmount::ZERO);
        let (mut admits, mut bytes) = (true, 0);
        let sum = |a: TokenAmount, b| a.checked_add(b).unwrap_or(TokenAmount::SUPPLY);
        for extent in 0..plan.extents().len() {
            let terms = terms(&plan, extent, term_windows, ask_max);
            let cost = query::quote(view, &terms);
            price_max = sum(price_max, cost.price_max);
            deposit = sum(deposit, cost.deposit);
            admits &= cost.admits;
            bytes += cbor::encode(&terms).len() + usize::from(code.n()) * RECEIPT_BYTES + 2 * ENVELOPE_BYTES;
            if let Some((_, row)) = stage::own_proposal(view, &me, &terms) {
                deposited = sum(deposited, row.deposit);
            }
        }
        let Estimate { yearly_loss } = estimate(code, &Model::default());
        Quote {
            root: *plan.root(),
            code,
            operators,
            content_bytes: ByteCount::new(plan.content_bytes()),
            stored_bytes: ByteCount::new(plan.stored_bytes()),
            extents: plan.extents().len(),
            term_windows,
            ask_max,
            price_max,
            deposit,
            fees: base_fee_of(query::head(view).base_fee, bytes),
            balance: query::account(view, &me).balance,
            repair_threshold: repair_threshold(code),
            yearly_loss,
            nines: Estimate { yearly_loss }.nines(),
            admits,
            deals,
            is_resumed,
            plan: Arc::new(plan),
            deposited,
        }
    }
}
