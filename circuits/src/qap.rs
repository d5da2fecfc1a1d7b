//! Constraints as polynomials over a domain of roots of unity: Groth16's quadratic arithmetic program.
//!
//! Row `i` of the matrices belongs to the `i`-th root. Behind the rows stands one root for each public input
//! and the constant one, where only that variable's polynomial of `A` is one: it makes the inputs' polynomials
//! independent. Source: `LibsnarkReduction` of `ark-groth16`, whose keys and proofs these equal.

use ark_ff::{AdditiveGroup, FftField, Field};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use hpips_crypto::Fr;
use rayon::prelude::*;

use crate::matrices::Matrices;

/// Roots of unity for a circuit's rows and inputs.
pub(crate) type Domain = Radix2EvaluationDomain<Fr>;

/// The domain of a circuit, if the field has one that large.
pub(crate) fn domain(matrices: &Matrices) -> Option<Domain> {
    Domain::new(matrices.constraints() + matrices.inputs() + 1)
}

/// Coefficients of `(A B - C) / Z`, where `Z` is zero on the domain: as many as the domain is large, the
/// last of them zero when the values satisfy the constraints.
pub(crate) fn quotient(matrices: &Matrices, domain: &Domain, values: &[Fr]) -> Vec<Fr> {
    let coset = domain.get_coset(Fr::GENERATOR).expect("the generator is not zero");
    let [mut a, mut b, mut c] = matrices.products(values, domain.size());
    let (rows, inputs) = (matrices.constraints(), matrices.inputs() + 1);
    a[rows..rows + inputs].copy_from_slice(&values[..inputs]);
    for polynomial in [&mut a, &mut b, &mut c] {
        domain.ifft_in_place(polynomial);
        coset.fft_in_place(polynomial);
    }
    let divisor = domain.evaluate_vanishing_polynomial(Fr::GENERATOR);
    let inverse = divisor.inverse().expect("the coset does not meet the domain");
    a.par_iter_mut().zip(&b).zip(&c).for_each(|((a, b), c)| *a = (*a * b - c) * inverse);
    coset.ifft_in_place(&mut a);
    a
}

/// The polynomials of all variables at one point.
pub(crate) struct AtPoint {
    /// For each variable those of the three matrices.
    pub(crate) sides: [Vec<Fr>; 3],
    /// `Z`.
    pub(crate) vanishing: Fr,
}

/// Evaluates the polynomials of all variables at a point outside of the domain.
pub(crate) fn evaluate(matrices: &Matrices, domain: &Domain, point: Fr) -> AtPoint {
    let lagrange = domain.evaluate_all_lagrange_coefficients(point);
    let mut sides = [const { Vec::new() }; 3];
    sides.par_iter_mut().enumerate().for_each(|(matrix, side)| {
        side.resize(matrices.variables(), Fr::ZERO);
        for (row, weight) in lagrange.iter().enumerate().take(matrices.constraints()) {
            for (column, factor) in matrices.row(matrix, row) {
                side[column] += *weight * factor;
            }
        }
    });
    let (rows, inputs) = (matrices.constraints(), matrices.inputs() + 1);
    for (sum, weight) in sides[0].iter_mut().zip(&lagrange[rows..rows + inputs]) {
        *sum += weight;
    }
    AtPoint { sides, vanishing: domain.evaluate_vanishing_polynomial(point) }
}
