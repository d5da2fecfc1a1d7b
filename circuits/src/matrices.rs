//! The constraints of a circuit as sparse matrices: what keys are made from and proofs are computed with.

use std::collections::HashMap;

use ark_ff::{BigInteger, PrimeField};
use hpips_crypto::Fr;
use hpips_types::Blake3Hash;
use rayon::prelude::*;

/// Three matrices `A`, `B`, `C`: a vector of values `z` satisfies row `i` when `(Az)_i * (Bz)_i = (Cz)_i`.
///
/// Columns are variables: the constant one, the public inputs, the witness. They depend on the shape of a
/// circuit only and are made once.
///
/// Kept compactly, for the largest circuits have tens of millions of factors. An S-box reads each of its sums
/// several times, so a sum is stored once for all rows that lie close together; and there are only a few
/// thousand different factors, all made of Poseidon2's constants, so a term holds the number of its factor.
/// The window circuit of `main` takes 49 MB instead of the 570 MB of its 14 million factors.
#[derive(Clone, Debug)]
pub struct Matrices {
    sums: Sums,
    /// For each matrix the sum that each row is.
    rows: [Vec<u32>; 3],
    inputs: usize,
    witnesses: usize,
}

/// Sums `factor * variable + ...` one after the other.
#[derive(Clone, Debug, Default)]
struct Sums {
    /// Where each ends among the terms.
    ends: Vec<u32>,
    /// The terms' variables, ascending in each sum.
    columns: Vec<u32>,
    /// The terms' factors, as places in the table.
    factors: Vec<u32>,
    /// Every factor once.
    table: Vec<Fr>,
}

impl Sums {
    fn range(&self, sum: usize) -> std::ops::Range<usize> {
        let start = sum.checked_sub(1).map_or(0, |before| self.ends[before]);
        start as usize..self.ends[sum] as usize
    }

    /// The terms of a sum: variable and place of the factor.
    fn terms(&self, sum: u32) -> impl ExactSizeIterator<Item = (usize, usize)> + '_ {
        let range = self.range(sum as usize);
        let (columns, factors) = (&self.columns[range.clone()], &self.factors[range]);
        columns.iter().zip(factors).map(|(&column, &factor)| (column as usize, factor as usize))
    }

    fn value(&self, sum: u32, values: &[Fr]) -> Fr {
        self.terms(sum).map(|(column, factor)| self.table[factor] * values[column]).sum()
    }
}

/// Collects rows into [`Matrices`].
#[derive(Debug, Default)]
pub(crate) struct Rows {
    sums: Sums,
    rows: [Vec<u32>; 3],
    places: HashMap<Fr, u32>,
}

/// Sums that a new one is compared with: as far back as the input of an S-box when its last product reads it.
const RECENT: usize = 4;

impl Rows {
    /// Adds a row: for each matrix `(variable, factor)` by ascending variable.
    ///
    /// # Panics
    /// From 2^32 different terms on, more than any key has.
    pub(crate) fn push(&mut self, sides: [&[(usize, Fr)]; 3]) {
        for (matrix, side) in sides.into_iter().enumerate() {
            let sum = self.sum(side);
            self.rows[matrix].push(sum);
        }
    }

    fn sum(&mut self, terms: &[(usize, Fr)]) -> u32 {
        let sums = &mut self.sums;
        let count = sums.ends.len();
        let known = (count.saturating_sub(RECENT)..count).map(number).find(|&sum| {
            let found = sums.terms(sum);
            found.len() == terms.len() && found.zip(terms).all(|(a, b)| a.0 == b.0 && sums.table[a.1] == b.1)
        });
        if let Some(sum) = known {
            return sum;
        }
        for &(column, factor) in terms {
            let place = *self.places.entry(factor).or_insert_with(|| {
                sums.table.push(factor);
                number(sums.table.len() - 1)
            });
            sums.columns.push(number(column));
            sums.factors.push(place);
        }
        sums.ends.push(number(sums.columns.len()));
        number(count)
    }

    pub(crate) fn finish(self, inputs: usize, witnesses: usize) -> Matrices {
        let Self { mut sums, mut rows, places: _ } = self;
        // What growing left over would stay for as long as the matrices do.
        for list in [&mut sums.ends, &mut sums.columns, &mut sums.factors].into_iter().chain(&mut rows) {
            list.shrink_to_fit();
        }
        Matrices { sums, rows, inputs, witnesses }
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("fewer than 2^32 terms")
}

impl Matrices {
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

    /// Factors that are not zero, in all three matrices.
    pub fn nonzeros(&self) -> usize {
        self.rows.iter().flatten().map(|&sum| self.sums.range(sum as usize).len()).sum()
    }

    /// Bytes of memory that the matrices take.
    pub fn bytes(&self) -> u64 {
        let sums = &self.sums;
        let numbers = sums.ends.len() + 2 * sums.columns.len() + 3 * self.constraints();
        (numbers * size_of::<u32>() + sums.table.len() * size_of::<Fr>()) as u64
    }

    /// Different sums among the sides of all rows; those that lie far apart may be counted twice.
    pub(crate) fn sums(&self) -> usize {
        self.sums.ends.len()
    }

    /// One side of a row, `A`, `B` and `C` being 0, 1 and 2: `(variable, factor)` by ascending variable.
    ///
    /// # Panics
    /// When there is no such matrix or row.
    pub fn row(&self, matrix: usize, row: usize) -> impl ExactSizeIterator<Item = (usize, Fr)> + '_ {
        self.sums.terms(self.rows[matrix][row]).map(|(column, factor)| (column, self.sums.table[factor]))
    }

    /// `Az`, `Bz` and `Cz`, each followed by zeros up to `length` elements.
    ///
    /// # Panics
    /// When there are fewer values than variables.
    pub(crate) fn products(&self, values: &[Fr], length: usize) -> [Vec<Fr>; 3] {
        let sums: Vec<Fr> =
            (0..number(self.sums())).into_par_iter().map(|sum| self.sums.value(sum, values)).collect();
        self.rows.each_ref().map(|rows| {
            let mut products = Vec::with_capacity(length);
            products.extend(rows.iter().map(|&sum| sums[sum as usize]));
            products.resize(length, Fr::default());
            products
        })
    }

    /// BLAKE3 over every row in order: what identifies the constraints in key files.
    ///
    /// Hashed are, little-endian, `inputs`, `witnesses` and `constraints` as 64 bits, then for each row and
    /// each of its sides `A`, `B`, `C` the number of terms and, by ascending column, column and factor.
    pub fn hash(&self) -> Blake3Hash {
        let mut hasher = blake3::Hasher::new_derive_key("hpips/circuits/r1cs/v1");
        for n in [self.inputs, self.witnesses, self.constraints()] {
            hasher.update(&(n as u64).to_le_bytes());
        }
        let table: Vec<Vec<u8>> =
            self.sums.table.iter().map(|factor| factor.into_bigint().to_bytes_le()).collect();
        let mut bytes = Vec::new();
        for row in 0..self.constraints() {
            bytes.clear();
            for matrix in &self.rows {
                let terms = self.sums.terms(matrix[row]);
                bytes.extend((terms.len() as u64).to_le_bytes());
                for (column, factor) in terms {
                    bytes.extend((column as u64).to_le_bytes());
                    bytes.extend(&table[factor]);
                }
            }
            hasher.update(&bytes);
        }
        Blake3Hash::new(*hasher.finalize().as_bytes())
    }

    fn holds(&self, row: usize, values: &[Fr]) -> bool {
        let [a, b, c] = self.rows.each_ref().map(|sums| self.sums.value(sums[row], values));
        a * b == c
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
            for matrix in 0..3 {
                for (column, _) in self.row(matrix, row) {
                    if touched[column].last() != Some(&row) {
                        touched[column].push(row);
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
