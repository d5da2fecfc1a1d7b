use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ark_ff::Field;
use hpips_crypto::Fr;

use super::*;
use crate::queue::Priority;
use crate::sample::Sample;

const WINDOW: Order = Order::whenever(Priority::Window);

fn config(dir: &Path) -> Config {
    Config::new(dir).threads(NonZeroUsize::new(2).unwrap())
}

fn small() -> NetworkParams {
    NetworkParams { sector_height: 2, set_depth: 1, window_challenges: 1, ..NetworkParams::dev() }
}

fn sample(params: &NetworkParams) -> Sample {
    Sample::seal(Shape::of(params).unwrap(), |_| true).unwrap()
}

/// One test, so that the keys of the `dev` network are made once.
#[test]
fn statements_of_the_dev_network_are_proven() {
    let dir = tempfile::tempdir().unwrap();
    let params = NetworkParams::dev();
    let started = Instant::now();
    let prover = Prover::open(config(dir.path()), &params).unwrap();
    println!("both dev keys made in {:?}", started.elapsed());
    for file in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        println!("{}: {} bytes", file.file_name().display(), file.metadata().unwrap().len());
    }
    let started = Instant::now();
    let verifier = open_verifier(&config(dir.path()), &params).unwrap();
    println!("verifier opened in {:?}", started.elapsed());

    let sample = sample(&params);
    let items = [
        ("activation", sample.activation(2)),
        ("window", sample.window(3)),
        ("window again", sample.window(4)),
    ];
    let prove = |(statement, witness): &(Statement, Witness)| {
        prover.prove(statement.clone(), witness.clone(), WINDOW)
    };
    let proven: Vec<(Statement, ProofBytes)> = items
        .iter()
        .map(|(name, item)| {
            let started = Instant::now();
            let proof = prove(item).unwrap();
            println!("{name} proven in {:?}", started.elapsed());
            (item.0.clone(), proof)
        })
        .collect();
    // A verifier that read the files agrees with the one that came with the keys.
    assert_eq!(verifier.verify(&proven), [true; 3]);
    assert_eq!(prover.verifier().verify(&proven), [true; 3]);
    let crossed = [(proven[1].0.clone(), proven[2].1), (proven[0].0.clone(), proven[1].1)];
    assert_eq!(verifier.verify(&crossed), [false; 2]);
    // Proofs hide their witness: the same twice is not the same proof.
    assert_ne!(prove(&items[1].1).unwrap(), proven[1].1);

    for (_, (statement, witness)) in &items[..2] {
        let mut wrong = witness.clone();
        match &mut wrong {
            Witness::Activation(witness) => witness.challenges[0].columns[3].first += Fr::ONE,
            Witness::Window(witness) => witness.challenges[0].leaf.leaf += Fr::ONE,
        }
        let started = Instant::now();
        let refused = prove(&(statement.clone(), wrong));
        assert!(matches!(refused, Err(ProveError::Witness(AssignError::Unsatisfied(_)))), "{refused:?}");
        println!("wrong witness refused in {:?}", started.elapsed());
    }
    let refused = prove(&(items[0].1.0.clone(), items[1].1.1.clone()));
    assert!(matches!(refused, Err(ProveError::Witness(AssignError::OtherCircuit))), "{refused:?}");
    let refused = prove(&self::sample(&small()).window(1));
    assert!(matches!(refused, Err(ProveError::Shape)), "{refused:?}");
}

#[test]
fn several_callers_queue() {
    let dir = tempfile::tempdir().unwrap();
    let prover = Prover::open(config(dir.path()), &small()).unwrap();
    let sample = sample(&small());
    let item = |index| if index == 2 { sample.activation(2) } else { sample.window(index) };
    let proven: Vec<(Statement, ProofBytes)> = std::thread::scope(|scope| {
        let prover = &prover;
        let callers: Vec<_> = (0..4)
            .map(|index| {
                let (statement, witness) = item(index);
                scope.spawn(move || (statement.clone(), prover.prove(statement, witness, WINDOW).unwrap()))
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(prover.verifier().verify(&proven), [true; 4]);
    prover.unload();
    let (statement, witness) = item(0);
    prover.prove(statement, witness, WINDOW).unwrap();
}

#[test]
fn parameters_without_circuits_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let params = NetworkParams { window_challenges: 0, ..NetworkParams::dev() };
    let refused = Prover::open(config(dir.path()), &params).err().unwrap();
    assert!(matches!(refused, OpenError::Shape(ShapeError::Challenges(0))), "{refused:?}");
}

#[test]
fn a_proof_that_needs_too_much_memory_is_refused_with_both_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let shape = Shape::of(&small()).unwrap();
    let window = cost::proving_bytes(CircuitKind::Window, &shape);
    let config = Config { memory_bytes: window, ..config(dir.path()) };
    let prover = Prover::open(config, &small()).unwrap();
    let (statement, witness) = sample(&small()).activation(1);
    let refused = prover.prove(statement, witness, WINDOW).unwrap_err();
    let ProveError::Memory { needed, allowed, .. } = refused else { panic!("{refused:?}") };
    assert_eq!((needed, allowed), (cost::proving_bytes(CircuitKind::Activation, &shape), window));
    let text = refused.to_string();
    for bytes in [needed, allowed] {
        assert!(text.contains(&ByteCount::new(bytes).to_short()), "{text}");
    }
    // The smaller circuit fits.
    let (statement, witness) = sample(&small()).window(1);
    prover.prove(statement, witness, WINDOW).unwrap();
}

/// What a backend under test does with a task.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Gives the proof of another statement.
    Lies,
    Fails,
    Panics,
    /// Says that it has begun, and computes nothing before it is told to go on.
    Waits,
}

/// Stands before the processor, or alone.
struct Mock {
    manner: Manner,
    asked: Arc<AtomicUsize>,
    unloaded: Arc<AtomicUsize>,
    lie: ProofBytes,
    began: SyncSender<()>,
    goes_on: Receiver<()>,
}

/// What the test keeps of it.
struct Puppet {
    asked: Arc<AtomicUsize>,
    unloaded: Arc<AtomicUsize>,
    began: Receiver<()>,
    goes_on: SyncSender<()>,
}

impl Mock {
    fn new(manner: Manner, lie: ProofBytes) -> (Self, Puppet) {
        let (asked, unloaded) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (began, has_begun) = sync_channel(8);
        let (go_on, goes_on) = sync_channel(8);
        let (kept, counted) = (Arc::clone(&asked), Arc::clone(&unloaded));
        (
            Self { manner, asked, unloaded, lie, began, goes_on },
            Puppet { asked: kept, unloaded: counted, began: has_begun, goes_on: go_on },
        )
    }
}

impl Backend for Mock {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn load(&mut self, _kind: CircuitKind) -> Result<(), ProveError> {
        Ok(())
    }

    fn prove(
        &mut self,
        _kind: CircuitKind,
        tasks: &[Computation<'_>],
    ) -> Result<Vec<ProofBytes>, ProveError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.manner {
            Manner::Lies => Ok(vec![self.lie; tasks.len()]),
            Manner::Fails => Ok(Vec::new()),
            Manner::Panics => panic!("a defect"),
            Manner::Waits => {
                self.began.send(()).unwrap();
                self.goes_on.recv().unwrap();
                Ok(vec![self.lie; tasks.len()])
            }
        }
    }

    fn unload(&mut self) {
        self.unloaded.fetch_add(1, Ordering::SeqCst);
    }
}

/// A prover with a mock before the processor, or in its place, and a true proof of `sample.window(0)`.
struct Stage {
    prover: Prover,
    sample: Sample,
    puppet: Puppet,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new(manner: Manner, has_processor: bool, jobs_max: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sample = sample(&small());
        let Opened { shape, store, pool, verifier } = Opened::open(&config(dir.path()), &small()).unwrap();
        let (verifier, pool) = (Arc::new(verifier), Arc::new(pool));
        let mut cpu = Cpu::new(shape, store, Arc::clone(&pool));
        let (statement, witness) = sample.window(0);
        let values = assign(&statement, &witness).unwrap();
        let blinding = Blinding::from_random(&[1; 128]);
        let tasks = [Computation { values: &values, blinding: &blinding }];
        let lie = cpu.prove(CircuitKind::Window, &tasks).unwrap()[0];
        let (mock, puppet) = Mock::new(manner, lie);
        let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(mock)];
        if has_processor {
            backends.push(Box::new(cpu));
        }
        let maker = Maker { pool, verifier: Arc::clone(&verifier), backends };
        let config = Config { jobs_max, ..config(dir.path()) };
        let prover = Prover::start(&config, shape, verifier, maker).unwrap();
        Self { prover, sample, puppet, _dir: dir }
    }

    fn submit(&self, seed: u8, order: Order) -> Result<Job, ProveError> {
        let (statement, witness) = self.sample.window(seed);
        self.prover.submit(statement, witness, order)
    }
}

#[test]
fn what_a_backend_says_is_verified_and_the_processor_steps_in() {
    for manner in [Manner::Lies, Manner::Fails, Manner::Panics] {
        let stage = Stage::new(manner, true, 4);
        let (statement, _) = stage.sample.window(1);
        let proof = stage.submit(1, WINDOW).unwrap().wait().unwrap();
        assert_eq!(stage.prover.verifier().verify(&[(statement, proof)]), [true], "{manner:?}");
        assert_eq!(stage.puppet.asked.load(Ordering::SeqCst), 1, "{manner:?}");
        assert_eq!(stage.puppet.unloaded.load(Ordering::SeqCst), 1, "{manner:?}");
    }
}

#[test]
fn without_another_backend_the_caller_is_told_and_the_prover_goes_on() {
    let stage = Stage::new(Manner::Lies, false, 4);
    for _ in 0..2 {
        let refused = stage.submit(1, WINDOW).unwrap().wait();
        assert!(matches!(refused, Err(ProveError::SelfCheck(_))), "{refused:?}");
    }
    // The one statement that the mock's proof is true of.
    stage.submit(0, WINDOW).unwrap().wait().unwrap();
    let stage = Stage::new(Manner::Fails, false, 4);
    let refused = stage.submit(1, WINDOW).unwrap().wait();
    assert!(matches!(refused, Err(ProveError::Count { got: 0 })), "{refused:?}");
    let stage = Stage::new(Manner::Panics, false, 4);
    for _ in 0..2 {
        let refused = stage.submit(1, WINDOW).unwrap().wait();
        assert!(matches!(refused, Err(ProveError::Panicked)), "{refused:?}");
    }
}

#[test]
fn the_queue_is_bounded_ordered_and_watched() {
    let stage = Stage::new(Manner::Waits, false, 2);
    let running = stage.submit(0, WINDOW).unwrap();
    stage.puppet.began.recv().unwrap();
    assert_eq!(running.progress(), Progress::Proving);
    let bench = stage.submit(0, Order::whenever(Priority::Bench)).unwrap();
    assert_eq!(bench.progress(), Progress::Queued { place: 1 });
    let soon = Instant::now() + Duration::from_secs(3_600);
    let window = stage.submit(0, Order::before(Priority::Window, soon)).unwrap();
    assert_eq!(bench.wait_for_change(Progress::Queued { place: 1 }), Progress::Queued { place: 2 });
    let refused = stage.submit(0, WINDOW).err();
    assert!(matches!(refused, Some(ProveError::Full { jobs_max: 2 })), "{refused:?}");

    stage.puppet.goes_on.send(()).unwrap();
    running.wait().unwrap();
    stage.puppet.began.recv().unwrap();
    // The window came last and is first.
    assert_eq!((window.progress(), bench.progress()), (Progress::Proving, Progress::Queued { place: 1 }));
    stage.puppet.goes_on.send(()).unwrap();
    window.wait().unwrap();
    stage.puppet.began.recv().unwrap();
    stage.puppet.goes_on.send(()).unwrap();
    let mut seen = Progress::Queued { place: 1 };
    while seen != Progress::Done {
        seen = bench.wait_for_change(seen);
    }
    bench.wait().unwrap();
}

#[test]
fn a_job_that_is_given_up_or_too_late_is_not_computed() {
    let stage = Stage::new(Manner::Waits, false, 4);
    let refused = stage.submit(0, Order::before(Priority::Window, Instant::now())).err();
    assert!(matches!(refused, Some(ProveError::Late)), "{refused:?}");

    let running = stage.submit(0, WINDOW).unwrap();
    stage.puppet.began.recv().unwrap();
    // Told at its deadline, while the other is still computed.
    let late = stage.submit(0, Order::before(Priority::Window, Instant::now() + Duration::from_millis(500)));
    let refused = late.unwrap().wait();
    assert!(matches!(refused, Err(ProveError::Late)), "{refused:?}");
    let waiting = stage.submit(0, WINDOW).unwrap();
    let next = stage.submit(0, WINDOW).unwrap();
    assert_eq!(next.progress(), Progress::Queued { place: 2 });
    waiting.cancel();
    assert_eq!(next.progress(), Progress::Queued { place: 1 });
    running.cancel();
    stage.puppet.goes_on.send(()).unwrap();
    // The one that was running is given up before it is checked, and the next one begins.
    stage.puppet.began.recv().unwrap();
    stage.puppet.goes_on.send(()).unwrap();
    next.wait().unwrap();
    assert_eq!(stage.puppet.asked.load(Ordering::SeqCst), 2);
}

#[test]
fn stopping_answers_everybody_at_once() {
    let stage = Stage::new(Manner::Waits, false, 4);
    let running = stage.submit(0, WINDOW).unwrap();
    stage.puppet.began.recv().unwrap();
    let waiting = stage.submit(0, WINDOW).unwrap();
    stage.prover.stop();
    for job in [running, waiting] {
        let refused = job.wait();
        assert!(matches!(refused, Err(ProveError::Stopped)), "{refused:?}");
    }
    let refused = stage.submit(0, WINDOW).err();
    assert!(matches!(refused, Some(ProveError::Stopped)), "{refused:?}");
    stage.puppet.goes_on.send(()).unwrap();
}
