//! Products of a matrix over GF(2^8) with long rows of bytes.

use std::sync::LazyLock;

use rayon::prelude::*;

use crate::field::{Matrix, mul};
use crate::kernel::Kernel;

/// Bytes of a row that one task computes: all rows of a task stay in the second-level cache.
const TASK_BYTES: usize = 16 * 1024;

/// Products of all pairs of bytes.
static PRODUCTS: LazyLock<Vec<[u8; 256]>> = LazyLock::new(|| {
    (0..=255).map(|a| core::array::from_fn(|b| mul(a, u8::try_from(b).expect("a byte")))).collect()
});

/// `outputs[i][x] = sum over j of matrix[i][j] * inputs[j][x]`, inputs zero-extended to `bytes`.
///
/// # Panics
/// When an input is longer than `bytes`, or the matrix has not one column an input.
pub(crate) fn product(matrix: &Matrix, inputs: &[&[u8]], bytes: usize) -> Vec<Vec<u8>> {
    assert!(inputs.iter().all(|input| input.len() <= bytes), "an input is longer than the coding length");
    assert!(matrix.iter().all(|row| row.len() == inputs.len()), "one column an input");
    let mut outputs: Vec<Vec<u8>> = matrix.iter().map(|_| vec![0; bytes]).collect();
    if outputs.is_empty() {
        return outputs;
    }
    // Turn the outputs inside out: one task owns the same range of all of them.
    let mut tasks: Vec<Vec<&mut [u8]>> = (0..bytes.div_ceil(TASK_BYTES)).map(|_| Vec::new()).collect();
    for output in &mut outputs {
        for (task, range) in tasks.iter_mut().zip(output.chunks_mut(TASK_BYTES)) {
            task.push(range);
        }
    }
    let kernel = Kernel::available().next();
    tasks.into_par_iter().enumerate().for_each(|(task, mut ranges)| {
        let start = task * TASK_BYTES;
        let inputs: Vec<&[u8]> = inputs
            .iter()
            .map(|input| &input[start.min(input.len())..(start + TASK_BYTES).min(input.len())])
            .collect();
        task_product(kernel, matrix, &inputs, &mut ranges);
    });
    outputs
}

/// The product of one task by a kernel, or by tables where there is none. The outputs are zero at first.
fn task_product(kernel: Option<Kernel>, matrix: &Matrix, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
    let done = kernel.map_or(0, |kernel| kernel.run(matrix, inputs, outputs));
    for (row, output) in matrix.iter().zip(outputs) {
        for (factor, input) in row.iter().zip(inputs) {
            let table = &PRODUCTS[usize::from(*factor)];
            let rest = input.get(done..).unwrap_or_default();
            for (sum, value) in output[done..].iter_mut().zip(rest) {
                *sum ^= table[usize::from(*value)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hpips_crypto::draw::Draw;
    use proptest::prelude::*;

    use super::*;

    fn run(kernel: Option<Kernel>, matrix: &Matrix, inputs: &[Vec<u8>], bytes: usize) -> Vec<Vec<u8>> {
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs = vec![vec![0; bytes]; matrix.len()];
        let mut ranges: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        task_product(kernel, matrix, &inputs, &mut ranges);
        outputs
    }

    proptest! {
        #[test]
        fn kernels_equal_tables(
            columns in 1usize..24,
            rows in 1usize..20,
            bytes in prop_oneof![0usize..300, 4_000usize..4_200],
            seed: u64,
        ) {
            let mut draw = Draw::new("hpips/test/product/v1", &[&seed.to_le_bytes()]);
            let mut random = |length: usize| {
                let mut bytes = vec![0; length];
                draw.fill(&mut bytes);
                bytes
            };
            let matrix: Matrix = (0..rows).map(|_| random(columns)).collect();
            let lengths: Vec<u8> = random(columns);
            let inputs: Vec<Vec<u8>> =
                lengths.iter().map(|part| random(bytes - bytes * usize::from(*part / 8 * 8) / 256)).collect();
            let expected = run(None, &matrix, &inputs, bytes);
            for (row, output) in matrix.iter().zip(&expected) {
                let at = bytes / 2;
                let sum = row
                    .iter()
                    .zip(&inputs)
                    .fold(0, |sum, (factor, input)| sum ^ mul(*factor, input.get(at).copied().unwrap_or(0)));
                prop_assert_eq!(output.get(at).copied().unwrap_or(0), if bytes == 0 { 0 } else { sum });
            }
            for kernel in Kernel::available() {
                prop_assert!(run(Some(kernel), &matrix, &inputs, bytes) == expected, "{:?}", kernel);
            }
        }
    }

    /// `cargo test -p hpips-erasure speed -- --ignored --nocapture`
    #[test]
    #[ignore = "prints a measurement"]
    fn speed_of_encoding_slow() {
        let (k, n, bytes) = (20, 51, 1 << 20);
        let matrix = crate::field::parity_rows(k, n);
        let inputs: Vec<Vec<u8>> = (0..k).map(|i| vec![u8::try_from(i * 7 + 3).unwrap(); bytes]).collect();
        for kernel in Kernel::available().map(Some).chain([None]) {
            let mut best = f64::MAX;
            for _ in 0..7 {
                let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
                let mut outputs = vec![vec![0; bytes]; matrix.len()];
                let start = std::time::Instant::now();
                for x in (0..bytes).step_by(TASK_BYTES) {
                    let inputs: Vec<&[u8]> = inputs.iter().map(|input| &input[x..x + TASK_BYTES]).collect();
                    let mut ranges: Vec<&mut [u8]> =
                        outputs.iter_mut().map(|output| &mut output[x..x + TASK_BYTES]).collect();
                    task_product(kernel, &matrix, &inputs, &mut ranges);
                }
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!("{kernel:?}: {:.2} GB/s of data on one core", 20.0 * 1.048_576e-3 / best);
        }
    }
}
