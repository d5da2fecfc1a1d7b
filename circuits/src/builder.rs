//! Rank-1 constraints, written once and run twice.
//!
//! A circuit is a function over a [`Builder`]. Run with a [`Recorder`] it leaves the matrices, without any
//! value; run with an [`Assigner`] it leaves the values, without any linear combination. Since both runs
//! are the same code, row `i` of the matrices speaks about variable `j` of the assignment by construction.
//! The second run is plain field arithmetic: milliseconds for a circuit that takes seconds to prove.
//!
//! A constraint is `a * b = c` over linear combinations of variables. Variable 0 is the constant one, the
//! public inputs follow in their documented order, then the witness in order of allocation.

use hpips_crypto::Fr;

use ark_ff::{AdditiveGroup, Field};

use crate::matrices::{Matrices, Rows};

/// What a circuit is written against.
///
/// Implementations may rely on [`inputs`](Self::inputs) being called once, before any other allocation.
pub trait Builder {
    /// A linear combination of variables: the operand of constraints.
    type Number: Clone + core::fmt::Debug;

    /// Allocates the public inputs.
    ///
    /// # Panics
    /// When anything was allocated before: the order of variables is part of a circuit's identity.
    fn inputs<const N: usize>(&mut self, values: [Fr; N]) -> [Self::Number; N];

    /// Allocates a witness variable; nothing constrains it yet.
    fn witness(&mut self, value: Fr) -> Self::Number;

    /// A constant, free of cost.
    fn constant(&self, value: Fr) -> Self::Number;

    /// `a + factor * b`, free of cost.
    fn add_scaled(&self, a: &Self::Number, b: &Self::Number, factor: Fr) -> Self::Number;

    /// `a + b`, free of cost.
    fn add(&self, a: &Self::Number, b: &Self::Number) -> Self::Number;

    /// `factor * a`, free of cost.
    fn scale(&self, a: &Self::Number, factor: Fr) -> Self::Number;

    /// The value in this run, zero while recording. Only for computing further witness values natively: a
    /// circuit's shape must not depend on it.
    fn value(&self, a: &Self::Number) -> Fr;

    /// One constraint: `a * b = c`. `rule` says in words what the prover breaks when it does not hold.
    fn enforce(&mut self, rule: &'static str, a: &Self::Number, b: &Self::Number, c: &Self::Number);

    /// `a - b`, free of cost.
    fn sub(&self, a: &Self::Number, b: &Self::Number) -> Self::Number {
        self.add_scaled(a, b, -Fr::ONE)
    }

    /// `a + value`, free of cost.
    fn add_constant(&self, a: &Self::Number, value: Fr) -> Self::Number {
        self.add(a, &self.constant(value))
    }

    /// `a * b` as a new variable: one constraint.
    fn mul(&mut self, rule: &'static str, a: &Self::Number, b: &Self::Number) -> Self::Number {
        let product = self.witness(self.value(a) * self.value(b));
        self.enforce(rule, a, b, &product);
        product
    }

    /// `a = b`: one constraint, `a * 1 = b`.
    fn equal(&mut self, rule: &'static str, a: &Self::Number, b: &Self::Number) {
        let one = self.constant(Fr::ONE);
        self.enforce(rule, a, &one, b);
    }

    /// A witness that is zero or one: one constraint, `bit * (bit - 1) = 0`.
    fn bit(&mut self, value: bool) -> Self::Number {
        let bit = self.witness(Fr::from(value));
        let less_one = self.add_constant(&bit, -Fr::ONE);
        let zero = self.constant(Fr::ZERO);
        self.enforce("a bit is zero or one", &bit, &less_one, &zero);
        bit
    }
}

/// A linear combination: `(variable, factor)` by ascending variable, no factor zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linear(Vec<(usize, Fr)>);

/// Variable 0: the constant one.
const ONE: usize = 0;

impl Linear {
    fn variable(index: usize) -> Self {
        Self(vec![(index, Fr::ONE)])
    }

    /// `self + factor * other`, merged in order.
    fn plus(&self, other: &Self, factor: Fr) -> Self {
        if factor == Fr::ZERO {
            return self.clone();
        }
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut sum = Vec::with_capacity(self.0.len() + other.0.len());
        loop {
            match (left.peek(), right.peek()) {
                (Some(&&(i, a)), Some(&&(j, b))) if i == j => {
                    let total = a + b * factor;
                    if total != Fr::ZERO {
                        sum.push((i, total));
                    }
                    left.next();
                    right.next();
                }
                (Some(&&(i, _)), Some(&&(j, b))) if j < i => {
                    sum.push((j, b * factor));
                    right.next();
                }
                (Some(&&term), _) => {
                    sum.push(term);
                    left.next();
                }
                (None, Some(&&(j, b))) => {
                    sum.push((j, b * factor));
                    right.next();
                }
                (None, None) => return Self(sum),
            }
        }
    }
}

/// Records constraints; ignores values.
#[derive(Debug, Default)]
pub struct Recorder {
    inputs: usize,
    witnesses: usize,
    rows: Rows,
}

impl Recorder {
    /// The matrices of everything enforced so far.
    pub fn finish(self) -> Matrices {
        self.rows.finish(self.inputs, self.witnesses)
    }
}

impl Builder for Recorder {
    type Number = Linear;

    fn inputs<const N: usize>(&mut self, _values: [Fr; N]) -> [Linear; N] {
        assert!(self.inputs == 0 && self.witnesses == 0, "inputs are allocated first and once");
        self.inputs = N;
        core::array::from_fn(|i| Linear::variable(ONE + 1 + i))
    }

    fn witness(&mut self, _value: Fr) -> Linear {
        self.witnesses += 1;
        Linear::variable(ONE + self.inputs + self.witnesses)
    }

    fn constant(&self, value: Fr) -> Linear {
        if value == Fr::ZERO { Linear::default() } else { Linear(vec![(ONE, value)]) }
    }

    fn add_scaled(&self, a: &Linear, b: &Linear, factor: Fr) -> Linear {
        a.plus(b, factor)
    }

    fn add(&self, a: &Linear, b: &Linear) -> Linear {
        a.plus(b, Fr::ONE)
    }

    fn scale(&self, a: &Linear, factor: Fr) -> Linear {
        Linear::default().plus(a, factor)
    }

    fn value(&self, _a: &Linear) -> Fr {
        Fr::ZERO
    }

    fn enforce(&mut self, _rule: &'static str, a: &Linear, b: &Linear, c: &Linear) {
        self.rows.push([a, b, c].map(|side| &side.0[..]));
    }
}

/// A constraint that a witness does not satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("constraint {row} does not hold: {rule}")]
pub struct Unsatisfied {
    /// Its row in the matrices.
    pub row: usize,
    /// What it demands.
    pub rule: &'static str,
}

/// Computes the values of all variables and looks whether every constraint holds.
#[derive(Debug)]
pub struct Assigner {
    values: Vec<Fr>,
    inputs: usize,
    constraints: usize,
    violated: Option<Unsatisfied>,
}

impl Default for Assigner {
    fn default() -> Self {
        Self { values: vec![Fr::ONE], inputs: 0, constraints: 0, violated: None }
    }
}

impl Assigner {
    /// All values, whether or not they satisfy the constraints: one, inputs, witness.
    pub fn into_values(self) -> Vec<Fr> {
        self.values
    }

    /// Constraints seen.
    pub fn constraints(&self) -> usize {
        self.constraints
    }

    /// All values: one, inputs, witness.
    ///
    /// # Errors
    /// The first constraint that does not hold.
    pub fn finish(self) -> Result<Vec<Fr>, Unsatisfied> {
        self.violated.map_or(Ok(self.values), Err)
    }
}

impl Builder for Assigner {
    type Number = Fr;

    fn inputs<const N: usize>(&mut self, values: [Fr; N]) -> [Fr; N] {
        assert!(self.inputs == 0 && self.values.len() == 1, "inputs are allocated first and once");
        self.inputs = N;
        self.values.extend(values);
        values
    }

    fn witness(&mut self, value: Fr) -> Fr {
        self.values.push(value);
        value
    }

    fn constant(&self, value: Fr) -> Fr {
        value
    }

    fn add_scaled(&self, a: &Fr, b: &Fr, factor: Fr) -> Fr {
        *a + *b * factor
    }

    fn add(&self, a: &Fr, b: &Fr) -> Fr {
        *a + b
    }

    fn sub(&self, a: &Fr, b: &Fr) -> Fr {
        *a - b
    }

    fn scale(&self, a: &Fr, factor: Fr) -> Fr {
        *a * factor
    }

    fn value(&self, a: &Fr) -> Fr {
        *a
    }

    fn enforce(&mut self, rule: &'static str, a: &Fr, b: &Fr, c: &Fr) {
        if *a * b != *c && self.violated.is_none() {
            self.violated = Some(Unsatisfied { row: self.constraints, rule });
        }
        self.constraints += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x^3 + x + 5 = y` with `y` public.
    fn cubic<B: Builder>(builder: &mut B, x: u64, y: u64) {
        let [y] = builder.inputs([Fr::from(y)]);
        let x = builder.witness(Fr::from(x));
        let square = builder.mul("square", &x, &x);
        let cube = builder.mul("cube", &square, &x);
        let sum = builder.add_constant(&builder.add(&cube, &x), Fr::from(5u64));
        builder.equal("the polynomial has the public value", &sum, &y);
    }

    #[test]
    fn recorded_matrices_and_assigned_values_speak_of_the_same_variables() {
        let mut recorder = Recorder::default();
        cubic(&mut recorder, 0, 0);
        let matrices = recorder.finish();
        assert_eq!((matrices.constraints(), matrices.inputs(), matrices.variables()), (3, 1, 5));

        let mut assigner = Assigner::default();
        cubic(&mut assigner, 3, 35);
        assert_eq!(assigner.constraints(), 3);
        let values = assigner.finish().unwrap();
        assert_eq!(values, [1u64, 35, 3, 9, 27].map(Fr::from));
        assert_eq!(matrices.first_violated(&values), None);

        let mut assigner = Assigner::default();
        cubic(&mut assigner, 4, 35);
        let values = {
            let error = assigner.violated.unwrap();
            assert_eq!(error.row, 2);
            assert!(error.to_string().contains("public value"), "{error}");
            assigner.into_values()
        };
        assert_eq!(matrices.first_violated(&values), Some(2));
    }

    #[test]
    fn linear_combinations_stay_sorted_and_free_of_zeros() {
        let terms = |terms: &[(usize, i64)]| Linear(terms.iter().map(|&(i, k)| (i, Fr::from(k))).collect());
        for (a, b, factor, sum) in [
            (terms(&[]), terms(&[]), 1, terms(&[])),
            (terms(&[(0, 1), (3, 2)]), terms(&[(1, 5)]), 2, terms(&[(0, 1), (1, 10), (3, 2)])),
            (terms(&[(2, 4)]), terms(&[(2, 2), (7, 1)]), -2, terms(&[(7, -2)])),
            (terms(&[(2, 4)]), terms(&[(1, 1)]), 0, terms(&[(2, 4)])),
            (
                terms(&[(5, 1)]),
                terms(&[(0, 1), (1, 1), (5, 1), (6, 1)]),
                1,
                terms(&[(0, 1), (1, 1), (5, 2), (6, 1)]),
            ),
        ] {
            assert_eq!(a.plus(&b, Fr::from(factor)), sum);
        }
    }
}
