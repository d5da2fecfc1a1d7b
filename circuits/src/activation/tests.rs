use ark_ff::Field;

use super::*;
use crate::circuit;
use crate::testing::{activation, dev};
use hpips_proofs::CircuitKind;

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
fn labels_are_checked_even_where_commitments_agree() {
    // A sector whose trees hold wrong labels: everything opens, but a label is not its parents' hash.
    let (statement, honest) = activation(dev(), 4);
    for (what, rule) in [(0, "L1 is the hash"), (1, "K is the hash")] {
        let mut witness = honest.clone();
        let opening = &mut witness.challenges[0];
        let own = &mut opening.columns[0];
        if what == 0 {
            own.first += Fr::ONE;
        } else {
            own.second += Fr::ONE;
        }
        let challenge = statement.challenges().unwrap()[0];
        // Replace the sector's commitments by those that follow from the wrong label.
        let own = &opening.columns[0];
        let path = |p: &Path, leaf, index| p.root(leaf, u64::from(index)).unwrap();
        opening.comm_c = path(&own.path, label::column(own.first, own.second), challenge.node);
        opening.record.parts.comm_r = path(&opening.replica_path, own.second, challenge.node);
        let leaf = label::batch_leaf(opening.record.parts.commitment(), opening.comm_c);
        let root = path(&opening.record.path, leaf, challenge.record.get().into());

        let mut assigner = Assigner::default();
        let mut inputs = statement.public_inputs().unwrap();
        inputs[0] = root;
        // The other nine columns no longer open in the new `comm_c`; what is looked for is the label's row.
        synthesize(&mut assigner, &statement.shape, inputs, &[challenge], &witness.challenges);
        let values = assigner.into_values();
        let matrices = circuit::matrices(CircuitKind::Activation, &dev());
        let rows = matrices.violated(&values);
        // The nine openings and the label; when the label's column changes, so does what its children hash.
        assert_eq!(rows.len(), 10, "{rule}: {rows:?}");
    }
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
