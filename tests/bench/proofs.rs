//! Proof of storage against the cost of its parts. Times are CPU time of the whole process, so that a loaded
//! machine shows nearly the same figures; `--full` adds a sector, an activation and a window at full size:
//! half an hour of a core, 4 GiB of memory and 1 GB of disk. What each stage takes is told on standard error.

use std::convert::Infallible;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ark_ff::PrimeField;
use ark_groth16::Groth16;
use ark_groth16::r1cs_to_qap::LibsnarkReduction;
use ark_serialize::CanonicalSerialize;
use hpips_circuits::prove::{Blinding, create};
use hpips_circuits::verify::WellFormed;
use hpips_circuits::{
    CircuitId, KeySource, Matrices, ProvingKey, StoredKey, Verifier, Witness, assign, circuit, insecure_key,
    proving_bytes,
};
use hpips_crypto::lanes::{Canonical, Kernel};
use hpips_crypto::{Fr, field};
use hpips_proofs::vanilla::{activation, window};
use hpips_proofs::{
    ActivationStatement, Beacon, CircuitKind, CommP, ProofBytes, ProofVerifier, Record, RecordLayout,
    SealedLabels, SealedSector, SectorId, SetTree, Shape, Statement, WindowTerms, batch_root, seal,
};
use hpips_types::{AccountId, Blake3Hash, ChainId, NetworkParams, SetId, WindowIndex};
use rustix::time::{ClockId, clock_gettime};

use crate::table::{Row, Table, timed};

/// Who seals and proves.
const PROVIDER: AccountId = AccountId::new([1; 32]);
/// Nodes of a sector of 512 MiB.
const FULL_NODES: f64 = 16_777_216.0;
/// Such sectors in 100 GB.
const FULL_SECTORS: f64 = 100e9 / 536_870_912.0;

/// Measures and tabulates.
pub(crate) fn run(flags: &[String]) -> Table {
    let mut table = Table::default();
    let kernels: Vec<String> = Kernel::available().map(|kernel| format!("{kernel:?}")).collect();
    table.note(format!("lanes of this machine: {}; times are CPU time", kernels.join(", ")));
    hashes(&mut table);
    trees(&mut table);
    sealing(&mut table);
    circuits(&mut table);
    let dev = NetworkParams::dev();
    prove(&mut table, &dev, seal_some(dev.sector_height, 2));
    if flags.iter().any(|flag| flag == "--full") {
        full(&mut table);
    }
    table
}

/// CPU time of the process that a piece of work takes.
fn cpu<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        Duration::new(seconds.expect("a clock after zero"), nanos.expect("less than a second"))
    };
    let start = now();
    let value = black_box(work());
    (value, now() - start)
}

/// What a stage took.
struct Stage {
    cpu: Duration,
    /// The most memory that was resident, beyond what was before, bytes.
    grown: u64,
}

/// Runs a stage of minutes, and tells its CPU time, wall time and peak memory at once: the table comes last.
fn stage<T>(table: &mut Table, name: &str, work: impl FnOnce() -> T) -> (T, Stage) {
    // The system's peak starts anew; where it cannot, the figure is that of the whole run.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = resident("VmRSS:");
    let ((value, took), wall) = timed(|| cpu(work));
    let (peak, grown) = (resident("VmHWM:"), resident("VmHWM:").saturating_sub(before));
    let text = format!(
        "{name}: {:.1} s CPU, {:.1} s wall, {} MB resident at the most, {} MB more than before",
        took.as_secs_f64(),
        wall.as_secs_f64(),
        peak / 1_000_000,
        grown / 1_000_000
    );
    // A closed pipe is nobody's fault.
    let _ = writeln!(io::stderr(), "{text}");
    table.note(text);
    (value, Stage { cpu: took, grown })
}

/// A memory figure of this process, bytes; zero where the system tells none.
fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib << 10)
}

/// The least CPU time of several tries: what disturbs a measurement only adds to it.
fn least(tries: u32, mut work: impl FnMut()) -> Duration {
    (0..tries).map(|_| cpu(&mut work).1).min().expect("one try at least")
}

fn states<const T: usize>(count: u64) -> Vec<[Fr; T]> {
    let element = |index: u64| field::from_hash("hpips/bench/proofs/v1", &[&index.to_le_bytes()]);
    let width = u64::try_from(T).expect("a small number");
    (0..count)
        .map(|state| {
            core::array::from_fn(|lane| element(state * width + u64::try_from(lane).expect("small")))
        })
        .collect()
}

/// Time of one compression when many are computed.
fn compression<const T: usize>(kernel: Kernel) -> Duration {
    let inputs = states::<T>(256);
    let mut outputs = vec![Fr::default(); inputs.len()];
    least(40, || kernel.compress(&inputs, &mut outputs)) / 256
}

fn hashes(table: &mut Table) {
    let scalar = compression::<8>(Kernel::Portable);
    table.time("poseidon2::permute8/lanes=1", scalar, Some(("limit", Duration::from_micros(16))), "<= 16 us");
    for kernel in Kernel::available().filter(|kernel| kernel.lanes() > 1) {
        let reach = if kernel == Kernel::Ifma { ">= 5 x scalar" } else { ">= 1.5 x scalar" };
        let name = format!("lanes::compress8/kernel={kernel:?}");
        table.time(&name, compression::<8>(kernel), Some(("scalar", scalar)), reach);
        let name = format!("lanes::compress3/kernel={kernel:?}");
        table.time(&name, compression::<3>(kernel), Some(("scalar", compression::<3>(Kernel::Portable))), "");
    }
}

fn trees(table: &mut Table) {
    let bytes: Vec<u8> = (0..4u32 << 20).map(|at| at.to_le_bytes()[1]).collect();
    let took = least(5, || {
        let mut hasher = CommP::new();
        for piece in bytes.chunks(256 << 10) {
            hasher.push(piece).expect("a short piece");
        }
        black_box(hasher.finish());
    });
    let rate = |took: Duration| 4_194_304.0 / took.as_secs_f64();
    let reach = if Kernel::best() == Kernel::Ifma { ">= 50 MB/s a core" } else { ">= 12 MB/s a core" };
    table.speed(&format!("piece::comm_p/kernel={:?}", Kernel::best()), rate(took), None, reach);
    if Kernel::available().any(|kernel| kernel == Kernel::Avx2) && Kernel::best() != Kernel::Avx2 {
        let took = least(3, || rows(Kernel::Avx2, &bytes));
        table.speed("piece::comm_p/kernel=Avx2, rows only", rate(took), None, ">= 12 MB/s a core");
    }
}

/// The hashes of a piece's tree by one kernel, row after row.
fn rows(kernel: Kernel, bytes: &[u8]) {
    let leaves: Vec<Canonical> = bytes.chunks(31).map(Canonical::from_data).collect();
    let (groups, _) = leaves.as_chunks::<8>();
    let mut row = vec![Fr::default(); groups.len()];
    kernel.compress(groups, &mut row);
    while row.len() >= 8 {
        let (groups, _) = row.as_chunks::<8>();
        let mut next = vec![Fr::default(); groups.len()];
        kernel.compress(groups, &mut next);
        row = next;
    }
    black_box(row);
}

fn beacon(seed: u8) -> Beacon {
    Beacon::new(Blake3Hash::new([seed; 32]))
}

fn seal_some(height: u8, count: u64) -> Vec<SealedLabels> {
    let id = |number| SectorId { provider: PROVIDER, number, ticket: beacon(7) };
    let ids: Vec<SectorId> = (0..count).map(id).collect();
    seal::seal_all(height, &ids, |_| true).expect("nobody stops it")
}

fn sealing(table: &mut Table) {
    let nodes = 32_768.0;
    for lanes in [1usize, 2, 8] {
        let count = u64::try_from(lanes).expect("few lanes");
        let took = least(2, || drop(black_box(seal_some(5, count))));
        // Two labels, a column, and a seventh of a permutation for a node of either tree.
        let kernel = Kernel::best();
        let label = chained(kernel, lanes);
        let threes = states::<3>(512);
        let mut outputs = vec![Fr::default(); threes.len()];
        let column = least(40, || kernel.compress(&threes, &mut outputs)).as_secs_f64() / 512.0;
        let tree = compression::<8>(kernel).as_secs_f64() * 2.0 / 7.0;
        let hashes = nodes
            * (2.0 * label.as_secs_f64() + f64::from(u32::try_from(count).expect("few")) * (column + tree));
        let each = took.as_secs_f64() / f64::from(u32::try_from(count).expect("few"));
        let hours = each / nodes * FULL_NODES * FULL_SECTORS / 3_600.0;
        table.rows.push(Row {
            what: format!("seal::seal_all/height=5,lanes={lanes}"),
            figure: format!("{:.3} s a sector, {hours:.1} core-hours for 100 GB", each),
            limit: format!("{hashes:.3} s of hashes for all lanes"),
            ratio: Some(hashes / took.as_secs_f64()),
            reach: if lanes == 8 { ">= 0.85; <= 12 core-hours".into() } else { ">= 0.85".into() },
        });
    }
}

/// Time of one compression in lanes when each waits for the one before, as labels do.
fn chained(kernel: Kernel, lanes: usize) -> Duration {
    let mut inputs = vec![[Canonical::ZERO; 8]; lanes];
    let mut outputs = vec![Canonical::ZERO; lanes];
    let took = least(20, || {
        for _ in 0..128 {
            kernel.compress(&inputs, &mut outputs);
            for (input, output) in inputs.iter_mut().zip(&outputs) {
                input[1] = *output;
            }
        }
    });
    took / 128
}

/// Sizes at full parameters, without making keys.
fn circuits(table: &mut Table) {
    let shape = Shape::of(&NetworkParams::main()).expect("a shape");
    for (kind, challenges, most) in [
        (CircuitKind::Window, shape.window_challenges(), 4_900),
        (CircuitKind::Activation, shape.activation_challenges(), 40_000),
    ] {
        let (matrices, took) = cpu(|| circuit::matrices(kind, &shape));
        let each = matrices.constraints() / usize::from(challenges);
        table.rows.push(Row {
            what: format!("circuit::{}/network=main", circuit::name(kind)),
            figure: format!("{each} constraints a challenge"),
            limit: format!("{most}"),
            ratio: Some(f64::from(most) / f64::from(u32::try_from(each).expect("a circuit's size"))),
            reach: ">= 1".into(),
        });
        table.note(format!(
            "{} at main: {} constraints, {} factors, recorded in {:.1} s",
            circuit::name(kind),
            matrices.constraints(),
            matrices.nonzeros(),
            took.as_secs_f64()
        ));
    }
}

/// A key file that has no name.
struct Stored {
    file: File,
    bytes: u64,
}

impl KeySource for Stored {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }
}

/// A circuit with its key in a file.
struct Ready {
    matrices: Matrices,
    key: StoredKey<Stored>,
    /// The file again.
    file: File,
}

/// A circuit with its key, and what both took.
fn key(table: &mut Table, params: &NetworkParams, shape: &Shape, kind: CircuitKind) -> Ready {
    let id = circuit::id(kind, shape);
    let name = format!("{},{}", circuit::name(kind), params.name);
    let (matrices, _) = stage(table, &format!("circuit::matrices/{name}"), || circuit::matrices(kind, shape));
    let mut file = tempfile::tempfile().expect("a file");
    let name = format!("setup::insecure_key/{name}");
    let (made, took) = stage(table, &name, || insecure_key(id, &matrices, params, &mut file));
    made.expect("a test network");
    table.time(&name, took.cpu, None, if shape.sector_height() == 4 { "both <= 10 s" } else { "" });
    let bytes = file.metadata().expect("an open file").len();
    table.note(format!("{name}: {} MB of file", bytes / 1_000_000));
    let stored = Stored { file: file.try_clone().expect("an open file"), bytes };
    let name = format!("StoredKey::open/{},{}", circuit::name(kind), params.name);
    let (key, _) = stage(table, &name, || StoredKey::open(stored, id, params).expect("just written"));
    Ready { matrices, key, file }
}

/// An activation of sectors and a window over them, proven and checked.
fn prove(table: &mut Table, params: &NetworkParams, sectors: Vec<SealedLabels>) {
    let shape = Shape::of(params).expect("a shape");
    let sealed: Vec<SealedSector> = sectors.iter().map(|sector| sector.sealed.sector).collect();
    let set = SetId { provider: PROVIDER, number: 0 };
    let network = ChainId::new([9; 32]);
    let activation = |partition| ActivationStatement {
        shape,
        network,
        set,
        payee: PROVIDER,
        batch: 1,
        batch_root: batch_root(&shape, &sealed).expect("a batch"),
        sectors: u16::try_from(sealed.len()).expect("few sectors"),
        beacon: beacon(11),
        partition,
    };
    let mut partitions = Vec::new();
    let name = format!("vanilla::activation::prove/{}", params.name);
    let ((), opened) = stage(table, &name, || {
        for partition in 0..shape.activation_partitions() {
            let statement = activation(partition);
            let witness =
                activation::prove(&statement, &sealed, |at| sectors.get(at).map(SealedLabels::kept))
                    .expect("sealed honestly");
            partitions.push((Statement::Activation(statement), Witness::from(witness)));
        }
    });
    table.time(&name, opened.cpu, None, "");
    let records: Vec<Record> = sealed.iter().map(|sector| sector.record(&shape)).collect();
    let tree = SetTree::from_records(&shape, &records).expect("a set");
    let terms = WindowTerms {
        shape,
        network,
        set,
        payee: PROVIDER,
        window: WindowIndex::new(5),
        set_root: tree.root(),
        layouts: vec![RecordLayout::Sealed; sectors.len()],
        beacon: beacon(12),
        entry: None,
    };
    let open = |challenge: &hpips_proofs::WindowChallenge| {
        let labels = &sectors[usize::from(challenge.record.get())];
        let range = labels.sealed.replica.group(challenge.leaf);
        let bytes =
            usize::try_from(range.start).expect("in memory")..usize::try_from(range.end).expect("in memory");
        let opening = labels.sealed.replica.open(challenge.leaf, &labels.second[bytes]);
        Ok::<_, Infallible>(opening.expect("sealed honestly"))
    };
    let name = format!("vanilla::window/{}", params.name);
    let (statement, opened) = stage(table, &name, || {
        let leaves = window::commit(&terms, |challenge| open(challenge).map(|opening| opening.leaf));
        let statement = terms.clone().commit(leaves.expect("honest leaves"));
        let witness = window::prove(&statement, &records, &tree, open).expect("honest leaves");
        (Statement::Window(statement), Witness::from(witness))
    });
    table.time(&name, opened.cpu, None, "");
    // A gigabyte at full size that no proof needs.
    drop(sectors);

    let (mut keys, mut proofs) = (Vec::new(), Vec::new());
    for (kind, wanted) in [(CircuitKind::Window, vec![statement]), (CircuitKind::Activation, partitions)] {
        let ready = key(table, params, &shape, kind);
        for (index, (statement, witness)) in wanted.into_iter().enumerate() {
            proofs.push(one_proof(table, params, &ready, &statement, &witness, index == 0));
        }
        keys.push(ready.key.verifying_key());
    }
    let activation_key = keys.pop().expect("two keys");
    let verifier = Verifier::new(shape, keys.remove(0), activation_key).expect("keys of this shape");
    assert!(verifier.verify(&proofs).iter().all(|verdict| *verdict), "proofs that were made verify");
    checks(table, params, &verifier, &proofs[0]);
}

/// The bytes that blind every proof here.
const BLINDING: [u8; 128] = [3; 128];

/// Makes a proof; `compared`: beside `ark-groth16` itself, in its own form of key and matrices. At full size
/// that is done for the window only, for it takes gigabytes.
fn one_proof(
    table: &mut Table,
    params: &NetworkParams,
    Ready { matrices, key, file }: &Ready,
    statement: &Statement,
    witness: &Witness,
    compared: bool,
) -> (Statement, ProofBytes) {
    let is_dev = params.sector_height == 4;
    let name = format!("{},{}", circuit::name(statement.kind()), params.name);
    let (values, assigned) = cpu(|| assign(statement, witness).expect("an honest witness"));
    let (proof, took) = stage(table, &format!("prove::create/{name}"), || {
        create(key, matrices, &values, &Blinding::from_random(&BLINDING)).expect("a key of this circuit")
    });
    table.time(
        &format!("prove::assign/{name}"),
        assigned,
        Some(("proof", took.cpu.mul_f64(0.02))),
        "<= 2 % of the proof",
    );
    let (mut limit, mut reach) = (None, if is_dev { "<= 2 s on two cores" } else { "" });
    if compared && (is_dev || statement.kind() == CircuitKind::Window) {
        let (bare, bare_took) = bare(table, &name, key.of().circuit, params, matrices, file, &values);
        assert_eq!(bare, proof, "the proofs are the same");
        (limit, reach) = (Some(("bare ark-groth16", bare_took.mul_f64(1.05))), "<= 1.05 x bare ark-groth16");
    }
    table.time(&format!("prove::create/{name}"), took.cpu, limit, reach);
    let held = matrices.bytes() + std::mem::size_of_val(&values[..]) as u64;
    table.rows.push(Row {
        what: format!("prove::create/{name}, memory"),
        figure: format!("{} MB", (took.grown + held) / 1_000_000),
        limit: format!("{} MB counted", proving_bytes(matrices) / 1_000_000),
        ratio: Some(proving_bytes(matrices) as f64 / (took.grown + held) as f64),
        reach: "<= 1.3 GiB".into(),
    });
    (statement.clone(), proof)
}

/// The same proof by `ark-groth16`, and its CPU time.
fn bare(
    table: &mut Table,
    name: &str,
    id: CircuitId,
    params: &NetworkParams,
    matrices: &Matrices,
    file: &File,
    values: &[Fr],
) -> (ProofBytes, Duration) {
    let mut bytes =
        vec![0; usize::try_from(file.metadata().expect("an open file").len()).expect("in memory")];
    file.read_exact_at(&mut bytes, 0).expect("a whole file");
    let key = ProvingKey::from_bytes(&bytes, id, params).expect("a key of this circuit");
    drop(bytes);
    let rows = [0, 1, 2].map(|matrix| {
        let row =
            |row| matrices.row(matrix, row).map(|(column, factor)| (factor, column)).collect::<Vec<_>>();
        (0..matrices.constraints()).map(row).collect::<Vec<_>>()
    });
    let (r, s) = BLINDING.split_at(64);
    let [r, s] = [r, s].map(Fr::from_le_bytes_mod_order);
    let (proof, took) = stage(table, &format!("ark-groth16/{name}"), || {
        Groth16::<_, LibsnarkReduction>::create_proof_with_reduction_and_matrices(
            key.points(),
            r,
            s,
            &rows,
            matrices.inputs() + 1,
            matrices.constraints(),
            values,
        )
        .expect("a key of this circuit")
    });
    let mut bytes = [0; ProofBytes::LEN];
    proof.serialize_compressed(&mut bytes[..]).expect("a proof has 192 bytes");
    (ProofBytes::new(bytes), took.cpu)
}

fn checks(
    table: &mut Table,
    params: &NetworkParams,
    verifier: &Verifier,
    (statement, proof): &(Statement, ProofBytes),
) {
    let took = least(10, || verifier.check(statement, proof).expect("a true proof"));
    table.time(
        &format!("verify::one/{}", params.name),
        took,
        Some(("limit", Duration::from_micros(2_500))),
        "<= 2.5 ms",
    );
    let parsed = least(10, || drop(black_box(WellFormed::parse(proof))));
    table.time(
        &format!("verify::WellFormed::parse/{}", params.name),
        parsed,
        Some(("check", took)),
        "a part of it",
    );
    let inputs = least(10, || drop(black_box(statement.public_inputs())));
    table.time(
        &format!("Statement::public_inputs/{}", params.name),
        inputs,
        Some(("check", took)),
        "a part of it",
    );
    let batch = vec![(statement.clone(), *proof); 1_024];
    let took = cpu(|| verifier.verify(&batch)).1 / 1_024;
    table.time(
        &format!("verify::batch of 1024/{}", params.name),
        took,
        Some(("limit", Duration::from_micros(600))),
        "<= 0.6 ms",
    );
}

/// One sector of 512 MiB sealed, activated and proven at the parameters of `main`, under keys of no value.
fn full(table: &mut Table) {
    let params = NetworkParams { name: "test-full".into(), ..NetworkParams::main() };
    let name = "seal::seal_all/height=8,lanes=1";
    let (sectors, took) = stage(table, name, || seal_some(params.sector_height, 1));
    table.time(name, took.cpu, None, "");
    prove(table, &params, sectors);
}
