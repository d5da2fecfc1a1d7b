use ark_ff::Field;

use super::*;
use crate::circuit;
use crate::testing::{dev, window};
use hpips_proofs::CircuitKind;

/// `dev`, and a shape whose challenges fill more than one packed element and one group of the sponge.
fn shapes() -> [Shape; 2] {
    [dev(), Shape::new(2, 4, 9, 1, 1).unwrap()]
}

#[test]
fn an_honest_witness_satisfies_exactly_the_constraints_counted() {
    for shape in shapes() {
        let (statement, witness) = window(shape, 1);
        assert_eq!(witness.check_native(&statement), Ok(()));
        let values = assign(&statement, &witness).unwrap();
        assert_eq!(values[1..=INPUTS], statement.public_inputs().unwrap());
        let matrices = circuit::matrices(CircuitKind::Window, &shape);
        assert_eq!(matrices.constraints(), constraints(&shape));
        assert_eq!(matrices.inputs(), CircuitKind::Window.inputs());
        assert_eq!(values.len(), matrices.variables());
        assert_eq!(matrices.first_violated(&values), None);
    }
    assert_eq!(constraints(&dev()), 12_714);
    assert_eq!(constraints(&Shape::of(&hpips_types::NetworkParams::main()).unwrap()), 518_928);
}

#[test]
fn no_variable_can_change_alone() {
    let (statement, witness) = window(dev(), 2);
    let values = assign(&statement, &witness).unwrap();
    let matrices = circuit::matrices(CircuitKind::Window, &dev());
    assert_eq!(matrices.loose_variables(&values), Vec::<usize>::new());
}

fn refused(name: &str, statement: &WindowStatement, witness: &VanillaWindow) {
    assert!(witness.check_native(statement).is_err(), "native accepts: {name}");
    match assign(statement, witness) {
        Err(AssignError::Unsatisfied(error)) => assert!(!error.rule.is_empty()),
        other => panic!("{name}: {:?}", other.map(|values| values.len())),
    }
}

#[test]
fn every_part_of_the_witness_matters() {
    for shape in shapes() {
        let (statement, honest) = window(shape, 3);
        for challenge in 0..honest.challenges.len() {
            let flip = |name: &str, change: &dyn Fn(&mut WindowWitness)| {
                let mut witness = honest.clone();
                change(&mut witness.challenges[challenge]);
                refused(&format!("{name} of challenge {challenge}"), &statement, &witness);
            };
            flip("leaf", &|w| w.leaf.leaf += Fr::ONE);
            flip("comm_d", &|w| w.record.parts.comm_d += Fr::ONE);
            flip("rid", &|w| w.record.parts.rid += Fr::ONE);
            flip("meta", &|w| w.record.parts.meta += Fr::ONE);
            for level in 0..usize::from(LEAF_DEPTH) {
                for sibling in 0..7 {
                    flip("leaf path", &|w| w.leaf.path.siblings[level][sibling] += Fr::ONE);
                }
            }
            for level in 0..usize::from(shape.set_depth()) {
                for sibling in 0..7 {
                    flip("record path", &|w| w.record.path.siblings[level][sibling] += Fr::ONE);
                }
            }
        }
        let mut swapped = honest.clone();
        swapped.challenges.swap(0, 1);
        refused("order", &statement, &swapped);
    }
}

#[test]
fn comm_r_is_computed_not_believed() {
    let (statement, mut witness) = window(dev(), 4);
    let honest = assign(&statement, &witness).unwrap();
    witness.challenges[0].record.parts.comm_r += Fr::ONE;
    assert!(witness.check_native(&statement).is_err());
    assert_eq!(assign(&statement, &witness).unwrap(), honest);
}

#[test]
fn every_public_input_matters() {
    let (statement, witness) = window(dev(), 5);
    let matrices = circuit::matrices(CircuitKind::Window, &dev());
    let values = assign(&statement, &witness).unwrap();
    for input in 1..=INPUTS {
        let mut values = values.clone();
        values[input] += Fr::ONE;
        assert!(matrices.first_violated(&values).is_some(), "input {input}");
    }
    let mut other = statement.clone();
    other.terms.set_root = Fr::ONE.into();
    refused("set root", &other, &witness);
    let mut other = statement.clone();
    other.leaf_commitment = Fr::ONE.into();
    refused("leaf commitment", &other, &witness);
    let mut other = statement;
    other.terms.window = other.terms.window.next();
    refused("challenges of another window", &other, &witness);
}

#[test]
fn a_witness_of_another_form_is_refused_without_panic() {
    let (statement, honest) = window(dev(), 6);
    let mut fewer = honest.clone();
    fewer.challenges.pop();
    assert_eq!(assign(&statement, &fewer), Err(AssignError::Count { got: 2, want: 3 }));
    let mut short = honest.clone();
    short.challenges[1].leaf.path.siblings.pop();
    assert_eq!(assign(&statement, &short), Err(AssignError::Depth { index: 1, got: 7, want: 8 }));
    let mut long = honest;
    long.challenges[2].record.path.siblings.push([Fr::ONE; 7]);
    assert_eq!(assign(&statement, &long), Err(AssignError::Depth { index: 2, got: 3, want: 2 }));
}
