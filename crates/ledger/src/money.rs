//! Arithmetic of money: exact, rounded in a stated direction, with 256-bit intermediates.

use hpips_types::TokenAmount;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bits after the point of a rate per unit.
pub(crate) const SCALE_BITS: u32 = 48;

/// Windows that an ask speaks of.
pub const ASK_WINDOWS: u64 = 720;
/// Bytes that an ask speaks of.
pub const ASK_BYTES: u64 = 1 << 30;

/// A 128-bit number in state, encoded as 16 big-endian bytes: dag-cbor's integers end at 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wide(pub u128);

impl Serialize for Wide {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(&self.0.to_be_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for Wide {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::deserialize(deserializer).map(|bytes: [u8; 16]| Self(u128::from_be_bytes(bytes)))
    }
}

/// A 256-bit product, high and low half.
fn product(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = (1 << 64) - 1;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 64);
    let middle_low = a0 * b1 + (middle & LOW);
    let high = a1 * b1 + (middle >> 64) + (middle_low >> 64);
    (high, (middle_low << 64) | (low & LOW))
}

/// `a * b / divisor`, rounded down, and the remainder.
///
/// # Panics
/// When the divisor is zero or the quotient needs more than 128 bits.
pub(crate) fn mul_div(a: u128, b: u128, divisor: u128) -> (u128, u128) {
    assert!(divisor != 0, "a proportion has a whole");
    let (high, low) = product(a, b);
    if high == 0 {
        return (low / divisor, low % divisor);
    }
    assert!(high < divisor, "quotient of a proportion fits 128 bits");
    let (mut rest, mut quotient) = (high, 0u128);
    for bit in (0..128).rev() {
        let carry = rest >> 127;
        rest = rest << 1 | (low >> bit & 1);
        quotient <<= 1;
        if carry == 1 || rest >= divisor {
            rest = rest.wrapping_sub(divisor);
            quotient |= 1;
        }
    }
    (quotient, rest)
}

/// `a * b / 2^48`, rounded down, and the bits behind the point.
pub(crate) fn mul_scaled(a: u128, b: u128) -> (u128, u128) {
    mul_div(a, b, 1 << SCALE_BITS)
}

/// A number of nano out of a quotient.
///
/// # Panics
/// Above 64 bits: more than all coins.
pub(crate) fn nano(value: u128) -> TokenAmount {
    TokenAmount::new(u64::try_from(value).expect("no amount exceeds the supply"))
}

/// What `windows` proven windows of a slot are owed: `floor(ask * bytes * windows / (2^30 * 720))`.
///
/// `ask` is nano per GiB and 720 windows. The result saturates at the supply, which no escrow can hold.
pub fn price_floor(ask: TokenAmount, bytes: u64, windows: u64) -> TokenAmount {
    price(ask, bytes, windows).0
}

/// As [`price_floor`], rounded up: what escrow and collateral are computed with.
pub fn price_ceil(ask: TokenAmount, bytes: u64, windows: u64) -> TokenAmount {
    let (floor, exact) = price(ask, bytes, windows);
    if exact { floor } else { TokenAmount::new(floor.get() + 1) }
}

fn price(ask: TokenAmount, bytes: u64, windows: u64) -> (TokenAmount, bool) {
    let unit = u128::from(ASK_BYTES) * u128::from(ASK_WINDOWS);
    let a = u128::from(ask.get()) * u128::from(bytes);
    let (high, _) = product(a, u128::from(windows));
    if high >= unit {
        return (TokenAmount::SUPPLY, true);
    }
    let (quotient, rest) = mul_div(a, u128::from(windows), unit);
    if quotient > u128::from(TokenAmount::SUPPLY.get()) {
        return (TokenAmount::SUPPLY, true);
    }
    (nano(quotient), rest == 0)
}

/// The sum, for money that exists.
///
/// # Panics
/// On overflow: more than the supply is a broken invariant.
pub(crate) fn add(a: TokenAmount, b: TokenAmount) -> TokenAmount {
    a.checked_add(b).expect("no sum exceeds the supply")
}

/// The difference, for money that is known to be there.
///
/// # Panics
/// When `b` is more.
pub(crate) fn sub(a: TokenAmount, b: TokenAmount) -> TokenAmount {
    a.checked_sub(b).expect("only what is there is taken")
}

#[cfg(test)]
mod tests {
    use hpips_types::cbor;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn proportions_of_wide_numbers() {
        let max = u128::MAX;
        for (a, b, divisor, expected) in [
            (0, 5, 7, (0, 0)),
            (10, 10, 7, (14, 2)),
            (max, max, max, (max, 0)),
            (max, 2, 4, (max / 2, 2)),
            (1 << 100, 1 << 100, 1 << 90, (1 << 110, 0)),
            (max - 1, max, max, (max - 1, 0)),
        ] {
            assert_eq!(mul_div(a, b, divisor), expected, "{a} * {b} / {divisor}");
        }
    }

    #[test]
    fn prices_round_as_named() {
        let gib = TokenAmount::new(1_000);
        for (ask, bytes, windows, floor, ceil) in [
            (gib, ASK_BYTES, ASK_WINDOWS, 1_000, 1_000),
            (gib, ASK_BYTES, 1, 1, 2),
            (gib, 1, 1, 0, 1),
            (gib, 0, 5, 0, 0),
            (TokenAmount::SUPPLY, u64::MAX, u64::MAX, TokenAmount::SUPPLY.get(), TokenAmount::SUPPLY.get()),
        ] {
            assert_eq!(price_floor(ask, bytes, windows).get(), floor);
            assert_eq!(price_ceil(ask, bytes, windows).get(), ceil);
        }
    }

    #[test]
    fn wide_numbers_have_one_form() {
        let bytes = cbor::encode(&Wide(1));
        assert_eq!(bytes.len(), 17);
        assert_eq!(cbor::decode::<Wide>(&bytes, 17).unwrap(), Wide(1));
    }

    proptest! {
        #[test]
        fn quotient_and_remainder_multiply_back(a: u128, b: u64, divisor in 1u128..) {
            let b = u128::from(b);
            prop_assume!(product(a, b).0 < divisor);
            let (quotient, rest) = mul_div(a, b, divisor);
            prop_assert!(rest < divisor);
            let (high, low) = product(quotient, divisor);
            let (sum, carry) = low.overflowing_add(rest);
            prop_assert_eq!((high + u128::from(carry), sum), product(a, b));
        }
    }
}
