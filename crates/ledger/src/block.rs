//! A block in three pure steps: which rows it reads, what must be true outside, what it changes.

use core::ops::Range;

use hpips_types::{Height, TxId};

use crate::body::{BEACONS_MAX, BODY_BYTES_MAX, BlockContext, Body, PERMUTATIONS_MAX};
use crate::conserve;
use crate::error::{Failure, Invalid, LaneFault, Refused};
use crate::event::Event;
use crate::exec::{self, Exec};
use crate::fee::{self, OWED_BYTES_MAX, Payment, TRANSACTION_BYTES_MAX};
use crate::operation::Operation;
use crate::state::{Changes, Key, StateView};
use crate::statement::{Statement, Verdicts};
use crate::tables;
use crate::transaction::Signed;
use crate::{claim, cost};

/// What a block did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows changed, and rows removed.
    pub changes: Changes,
    /// What happened, in order; one [`Event::Executed`] a transaction.
    pub events: Vec<Event>,
}

/// The rows a block surely reads, for prefetching. Not all of them, and none of it is a rule.
pub fn reads(body: &Body) -> Vec<Key> {
    let mut keys = vec![tables::head(), tables::constants(), tables::providers()];
    keys.extend(body.beacons.iter().map(|beacon| tables::opening(beacon.opening)));
    for set in body.commitments.iter().map(|item| item.set).chain(body.proofs.iter().map(|item| item.set)) {
        keys.push(tables::set(set));
        keys.push(tables::pledge(&set.provider));
    }
    for signed in body.transactions.iter().filter_map(|bytes| Signed::decode(bytes).ok()) {
        keys.push(tables::account(&signed.body.from));
        for op in &signed.body.ops {
            match op {
                Operation::Transfer { to, .. } => keys.push(tables::account(to)),
                Operation::ActivateDeal(deal) => keys.push(tables::proposal(deal.proposal)),
                Operation::Replace { proposal, .. } => keys.push(tables::proposal(*proposal)),
                Operation::ClaimRepair { deal, slot } | Operation::ProveEntry { deal, slot, .. } => {
                    keys.push(tables::deal(*deal));
                    keys.push(tables::slot(*deal, *slot));
                }
                Operation::Renew { deal, .. } | Operation::EndDeal { deal } => keys.push(tables::deal(*deal)),
                Operation::Pledge(_)
                | Operation::Unpledge {}
                | Operation::PreCommit(_)
                | Operation::Activate { .. }
                | Operation::DeclareLost { .. }
                | Operation::Propose(_) => keys.push(tables::pledge(&signed.body.from)),
            }
        }
    }
    keys
}

/// A body with its transactions decoded and its statements in order.
struct Plan {
    statements: Vec<Statement>,
    beacons: Range<usize>,
    commitments: Range<usize>,
    proofs: Range<usize>,
    transactions: Vec<PlannedTransaction>,
}

struct PlannedTransaction {
    signed: Signed,
    id: TxId,
    bytes: usize,
    /// The sender's signature.
    signature: Range<usize>,
    /// What each operation rests on; an operation whose statements cannot even be named has failed.
    ops: Vec<Result<Range<usize>, Failure>>,
}

/// What must be true for a block, to be checked by the caller.
///
/// # Errors
/// [`Invalid`] where the block breaks a rule already: too long, out of place, lane items that nothing waits
/// for, transactions that no block may contain.
pub fn statements(view: &dyn StateView, ctx: &BlockContext, body: &Body) -> Result<Vec<Statement>, Invalid> {
    Ok(plan(view, ctx, body)?.statements)
}

fn plan(view: &dyn StateView, ctx: &BlockContext, body: &Body) -> Result<Plan, Invalid> {
    let head = exec::head(view);
    if ctx.height != head.height.next() || ctx.view <= head.view {
        return Err(Invalid::Position {
            height: ctx.height,
            view: ctx.view,
            parent_height: head.height,
            parent_view: head.view,
        });
    }
    let transaction_bytes: usize = body.transactions.iter().map(|bytes| bytes.len()).sum();
    if transaction_bytes > TRANSACTION_BYTES_MAX {
        return Err(Invalid::TooLong(transaction_bytes));
    }
    let bytes = body.encode().len();
    if bytes > BODY_BYTES_MAX {
        return Err(Invalid::TooLong(bytes));
    }
    if body.beacons.len() > BEACONS_MAX {
        return Err(Invalid::Beacons(body.beacons.len()));
    }
    let constants = exec::constants(view);
    let shape = exec::shape(&constants.params);
    let mut statements = Vec::new();

    ascending(body.beacons.iter().map(|beacon| beacon.opening))
        .map_err(|index| Invalid::Beacon(body.beacons[index].opening))?;
    for beacon in &body.beacons {
        statements.push(Statement::Beacon { view: beacon.view, signature: beacon.signature });
    }
    let beacons = 0..statements.len();

    ascending(body.commitments.iter().map(|item| item.set)).map_err(|index| {
        let item = &body.commitments[index];
        Invalid::Commitment { set: item.set, window: item.window, reason: LaneFault::Order }
    })?;
    statements.extend(body.commitments.iter().map(|item| item.statement()));
    let commitments = beacons.end..statements.len();

    ascending(body.proofs.iter().map(|item| (item.set, item.window))).map_err(|index| {
        let item = &body.proofs[index];
        Invalid::Proof { set: item.set, window: item.window, reason: LaneFault::Order }
    })?;
    let mut lane_cost = 0;
    for item in &body.proofs {
        let claim = claim::window_proof(view, &constants, ctx.height, item)
            .map_err(|reason| Invalid::Proof { set: item.set, window: item.window, reason })?;
        lane_cost += cost::window(&shape);
        statements.push(Statement::Proof { claim: Box::new(claim), proof: item.proof });
    }
    let proofs = commitments.end..statements.len();

    let mut transactions = Vec::new();
    let mut transaction_cost = 0;
    for (index, bytes) in body.transactions.iter().enumerate() {
        let signed = Signed::decode(bytes)
            .map_err(|error| Invalid::Transaction { index, reason: Refused::Malformed(error) })?;
        if signed.body.chain != constants.chain {
            return Err(Invalid::Transaction { index, reason: Refused::Chain(signed.body.chain) });
        }
        let start = statements.len();
        statements.push(signed.statement());
        let signature = start..start + 1;
        let mut ops = Vec::new();
        for op in &signed.body.ops {
            transaction_cost += cost::operation(&shape, op);
            let start = statements.len();
            ops.push(claim::operation(view, &constants, &signed.body.from, op).map(|claims| {
                statements.extend(claims);
                start..statements.len()
            }));
        }
        transactions.push(PlannedTransaction {
            id: Signed::id_of(bytes),
            bytes: bytes.len(),
            signed,
            signature,
            ops,
        });
    }
    for (got, max) in
        [(transaction_cost, PERMUTATIONS_MAX / 4 * 3), (lane_cost + transaction_cost, PERMUTATIONS_MAX)]
    {
        if got > max {
            return Err(Invalid::TooCostly { got, max });
        }
    }
    Ok(Plan { statements, beacons, commitments, proofs, transactions })
}

/// The index of the first item that does not follow its predecessor.
fn ascending<T: Ord>(items: impl Iterator<Item = T>) -> Result<(), usize> {
    let mut last = None;
    for (index, item) in items.enumerate() {
        if last.as_ref().is_some_and(|last| *last >= item) {
            return Err(index);
        }
        last = Some(item);
    }
    Ok(())
}

/// Applies a block to the state it follows.
///
/// Pure: equal arguments give equal results on every machine. `verdicts` answer [`statements`] of the same
/// arguments, in order.
///
/// # Errors
/// [`Invalid`] when the block breaks a rule as a whole; the state is unchanged then.
///
/// # Panics
/// When coins were made or lost: state that no block could have led to.
pub fn apply(
    view: &dyn StateView,
    ctx: &BlockContext,
    body: &Body,
    verdicts: &Verdicts,
) -> Result<Outcome, Invalid> {
    let plan = plan(view, ctx, body)?;
    if verdicts.len() != plan.statements.len() {
        return Err(Invalid::Verdicts { got: verdicts.len(), expected: plan.statements.len() });
    }
    let mut exec = Exec::new(view, ctx);
    exec.head.height = ctx.height;
    exec.head.view = ctx.view;
    exec.open_height(ctx.view);
    for (beacon, statement) in body.beacons.iter().zip(plan.beacons) {
        if !verdicts.all(statement..statement + 1) {
            return Err(Invalid::Beacon(beacon.opening));
        }
        exec.set_beacon(beacon)?;
    }
    exec.run_calendar();
    exec.count_turn();
    for (item, statement) in body.commitments.iter().zip(plan.commitments) {
        let fault = |reason| Invalid::Commitment { set: item.set, window: item.window, reason };
        exec.commit_window(item).map_err(fault)?;
        if !verdicts.all(statement..statement + 1) {
            return Err(fault(LaneFault::False));
        }
    }
    for (item, statement) in body.proofs.iter().zip(plan.proofs) {
        let fault = |reason| Invalid::Proof { set: item.set, window: item.window, reason };
        exec.prove_window(item).map_err(fault)?;
        if !verdicts.all(statement..statement + 1) {
            return Err(fault(LaneFault::False));
        }
    }
    let (mut bytes, mut owed_bytes) = (0, 0);
    for (index, transaction) in plan.transactions.iter().enumerate() {
        let refused = |reason| Invalid::Transaction { index, reason };
        let from = transaction.signed.body.from;
        if !verdicts.all(transaction.signature.clone()) {
            return Err(refused(Refused::Signature(from)));
        }
        let payment = exec.execute(transaction, verdicts).map_err(refused)?;
        bytes += transaction.bytes;
        if matches!(payment, Payment::Owed { .. }) {
            owed_bytes += transaction.bytes;
            if owed_bytes > OWED_BYTES_MAX {
                return Err(refused(Refused::OwedTooMuch(from)));
            }
        }
    }
    let bytes = u64::try_from(bytes).expect("a length in memory fits 64 bits");
    exec.head.base_fee = fee::next_base_fee(exec.params(), exec.head.base_fee, bytes);
    let head = exec.head.clone();
    exec.state.put(tables::head(), &head);
    let (changes, events) = exec.state.finish();
    conserve::assert_conserved(view, &changes);
    Ok(Outcome { changes, events })
}

impl Exec<'_> {
    fn execute(&mut self, planned: &PlannedTransaction, verdicts: &Verdicts) -> Result<Payment, Refused> {
        let transaction = &planned.signed.body;
        let account = self.account(&transaction.from);
        let payment = fee::admit(&self.head, &account, transaction, planned.bytes, self.height)?;
        self.take_fee(transaction, payment);
        self.begin();
        let mut failure = None;
        for (number, (op, claims)) in (0u8..).zip(transaction.ops.iter().zip(&planned.ops)) {
            let done = claims.clone().and_then(|claims| {
                let is_true = verdicts.all(claims);
                self.operate(&transaction.from, op, is_true)
            });
            if let Err(reason) = done {
                failure = Some((number, reason));
                break;
            }
        }
        if failure.is_some() {
            self.revert()
        } else {
            self.commit()
        }
        self.state.emit(Event::Executed {
            id: planned.id,
            from: transaction.from,
            fee: payment.total(),
            failure,
        });
        Ok(payment)
    }

    /// One operation. `is_true`: whether all statements it rests on are.
    fn operate(
        &mut self,
        from: &hpips_types::AccountId,
        op: &Operation,
        is_true: bool,
    ) -> Result<(), Failure> {
        match op {
            Operation::Transfer { to, amount } => self.transfer(from, to, *amount),
            Operation::Pledge(terms) => self.pledge(from, terms),
            Operation::Unpledge {} => self.unpledge(from),
            Operation::PreCommit(sectors) => self.pre_commit(from, sectors),
            Operation::Activate { batch, .. } => self.activate(from, *batch, is_true),
            Operation::DeclareLost { set, records } => self.declare_lost(from, *set, records),
            Operation::Propose(terms) => self.propose(from, terms),
            Operation::Replace { proposal, slot, refusal } => {
                self.replace(from, *proposal, *slot, refusal.as_ref(), is_true)
            }
            Operation::ActivateDeal(deal) => self.activate_deal(from, deal, is_true),
            Operation::ClaimRepair { deal, slot } => self.claim_repair(from, *deal, *slot),
            Operation::ProveEntry { deal, slot, .. } => self.prove_entry(from, *deal, *slot, is_true),
            Operation::Renew { deal, windows, price_max } => self.renew(from, *deal, *windows, *price_max),
            Operation::EndDeal { deal } => self.end_deal(from, *deal),
        }
    }
}

/// The height a transaction sent now can first stand in.
pub(crate) fn next_height(view: &dyn StateView) -> Height {
    exec::head(view).height.next()
}
