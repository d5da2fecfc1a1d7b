//! Posts the offer, seals sectors, pre-commits and activates them. Decides from the finalized state alone.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use hpips_circuits::Witness;
use hpips_ledger::{Operation, Pledge, PreCommit, Sector as Announced, query};
use hpips_net::{Multiaddr, is_public};
use hpips_proofs::vanilla::activation;
use hpips_proofs::{Record, SealedSector, SectorId, Statement, seal};
use hpips_prover::{Order, Priority};
use hpips_types::{Height, SetId};
use tokio::sync::watch;
use tracing::info;

use crate::config::Target;
use crate::provider::Shared;
use crate::sealing::{Job, Sealing, SealingError};
use crate::sectors::SectorError;

/// Sectors sealed and announced in one batch at most; a smaller first batch earns sooner.
const BATCH_SECTORS: usize = 4;

/// Addresses that an offer names at most.
const OFFERED_ADDRESSES: usize = 8;

/// What is to be done next.
#[derive(Debug, PartialEq)]
enum Step {
    /// Post or change the offer.
    Offer(Pledge),
    /// Prove this batch.
    Activate(u64),
    /// Announce sectors that are sealed.
    Announce(Vec<u64>),
    /// Seal so many sectors with this ticket.
    Seal { count: usize, ticket: (Height, hpips_proofs::Beacon) },
    /// Delete sectors whose announcement lapsed.
    Discard(Vec<u64>),
    /// Nothing before the next block.
    Wait,
}

/// Runs until the provider stops.
pub(crate) async fn run(shared: Arc<Shared>, mut targets: watch::Receiver<Option<Target>>) {
    let mut blocks = shared.parts.chain.subscribe();
    loop {
        let target = targets.borrow_and_update().clone();
        let mut waits = true;
        if let Some(target) = target {
            match take_step(&shared, &target).await {
                Ok(moved) => waits = !moved,
                Err(error) => shared.trouble("pledging", error.as_ref()),
            }
        }
        if *shared.stop.borrow() {
            return;
        }
        if waits {
            tokio::select! {
                more = shared.next_block(&mut blocks) => if !more { return },
                changed = targets.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Does one step; `true` when another may follow at once.
async fn take_step(
    shared: &Arc<Shared>,
    target: &Target,
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let wallet = &shared.parts.wallet;
    match next_step(shared, target) {
        Step::Wait => return Ok(false),
        Step::Offer(pledge) => {
            wallet.execute(vec![Operation::Pledge(pledge)]).await?;
            info!("pledge posted");
        }
        Step::Seal { count, ticket } => {
            let shared = Arc::clone(shared);
            tokio::task::spawn_blocking(move || seal_sectors(&shared, count, ticket)).await??;
        }
        Step::Announce(numbers) => {
            let sectors = announced(shared, &numbers);
            wallet.execute(vec![Operation::PreCommit(PreCommit { set: 0, sectors })]).await?;
            info!(sectors = numbers.len(), "sectors announced");
        }
        Step::Activate(batch) => activate(shared, batch).await?,
        Step::Discard(numbers) => {
            for number in numbers {
                shared.sectors().remove(number)?;
            }
        }
    }
    Ok(true)
}

fn next_step(shared: &Shared, target: &Target) -> Step {
    let state = shared.parts.chain.state();
    let me = shared.me;
    let pledge = query::pledge(&state, &me);
    let mut wanted = offer(shared, target);
    // An offer costs a fee: one that names an address too many is left as it is.
    if let Some(row) = &pledge
        && wanted.addresses.iter().all(|address| row.terms.addresses.contains(address))
    {
        wanted.addresses.clone_from(&row.terms.addresses);
    }
    if pledge.as_ref().is_none_or(|row| row.terms != wanted || row.is_leaving) {
        return Step::Offer(wanted);
    }
    let pledge = pledge.expect("checked above");
    let set = SetId { provider: me, number: 0 };
    let records: Vec<Record> = query::records(&state, set)
        .map(|row| row.places.into_iter().map(|place| place.record).collect())
        .unwrap_or_default();
    let batches: Vec<_> =
        (0..pledge.next_batch).filter_map(|batch| Some((batch, query::batch(&state, &me, batch)?))).collect();
    for (batch, _) in &batches {
        if query::activation_statements(&state, &me, *batch).is_ok() {
            return Step::Activate(*batch);
        }
    }
    let known = |sector: &SealedSector| {
        let record = sector.record(&shared.shape);
        records.contains(&record) || batches.iter().any(|(_, row)| row.records.contains(&record))
    };
    let sectors = shared.sectors();
    let unknown: Vec<u64> =
        sectors.iter().filter(|(_, sector)| !known(&sector.meta.sector)).map(|(number, _)| number).collect();
    let lapsed: Vec<u64> = unknown.iter().copied().filter(|number| *number < pledge.next_sector).collect();
    if !lapsed.is_empty() {
        return Step::Discard(lapsed);
    }
    if !unknown.is_empty() {
        return Step::Announce(unknown.into_iter().take(BATCH_SECTORS).collect());
    }
    let params = shared.parts.chain.params();
    let wanted = usize::try_from(target.sealed_bytes / params.sector_bytes()).unwrap_or(usize::MAX);
    shared.report(|status| status.sectors_wanted = u64::try_from(wanted).unwrap_or(u64::MAX));
    let missing = wanted.saturating_sub(sectors.iter().count());
    match query::ticket(&state) {
        Some(ticket) if missing > 0 => Step::Seal { count: missing.min(BATCH_SECTORS), ticket },
        _ => Step::Wait,
    }
}

fn offer(shared: &Shared, target: &Target) -> Pledge {
    Pledge {
        ask: target.ask,
        open_bytes: target.open_bytes,
        collateral_max: target.collateral_max,
        payee: shared.me,
        addresses: addresses(&shared.parts.net.addrs()),
        operator: target.operator.clone(),
    }
}

/// The addresses that an offer names: those of which most machines can make use first, since few are named.
fn addresses(all: &[Multiaddr]) -> Vec<String> {
    let mut all: Vec<&Multiaddr> = all.iter().collect();
    all.sort_by_key(|address| !is_public(address));
    all.into_iter().take(OFFERED_ADDRESSES).map(ToString::to_string).collect()
}

fn announced(shared: &Shared, numbers: &[u64]) -> Vec<Announced> {
    let sectors = shared.sectors();
    let one = |(number, sector): (u64, &crate::sectors::Sector)| {
        let SealedSector { comm_c, comm_k, .. } = sector.meta.sector;
        Announced { number, ticket: sector.meta.ticket, comm_c, comm_k }
    };
    sectors.iter().filter(|(number, _)| numbers.contains(number)).map(one).collect()
}

/// Seals sectors, as many at once as there is memory for; on a thread that may block.
fn seal_sectors(
    shared: &Shared,
    count: usize,
    ticket: (Height, hpips_proofs::Beacon),
) -> Result<(), SealingError> {
    let height = shared.shape.sector_height();
    let sealing = Sealing::new(&shared.dir.join("sectors"), &shared.shape);
    let state = shared.parts.chain.state();
    let is_known = |job: &Job| query::opening(&state, job.ticket).is_some_and(|row| row.beacon.is_some());
    let pending = sealing.pending()?.filter(is_known);
    let used = query::pledge(&state, &shared.me).map_or(0, |pledge| pledge.next_sector);
    let first = shared.sectors().next_number().max(used);
    let job = pending.filter(|job| job.ids.iter().all(|id| id.number >= first)).unwrap_or_else(|| {
        // One lane in any case: less memory than that was never enough to seal.
        let lanes = seal::lanes_within(height, shared.sealing_memory_bytes).max(1).min(count);
        let id = |number| SectorId { provider: shared.me, number, ticket: ticket.1 };
        Job { ids: (first..).take(lanes).map(id).collect(), ticket: ticket.0 }
    });
    let lanes = u64::try_from(job.ids.len()).unwrap_or(u64::MAX);
    let total = seal::Progress::steps(height).saturating_mul(lanes);
    // What a check-point had already is no part of the pace.
    let (mut before, mut looked) = (None, Instant::now());
    let labels = sealing.run(&job, |progress| {
        let done = progress.done().saturating_mul(lanes);
        let nodes = done - before.replace(done).unwrap_or(done);
        shared.pace.lock().unwrap_or_else(PoisonError::into_inner).note(nodes, looked.elapsed());
        looked = Instant::now();
        shared.report(|status| status.sealing = (done, total));
        !*shared.stop.borrow()
    })?;
    let Some(labels) = labels else { return Ok(()) };
    let mut sectors = shared.sectors();
    for labels in &labels {
        sectors.insert(job.ticket, labels)?;
    }
    let complete = u64::try_from(sectors.iter().count()).unwrap_or(u64::MAX);
    drop(sectors);
    sealing.clear()?;
    shared.report(|status| (status.sectors, status.sealing) = (complete, (0, 0)));
    Ok(())
}

async fn activate(shared: &Arc<Shared>, batch: u64) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let proving = Arc::clone(shared);
    let proofs = tokio::task::spawn_blocking(move || prove_batch(&proving, batch)).await??;
    shared.parts.wallet.execute(vec![Operation::Activate { batch, proofs }]).await?;
    info!(batch, "sectors activated");
    Ok(())
}

fn prove_batch(
    shared: &Shared,
    batch: u64,
) -> Result<Vec<hpips_proofs::ProofBytes>, Box<dyn std::error::Error + Send + Sync>> {
    let state = shared.parts.chain.state();
    let row = query::batch(&state, &shared.me, batch).ok_or("the batch lapsed")?;
    let statements = query::activation_statements(&state, &shared.me, batch)?;
    let mut sectors = Vec::new();
    let mut labels = Vec::new();
    for record in &row.records {
        let held = shared.sectors();
        let sector = held.iter().find(|(_, sector)| sector.meta.sector.record(&shared.shape) == *record);
        let (_, sector) = sector.ok_or(SectorError::Missing)?;
        sectors.push(sector.meta.sector);
        labels.push(sector.labels()?);
    }
    let order = Order::before(Priority::Activation, shared.moment(row.deadline));
    let mut proofs = Vec::new();
    for statement in statements {
        let witness = activation::prove(&statement, &sectors, |at| labels.get(at))?;
        let statement = Statement::Activation(statement);
        proofs.push(shared.parts.prover.prove(statement, Witness::from(witness), order)?);
    }
    Ok(proofs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_name_public_addresses_first() {
        let all =
            ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1", "/ip4/45.45.45.2/tcp/1", "/dns4/a.example/tcp/1"];
        let all: Vec<Multiaddr> = all.iter().map(|text| text.parse().unwrap()).collect();
        let named = addresses(&all);
        assert_eq!(
            named,
            ["/ip4/45.45.45.2/tcp/1", "/dns4/a.example/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1"]
        );
        assert_eq!(addresses(&[all.clone(), all.clone(), all].concat()).len(), OFFERED_ADDRESSES);
    }
}
