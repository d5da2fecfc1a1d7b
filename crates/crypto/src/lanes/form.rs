//! Elements as they go into the lanes and come out.

use ark_ff::{BigInt, PrimeField};
use hpips_types::FieldBytes;

use crate::Fr;
use crate::field::{self, ELEMENT_DATA_BYTES};

/// An element as its canonical integer: what stands in files, cheaper to read and write than [`Fr`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Canonical(BigInt<4>);

impl Canonical {
    /// Zero.
    pub const ZERO: Self = Self(BigInt([0; 4]));

    /// Reads 32 little-endian bytes; `None` at the modulus and above.
    pub fn from_bytes(bytes: &[u8; FieldBytes::LEN]) -> Option<Self> {
        let number = Self(field::integer(bytes));
        (number.0 < Fr::MODULUS).then_some(number)
    }

    /// The element of at most 31 bytes, little-endian, zero-extended.
    ///
    /// # Panics
    /// On more than 31 bytes.
    pub fn from_data(data: &[u8]) -> Self {
        assert!(data.len() <= ELEMENT_DATA_BYTES, "an element carries at most 31 bytes");
        let mut bytes = [0; FieldBytes::LEN];
        bytes[..data.len()].copy_from_slice(data);
        Self(field::integer(&bytes))
    }

    /// The 32 little-endian bytes.
    pub fn to_bytes(&self) -> [u8; FieldBytes::LEN] {
        field::integer_bytes(&self.0)
    }
}

impl From<Fr> for Canonical {
    fn from(element: Fr) -> Self {
        Self(element.into_bigint())
    }
}

impl From<Canonical> for Fr {
    fn from(number: Canonical) -> Self {
        Self::from_bigint(number.0).expect("a canonical integer is below the modulus")
    }
}

/// How an element's four words are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `x * 2^256` below the modulus, as field elements are kept.
    Montgomery,
    /// `x` itself.
    Canonical,
}

/// What the lanes take and give: [`Fr`] or [`Canonical`].
pub trait Word: Copy + Default + Into<Fr> + From<Fr> + private::Words {}

impl Word for Fr {}
impl Word for Canonical {}

pub(super) mod private {
    use ark_ff::{BigInt, PrimeField};

    use super::{Canonical, Form};
    use crate::Fr;

    /// The words of an element. Private: they mean nothing without their form.
    pub trait Words: Sized {
        /// How the words are meant.
        const FORM: Form;

        /// Four words, lowest first, below the modulus.
        fn words(&self) -> [u64; 4];

        /// The element of words below the modulus.
        fn of_reduced(words: BigInt<4>) -> Self;

        /// The element of words below twice the modulus.
        fn of_words(words: [u64; 4]) -> Self {
            let mut words = BigInt(words);
            if words >= Fr::MODULUS {
                ark_ff::BigInteger::sub_with_borrow(&mut words, &Fr::MODULUS);
            }
            Self::of_reduced(words)
        }
    }

    impl Words for Fr {
        const FORM: Form = Form::Montgomery;

        fn words(&self) -> [u64; 4] {
            self.0.0
        }

        fn of_reduced(words: BigInt<4>) -> Self {
            Self::new_unchecked(words)
        }
    }

    impl Words for Canonical {
        const FORM: Form = Form::Canonical;

        fn words(&self) -> [u64; 4] {
            self.0.0
        }

        fn of_reduced(words: BigInt<4>) -> Self {
            Self(words)
        }
    }
}
