//! The constraints of a circuit as sparse matrices: what keys are made from and proofs are computed with.

use hpips_crypto::Fr;
use hpips_types::Blake3Hash;

use ark_ff::{AdditiveGroup, BigInteger, PrimeField};
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, SynthesisError, Variable,
};
use ark_relations::utils::matrix::Matrix;

/// Three matrices `A`, `B`, `C`: a vector of values `z` satisfies row `i` when `(Az)_i * (Bz)_i = (Cz)_i`.
///
/// Columns are variables: the constant one, the public inputs, the witness. They depend on the shape of a
/// circuit only and are made once.
#[derive(Clone, Debug)]
pub struct Matrices {
    rows: [Matrix<Fr>; 3],
    inputs: usize,
    witnesses: usize,
}

impl Matrices {
    pub(crate) fn new(rows: [Matrix<Fr>; 3], inputs: usize, witnesses: usize) -> Self {
        Self { rows, inputs, witnesses }
    }

    /// Rows.
    pub fn constraints(&self) -> usize {
        self.rows[0].len()
    }

    /// Public inputs, the constant one not counted.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Columns: the constant one, the public inputs and the witness.
    pub fn variables(&self) -> usize {
        1 + self.inputs + self.witnesses
    }

    /// Factors that are not zero, in all three matrices: the memory that they take is about 40 bytes each.
    pub fn nonzeros(&self) -> usize {
        self.rows.iter().flatten().map(Vec::len).sum()
    }

    pub(crate) fn rows(&self) -> &[Matrix<Fr>; 3] {
        &self.rows
    }

    /// BLAKE3 over every row in order: what identifies the constraints in key files.
    ///
    /// Hashed are, little-endian, `inputs`, `witnesses` and `constraints` as 64 bits, then for each row and
    /// each of its sides `A`, `B`, `C` the number of terms and, by ascending column, column and factor.
    pub fn hash(&self) -> Blake3Hash {
        let mut hasher = blake3::Hasher::new_derive_key("hpips/circuits/r1cs/v1");
        let number = |hasher: &mut blake3::Hasher, n: usize| {
            hasher.update(&(n as u64).to_le_bytes());
        };
        for n in [self.inputs, self.witnesses, self.constraints()] {
            number(&mut hasher, n);
        }
        for row in 0..self.constraints() {
            for matrix in &self.rows {
                number(&mut hasher, matrix[row].len());
                for (factor, column) in &matrix[row] {
                    number(&mut hasher, *column);
                    hasher.update(&factor.into_bigint().to_bytes_le());
                }
            }
        }
        Blake3Hash::new(*hasher.finalize().as_bytes())
    }

    fn holds(&self, row: usize, values: &[Fr]) -> bool {
        let [a, b, c] = &self.rows;
        let sum = |side: &Matrix<Fr>| {
            side[row].iter().map(|(factor, column)| *factor * values[*column]).sum::<Fr>()
        };
        sum(a) * sum(b) == sum(c)
    }

    /// The first row that these values do not satisfy; the check behind the tests of every circuit.
    ///
    /// # Panics
    /// When the number of values is not [`variables`](Self::variables).
    pub fn first_violated(&self, values: &[Fr]) -> Option<usize> {
        assert_eq!(values.len(), self.variables(), "one value a variable");
        (0..self.constraints()).find(|&row| !self.holds(row, values))
    }

    /// All rows that these values do not satisfy.
    ///
    /// # Panics
    /// When the number of values is not [`variables`](Self::variables).
    pub fn violated(&self, values: &[Fr]) -> Vec<usize> {
        assert_eq!(values.len(), self.variables(), "one value a variable");
        (0..self.constraints()).filter(|&row| !self.holds(row, values)).collect()
    }

    /// Witness variables that can be changed alone without breaking any row. A sound circuit has none.
    ///
    /// # Panics
    /// When the number of values is not [`variables`](Self::variables).
    pub fn loose_variables(&self, values: &[Fr]) -> Vec<usize> {
        assert_eq!(values.len(), self.variables(), "one value a variable");
        let mut touched = vec![Vec::new(); self.variables()];
        for row in 0..self.constraints() {
            for matrix in &self.rows {
                for (_, column) in &matrix[row] {
                    if touched[*column].last() != Some(&row) {
                        touched[*column].push(row);
                    }
                }
            }
        }
        let mut values = values.to_vec();
        let mut loose = Vec::new();
        for column in 1..self.variables() {
            let honest = values[column];
            values[column] += Fr::from(7u64);
            if touched[column].iter().all(|&row| self.holds(row, &values)) {
                loose.push(column);
            }
            values[column] = honest;
        }
        loose
    }
}

/// Hands recorded constraints to the key generator of `ark-groth16`, which wants to synthesize itself.
impl ConstraintSynthesizer<Fr> for &Matrices {
    fn generate_constraints(self, system: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let mut variables = vec![Variable::One];
        for _ in 0..self.inputs {
            variables.push(system.new_input_variable(|| Ok(Fr::ZERO))?);
        }
        for _ in 0..self.witnesses {
            variables.push(system.new_witness_variable(|| Ok(Fr::ZERO))?);
        }
        let side = |terms: &[(Fr, usize)]| {
            LinearCombination(terms.iter().map(|&(factor, column)| (factor, variables[column])).collect())
        };
        let [a, b, c] = &self.rows;
        for row in 0..self.constraints() {
            system.enforce_r1cs_constraint(|| side(&a[row]), || side(&b[row]), || side(&c[row]))?;
        }
        Ok(())
    }
}
