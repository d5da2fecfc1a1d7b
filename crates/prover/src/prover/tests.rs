use std::num::NonZeroUsize;
use std::time::Instant;

use ark_ff::Field;
use hpips_crypto::Fr;
use hpips_proofs::seal::{SealedLabels, seal};
use hpips_proofs::vanilla::{LeafOpening, activation, window};
use hpips_proofs::{
    ActivationStatement, Beacon, KeptLabels, RecordLayout, SectorId, SetTree, WindowTerms, batch_root,
};
use hpips_types::{AccountId, Blake3Hash, ChainId, SetId, WindowIndex};

use super::*;

const PROVIDER: AccountId = AccountId::new([8; 32]);
const SET: SetId = SetId { provider: PROVIDER, number: 0 };
const NETWORK: ChainId = ChainId::new([6; 32]);

fn beacon(seed: u8) -> Beacon {
    Beacon::new(Blake3Hash::new([seed; 32]))
}

/// One sealed sector: the smallest thing both statements can be about.
fn sector(shape: &Shape) -> SealedLabels {
    let id = SectorId { provider: PROVIDER, number: 1, ticket: beacon(1) };
    seal(shape.sector_height(), id, |_| true).unwrap()
}

fn activation_of(shape: Shape, labels: &SealedLabels) -> (Statement, Witness) {
    let sectors = [labels.sealed.sector];
    let statement = ActivationStatement {
        shape,
        network: NETWORK,
        set: SET,
        payee: PROVIDER,
        batch: 1,
        batch_root: batch_root(&shape, &sectors).unwrap(),
        sectors: 1,
        beacon: beacon(2),
        partition: 0,
    };
    let SealedLabels { sealed, first, second } = labels;
    let witness =
        activation::prove(&statement, &sectors, |_| Some(KeptLabels { sealed, first, second })).unwrap();
    (Statement::Activation(statement), witness.into())
}

fn window_of(shape: Shape, labels: &SealedLabels, seed: u8) -> (Statement, Witness) {
    let records = [labels.sealed.sector.record(&shape)];
    let tree = SetTree::from_records(&shape, &records).unwrap();
    let terms = WindowTerms {
        shape,
        network: NETWORK,
        set: SET,
        payee: PROVIDER,
        window: WindowIndex::new(4),
        set_root: tree.root(),
        layouts: vec![RecordLayout::Sealed],
        beacon: beacon(seed),
        entry: None,
    };
    let open = |challenge: &hpips_proofs::WindowChallenge| -> Result<LeafOpening, &'static str> {
        let replica = &labels.sealed.replica;
        let group = replica.group(challenge.leaf);
        let bytes =
            &labels.second[usize::try_from(group.start).unwrap()..usize::try_from(group.end).unwrap()];
        replica.open(challenge.leaf, bytes).ok_or("damaged")
    };
    let commitment = window::commit(&terms, |challenge| open(challenge).map(|opening| opening.leaf)).unwrap();
    let statement = terms.commit(commitment);
    let witness = window::prove(&statement, &records, &tree, open).unwrap();
    (Statement::Window(statement), witness.into())
}

fn config(dir: &Path) -> Config {
    Config::new(dir).threads(NonZeroUsize::new(2).unwrap())
}

/// One test, so that the keys of the `dev` network are made once.
#[test]
fn statements_of_the_dev_network_are_proven() {
    let dir = tempfile::tempdir().unwrap();
    let params = NetworkParams::dev();
    let shape = Shape::of(&params).unwrap();
    let started = Instant::now();
    let prover = Prover::open(config(dir.path()), &params).unwrap();
    println!("both dev keys made in {:?}", started.elapsed());
    for file in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        println!("{}: {} bytes", file.file_name().display(), file.metadata().unwrap().len());
    }
    let started = Instant::now();
    let verifier = open_verifier(&config(dir.path()), &params).unwrap();
    println!("verifier opened in {:?}", started.elapsed());

    let labels = sector(&shape);
    let items = [
        ("activation", activation_of(shape, &labels)),
        ("window", window_of(shape, &labels, 3)),
        ("window again", window_of(shape, &labels, 4)),
    ];
    let proven: Vec<(Statement, ProofBytes)> = items
        .iter()
        .map(|(name, (statement, witness))| {
            let started = Instant::now();
            let proof = prover.prove(statement, witness).unwrap();
            println!("{name} proven in {:?}", started.elapsed());
            (statement.clone(), proof)
        })
        .collect();
    // A verifier that read the files agrees with the one that came with the keys.
    assert_eq!(verifier.verify(&proven), [true; 3]);
    assert_eq!(prover.verifier().verify(&proven), [true; 3]);
    let crossed = [(proven[1].0.clone(), proven[2].1), (proven[0].0.clone(), proven[1].1)];
    assert_eq!(verifier.verify(&crossed), [false; 2]);
    // Proofs hide their witness: the same twice is not the same proof.
    let (statement, witness) = &items[1].1;
    assert_ne!(prover.prove(statement, witness).unwrap(), proven[1].1);

    for (_, (statement, witness)) in &items[..2] {
        let mut wrong = witness.clone();
        match &mut wrong {
            Witness::Activation(witness) => witness.challenges[0].columns[3].first += Fr::ONE,
            Witness::Window(witness) => witness.challenges[0].leaf.leaf += Fr::ONE,
        }
        let started = Instant::now();
        let refused = prover.prove(statement, &wrong);
        assert!(matches!(refused, Err(ProveError::Witness(AssignError::Unsatisfied(_)))), "{refused:?}");
        println!("wrong witness refused in {:?}", started.elapsed());
    }
    let refused = prover.prove(&items[0].1.0, &items[1].1.1);
    assert!(matches!(refused, Err(ProveError::Witness(AssignError::OtherCircuit))), "{refused:?}");
    let small = small();
    let small_shape = Shape::of(&small).unwrap();
    let (statement, witness) = window_of(small_shape, &sector(&small_shape), 1);
    let refused = prover.prove(&statement, &witness);
    assert!(matches!(refused, Err(ProveError::Shape)), "{refused:?}");
}

fn small() -> NetworkParams {
    NetworkParams { sector_height: 2, set_depth: 1, window_challenges: 1, ..NetworkParams::dev() }
}

#[test]
fn several_callers_queue() {
    let dir = tempfile::tempdir().unwrap();
    let params = small();
    let shape = Shape::of(&params).unwrap();
    let prover = Prover::open(config(dir.path()), &params).unwrap();
    let labels = sector(&shape);
    let items: Vec<(Statement, Witness)> = (0..4)
        .map(|i| if i == 2 { activation_of(shape, &labels) } else { window_of(shape, &labels, i) })
        .collect();
    let proven: Vec<(Statement, ProofBytes)> = std::thread::scope(|scope| {
        let prover = &prover;
        let callers: Vec<_> = items
            .iter()
            .map(|(statement, witness)| {
                scope.spawn(move || (statement.clone(), prover.prove(statement, witness).unwrap()))
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(prover.verifier().verify(&proven), [true; 4]);
    prover.unload();
    let (statement, witness) = &items[0];
    prover.prove(statement, witness).unwrap();
}

#[test]
fn parameters_without_circuits_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let params = NetworkParams { window_challenges: 0, ..NetworkParams::dev() };
    let refused = Prover::open(config(dir.path()), &params).err().unwrap();
    assert!(matches!(refused, OpenError::Shape(ShapeError::Challenges(0))), "{refused:?}");
}
