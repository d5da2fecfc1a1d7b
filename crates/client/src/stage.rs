//! How far an object is, by what the chain says: what a repeated call goes on from.

use hpips_ledger::rows::{Deal, ProposalRow};
use hpips_ledger::{Propose, StateView, query};
use hpips_types::{AccountId, Cid, Code, DealId, Height, ProposalId, TokenAmount};

use crate::outgoing::State;

/// Blocks after which a transaction that nobody took can no longer come into a block.
const EXPIRY_BLOCKS: u64 = 64;

/// How far an extent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Neither proposed nor stored.
    Nothing,
    /// Proposed; nobody drawn yet.
    Proposed(ProposalId),
    /// Holders are drawn.
    Drawn(ProposalId),
    /// Stored.
    Active(DealId),
}

/// The account's live deals of a root.
pub(crate) fn own_deals(view: &dyn StateView, me: &AccountId, root: &Cid) -> Vec<(DealId, Deal)> {
    let deals = query::deals_of_root(view, root).into_iter();
    deals
        .filter_map(|id| Some((id, query::deal(view, id)?)))
        .filter(|(_, deal)| deal.client == *me && deal.deleted.is_none())
        .collect()
}

/// Whether deals of a root store all of its content: all of one code, each extent once.
pub(crate) fn covers(deals: &[(DealId, Deal)], content_bytes: u64) -> bool {
    let Some((_, first)) = deals.first() else { return false };
    let mut seen = Vec::new();
    let mut bytes = 0u64;
    for (_, deal) in deals.iter().filter(|(_, deal)| (deal.k, deal.n) == (first.k, first.n)) {
        if !seen.contains(&deal.extent) {
            seen.push(deal.extent);
            bytes = bytes.saturating_add(deal.content_bytes);
        }
    }
    bytes >= content_bytes
}

/// The account's open proposal of exactly these terms.
pub(crate) fn own_proposal(
    view: &dyn StateView,
    me: &AccountId,
    terms: &Propose,
) -> Option<(ProposalId, ProposalRow)> {
    let proposals = query::proposals_of(view, me).into_iter();
    proposals.filter_map(|id| Some((id, query::proposal(view, id)?))).find(|(_, row)| row.terms == *terms)
}

/// Terms that an earlier call has fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) code: Code,
    pub(crate) ask_max: TokenAmount,
    pub(crate) term_windows: u64,
}

/// The terms that hold for a root whatever is asked now: those of an open proposal, of one that may still come
/// into a block, or of deals. Anything else could pay twice. `None` when nothing is at stake.
pub(crate) fn binding(
    view: &dyn StateView,
    me: &AccountId,
    root: &Cid,
    begun: Option<&State>,
    own: &[(DealId, Deal)],
) -> Option<Binding> {
    let proposals = query::proposals_of(view, me).into_iter().filter_map(|id| query::proposal(view, id));
    let open = proposals.map(|row| row.terms).find(|terms| terms.root == *root);
    binding_of(open.as_ref(), begun, own, query::head(view).height)
}

fn binding_of(
    open: Option<&Propose>,
    begun: Option<&State>,
    own: &[(DealId, Deal)],
    now: Height,
) -> Option<Binding> {
    let of = |k, n, ask_max, term_windows| Some(Binding { code: Code::new(k, n)?, ask_max, term_windows });
    if let Some(terms) = open {
        return of(terms.k, terms.n, terms.ask_max, terms.term_windows);
    }
    // After the first deal of several the check-point knows the ceiling best.
    if let Some(state) = begun.filter(|state| !own.is_empty() || may_still_come(state.proposed, now)) {
        return of(state.k, state.n, state.ask_max, state.term_windows);
    }
    let (_, deal) = own.first()?;
    of(deal.k, deal.n, deal.ask_max, deal.term_windows)
}

/// How far an extent is.
pub(crate) fn standing(view: &dyn StateView, me: &AccountId, terms: &Propose) -> Standing {
    let deals = own_deals(view, me, &terms.root);
    standing_of(&deals, own_proposal(view, me, terms), terms)
}

fn standing_of(
    deals: &[(DealId, Deal)],
    proposal: Option<(ProposalId, ProposalRow)>,
    terms: &Propose,
) -> Standing {
    let is_ours = |deal: &Deal| (deal.extent, deal.k, deal.n) == (terms.extent, terms.k, terms.n);
    if let Some((id, _)) = deals.iter().find(|(_, deal)| is_ours(deal)) {
        return Standing::Active(*id);
    }
    match proposal {
        Some((id, row)) if row.draw.is_some() => Standing::Drawn(id),
        Some((id, _)) => Standing::Proposed(id),
        None => Standing::Nothing,
    }
}

/// Whether a proposal handed out before a kill could still come into a block: proposing again now could pay
/// twice.
pub(crate) fn may_still_come(proposed: Option<Height>, now: Height) -> bool {
    proposed.is_some_and(|height| now <= height.plus(EXPIRY_BLOCKS))
}

#[cfg(test)]
mod tests {
    use hpips_ledger::rows::DrawRow;
    use hpips_types::ExtentIndex;

    use super::*;

    fn root() -> Cid {
        hpips_types::content::cid_v1(hpips_types::content::RAW, b"root")
    }

    fn terms() -> Propose {
        Propose {
            root: root(),
            extent: ExtentIndex::ZERO,
            content_bytes: 100,
            k: 3,
            n: 6,
            piece_bytes: vec![40; 6],
            term_windows: 4,
            ask_max: TokenAmount::new(1),
        }
    }

    fn deal(extent: u32, code: (u16, u16), content_bytes: u64) -> (DealId, Deal) {
        let deal = Deal {
            client: AccountId::new([1; 32]),
            root: root(),
            extent: ExtentIndex::new(extent),
            manifest: root(),
            content_bytes,
            k: code.0,
            n: code.1,
            ask_max: TokenAmount::new(1),
            term_windows: 4,
            started: Height::new(1),
            ends: Height::new(100),
            healthy: code.1,
            lost: Vec::new(),
            is_offering: false,
            held: Vec::new(),
            deleted: None,
        };
        (DealId::new(7), deal)
    }

    #[test]
    fn a_call_goes_on_where_the_chain_is() {
        let id = ProposalId::new(3);
        let row = ProposalRow {
            client: AccountId::new([1; 32]),
            terms: terms(),
            deposit: TokenAmount::new(5),
            opening: Height::new(2),
            draw: None,
        };
        let draw = DrawRow { holders: Vec::new(), spares: Vec::new(), deadline: Height::new(60), skipped: 0 };
        let drawn = ProposalRow { draw: Some(draw), ..row.clone() };
        for (deals, proposal, expected) in [
            (vec![], None, Standing::Nothing),
            (vec![], Some((id, row.clone())), Standing::Proposed(id)),
            (vec![], Some((id, drawn)), Standing::Drawn(id)),
            (vec![deal(0, (3, 6), 100)], None, Standing::Active(DealId::new(7))),
            // Another extent, or another code, is another deal.
            (vec![deal(1, (3, 6), 100)], Some((id, row.clone())), Standing::Proposed(id)),
            (vec![deal(0, (2, 4), 100)], None, Standing::Nothing),
        ] {
            assert_eq!(standing_of(&deals, proposal, &terms()), expected);
        }
    }

    #[test]
    fn stored_once_is_stored() {
        for (deals, expected) in [
            (vec![], false),
            (vec![deal(0, (3, 6), 100)], true),
            (vec![deal(0, (3, 6), 60)], false),
            (vec![deal(0, (3, 6), 60), deal(1, (3, 6), 40)], true),
            // The same extent twice, or parts of different codes, are not the whole.
            (vec![deal(0, (3, 6), 60), deal(0, (3, 6), 60)], false),
            (vec![deal(0, (3, 6), 60), deal(1, (2, 4), 40)], false),
        ] {
            assert_eq!(covers(&deals, 100), expected, "{deals:?}");
        }
    }

    #[test]
    fn what_was_begun_keeps_its_terms() {
        let code = |k, n| Code::new(k, n).unwrap();
        let mut begun = State::new(root(), code(2, 4), 9, TokenAmount::new(3));
        begun.proposed = Some(Height::new(100));
        let deals = [deal(0, (5, 9), 10)];
        for (open, begun, own, now, expected) in [
            (None, None, &deals[..0], 5, None),
            (Some(terms()), Some(&begun), &deals[..], 5, Some(code(3, 6))),
            (None, Some(&begun), &deals[..0], 120, Some(code(2, 4))),
            (None, Some(&begun), &deals[..0], 200, None),
            (None, Some(&begun), &deals[..], 200, Some(code(2, 4))),
            (None, None, &deals[..], 200, Some(code(5, 9))),
        ] {
            let found = binding_of(open.as_ref(), begun, own, Height::new(now));
            assert_eq!(found.map(|found| found.code), expected, "{now}");
        }
    }

    #[test]
    fn a_proposal_under_way_is_waited_for() {
        for (proposed, now, expected) in
            [(None, 5, false), (Some(5), 5, true), (Some(5), 69, true), (Some(5), 70, false)]
        {
            assert_eq!(
                may_still_come(proposed.map(Height::new), Height::new(now)),
                expected,
                "{proposed:?} {now}"
            );
        }
    }
}
