//! `hpips prover bench`.

use std::fmt::Display;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hpips_circuits::circuit;
use hpips_circuits::json::ProofExport;
use hpips_crypto::lanes::Kernel;
use hpips_proofs::seal::Progress as Sealed;
use hpips_proofs::{CircuitKind, Shape};
use hpips_prover::sample::Sample;
use hpips_prover::{Config, Progress, ProveError, Prover, constraints, key_bytes, proving_bytes};
use hpips_types::{ByteCount, NetworkParams};
use serde::Serialize;

use super::Place;
use super::measure::{self, ProofTime};
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::{Redrawn, Report, emit, message};

/// What is not worth a warning.
const SHORT: Duration = Duration::from_secs(60);
/// Core time of making insecure keys, microseconds a constraint; of a proof as well. Measured, for the estimate only.
const KEY_US: u64 = 130;
const PROOF_US: u64 = 100;
/// Blocks that a commitment and the proof need to be included.
const INCLUSION_BLOCKS: u64 = 2;

/// Measure on this machine: hashes, sealing, proofs, memory, and whether windows would be met.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    place: Place,
    /// Cores that prove; by default Hpips.ComputeThreads of the configuration, which a node would use.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Write the window's proof to this file as JSON, for other programs to check.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Everything that was measured.
#[derive(Serialize)]
struct Measured {
    network: String,
    cores: usize,
    threads: usize,
    vectors: &'static str,
    lanes: usize,
    /// One permutation of width 8, nanoseconds of a core: in lanes, and alone.
    permutation_ns: u64,
    permutation_alone_ns: u64,
    /// Core-hours to seal 100 GB: one sector at a time, and as many as there are lanes.
    seal_core_hours: f64,
    seal_core_hours_in_lanes: f64,
    window: ProofTime,
    activation: ProofTime,
    /// Proofs of one activation.
    activation_proofs: u16,
    /// From the beacon to the last block that accepts a proof, milliseconds.
    window_ms: u64,
    is_met: bool,
    memory_peak_bytes: Option<u64>,
}

impl Report for Measured {
    fn human(&self, _out: &mut dyn Write) -> io::Result<()> {
        // Every line was printed when it was measured.
        Ok(())
    }
}

/// Prints lines as they are known, and on a terminal what is being done.
struct Teller {
    is_json: bool,
    is_terminal: bool,
    doing: Redrawn,
}

impl Teller {
    fn line(&mut self, what: &str, text: impl Display) -> io::Result<()> {
        self.doing.clear();
        if self.is_json { Ok(()) } else { writeln!(io::stdout().lock(), "{what:<10} {text}") }
    }

    fn doing(&mut self, text: impl Display) {
        if self.is_terminal {
            self.doing.draw(text);
        }
    }
}

impl Bench {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let (params, config) = self.place.resolve(context)?;
        let config = Config { threads: self.threads.unwrap_or(config.threads), ..config };
        let (network, params, config) =
            (params.name.clone(), worthless(&params), worthless_place(config, &params));
        let shape = Shape::of(&params)?;
        // Before anything takes time.
        for kind in circuit::KINDS {
            let (needed, allowed) = (proving_bytes(kind, &shape), config.memory_bytes);
            if needed > allowed {
                let error = ProveError::Memory { circuit: circuit::name(kind), needed, allowed };
                let text = format!(
                    "{error}. Nothing was done. To allow more: hpips config --json Hpips.ProvingMemory BYTES"
                );
                return Err(Stop::new(Exit::Failed, text).into());
            }
        }
        let mut teller = Teller {
            is_json: context.json,
            is_terminal: io::stderr().is_terminal(),
            doing: Redrawn::default(),
        };
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = config.threads.get();
        let kernel = Kernel::best();
        let (vectors, lanes) = (vectors(kernel), kernel.lanes());
        teller.line(
            "machine",
            format_args!("{cores} cores, {vectors}; {threads} of them prove here (--threads N)"),
        )?;
        let [in_lanes, alone] = [kernel, Kernel::Portable].map(measure::permutation);
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        teller.line(
            "hash",
            format_args!(
                "{:.1} us a permutation with {lanes} at once, {:.1} us alone",
                us(in_lanes),
                us(alone)
            ),
        )?;
        teller.doing("sealing small sectors");
        let hours = measure::core_hours(1);
        let hours_in_lanes = measure::core_hours(lanes as u64);
        teller.line(
            "sealing",
            format_args!(
                "{hours:.1} core-hours for 100 GB one sector at a time, {hours_in_lanes:.1} with {lanes} at once"
            ),
        )?;
        warn(&network, &params, &shape, &config, hours);

        // The sector itself is not kept: what is proven takes as much memory again.
        let (window, activation) = {
            let sample = seal(shape, &mut teller);
            (sample.window(1), sample.activation(2))
        };
        let prover = open(config, &params, &shape, &mut teller)?;
        let mut prove = |kind, item| {
            let name = circuit::name(kind);
            measure::proof(&prover, constraints(kind, &shape), item, |progress| {
                teller.doing(format_args!("{name}: {}", stage(progress)));
            })
        };
        let (window, export) = prove(CircuitKind::Window, window)?;
        let (activation, _) = prove(CircuitKind::Activation, activation)?;
        let open_blocks = params.window_blocks.saturating_sub(params.lag_views + INCLUSION_BLOCKS);
        let measured = Measured {
            network,
            cores,
            threads,
            vectors,
            lanes,
            permutation_ns: u64::try_from(in_lanes.as_nanos()).unwrap_or(u64::MAX),
            permutation_alone_ns: u64::try_from(alone.as_nanos()).unwrap_or(u64::MAX),
            seal_core_hours: hours,
            seal_core_hours_in_lanes: hours_in_lanes,
            window_ms: open_blocks * params.block_ms,
            is_met: window.keys_ms + window.proof_ms <= open_blocks * params.block_ms,
            window,
            activation,
            activation_proofs: shape.activation_partitions(),
            memory_peak_bytes: measure::memory_peak_bytes(),
        };
        measured.tell(&mut teller)?;
        if let Some(path) = &self.out {
            write(path, &export)?;
            teller.line("written", format_args!("{}: the window's proof", path.display()))?;
        }
        emit(&measured, context.json)
    }
}

impl Measured {
    fn tell(&self, teller: &mut Teller) -> io::Result<()> {
        let s = |ms: u64| ms as f64 / 1000.0;
        let proof = |time: &ProofTime, count| {
            format!(
                "{:.2} s a proof ({:.1} s of cores), {count}; {} constraints, keys read in {:.2} s",
                s(time.proof_ms),
                s(time.proof_cpu_ms),
                time.constraints,
                s(time.keys_ms)
            )
        };
        teller.line("window", proof(&self.window, "1 a window".to_owned()))?;
        let count = format!("{} a batch", self.activation_proofs);
        teller.line("activation", proof(&self.activation, count))?;
        teller.line("check", format_args!("{:.1} ms a proof", self.window.check_us as f64 / 1000.0))?;
        if let Some(bytes) = self.memory_peak_bytes {
            teller.line("memory", format_args!("{} at most", ByteCount::new(bytes).to_short()))?;
        }
        let took = s(self.window.keys_ms + self.window.proof_ms);
        let there = s(self.window_ms);
        if self.is_met {
            teller.line("windows", format_args!("met: {took:.1} s of {there:.0} s each on {}", self.network))
        } else {
            let text = format!(
                "NOT met: {took:.1} s where {there:.0} s are on {}. With more cores: hpips config Hpips.ComputeThreads N",
                self.network
            );
            teller.line("windows", text)
        }
    }
}

/// The same circuits on a network whose keys may be made here. Those of other networks come from a ceremony, and
/// nothing that is measured depends on it.
fn worthless(params: &NetworkParams) -> NetworkParams {
    let name = if params.is_test() { params.name.clone() } else { format!("test-bench-{}", params.name) };
    NetworkParams { name, ..params.clone() }
}

/// Never beside a ceremony's keys: the files have the same names.
fn worthless_place(config: Config, params: &NetworkParams) -> Config {
    let cache_dir = if params.is_test() { config.cache_dir } else { config.cache_dir.join("bench-insecure") };
    Config { cache_dir, ..config }
}

const fn vectors(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::Ifma => "8 lanes (AVX-512 IFMA)",
        Kernel::Avx2 => "4 lanes (AVX2)",
        Kernel::Portable => "no lanes",
    }
}

const fn stage(progress: Progress) -> &'static str {
    match progress {
        Progress::Queued { .. } => "waiting",
        Progress::LoadingKeys => "loading keys",
        Progress::Proving => "proving",
        Progress::Checking => "checking",
        Progress::Done => "done",
    }
}

/// Says what is ahead where that is much.
fn warn(network: &str, params: &NetworkParams, shape: &Shape, config: &Config, hours: f64) {
    let all = circuit::KINDS.map(|kind| constraints(kind, shape)).iter().sum::<u64>();
    let cores = config.threads.get() as u64;
    let proofs = Duration::from_micros(all * (KEY_US + PROOF_US) / cores);
    let sealing = Duration::from_secs_f64(hours * 3_600.0 * params.sector_bytes() as f64 / 100e9);
    let time = proofs + sealing;
    if time < SHORT {
        return;
    }
    let size = |bytes| ByteCount::new(bytes).to_short();
    let memory = circuit::KINDS.map(|kind| proving_bytes(kind, shape)).into_iter().max().unwrap_or(0);
    let disk = circuit::KINDS.map(|kind| key_bytes(kind, shape)).iter().sum();
    message(format_args!(
        "hpips: {} parameters: about {} min, {} of memory to prove and {} while a sector is sealed first; {} of disk \
         for keys that stay in {}, less time when they are there. Ctrl-C ends it at any time",
        network,
        time.as_secs().div_ceil(60),
        size(memory),
        size(2 * params.sector_bytes()),
        size(disk),
        config.cache_dir.display()
    ));
}

fn seal(shape: Shape, teller: &mut Teller) -> Sample {
    let steps = Sealed::steps(shape.sector_height());
    let keep_going = |progress: Sealed| {
        teller.doing(format_args!("sealing one sector to prove: {} %", progress.done() * 100 / steps));
        true
    };
    Sample::seal(shape, keep_going).expect("it goes on to its end")
}

fn open(
    config: Config,
    params: &NetworkParams,
    shape: &Shape,
    teller: &mut Teller,
) -> anyhow::Result<Prover> {
    teller.doing("reading keys, or making them once");
    let folder = config.cache_dir.clone();
    let started = Instant::now();
    let prover = Prover::open(config, params)?;
    let bytes = circuit::KINDS.map(|kind| key_bytes(kind, shape)).iter().sum();
    let size = ByteCount::new(bytes).to_short();
    let took = started.elapsed().as_secs_f64();
    teller.line("keys", format_args!("about {size} in {}, ready in {took:.1} s", folder.display()))?;
    Ok(prover)
}

fn write(path: &std::path::Path, export: &ProofExport) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(export)?;
    text.push(b'\n');
    fs::write(path, text).map_err(|error| {
        let text = format!(
            "cannot write {}: {error}. Everything was measured; elsewhere: --out FILE",
            path.display()
        );
        Stop::new(Exit::Failed, text).into()
    })
}
