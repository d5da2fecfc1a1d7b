use ark_ff::Field;

use super::*;
use crate::circuit;
use crate::testing::{activation, dev, forged};
use hpips_proofs::CircuitKind;
use hpips_proofs::label::Layer;

/// `dev`, and a small sector with several challenges and partitions.
fn shapes() -> [Shape; 2] {
    [dev(), Shape::new(2, 1, 1, 8, 2).unwrap()]
}

#[test]
fn an_honest_witness_satisfies_exactly_the_constraints_counted() {
    for shape in shapes() {
        let (statement, witness) = activation(shape, 1);
        assert_eq!(witness.check_native(&statement), Ok(()));
        let values = assign(&statement, &witness).unwrap();
        assert_eq!(values[1..=INPUTS], statement.public_inputs().unwrap());
        let matrices = circuit::matrices(CircuitKind::Activation, &shape);
        assert_eq!(matrices.constraints(), constraints(&shape));
        assert_eq!(matrices.inputs(), CircuitKind::Activation.inputs());
        assert_eq!(values.len(), matrices.variables());
        assert_eq!(matrices.first_violated(&values), None);
    }
    assert_eq!(constraints(&dev()), 23_134);
    assert_eq!(constraints(&Shape::of(&hpips_types::NetworkParams::main()).unwrap()), 1_039_955);
}

#[test]
fn no_variable_can_change_alone() {
    let (statement, witness) = activation(dev(), 2);
    let values = assign(&statement, &witness).unwrap();
    let matrices = circuit::matrices(CircuitKind::Activation, &dev());
    assert_eq!(matrices.loose_variables(&values), Vec::<usize>::new());
}

fn refused(name: &str, statement: &ActivationStatement, witness: &VanillaActivation) {
    assert!(witness.check_native(statement).is_err(), "native accepts: {name}");
    match assign(statement, witness) {
        Err(AssignError::Unsatisfied(error)) => assert!(!error.rule.is_empty()),
        other => panic!("{name}: {:?}", other.map(|values| values.len())),
    }
}

#[test]
fn every_part_of_the_witness_matters() {
    for shape in shapes() {
        let (statement, honest) = activation(shape, 3);
        for challenge in [0, honest.challenges.len() - 1] {
            let flip = |name: &str, change: &dyn Fn(&mut ActivationWitness)| {
                let mut witness = honest.clone();
                change(&mut witness.challenges[challenge]);
                refused(&format!("{name} of challenge {challenge}"), &statement, &witness);
            };
            flip("comm_c", &|w| w.comm_c += Fr::ONE);
            flip("comm_d", &|w| w.record.parts.comm_d += Fr::ONE);
            flip("rid", &|w| w.record.parts.rid += Fr::ONE);
            flip("meta", &|w| w.record.parts.meta += Fr::ONE);
            for column in 0..COLUMNS {
                flip("L1", &|w| w.columns[column].first += Fr::ONE);
                flip("K", &|w| w.columns[column].second += Fr::ONE);
                for level in 0..usize::from(shape.sector_height()) {
                    flip("column path", &|w| w.columns[column].path.siblings[level][level % 7] += Fr::ONE);
                }
            }
            for level in 0..usize::from(LEAF_DEPTH) {
                for sibling in 0..7 {
                    flip("replica path", &|w| w.replica_path.siblings[level][sibling] += Fr::ONE);
                }
            }
            for level in 0..usize::from(shape.set_depth()) {
                flip("record path", &|w| w.record.path.siblings[level][6] += Fr::ONE);
            }
            flip("columns in another order", &|w| w.columns.swap(1, 9));
        }
    }
}

#[test]
fn a_wrong_label_breaks_its_own_constraint_although_all_commitments_agree() {
    let shape = dev();
    let matrices = circuit::matrices(CircuitKind::Activation, &shape);
    let run = |wrong: (Layer, u32), node: u32| {
        let (inputs, challenge, witness) = forged(&shape, wrong, node);
        let mut assigner = Assigner::default();
        synthesize(&mut assigner, &shape, inputs, &[challenge], &[witness]);
        assigner.finish().map(|values| assert_eq!(matrices.first_violated(&values), None)).map_err(|e| e.rule)
    };
    for node in [1, 2, 77, shape.nodes() - 1] {
        assert_eq!(run((Layer::First, node), node), Err("L1 is the hash of its lane and parents"), "{node}");
        assert_eq!(run((Layer::Second, node), node), Err("K is the hash of its lane and parents"), "{node}");
        // A wrong label elsewhere, even of a parent, is for the challenges on that node.
        assert_eq!(run((Layer::First, node - 1), node), Ok(()), "{node}");
    }
    // Exactly one row breaks: nothing else in the circuit notices.
    let (inputs, challenge, witness) = forged(&shape, (Layer::Second, 9), 9);
    let mut assigner = Assigner::default();
    synthesize(&mut assigner, &shape, inputs, &[challenge], &[witness]);
    assert_eq!(matrices.violated(&assigner.into_values()).len(), 1);
}

#[test]
fn every_public_input_matters() {
    let (statement, witness) = activation(dev(), 5);
    let matrices = circuit::matrices(CircuitKind::Activation, &dev());
    let values = assign(&statement, &witness).unwrap();
    for input in 1..=INPUTS {
        let mut values = values.clone();
        values[input] += Fr::ONE;
        assert!(matrices.first_violated(&values).is_some(), "input {input}");
    }
    let mut other = statement.clone();
    other.batch_root = Fr::ONE.into();
    refused("batch root", &other, &witness);
    let mut other = statement;
    other.batch += 1;
    refused("challenges of another batch", &other, &witness);
}

#[test]
fn a_witness_of_another_form_is_refused_without_panic() {
    let (statement, honest) = activation(dev(), 6);
    let mut none = honest.clone();
    none.challenges.clear();
    assert_eq!(assign(&statement, &none), Err(AssignError::Count { got: 0, want: 1 }));
    let mut short = honest.clone();
    short.challenges[0].columns[9].path.siblings.clear();
    assert_eq!(assign(&statement, &short), Err(AssignError::Depth { index: 0, got: 0, want: 4 }));
    let mut short = honest;
    short.challenges[0].replica_path.siblings.pop();
    assert_eq!(assign(&statement, &short), Err(AssignError::Depth { index: 0, got: 7, want: 8 }));
    let mut impossible = statement;
    impossible.sectors = 0;
    assert!(matches!(assign(&impossible, &short), Err(AssignError::Statement(_))));
}
