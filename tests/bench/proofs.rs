//! Proof of storage against the cost of its parts. Times are CPU time of the whole process, so that a loaded
//! machine shows nearly the same figures; `--full` adds a sector, an activation and a window at full size, in
//! wall time too: minutes of many cores and 8 GiB of memory.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use hpips_circuits::prove::{Blinding, create};
use hpips_circuits::{Matrices, ProvingKey, Verifier, Witness, assign, circuit, insecure_key};
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

/// A circuit with its key, and what both took.
fn key(
    table: &mut Table,
    params: &NetworkParams,
    shape: &Shape,
    kind: CircuitKind,
) -> (Matrices, ProvingKey) {
    let matrices = circuit::matrices(kind, shape);
    let ((made, took), wall) = timed(|| cpu(|| insecure_key(circuit::id(kind, shape), &matrices, params)));
    let name = format!("setup::insecure_key/{},{}", circuit::name(kind), params.name);
    table.time(&name, took, None, if shape.sector_height() == 4 { "both <= 10 s" } else { "" });
    table.note(format!("{name}: {:.1} s wall", wall.as_secs_f64()));
    (matrices, made.expect("a test network"))
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
    let ((), opened) = cpu(|| {
        for partition in 0..shape.activation_partitions() {
            let statement = activation(partition);
            let witness =
                activation::prove(&statement, &sealed, |at| sectors.get(at).map(SealedLabels::kept))
                    .expect("sealed honestly");
            partitions.push((Statement::Activation(statement), Witness::from(witness)));
        }
    });
    table.time(&format!("vanilla::activation::prove/{}", params.name), opened, None, "");
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
    let (statement, opened) = cpu(|| {
        let leaves = window::commit(&terms, |challenge| open(challenge).map(|opening| opening.leaf));
        let statement = terms.clone().commit(leaves.expect("honest leaves"));
        let witness = window::prove(&statement, &records, &tree, open).expect("honest leaves");
        (Statement::Window(statement), Witness::from(witness))
    });
    table.time(&format!("vanilla::window/{}", params.name), opened, None, "");

    let (mut keys, mut proofs) = (Vec::new(), Vec::new());
    for (kind, wanted) in [(CircuitKind::Window, vec![statement]), (CircuitKind::Activation, partitions)] {
        let (matrices, key) = key(table, params, &shape, kind);
        for (statement, witness) in wanted {
            proofs.push(one_proof(table, params, &matrices, &key, &statement, &witness));
        }
        keys.push(key.verifying_key());
    }
    let activation_key = keys.pop().expect("two keys");
    let verifier = Verifier::new(shape, keys.remove(0), activation_key).expect("keys of this shape");
    assert!(verifier.verify(&proofs).iter().all(|verdict| *verdict), "proofs that were made verify");
    checks(table, params, &verifier, &proofs[0]);
}

fn one_proof(
    table: &mut Table,
    params: &NetworkParams,
    matrices: &Matrices,
    key: &ProvingKey,
    statement: &Statement,
    witness: &Witness,
) -> (Statement, ProofBytes) {
    let name = format!("{},{}", circuit::name(statement.kind()), params.name);
    let (values, assigned) = cpu(|| assign(statement, witness).expect("an honest witness"));
    let blinding = Blinding::from_random(&[3; 128]);
    let ((proof, took), wall) =
        timed(|| cpu(|| create(key, matrices, &values, &blinding).expect("a key of this circuit")));
    // What is proven is `ark-groth16` itself; beside it stands what comes before.
    table.time(
        &format!("prove::assign/{name}"),
        assigned,
        Some(("proof", took.mul_f64(0.02))),
        "<= 2 % of the proof",
    );
    table.time(
        &format!("prove::create/{name}"),
        took,
        None,
        if params.sector_height == 4 { "<= 2 s on two cores" } else { "" },
    );
    table.note(format!("prove::create/{name}: {:.1} s wall", wall.as_secs_f64()));
    (statement.clone(), proof)
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
    let ((sectors, took), wall) = timed(|| cpu(|| seal_some(params.sector_height, 1)));
    table.time("seal::seal_all/height=8,lanes=1", took, None, "");
    table.note(format!("a sector of 512 MiB sealed in {:.0} s wall", wall.as_secs_f64()));
    prove(table, &params, sectors);
}
