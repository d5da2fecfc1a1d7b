//! Products of a matrix over GF(2^8) with long rows of bytes.

use rayon::prelude::*;

use crate::field::{Matrix, mul};

/// Bytes of a row that one task computes: all rows of a task stay in the second-level cache.
const TASK_BYTES: usize = 16 * 1024;

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
    tasks.into_par_iter().enumerate().for_each(|(task, mut ranges)| {
        let start = task * TASK_BYTES;
        let inputs: Vec<&[u8]> = inputs
            .iter()
            .map(|input| &input[start.min(input.len())..(start + TASK_BYTES).min(input.len())])
            .collect();
        portable(matrix, &inputs, &mut ranges);
    });
    outputs
}

/// The product by tables, on any machine. Outputs are added to.
pub(crate) fn portable(matrix: &Matrix, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
    for (row, output) in matrix.iter().zip(outputs) {
        for (factor, input) in row.iter().zip(inputs) {
            if *factor == 0 {
                continue;
            }
            let table: [u8; 256] = core::array::from_fn(|value| {
                mul(*factor, u8::try_from(value).expect("a table of all bytes"))
            });
            for (sum, value) in output.iter_mut().zip(*input) {
                *sum ^= table[usize::from(*value)];
            }
        }
    }
}
