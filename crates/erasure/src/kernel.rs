//! Vector kernels for [`crate::product`], chosen at run time. The only module with unsafe code; tested equal
//! to the portable product on every machine that has the instructions.
//!
//! Both keep a group of outputs in registers while all inputs pass, so that every output is written once:
//!
//! - AVX-512 with GFNI: multiplication by a constant is a linear map of bits, one instruction for 64 bytes;
//! - AVX2: two shuffles, one a nibble, for 32 bytes.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod x86;

use crate::field::Matrix;

/// A set of instructions that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// AVX-512 F and BW with GFNI.
    Gfni,
    /// AVX2.
    Avx2,
}

impl Kernel {
    /// All that this machine can run, the fastest first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        [Self::Gfni, Self::Avx2].into_iter().filter(|kernel| kernel.is_available())
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Self::Gfni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("gfni")
            }
            Self::Avx2 => is_x86_feature_detected!("avx2"),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        false
    }

    /// Computes the leading whole units of 64 bytes of the outputs and returns how many bytes these are; the
    /// caller computes the rest. Inputs count as zero-extended.
    ///
    /// # Panics
    /// When the machine lacks the instructions, or the outputs differ in length.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn run(self, matrix: &Matrix, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> usize {
        let bytes = outputs.first().map_or(0, |output| output.len());
        assert!(outputs.iter().all(|output| output.len() == bytes), "outputs of one length");
        assert!(self.is_available(), "instructions that this machine has");
        let whole = bytes - bytes % 64;
        for (rows, outputs) in matrix.chunks(x86::GROUP).zip(outputs.chunks_mut(x86::GROUP)) {
            // SAFETY: the features that the functions need were detected above.
            unsafe {
                match self {
                    Self::Gfni => x86::gfni(rows, inputs, outputs, whole),
                    Self::Avx2 => x86::avx2(rows, inputs, outputs, whole),
                }
            }
        }
        whole
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn run(self, _: &Matrix, _: &[&[u8]], _: &mut [&mut [u8]]) -> usize {
        0
    }
}
