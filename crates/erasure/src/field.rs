//! Arithmetic in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11D), generator 2.

/// Low byte of the reduction polynomial.
const POLYNOMIAL: u8 = 0x1d;

struct Tables {
    /// `2^i`, twice over, so that a sum of two logarithms needs no reduction.
    exp: [u8; 510],
    log: [u8; 256],
}

static TABLES: Tables = tables();

#[allow(clippy::cast_possible_truncation, reason = "const: the exponent is below 255")]
const fn tables() -> Tables {
    let mut tables = Tables { exp: [0; 510], log: [0; 256] };
    let mut power = 1u8;
    let mut exponent = 0;
    while exponent < 255 {
        tables.exp[exponent] = power;
        tables.exp[exponent + 255] = power;
        tables.log[power as usize] = exponent as u8;
        power = (power << 1) ^ (POLYNOMIAL * (power >> 7));
        exponent += 1;
    }
    tables
}

/// The product.
pub(crate) fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    TABLES.exp[usize::from(TABLES.log[usize::from(a)]) + usize::from(TABLES.log[usize::from(b)])]
}

/// The inverse of a number other than zero.
///
/// # Panics
/// For zero.
pub(crate) fn inverse(a: u8) -> u8 {
    assert!(a != 0, "zero has no inverse");
    TABLES.exp[255 - usize::from(TABLES.log[usize::from(a)])]
}

/// `base^exponent`, with `0^0 = 1`.
fn pow(base: u8, exponent: usize) -> u8 {
    match (base, exponent) {
        (_, 0) => 1,
        (0, _) => 0,
        _ => TABLES.exp[usize::from(TABLES.log[usize::from(base)]) * exponent % 255],
    }
}

/// A matrix, row by row.
pub(crate) type Matrix = Vec<Vec<u8>>;

/// Rows `k..n` of the systematic code: a Vandermonde matrix (row `r` is the powers of `r`) times the inverse
/// of its upper square. This is the matrix of the crate `reed-solomon-erasure`.
pub(crate) fn parity_rows(k: usize, n: usize) -> Matrix {
    let row = |r: usize| -> Vec<u8> {
        let base = u8::try_from(r).expect("at most 256 shards");
        (0..k).map(|c| pow(base, c)).collect()
    };
    let top = invert((0..k).map(row).collect()).expect("a Vandermonde matrix of different rows is regular");
    (k..n).map(|r| times(&row(r), &top)).collect()
}

/// A row vector times a matrix.
pub(crate) fn times(row: &[u8], matrix: &Matrix) -> Vec<u8> {
    let columns = matrix.first().map_or(0, Vec::len);
    let mut product = vec![0; columns];
    for (factor, line) in row.iter().zip(matrix) {
        for (sum, value) in product.iter_mut().zip(line) {
            *sum ^= mul(*factor, *value);
        }
    }
    product
}

/// The inverse of a square matrix by Gauss-Jordan elimination, or `None` when it is singular.
pub(crate) fn invert(mut matrix: Matrix) -> Option<Matrix> {
    let size = matrix.len();
    let mut inverted: Matrix =
        (0..size).map(|row| (0..size).map(|column| u8::from(row == column)).collect()).collect();
    for column in 0..size {
        let pivot = (column..size).find(|row| matrix[*row][column] != 0)?;
        matrix.swap(column, pivot);
        inverted.swap(column, pivot);
        let scale = inverse(matrix[column][column]);
        for line in [&mut matrix[column], &mut inverted[column]] {
            for value in line {
                *value = mul(*value, scale);
            }
        }
        let (from, from_inverted) = (matrix[column].clone(), inverted[column].clone());
        for row in (0..size).filter(|row| *row != column) {
            let factor = matrix[row][column];
            if factor != 0 {
                subtract(&mut matrix[row], &from, factor);
                subtract(&mut inverted[row], &from_inverted, factor);
            }
        }
    }
    Some(inverted)
}

fn subtract(line: &mut [u8], from: &[u8], factor: u8) {
    for (value, other) in line.iter_mut().zip(from) {
        *value ^= mul(*other, factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplication by shifts, straight from the definition.
    fn shifted(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b > 0 {
            if b & 1 == 1 {
                product ^= a;
            }
            a = (a << 1) ^ if a & 0x80 == 0 { 0 } else { POLYNOMIAL };
            b >>= 1;
        }
        product
    }

    #[test]
    fn products_and_inverses() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                assert_eq!(mul(a, b), shifted(a, b), "{a} {b}");
            }
            if a != 0 {
                assert_eq!(mul(a, inverse(a)), 1, "{a}");
            }
            let mut power = 1;
            for exponent in 0..300 {
                assert_eq!(pow(a, exponent), power, "{a}^{exponent}");
                power = mul(power, a);
            }
        }
    }

    #[test]
    fn inversion() {
        assert_eq!(invert(vec![vec![1, 1], vec![1, 1]]), None);
        let matrix: Matrix = (0..20u8).map(|r| (0..20).map(|c| pow(r + 7, c)).collect()).collect();
        let inverted = invert(matrix.clone()).unwrap();
        for (index, row) in matrix.iter().enumerate() {
            let unit: Vec<u8> = (0..20).map(|column| u8::from(column == index)).collect();
            assert_eq!(times(row, &inverted), unit);
        }
    }
}
