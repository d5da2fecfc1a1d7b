//! Honest statements and witnesses for tests, made from the definitions rather than by the sealer.

use std::convert::Infallible;
use std::sync::LazyLock;

use ark_ff::AdditiveGroup;
use hpips_crypto::merkle::{Path, Tree};
use hpips_crypto::{Fr, field};
use hpips_proofs::challenge::{challenge_digest, pack_activation};
use hpips_proofs::graph::{DRG_PARENTS_SECOND, Graph};
use hpips_proofs::label::{self, Layer};
use hpips_proofs::record::pad_root;
use hpips_proofs::shape::LEAF_DEPTH;
use hpips_proofs::vanilla::activation::{self, SectorLabels};
use hpips_proofs::vanilla::{ActivationWitness, ColumnOpening, LeafOpening, RecordOpening, window};
use hpips_proofs::{
    ActivationChallenge, ActivationStatement, Beacon, CircuitKind, DataExtent, Record, RecordLayout,
    SealedSector, SectorId, SetTree, Shape, VanillaActivation, VanillaWindow, WindowStatement, WindowTerms,
    batch_root,
};
use hpips_types::{AccountId, Blake3Hash, ChainId, NetworkParams, RecordIndex, SetId, WindowIndex};

use crate::matrices::Matrices;
use crate::{CircuitId, ProvingKey, StoredKey, circuit, insecure_key};

pub(crate) const PROVIDER: AccountId = AccountId::new([1; 32]);

pub(crate) fn dev() -> Shape {
    Shape::of(&NetworkParams::dev()).unwrap()
}

pub(crate) fn number(name: &str, index: u64) -> Fr {
    field::from_hash("hpips/test/circuits/v1", &[name.as_bytes(), &index.to_le_bytes()])
}

fn numbers(name: &str, count: u64) -> Vec<Fr> {
    (0..count).map(|i| number(name, i)).collect()
}

fn beacon(seed: u8) -> Beacon {
    Beacon::new(Blake3Hash::new([seed; 32]))
}

/// A set of two sealed records, a bundle of two pieces and a gap, and the witness of one window.
pub(crate) fn window(shape: Shape, seed: u8) -> (WindowStatement, VanillaWindow) {
    let nodes = u64::from(shape.nodes());
    let extents = vec![DataExtent { offset: 0, bytes: 100 }, DataExtent { offset: 64, bytes: 500 * 31 }];
    let trees = [
        Some(Tree::build(&numbers("first", nodes), LEAF_DEPTH)),
        Some(Tree::build(&numbers("bundle", 64 + 512), LEAF_DEPTH)),
        None,
        Some(Tree::build(&numbers("second", nodes), LEAF_DEPTH)),
    ];
    let root = |i: usize| trees[i].as_ref().unwrap().root().into();
    let records = [
        Record::Sealed { replica_id: number("rid", 0).into(), comm_r: root(0) },
        Record::Bundle { root: root(1) },
        Record::Empty,
        Record::Sealed { replica_id: number("rid", 1).into(), comm_r: root(3) },
    ];
    let layouts =
        vec![RecordLayout::Sealed, RecordLayout::Bundle(extents), RecordLayout::Empty, RecordLayout::Sealed];
    let tree = SetTree::from_records(&shape, &records).unwrap();
    let terms = WindowTerms {
        shape,
        network: ChainId::new([9; 32]),
        set: SetId { provider: PROVIDER, number: 3 },
        payee: PROVIDER,
        window: WindowIndex::new(77),
        set_root: tree.root(),
        layouts,
        beacon: beacon(seed),
        entry: None,
    };
    let open = |challenge: &hpips_proofs::WindowChallenge| {
        let tree = trees[usize::from(challenge.record.get())].as_ref().unwrap();
        let leaf = u64::from(challenge.leaf);
        Ok::<_, Infallible>(LeafOpening { leaf: tree.node(0, leaf), path: tree.open(leaf) })
    };
    let commitment = window::commit(&terms, |challenge| open(challenge).map(|opening| opening.leaf)).unwrap();
    let statement = terms.commit(commitment);
    let witness = window::prove(&statement, &records, &tree, open).unwrap();
    (statement, witness)
}

/// A sector sealed node by node, as the scheme is written down.
struct Sector {
    sealed: SealedSector,
    first: Vec<Fr>,
    second: Vec<Fr>,
    columns: Tree,
    replica: Tree,
}

impl Sector {
    /// `wrong`: a label that is not what the scheme says; all that depends on it follows from the wrong one.
    fn seal(shape: &Shape, number: u64, wrong: Option<(Layer, u32)>) -> Self {
        let id = SectorId { provider: PROVIDER, number, ticket: beacon(200) };
        let graph = Graph::new(shape.sector_height());
        let lane = |layer, node: u32| label::lane_base(id.replica_id(), layer) + Fr::from(node);
        let (mut first, mut second): (Vec<Fr>, Vec<Fr>) = (Vec::new(), Vec::new());
        for node in 0..graph.nodes() {
            let parents =
                graph.parents(node).drg.map(|p| if node == 0 { Fr::ZERO } else { first[p as usize] });
            let error = Fr::from(wrong == Some((Layer::First, node)));
            first.push(label::label_first(lane(Layer::First, node), &parents) + error);
        }
        for node in 0..graph.nodes() {
            let parents = graph.parents(node);
            let drg: [Fr; DRG_PARENTS_SECOND] =
                core::array::from_fn(|i| if node == 0 { Fr::ZERO } else { second[parents.drg[i] as usize] });
            let expander = parents.expander.map(|p| first[p as usize]);
            let error = Fr::from(wrong == Some((Layer::Second, node)));
            second.push(label::label_second(lane(Layer::Second, node), &drg, &expander) + error);
        }
        let columns: Vec<Fr> = first.iter().zip(&second).map(|(a, b)| label::column(*a, *b)).collect();
        let columns = Tree::build(&columns, shape.sector_height());
        let replica = Tree::build(&second, LEAF_DEPTH);
        let comm_k = Tree::build(&second, shape.sector_height()).root();
        assert_eq!(pad_root(comm_k, shape.sector_height()), replica.root());
        let sealed = SealedSector { id, comm_c: columns.root().into(), comm_k: comm_k.into() };
        Self { sealed, first, second, columns, replica }
    }
}

impl SectorLabels for &Sector {
    type Error = Infallible;

    fn column(&self, node: u32) -> Result<ColumnOpening, Infallible> {
        let at = node as usize;
        let path = self.columns.open(node.into());
        Ok(ColumnOpening { first: self.first[at], second: self.second[at], path })
    }

    fn replica_path(&self, node: u32) -> Result<Path, Infallible> {
        Ok(self.replica.open(node.into()))
    }
}

/// A batch of two sectors and the witness of its last partition.
pub(crate) fn activation(shape: Shape, seed: u8) -> (ActivationStatement, VanillaActivation) {
    let sectors = [5, 6].map(|number| Sector::seal(&shape, number, None));
    let sealed: Vec<SealedSector> = sectors.iter().map(|sector| sector.sealed).collect();
    let statement = ActivationStatement {
        shape,
        network: ChainId::new([9; 32]),
        set: SetId { provider: PROVIDER, number: 3 },
        payee: PROVIDER,
        batch: 12,
        batch_root: batch_root(&shape, &sealed).unwrap(),
        sectors: 2,
        beacon: beacon(seed),
        partition: shape.activation_partitions() - 1,
    };
    let witness = activation::prove(&statement, &sealed, |i| sectors.get(i)).unwrap();
    (statement, witness)
}

/// One challenge on a node, all of whose openings are right, in a sector with one wrong label: the public
/// inputs, the challenge and its witness.
pub(crate) fn forged(
    shape: &Shape,
    wrong: (Layer, u32),
    node: u32,
) -> ([Fr; 3], ActivationChallenge, ActivationWitness) {
    let sector = Sector::seal(shape, 5, Some(wrong));
    let challenge = ActivationChallenge {
        record: RecordIndex::ZERO,
        node,
        parents: Graph::new(shape.sector_height()).parents(node),
    };
    let tree = Tree::build(&[sector.sealed.batch_leaf(shape)], shape.set_depth());
    let labels = &sector;
    let witness = ActivationWitness {
        record: RecordOpening {
            parts: sector.sealed.record(shape).parts(shape).unwrap(),
            path: tree.open(0),
        },
        comm_c: sector.columns.root(),
        columns: challenge.columns().map(|node| labels.column(node).unwrap()),
        replica_path: labels.replica_path(node).unwrap(),
    };
    let digest = challenge_digest(&pack_activation(shape, &[challenge]));
    ([tree.root(), digest, number("tag", 0)], challenge, witness)
}

/// The insecure key of a circuit at `dev`, as a file.
pub(crate) fn key_file(id: CircuitId, matrices: &Matrices) -> Vec<u8> {
    let mut file = Vec::new();
    insecure_key(id, matrices, &NetworkParams::dev(), &mut file).unwrap();
    file
}

/// The same, ready to prove.
pub(crate) fn key(id: CircuitId, matrices: &Matrices) -> StoredKey<Vec<u8>> {
    StoredKey::open(key_file(id, matrices), id, &NetworkParams::dev()).unwrap()
}

/// A circuit at `dev` parameters with everything to prove it, made once for all tests.
pub(crate) struct Ready {
    pub(crate) matrices: Matrices,
    pub(crate) file: Vec<u8>,
    pub(crate) key: StoredKey<Vec<u8>>,
}

impl Ready {
    /// The key as ceremonies have it.
    pub(crate) fn whole(&self) -> ProvingKey {
        ProvingKey::from_bytes(&self.file, self.key.of().circuit, &NetworkParams::dev()).unwrap()
    }
}

pub(crate) fn ready(kind: CircuitKind) -> &'static Ready {
    static WINDOW: LazyLock<Ready> = LazyLock::new(|| make(CircuitKind::Window));
    static ACTIVATION: LazyLock<Ready> = LazyLock::new(|| make(CircuitKind::Activation));
    match kind {
        CircuitKind::Window => &WINDOW,
        CircuitKind::Activation => &ACTIVATION,
    }
}

fn make(kind: CircuitKind) -> Ready {
    let started = std::time::Instant::now();
    let matrices = circuit::matrices(kind, &dev());
    let recorded = started.elapsed();
    let id = circuit::id(kind, &dev());
    let file = key_file(id, &matrices);
    println!(
        "{}: {} constraints, {} nonzeros, recorded in {recorded:?}, with key in {:?}",
        circuit::name(kind),
        matrices.constraints(),
        matrices.nonzeros(),
        started.elapsed()
    );
    let key = StoredKey::open(file.clone(), id, &NetworkParams::dev()).unwrap();
    Ready { matrices, file, key }
}
