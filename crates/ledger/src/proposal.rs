//! Proposals: who could hold, the draw, replacements, expiry.

use hpips_placement::{Candidate, draw_apart};
use hpips_proofs::Beacon;
use hpips_proofs::piece::{PIECE_BYTES_MAX, billed_bytes};
use hpips_types::{AccountId, NetworkParams, ProposalId, SlotIndex, TokenAmount};

use crate::account::{account_of, with_share};
use crate::error::Failure;
use crate::event::{Event, ProposalEnd};
use crate::exec::Exec;
use crate::money;
use crate::operation::{Propose, SLOTS_MAX};
use crate::piece::{bundle_bytes_max, bundle_set};
use crate::receipt::SignedRefusal;
use crate::rows::{DrawRow, Due, Fund, Head, Holder, PledgeRow, ProposalRow, SetRow, Waiting};
use crate::state::{StateView, read};
use crate::tables;

/// Coins of a provider that are never locked: they pay its fees.
pub(crate) const FEE_RESERVE: TokenAmount = TokenAmount::new(10_000_000);
/// A rebuild is paid like keeping each of the `k` pieces it reads for so many windows.
const REPAIR_WINDOWS: u64 = 24;
/// Days' price that a slot locks at least.
const COLLATERAL_DAYS: u64 = 14;
/// Proposals and deals of one client at most, a bound on the row that lists them.
pub(crate) const CLIENT_DEALS_MAX: usize = 4_096;
/// Slots of one provider at most: its row of records, which lists them, stays below half a megabyte.
const PROVIDER_SLOTS_MAX: u32 = 4_096;
/// Longest term, windows: ten years of hours.
pub(crate) const TERM_WINDOWS_MAX: u64 = 87_600;

/// What rebuilding a piece pays at a price ceiling.
pub fn repair_price(params: &NetworkParams, ask_max: TokenAmount, bytes: u64, k: u16) -> TokenAmount {
    money::price_ceil(ask_max, billed_bytes(params, bytes), REPAIR_WINDOWS * u64::from(k))
}

/// What a slot locks of its holder's coins: fourteen days' price, or the rebuild if that costs more.
pub fn collateral(params: &NetworkParams, ask: TokenAmount, terms: &Propose, bytes: u64) -> TokenAmount {
    collateral_of(params, ask, terms.ask_max, bytes, terms.k)
}

pub(crate) fn collateral_of(
    params: &NetworkParams,
    ask: TokenAmount,
    ask_max: TokenAmount,
    bytes: u64,
    k: u16,
) -> TokenAmount {
    let days = money::price_ceil(ask, billed_bytes(params, bytes), COLLATERAL_DAYS * params.day_windows);
    days.max(repair_price(params, ask_max, bytes, k))
}

/// One day's price of all slots at the ceiling.
pub(crate) fn deposit(params: &NetworkParams, terms: &Propose) -> TokenAmount {
    terms.piece_bytes.iter().fold(TokenAmount::ZERO, |sum, bytes| {
        let day = money::price_ceil(terms.ask_max, billed_bytes(params, *bytes), params.day_windows);
        sum.checked_add(day).unwrap_or(TokenAmount::SUPPLY)
    })
}

/// A provider with free space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Who.
    pub provider: AccountId,
    /// Nano per GiB and 720 windows.
    pub ask: TokenAmount,
    /// Free open bytes, never more than its coins cover with collateral.
    pub free_bytes: u64,
    /// Who runs it.
    pub operator: String,
}

/// What providers offer for one kind of slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Market {
    /// Everyone with room for a slot, at any ask.
    pub offers: Vec<Offer>,
    /// Their free bytes.
    pub free_bytes: u128,
    /// Free bytes of those at or below the ceiling.
    pub admitted_bytes: u128,
}

impl Market {
    /// Whether the ceiling admits two thirds of the free capacity.
    pub fn admits(&self) -> bool {
        self.admitted_bytes * 3 >= self.free_bytes * 2
    }
}

/// The free space of a provider that may be drawn now, and the coins it may lock; `None` for one that may not.
///
/// `head` is given and not read: while a block is applied, the state's own head row is the parent's.
fn capacity(
    view: &dyn StateView,
    params: &NetworkParams,
    head: &Head,
    provider: &AccountId,
) -> Option<(PledgeRow, u64, TokenAmount)> {
    let pledge: PledgeRow = read(view, &tables::pledge(provider))?;
    let set: SetRow = read(view, &tables::set(bundle_set(provider)))?;
    if pledge.slots >= PROVIDER_SLOTS_MAX {
        return None;
    }
    if pledge.is_leaving || pledge.closed_until > head.height || set.debt.is_some() || set.missed_in_row > 0 {
        return None;
    }
    let open = pledge
        .terms
        .open_bytes
        .min(pledge.sealed_bytes.saturating_mul(params.open_per_sealed))
        .min(bundle_bytes_max(params.set_records()));
    let (account, _) = with_share(account_of(view, head, provider), head);
    let coins = account
        .balance
        .saturating_sub(FEE_RESERVE)
        .min(pledge.terms.collateral_max.saturating_sub(pledge.locked));
    let free = open.saturating_sub(pledge.used_bytes);
    Some((pledge, free, coins))
}

/// The offer of a provider for slots of so many bytes.
pub(crate) fn offer_of(
    view: &dyn StateView,
    params: &NetworkParams,
    head: &Head,
    provider: &AccountId,
    slot: &SlotTerms,
) -> Option<Offer> {
    let (pledge, free, coins) = capacity(view, params, head, provider)?;
    let ask = pledge.terms.ask;
    let billed = billed_bytes(params, slot.bytes);
    let needs = collateral_of(params, ask, slot.ask_max, slot.bytes, slot.k);
    let slots = coins.get().checked_div(needs.get()).unwrap_or(u64::MAX);
    let free_bytes = free.min(slots.saturating_mul(billed));
    let has_room = free_bytes >= billed && slots > 0;
    has_room.then_some(Offer { provider: *provider, ask, free_bytes, operator: pledge.terms.operator })
}

/// What a slot asks of whoever takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotTerms {
    pub(crate) bytes: u64,
    pub(crate) ask_max: TokenAmount,
    pub(crate) k: u16,
}

/// Everyone who could take a slot of a proposal.
pub(crate) fn market(view: &dyn StateView, params: &NetworkParams, head: &Head, terms: &Propose) -> Market {
    let bytes = terms.piece_bytes.iter().copied().max().unwrap_or(0);
    let slot = SlotTerms { bytes, ask_max: terms.ask_max, k: terms.k };
    let providers: Vec<AccountId> = read(view, &tables::providers()).unwrap_or_default();
    let mut market = Market::default();
    for provider in providers {
        let Some(offer) = offer_of(view, params, head, &provider, &slot) else { continue };
        market.free_bytes += u128::from(offer.free_bytes);
        if offer.ask <= terms.ask_max {
            market.admitted_bytes += u128::from(offer.free_bytes);
        }
        market.offers.push(offer);
    }
    market
}

/// Draws from offers; of one operator at most one where the network says so.
pub(crate) fn draw_from(
    params: &NetworkParams,
    seed: &Beacon,
    id: ProposalId,
    offers: &[Offer],
    count: u16,
) -> Vec<AccountId> {
    let candidates: Vec<Candidate> = offers
        .iter()
        .map(|offer| Candidate { provider: offer.provider, free_bytes: offer.free_bytes })
        .collect();
    let operator =
        |id: &AccountId| offers.iter().find(|offer| offer.provider == *id).map(|offer| &offer.operator);
    let is_close = |a: &AccountId, b: &AccountId| params.distinct_operators && operator(a) == operator(b);
    draw_apart(seed.as_bytes(), id, &candidates, count, is_close)
}

impl Exec<'_> {
    /// `Operation::Propose`.
    pub(crate) fn propose(&mut self, from: &AccountId, terms: &Propose) -> Result<(), Failure> {
        let n = usize::from(terms.n);
        let params = self.params();
        let fits = terms.k >= 1
            && terms.k <= terms.n
            && n <= SLOTS_MAX
            && terms.piece_bytes.len() == n
            && terms.piece_bytes.iter().all(|bytes| *bytes <= PIECE_BYTES_MAX)
            && terms.piece_bytes.iter().any(|bytes| *bytes > 0)
            && (params.term_windows_min..=TERM_WINDOWS_MAX).contains(&terms.term_windows)
            && terms.ask_max > TokenAmount::ZERO;
        if !fits {
            return Err(Failure::Range);
        }
        let deposit = deposit(params, terms);
        self.debit(from, deposit)?;
        let id = self.head.next_proposal;
        self.head.next_proposal = id.next();
        let opening = self.wait_for_beacon(Waiting::Proposal(id)).ok_or(Failure::Full)?;
        let row = ProposalRow { client: *from, terms: terms.clone(), deposit, opening, draw: None };
        self.state.put(tables::proposal(id), &row);
        let mut listed: Vec<ProposalId> = self.state.read(&tables::client(from)).unwrap_or_default();
        if listed.len() >= CLIENT_DEALS_MAX {
            return Err(Failure::Range);
        }
        listed.push(id);
        self.state.put(tables::client(from), &listed);
        self.state.emit(Event::Proposed { proposal: id, client: *from });
        Ok(())
    }

    pub(crate) fn proposal_row(&self, id: ProposalId) -> Option<ProposalRow> {
        self.state.read(&tables::proposal(id))
    }

    /// The beacon is there: draw.
    pub(crate) fn draw_holders(&mut self, id: ProposalId, seed: &Beacon) {
        let Some(mut row) = self.proposal_row(id) else { return };
        let market = market(&self.state, self.params(), &self.head, &row.terms);
        if !market.admits() {
            return self.drop_proposal(id, ProposalEnd::CeilingTooLow);
        }
        let offers: Vec<Offer> =
            market.offers.into_iter().filter(|offer| offer.ask <= row.terms.ask_max).collect();
        let n = row.terms.n;
        let drawn = draw_from(self.params(), seed, id, &offers, n + n.div_ceil(2));
        if drawn.len() < usize::from(n) {
            return self.drop_proposal(id, ProposalEnd::TooFewProviders);
        }
        let (holders, spares) = drawn.split_at(usize::from(n));
        let mut taken = Vec::new();
        for (provider, bytes) in holders.iter().zip(&row.terms.piece_bytes) {
            let holder = self
                .take_holder(provider, &row.terms, *bytes)
                .expect("an offer has room and coins for the largest slot");
            taken.push(holder);
        }
        let deadline = self.height.plus(self.params().activate_blocks);
        row.draw = Some(DrawRow { holders: taken, spares: spares.to_vec(), deadline, skipped: 0 });
        self.state.put(tables::proposal(id), &row);
        self.schedule(deadline.next(), Due::Proposal(id));
        self.state.emit(Event::Drawn { proposal: id, holders: holders.to_vec(), deadline });
    }

    /// Locks a provider's coins and space for a slot.
    fn take_holder(&mut self, provider: &AccountId, terms: &Propose, bytes: u64) -> Result<Holder, Failure> {
        let ask = self.pledge_row(provider).ok_or(Failure::NoPledge)?.terms.ask;
        let collateral = collateral(self.params(), ask, terms, bytes);
        self.lock(provider, collateral)?;
        self.reserve(provider, bytes);
        Ok(Holder { provider: *provider, ask, collateral })
    }

    /// Takes collateral from a provider's account; whoever calls puts it where it is locked.
    pub(crate) fn lock(&mut self, provider: &AccountId, amount: TokenAmount) -> Result<(), Failure> {
        self.debit(provider, amount).map_err(|_| Failure::Collateral)?;
        let mut pledge = self.pledge_row(provider).ok_or(Failure::NoPledge)?;
        pledge.locked = money::add(pledge.locked, amount);
        self.put_pledge(provider, &pledge);
        Ok(())
    }

    /// Collateral of a provider that is no longer locked, wherever it goes.
    pub(crate) fn unlock(&mut self, provider: &AccountId, amount: TokenAmount) {
        let mut pledge = self.pledge_row(provider).expect("only providers lock collateral");
        pledge.locked = money::sub(pledge.locked, amount);
        self.put_pledge(provider, &pledge);
    }

    /// Gives a drawn holder its coins and space back.
    pub(crate) fn release_holder(&mut self, holder: &Holder, bytes: u64) {
        self.release(&holder.provider, bytes);
        self.unlock(&holder.provider, holder.collateral);
        self.credit(&holder.provider, holder.collateral);
    }

    /// `Operation::Replace`.
    pub(crate) fn replace(
        &mut self,
        from: &AccountId,
        id: ProposalId,
        slot: SlotIndex,
        refusal: Option<&SignedRefusal>,
        is_true: bool,
    ) -> Result<(), Failure> {
        let mut row = self.proposal_row(id).ok_or(Failure::Unknown)?;
        if row.client != *from {
            return Err(Failure::NotYours);
        }
        let terms = row.terms.clone();
        let draw = row.draw.as_mut().ok_or(Failure::Early)?;
        let index = usize::from(slot.get());
        let old = *draw.holders.get(index).ok_or(Failure::Unknown)?;
        match refusal {
            Some(SignedRefusal { refusal, .. }) => {
                let is_meant = refusal.chain == self.constants.chain
                    && refusal.proposal == id
                    && refusal.slot == slot
                    && refusal.provider == old.provider;
                if !is_true || !is_meant {
                    return Err(Failure::Signature);
                }
                let mut pledge = self.pledge_row(&old.provider).ok_or(Failure::NoPledge)?;
                pledge.closed_until = self.height.plus(self.day_blocks());
                self.put_pledge(&old.provider, &pledge);
            }
            None => {
                draw.skipped += 1;
                if draw.skipped > terms.n.div_ceil(4) {
                    return Err(Failure::LeftOut);
                }
            }
        }
        let bytes = terms.piece_bytes[index];
        let slot_terms = SlotTerms { bytes, ask_max: terms.ask_max, k: terms.k };
        let next = loop {
            if draw.spares.is_empty() {
                return Err(Failure::NoCandidate);
            }
            let spare = draw.spares.remove(0);
            let offer = offer_of(&self.state, self.params(), &self.head, &spare, &slot_terms);
            if offer.is_some_and(|offer| offer.ask <= terms.ask_max) {
                break self.take_holder(&spare, &terms, bytes)?;
            }
        };
        draw.holders[index] = next;
        self.state.put(tables::proposal(id), &row);
        self.release_holder(&old, bytes);
        self.state.emit(Event::Replaced { proposal: id, slot, holder: next.provider });
        Ok(())
    }

    /// Its time to activate is over: the deposit is lost. It goes to the community fund, so that nobody gains
    /// by hindering an activation.
    pub(crate) fn expire_proposal(&mut self, id: ProposalId) {
        let Some(row) = self.proposal_row(id) else { return };
        self.forget_proposal(id, &row);
        self.fund_credit(Fund::Community, row.deposit);
        self.unlist(&row.client, id);
        self.state.emit(Event::ProposalEnded { proposal: id, reason: ProposalEnd::Expired });
    }

    /// It cannot be drawn: the deposit returns.
    pub(crate) fn drop_proposal(&mut self, id: ProposalId, reason: ProposalEnd) {
        let Some(row) = self.proposal_row(id) else { return };
        self.forget_proposal(id, &row);
        self.credit(&row.client, row.deposit);
        self.unlist(&row.client, id);
        self.state.emit(Event::ProposalEnded { proposal: id, reason });
    }

    fn forget_proposal(&mut self, id: ProposalId, row: &ProposalRow) {
        self.state.delete(tables::proposal(id));
        let Some(draw) = &row.draw else { return };
        for (holder, bytes) in draw.holders.iter().zip(&row.terms.piece_bytes) {
            self.release_holder(holder, *bytes);
        }
    }

    /// Takes a proposal or deal from its client's list.
    pub(crate) fn unlist(&mut self, client: &AccountId, id: ProposalId) {
        let key = tables::client(client);
        let mut listed: Vec<ProposalId> = self.state.read(&key).unwrap_or_default();
        listed.retain(|other| *other != id);
        if listed.is_empty() { self.state.delete(key) } else { self.state.put(key, &listed) }
    }
}
