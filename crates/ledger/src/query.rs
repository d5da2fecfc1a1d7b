//! What nodes, wallets and roles ask of a state. Every answer is read from rows; nothing here changes any.

use hpips_proofs::{ActivationStatement, Beacon, WindowTerms};
use hpips_types::{
    AccountId, ChainId, Cid, DayIndex, DealId, Height, NetworkParams, ProposalId, RecordIndex, SetId,
    SlotIndex, TokenAmount, View, WindowIndex,
};

use crate::calendar;
use crate::claim;
use crate::error::Failure;
use crate::exec;
use crate::operation::Propose;
use crate::proposal::{self, Market};
use crate::rows::{
    BatchRow, CarriedBeacon, Day, Deal, Fund, Head, Opening, PledgeRow, ProposalRow, RecordsRow, SetRow,
    Slot, SlotState, Snapshot,
};
use crate::state::{StateView, read};
use crate::tables;

/// An account as its owner sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Coins, the share of the coin holders' tenth included.
    pub balance: TokenAmount,
    /// The next transaction's nonce.
    pub nonce: u64,
    /// Fees still owed, taken from the first reward.
    pub owed: TokenAmount,
}

/// Height, view, base fee.
pub fn head(view: &dyn StateView) -> Head {
    exec::head(view)
}

/// The chain's id.
pub fn chain_id(view: &dyn StateView) -> ChainId {
    exec::constants(view).chain
}

/// The network's parameters.
pub fn params(view: &dyn StateView) -> NetworkParams {
    exec::constants(view).params
}

/// An account; one that was never used has nothing.
pub fn account(view: &dyn StateView, id: &AccountId) -> AccountView {
    let head = exec::head(view);
    let account = crate::account::account_of(view, &head, id);
    let (account, _) = crate::account::with_share(account, &head);
    AccountView { balance: account.balance, nonce: account.nonce, owed: account.owed }
}

/// Coins of a genesis fund.
pub fn fund(view: &dyn StateView, fund: Fund) -> TokenAmount {
    read(view, &tables::fund(fund.number())).unwrap_or_default()
}

/// An opening height.
pub fn opening(view: &dyn StateView, height: Height) -> Option<Opening> {
    read(view, &tables::opening(height))
}

/// The newest beacon on chain within the last window, and its opening: the ticket to seal with.
pub fn ticket(view: &dyn StateView) -> Option<(Height, Beacon)> {
    let params = params(view);
    let height = exec::head(view).height.get();
    let newest = height / params.offset_blocks * params.offset_blocks;
    (0..=params.window_blocks / params.offset_blocks)
        .filter_map(|back| newest.checked_sub(back * params.offset_blocks))
        .map(Height::new)
        .find_map(|opening| {
            let CarriedBeacon { signature, .. } = claim::beacon(view, opening)?;
            Some((opening, Beacon::from_signature(signature.as_bytes())))
        })
}

/// The beacons that a block may carry now: openings of the last four windows without one, oldest first, and
/// the view whose threshold signature each wants.
pub fn wanted_beacons(view: &dyn StateView) -> Vec<(Height, View)> {
    let params = params(view);
    let height = exec::head(view).height.get();
    let step = params.offset_blocks;
    let first = height.saturating_sub(4 * params.window_blocks).next_multiple_of(step);
    (first..=height)
        .step_by(usize::try_from(step).expect("genesis bounds it by a window"))
        .filter_map(|at| {
            let row = opening(view, Height::new(at)).filter(|row| row.beacon.is_none())?;
            Some((Height::new(at), View::new(row.view?.get() + params.lag_views)))
        })
        .collect()
}

/// A provider's pledge.
pub fn pledge(view: &dyn StateView, provider: &AccountId) -> Option<PledgeRow> {
    read(view, &tables::pledge(provider))
}

/// All who proved sealed space and did not take their pledge back.
pub fn providers(view: &dyn StateView) -> Vec<AccountId> {
    read(view, &tables::providers()).unwrap_or_default()
}

/// The provider's sets.
pub fn sets(view: &dyn StateView, provider: &AccountId) -> Vec<SetId> {
    let count = pledge(view, provider).map_or(0, |pledge| pledge.sets);
    (0..count).map(|number| SetId { provider: *provider, number }).collect()
}

/// A set: its open window, its debt, its counts.
pub fn set(view: &dyn StateView, set: SetId) -> Option<SetRow> {
    read(view, &tables::set(set))
}

/// A set's records as they are now; the next window proves them.
pub fn records(view: &dyn StateView, set: SetId) -> Option<RecordsRow> {
    read(view, &tables::records(set))
}

/// A set's records as an open or missed window proves them.
pub fn snapshot(view: &dyn StateView, set: SetId, version: u64) -> Option<Snapshot> {
    read(view, &tables::snapshot(set, version))
}

/// What a window is to be proven with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowTask {
    /// Which window.
    pub window: WindowIndex,
    /// Everything that fixes the challenges.
    pub terms: WindowTerms,
    /// Snapshot of the records it proves, see [`snapshot`].
    pub version: u64,
    /// Last height that accepts the commitment; `None` where none is asked (a missed window, an entry).
    pub commit_by: Option<Height>,
    /// Last height that accepts the proof; `None` for a missed window.
    pub prove_by: Option<Height>,
    /// Whether the commitment is on chain.
    pub is_committed: bool,
    /// Whether the proof is on chain.
    pub is_proven: bool,
}

/// The open window of a set, once its beacon is on chain.
pub fn open_window(view: &dyn StateView, set: SetId) -> Option<WindowTask> {
    let constants = exec::constants(view);
    let (window, terms) = claim::open_window(view, &constants, set, crate::block::next_height(view))?;
    let beacon = claim::beacon(view, window.opened)?;
    let last = window.opened.get() + constants.params.window_blocks - 1;
    Some(WindowTask {
        window: window.window,
        terms: terms?,
        version: window.version,
        commit_by: Some(Height::new(last.min(beacon.carried.get() + constants.params.commit_blocks))),
        prove_by: Some(Height::new(last)),
        is_committed: window.commitment.is_some(),
        is_proven: window.is_proven,
    })
}

/// The missed window that a set owes an answer to.
pub fn debt(view: &dyn StateView, set: SetId) -> Option<WindowTask> {
    let constants = exec::constants(view);
    let terms = claim::debt(view, &constants, set)?;
    let debt = read::<SetRow>(view, &tables::set(set))?.debt?;
    Some(WindowTask {
        window: debt.window,
        terms,
        version: debt.version,
        commit_by: None,
        prove_by: None,
        is_committed: false,
        is_proven: false,
    })
}

/// What a rebuilt piece's entry is to be proven with, once its beacon is on chain.
pub fn entry(view: &dyn StateView, deal: DealId, index: SlotIndex) -> Option<WindowTask> {
    let terms = claim::entry(view, &exec::constants(view), deal, index)?;
    let SlotState::Entering { version, deadline, .. } = slot(view, deal, index)?.state else { return None };
    Some(WindowTask {
        window: terms.window,
        terms,
        version,
        commit_by: None,
        prove_by: Some(deadline),
        is_committed: false,
        is_proven: false,
    })
}

/// A pre-committed batch.
pub fn batch(view: &dyn StateView, provider: &AccountId, batch: u64) -> Option<BatchRow> {
    read(view, &tables::batch(provider, batch))
}

/// What a batch is proven with, one statement a partition.
///
/// # Errors
/// [`Failure::Unknown`] without such a batch, [`Failure::Early`] before its beacon is on chain.
pub fn activation_statements(
    view: &dyn StateView,
    provider: &AccountId,
    batch: u64,
) -> Result<Vec<ActivationStatement>, Failure> {
    claim::activation(view, &exec::constants(view), provider, batch)
}

/// A proposal.
pub fn proposal(view: &dyn StateView, id: ProposalId) -> Option<ProposalRow> {
    read(view, &tables::proposal(id))
}

/// A deal.
pub fn deal(view: &dyn StateView, id: DealId) -> Option<Deal> {
    read(view, &tables::deal(id))
}

/// A slot of a deal.
pub fn slot(view: &dyn StateView, deal: DealId, slot: SlotIndex) -> Option<Slot> {
    read(view, &tables::slot(deal, slot))
}

/// All slots of a deal, in order.
pub fn slots(view: &dyn StateView, id: DealId) -> Vec<Slot> {
    let count = deal(view, id).map_or(0, |deal| deal.n);
    (0..count).filter_map(|index| slot(view, id, SlotIndex::new(index))).collect()
}

/// The live deals that store a root.
pub fn deals_of_root(view: &dyn StateView, root: &Cid) -> Vec<DealId> {
    read(view, &tables::root(root)).unwrap_or_default()
}

/// A client's open proposals and live deals.
pub fn proposals_of(view: &dyn StateView, client: &AccountId) -> Vec<ProposalId> {
    read(view, &tables::client(client)).unwrap_or_default()
}

/// A piece that a provider holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldPiece {
    /// The deal.
    pub deal: DealId,
    /// The slot.
    pub slot: SlotIndex,
    /// The bundle, in the provider's set 0.
    pub record: RecordIndex,
    /// First leaf.
    pub offset: u32,
    /// Bytes.
    pub bytes: u64,
}

/// The pieces in a provider's bundles, those being entered included.
pub fn pieces(view: &dyn StateView, provider: &AccountId) -> Vec<HeldPiece> {
    let Some(row) = records(view, SetId { provider: *provider, number: 0 }) else { return Vec::new() };
    let mut pieces = Vec::new();
    for (index, place) in (0..=u16::MAX).zip(&row.places) {
        pieces.extend(place.owners.iter().zip(place.bundle.pieces()).map(|(owner, piece)| HeldPiece {
            deal: owner.deal,
            slot: owner.slot,
            record: RecordIndex::new(index),
            offset: piece.offset,
            bytes: piece.bytes,
        }));
    }
    pieces
}

/// The slots that are offered to a provider to rebuild, or that it is entering.
pub fn offers(view: &dyn StateView, provider: &AccountId) -> Vec<(DealId, SlotIndex)> {
    read(view, &tables::offers(provider)).unwrap_or_default()
}

/// What a proposal would meet if it were drawn now.
pub fn quote(view: &dyn StateView, terms: &Propose) -> Quote {
    let constants = exec::constants(view);
    let market = proposal::market(view, &constants.params, &exec::head(view), terms);
    let windows = terms.term_windows;
    let billed = |bytes: u64| hpips_proofs::piece::billed_bytes(&constants.params, bytes);
    let price = |ask| {
        terms.piece_bytes.iter().fold(TokenAmount::ZERO, |sum, bytes| {
            sum.checked_add(crate::money::price_ceil(ask, billed(*bytes), windows))
                .unwrap_or(TokenAmount::SUPPLY)
        })
    };
    Quote {
        price_max: price(terms.ask_max),
        deposit: proposal::deposit(&constants.params, terms),
        admits: market.admits(),
        market,
    }
}

/// What a proposal costs and whom it could be drawn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Escrow if every holder asked the ceiling; the deal takes what the drawn holders ask.
    pub price_max: TokenAmount,
    /// Taken with the proposal, counts towards the escrow.
    pub deposit: TokenAmount,
    /// Whether the ceiling admits two thirds of the free capacity.
    pub admits: bool,
    /// Who offers.
    pub market: Market,
}

/// The day that payments are booked to now.
pub fn current_day(view: &dyn StateView) -> DayIndex {
    calendar::booking_day(&params(view), exec::head(view).height)
}

/// A day's books.
pub fn day(view: &dyn StateView, day: DayIndex) -> Option<Day> {
    read(view, &tables::day(day))
}

/// The height at which a day closes.
pub fn day_closes(view: &dyn StateView, day: DayIndex) -> Height {
    calendar::day_closes(&params(view), day)
}
