//! Statements as they follow from the state a block builds on. Nothing in an item says what it claims; the
//! chain does.

use hpips_proofs::{
    ActivationStatement, Beacon, Entry, SealedSector, SectorId, Statement as Claim, WindowTerms,
};
use hpips_types::{AccountId, DealId, Height, SetId, SlotIndex, ThresholdSignature};

use crate::body::WindowProof;
use crate::error::{Failure, LaneFault};
use crate::exec;
use crate::operation::{Operation, PreCommit};
use crate::piece::bundle_set;
use crate::receipt::{RECEIPT_DOMAIN, REFUSAL_DOMAIN};
use crate::rows::{
    BatchRow, CarriedBeacon, Constants, OpenWindow, Opening, PledgeRow, SetRow, Slot, SlotState, Snapshot,
};
use crate::state::{StateView, read};
use crate::statement::Statement;
use crate::tables;

/// The beacon of an opening, if it is on chain.
pub(crate) fn beacon(view: &dyn StateView, opening: Height) -> Option<CarriedBeacon> {
    read::<Opening>(view, &tables::opening(opening))?.beacon
}

/// What a window, open or missed, is challenged with.
fn terms(
    view: &dyn StateView,
    constants: &Constants,
    set: SetId,
    window: hpips_types::WindowIndex,
    version: u64,
    signature: &ThresholdSignature,
) -> Option<WindowTerms> {
    let snapshot: Snapshot = read(view, &tables::snapshot(set, version))?;
    let pledge: PledgeRow = read(view, &tables::pledge(&set.provider))?;
    Some(WindowTerms {
        shape: exec::shape(&constants.params),
        network: constants.chain,
        set,
        payee: pledge.terms.payee,
        window,
        set_root: snapshot.root,
        layouts: snapshot.layouts,
        beacon: Beacon::from_signature(signature.as_bytes()),
        entry: None,
    })
}

/// The window of a set that is still open at a height, and its terms once the beacon is on chain.
pub(crate) fn open_window(
    view: &dyn StateView,
    constants: &Constants,
    set: SetId,
    height: Height,
) -> Option<(OpenWindow, Option<WindowTerms>)> {
    let row: SetRow = read(view, &tables::set(set))?;
    let window = row.window.filter(|window| height < window.opened.plus(constants.params.window_blocks))?;
    let terms = beacon(view, window.opened)
        .and_then(|beacon| terms(view, constants, set, window.window, window.version, &beacon.signature));
    Some((window, terms))
}

/// The terms of the window that a set owes.
pub(crate) fn debt(view: &dyn StateView, constants: &Constants, set: SetId) -> Option<WindowTerms> {
    let debt = read::<SetRow>(view, &tables::set(set))?.debt?;
    terms(view, constants, set, debt.window, debt.version, &debt.beacon)
}

/// The terms of an entry proof: the set as it was frozen with the piece in it, all challenges inside the
/// piece. `None` before its beacon is on chain.
pub(crate) fn entry(
    view: &dyn StateView,
    constants: &Constants,
    deal: DealId,
    slot: SlotIndex,
) -> Option<WindowTerms> {
    let slot: Slot = read(view, &tables::slot(deal, slot))?;
    let SlotState::Entering { provider, record, offset, version, opening, .. } = slot.state else {
        return None;
    };
    let set = bundle_set(&provider);
    let row: SetRow = read(view, &tables::set(set))?;
    let window = constants.params.window_at(opening, row.offset).unwrap_or_default();
    let beacon = beacon(view, opening)?;
    let mut terms = terms(view, constants, set, window, version, &beacon.signature)?;
    terms.entry = Some(Entry { record, offset });
    Some(terms)
}

/// The statement of a proof in the lane.
pub(crate) fn window_proof(
    view: &dyn StateView,
    constants: &Constants,
    height: Height,
    item: &WindowProof,
) -> Result<Claim, LaneFault> {
    if let Some(leaf_commitment) = item.late {
        let terms = debt(view, constants, item.set).filter(|terms| terms.window == item.window);
        return Ok(Claim::Window(terms.ok_or(LaneFault::Window)?.commit(leaf_commitment)));
    }
    let (window, terms) = open_window(view, constants, item.set, height)
        .filter(|(window, _)| window.window == item.window)
        .ok_or(LaneFault::Window)?;
    let (leaf_commitment, _) = window.commitment.ok_or(LaneFault::Uncommitted)?;
    Ok(Claim::Window(terms.ok_or(LaneFault::Beacon)?.commit(leaf_commitment)))
}

/// The statements of an activation, one a partition, once its beacon is on chain.
pub(crate) fn activation(
    view: &dyn StateView,
    constants: &Constants,
    provider: &AccountId,
    batch: u64,
) -> Result<Vec<ActivationStatement>, Failure> {
    let row: BatchRow = read(view, &tables::batch(provider, batch)).ok_or(Failure::Unknown)?;
    let beacon = beacon(view, row.seed).ok_or(Failure::Early)?;
    let shape = exec::shape(&constants.params);
    let sectors = u16::try_from(row.records.len()).expect("a batch has at most as many sectors as a set");
    let statement = |partition| ActivationStatement {
        shape,
        network: constants.chain,
        set: row.set,
        payee: row.payee,
        batch,
        batch_root: row.root,
        sectors,
        beacon: Beacon::from_signature(beacon.signature.as_bytes()),
        partition,
    };
    Ok((0..shape.activation_partitions()).map(statement).collect())
}

/// A pre-commitment's sectors with the tickets that the chain knows.
pub(crate) fn sectors(
    view: &dyn StateView,
    provider: &AccountId,
    announced: &PreCommit,
) -> Result<Vec<SealedSector>, Failure> {
    let sector = |sector: &crate::operation::Sector| {
        let ticket = beacon(view, sector.ticket).ok_or(Failure::Ticket)?;
        let id = SectorId {
            provider: *provider,
            number: sector.number,
            ticket: Beacon::from_signature(ticket.signature.as_bytes()),
        };
        Ok(SealedSector { id, comm_c: sector.comm_c, comm_k: sector.comm_k })
    };
    announced.sectors.iter().map(sector).collect()
}

/// What an operation rests on besides the state.
pub(crate) fn operation(
    view: &dyn StateView,
    constants: &Constants,
    from: &AccountId,
    op: &Operation,
) -> Result<Vec<Statement>, Failure> {
    match op {
        Operation::Activate { batch, proofs } => {
            let claims = activation(view, constants, from, *batch)?;
            if claims.len() != proofs.len() {
                return Err(Failure::Range);
            }
            let statement = |(claim, proof): (ActivationStatement, &hpips_proofs::ProofBytes)| {
                Statement::Proof { claim: Box::new(Claim::Activation(claim)), proof: *proof }
            };
            Ok(claims.into_iter().zip(proofs).map(statement).collect())
        }
        Operation::ProveEntry { deal, slot, leaf_commitment, proof } => {
            let terms = entry(view, constants, *deal, *slot).ok_or(Failure::Early)?;
            let claim = Box::new(Claim::Window(terms.commit(*leaf_commitment)));
            Ok(vec![Statement::Proof { claim, proof: *proof }])
        }
        Operation::ActivateDeal(deal) => {
            if deal.receipts.len() > crate::operation::SLOTS_MAX {
                return Err(Failure::Range);
            }
            let statement = |signed: &crate::receipt::SignedReceipt| Statement::Signature {
                domain: RECEIPT_DOMAIN,
                account: signed.receipt.provider,
                message: hpips_types::cbor::encode(&signed.receipt),
                signature: signed.signature,
            };
            Ok(deal.receipts.iter().map(statement).collect())
        }
        Operation::Replace { refusal: Some(signed), .. } => Ok(vec![Statement::Signature {
            domain: REFUSAL_DOMAIN,
            account: signed.refusal.provider,
            message: hpips_types::cbor::encode(&signed.refusal),
            signature: signed.signature,
        }]),
        Operation::Replace { refusal: None, .. }
        | Operation::Transfer { .. }
        | Operation::Pledge(_)
        | Operation::Unpledge {}
        | Operation::PreCommit(_)
        | Operation::DeclareLost { .. }
        | Operation::Propose(_)
        | Operation::ClaimRepair { .. }
        | Operation::Renew { .. }
        | Operation::EndDeal { .. } => Ok(Vec::new()),
    }
}
