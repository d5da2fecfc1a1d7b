//! What `hpips prover bench` measures, one part at a time.

use std::hint::black_box;
use std::time::{Duration, Instant};

use hpips_circuits::Witness;
use hpips_circuits::json::ProofExport;
use hpips_crypto::lanes::Kernel;
use hpips_crypto::{Fr, field};
use hpips_proofs::{Beacon, SectorId, Statement, seal};
use hpips_prover::{Order, Priority, Progress, ProveError, Prover};
use hpips_types::{AccountId, Blake3Hash};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// States hashed together: a kibibyte or two, more than any vector holds.
const STATES: u32 = 256;
/// Tries of what takes milliseconds; what disturbs a try only adds to it, so the least counts.
const TRIES: u32 = 40;
/// Height of the sectors whose sealing is measured: a second or two of a core each time.
const HEIGHT: u8 = 5;
/// Nodes of such a sector.
const NODES: f64 = 32_768.0;
/// Nodes in 100 GB.
const NODES_OF_100_GB: f64 = 100e9 / 32.0;

/// CPU time of the process that a piece of work takes.
fn cpu_time(work: impl FnOnce()) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        // The clock counts from zero, and nanoseconds stay below a second.
        let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
    };
    let start = now();
    work();
    now().saturating_sub(start)
}

/// Time of one Poseidon2 permutation of width 8 where many are computed.
pub(super) fn permutation(kernel: Kernel) -> Duration {
    let element = |state: u32, lane: u32| {
        field::from_hash("hpips/bench/proofs/v1", &[&state.to_le_bytes(), &lane.to_le_bytes()])
    };
    let inputs: Vec<[Fr; 8]> =
        (0..STATES).map(|state| [0, 1, 2, 3, 4, 5, 6, 7].map(|lane| element(state, lane))).collect();
    let mut outputs = vec![Fr::default(); inputs.len()];
    let mut once = || {
        cpu_time(|| {
            kernel.compress(&inputs, &mut outputs);
            black_box(&outputs);
        })
    };
    (0..TRIES).map(|_| once()).min().unwrap_or_default() / STATES
}

/// Core-hours to seal 100 GB, so many sectors at a time. Measured on small sectors; a label costs the same in all.
pub(super) fn core_hours(lanes: u64) -> f64 {
    let id = |number| SectorId {
        provider: AccountId::new([8; 32]),
        number,
        ticket: Beacon::new(Blake3Hash::new([7; 32])),
    };
    let ids: Vec<SectorId> = (0..lanes).map(id).collect();
    let took = cpu_time(|| drop(black_box(seal::seal_all(HEIGHT, &ids, |_| true))));
    took.as_secs_f64() / (NODES * ids.len() as f64) * NODES_OF_100_GB / 3_600.0
}

/// A proof's time.
#[derive(Debug, Serialize)]
pub(super) struct ProofTime {
    /// Constraints of its circuit.
    pub(super) constraints: u64,
    /// Reading its keys, milliseconds; paid again when the other circuit's proof was made in between.
    pub(super) keys_ms: u64,
    /// Computing it, milliseconds on the clock.
    pub(super) proof_ms: u64,
    /// Computing it, milliseconds of cores.
    pub(super) proof_cpu_ms: u64,
    /// Checking it, microseconds.
    pub(super) check_us: u64,
}

/// Makes one proof and takes its times; `seen` is told each stage.
pub(super) fn proof(
    prover: &Prover,
    constraints: u64,
    (statement, witness): (Statement, Witness),
    mut seen: impl FnMut(Progress),
) -> Result<(ProofTime, ProofExport), ProveError> {
    let job = prover.submit(statement.clone(), witness, Order::whenever(Priority::Bench))?;
    let started = Instant::now();
    let mut loaded = None;
    let mut progress = job.progress();
    let cpu = cpu_time(|| {
        while progress != Progress::Done {
            seen(progress);
            if progress == Progress::Proving {
                loaded.get_or_insert_with(Instant::now);
            }
            progress = job.wait_for_change(progress);
        }
    });
    let proof = job.wait()?;
    let (ended, loaded) = (Instant::now(), loaded.unwrap_or(started));
    let keys = loaded.saturating_duration_since(started);
    let keys_verifier = prover.verifying_keys();
    let check = || {
        let started = Instant::now();
        keys_verifier.check(&statement, &proof).map(|()| started.elapsed())
    };
    let checks: Vec<Duration> =
        (0..5).map(|_| check()).collect::<Result<_, _>>().map_err(ProveError::SelfCheck)?;
    let export = ProofExport::new(keys_verifier, &statement, &proof).map_err(ProveError::SelfCheck)?;
    let time = ProofTime {
        constraints,
        keys_ms: milliseconds(keys),
        proof_ms: milliseconds(ended.saturating_duration_since(loaded)),
        proof_cpu_ms: milliseconds(cpu),
        check_us: u64::try_from(checks.iter().min().copied().unwrap_or_default().as_micros())
            .unwrap_or(u64::MAX),
    };
    Ok((time, export))
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The most memory that this process ever had, bytes, where the system says so (proc_pid_status(5)).
pub(super) fn memory_peak_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
