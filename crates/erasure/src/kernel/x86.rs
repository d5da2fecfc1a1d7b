//! The kernels of x86-64.

use core::arch::x86_64::{
    __m256i, __m512i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_loadu_si256,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_si256,
    _mm256_xor_si256, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_maskz_loadu_epi8,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_storeu_si512, _mm512_xor_si512,
};
use std::sync::LazyLock;

use crate::field::mul;

/// Outputs that are kept in registers together.
pub(super) const GROUP: usize = 8;

/// Of every factor: its multiplication as a bit matrix in the order of GF2P8AFFINEQB (byte `7 - i` is the row
/// that makes bit `i`).
static AFFINE: LazyLock<[i64; 256]> = LazyLock::new(|| {
    core::array::from_fn(|factor| {
        let mut rows = [0u8; 8];
        for column in 0..8 {
            let image = mul(byte(factor), 1 << column);
            for (bit, row) in rows.iter_mut().rev().enumerate() {
                *row |= (image >> bit & 1) << column;
            }
        }
        i64::from_le_bytes(rows)
    })
});

/// Of every factor: its products with the sixteen low nibbles, then with the sixteen high ones.
static NIBBLES: LazyLock<[[u8; 32]; 256]> = LazyLock::new(|| {
    core::array::from_fn(|factor| {
        core::array::from_fn(|at| {
            let value = if at < 16 { at } else { (at - 16) << 4 };
            mul(byte(factor), byte(value))
        })
    })
});

fn byte(value: usize) -> u8 {
    u8::try_from(value).expect("an index into a table of bytes")
}

/// Up to [`GROUP`] outputs by AVX-512 and GFNI; `whole` is a multiple of 64 and within every output.
#[target_feature(enable = "avx512f,avx512bw,gfni")]
pub(super) fn gfni(rows: &[Vec<u8>], inputs: &[&[u8]], outputs: &mut [&mut [u8]], whole: usize) {
    match rows.len() {
        8 => gfni_group::<8>(rows, inputs, outputs, whole),
        7 => gfni_group::<7>(rows, inputs, outputs, whole),
        6 => gfni_group::<6>(rows, inputs, outputs, whole),
        5 => gfni_group::<5>(rows, inputs, outputs, whole),
        4 => gfni_group::<4>(rows, inputs, outputs, whole),
        3 => gfni_group::<3>(rows, inputs, outputs, whole),
        2 => gfni_group::<2>(rows, inputs, outputs, whole),
        _ => gfni_group::<1>(rows, inputs, outputs, whole),
    }
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn gfni_group<const G: usize>(rows: &[Vec<u8>], inputs: &[&[u8]], outputs: &mut [&mut [u8]], whole: usize) {
    assert!(rows.len() == G && outputs.len() == G, "one row an output");
    assert!(whole.is_multiple_of(64) && outputs.iter().all(|output| output.len() >= whole), "whole units");
    // The group's matrices column by column, in the order in which they are used.
    let columns: Vec<[i64; G]> =
        (0..inputs.len()).map(|j| core::array::from_fn(|i| AFFINE[usize::from(rows[i][j])])).collect();
    let mut x = 0;
    while x + 128 <= whole {
        let mut first = [_mm512_setzero_si512(); G];
        let mut second = [_mm512_setzero_si512(); G];
        for (input, column) in inputs.iter().zip(&columns) {
            let (a, b) = if let Some(block) = input.get(x..x + 128) {
                // SAFETY: the block has 128 bytes; the loads need no alignment.
                unsafe {
                    (
                        _mm512_loadu_si512(block.as_ptr().cast()),
                        _mm512_loadu_si512(block.as_ptr().add(64).cast()),
                    )
                }
            } else {
                (load_512(input, x), load_512(input, x + 64))
            };
            for i in 0..G {
                let matrix = _mm512_set1_epi64(column[i]);
                first[i] = _mm512_xor_si512(first[i], _mm512_gf2p8affine_epi64_epi8::<0>(a, matrix));
                second[i] = _mm512_xor_si512(second[i], _mm512_gf2p8affine_epi64_epi8::<0>(b, matrix));
            }
        }
        for (output, (a, b)) in outputs.iter_mut().zip(first.into_iter().zip(second)) {
            store_512(&mut output[x..x + 64], a);
            store_512(&mut output[x + 64..x + 128], b);
        }
        x += 128;
    }
    if x < whole {
        let mut sums = [_mm512_setzero_si512(); G];
        for (input, column) in inputs.iter().zip(&columns) {
            let a = load_512(input, x);
            for i in 0..G {
                let product = _mm512_gf2p8affine_epi64_epi8::<0>(a, _mm512_set1_epi64(column[i]));
                sums[i] = _mm512_xor_si512(sums[i], product);
            }
        }
        for (output, sum) in outputs.iter_mut().zip(sums) {
            store_512(&mut output[x..x + 64], sum);
        }
    }
}

/// 64 bytes of an input from a position, zero-extended.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_512(input: &[u8], at: usize) -> __m512i {
    let rest = input.get(at..).unwrap_or_default();
    let mask = if rest.len() >= 64 { u64::MAX } else { (1 << rest.len()) - 1 };
    // SAFETY: the mask admits no byte behind the end of `rest`; bytes not admitted are not read.
    unsafe { _mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_512(output: &mut [u8], value: __m512i) {
    assert_eq!(output.len(), 64);
    // SAFETY: the output has 64 bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(output.as_mut_ptr().cast(), value) }
}

/// Up to [`GROUP`] outputs by AVX2; `whole` is a multiple of 64 and within every output.
#[target_feature(enable = "avx2")]
pub(super) fn avx2(rows: &[Vec<u8>], inputs: &[&[u8]], outputs: &mut [&mut [u8]], whole: usize) {
    match rows.len() {
        8 => avx2_group::<8>(rows, inputs, outputs, whole),
        7 => avx2_group::<7>(rows, inputs, outputs, whole),
        6 => avx2_group::<6>(rows, inputs, outputs, whole),
        5 => avx2_group::<5>(rows, inputs, outputs, whole),
        4 => avx2_group::<4>(rows, inputs, outputs, whole),
        3 => avx2_group::<3>(rows, inputs, outputs, whole),
        2 => avx2_group::<2>(rows, inputs, outputs, whole),
        _ => avx2_group::<1>(rows, inputs, outputs, whole),
    }
}

#[target_feature(enable = "avx2")]
fn avx2_group<const G: usize>(rows: &[Vec<u8>], inputs: &[&[u8]], outputs: &mut [&mut [u8]], whole: usize) {
    assert!(rows.len() == G && outputs.len() == G, "one row an output");
    assert!(whole.is_multiple_of(64) && outputs.iter().all(|output| output.len() >= whole), "whole units");
    let columns: Vec<[&[u8; 32]; G]> =
        (0..inputs.len()).map(|j| core::array::from_fn(|i| &NIBBLES[usize::from(rows[i][j])])).collect();
    let low_bits = _mm256_set1_epi8(0x0f);
    for x in (0..whole).step_by(32) {
        let mut sums = [_mm256_setzero_si256(); G];
        for (input, column) in inputs.iter().zip(&columns) {
            let value = load_256(input, x);
            let low = _mm256_and_si256(value, low_bits);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(value), low_bits);
            for i in 0..G {
                let [low_table, high_table] = tables(column[i]);
                let product = _mm256_xor_si256(
                    _mm256_shuffle_epi8(low_table, low),
                    _mm256_shuffle_epi8(high_table, high),
                );
                sums[i] = _mm256_xor_si256(sums[i], product);
            }
        }
        for (output, sum) in outputs.iter_mut().zip(sums) {
            let output = &mut output[x..x + 32];
            // SAFETY: the output has 32 bytes; the store needs no alignment.
            unsafe { _mm256_storeu_si256(output.as_mut_ptr().cast(), sum) }
        }
    }
}

/// The two shuffle tables of a factor, in both lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn tables(nibbles: &[u8; 32]) -> [__m256i; 2] {
    // SAFETY: sixteen bytes at each of the two places lie within the thirty-two; no alignment is needed.
    unsafe {
        let low = _mm_loadu_si128(nibbles.as_ptr().cast());
        let high = _mm_loadu_si128(nibbles.as_ptr().add(16).cast());
        [_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high)]
    }
}

/// 32 bytes of an input from a position, zero-extended.
#[inline]
#[target_feature(enable = "avx2")]
fn load_256(input: &[u8], at: usize) -> __m256i {
    let mut end = [0u8; 32];
    let block: &[u8] = if let Some(block) = input.get(at..at + 32) {
        block
    } else {
        let rest = input.get(at..).unwrap_or_default();
        end[..rest.len()].copy_from_slice(rest);
        &end
    };
    // SAFETY: the block has 32 bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
}
