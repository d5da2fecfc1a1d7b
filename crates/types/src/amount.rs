//! Money and sizes: integers only.

use core::fmt;

use crate::macros::{integer, integer_bare};

integer_bare! {
    /// Money in nano: 10^9 nano are one HPIPS.
    TokenAmount(u64)
}

/// Nano in one coin.
const NANO_PER_COIN: u64 = 1_000_000_000;

impl TokenAmount {
    /// All coins there ever are: 100,000,000 HPIPS.
    pub const SUPPLY: Self = Self::new(100_000_000 * NANO_PER_COIN);

    /// Whole coins.
    ///
    /// # Panics
    /// Above 18 billion coins, which do not exist.
    pub const fn from_coins(coins: u64) -> Self {
        Self::new(coins * NANO_PER_COIN)
    }

    /// The sum, or `None` on overflow.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.get().checked_add(other.get()) {
            Some(sum) => Some(Self::new(sum)),
            None => None,
        }
    }

    /// The difference, or `None` when `other` is more.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.get().checked_sub(other.get()) {
            Some(rest) => Some(Self::new(rest)),
            None => None,
        }
    }

    /// The difference, or zero when `other` is more.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self::new(self.get().saturating_sub(other.get()))
    }

    /// Exact text with nine decimals and no thousands separator; [`fmt::Display`] of the type prints the same.
    pub fn to_exact(self) -> String {
        format!("{}.{:09}", self.get() / NANO_PER_COIN, self.get() % NANO_PER_COIN)
    }

    /// Text for people: three decimals, rounded down.
    pub fn to_short(self) -> String {
        format!("{}.{:03}", self.get() / NANO_PER_COIN, self.get() % NANO_PER_COIN / 1_000_000)
    }
}

integer! {
    /// A number of bytes.
    ByteCount(u64)
}

impl ByteCount {
    /// Text for people, decimal units (GB = 10^9), three significant digits.
    pub fn to_short(self) -> String {
        let bytes = self.get();
        let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
        let mut unit = 0;
        let mut scale = 1u64;
        while unit + 1 < units.len() && bytes / scale >= 1000 {
            scale *= 1000;
            unit += 1;
        }
        let whole = bytes / scale;
        if unit == 0 {
            return format!("{whole} B");
        }
        let thousandths = u128::from(bytes % scale) * 1000 / u128::from(scale);
        match whole {
            0..=9 => format!("{whole}.{:02} {}", thousandths / 10, units[unit]),
            10..=99 => format!("{whole}.{} {}", thousandths / 100, units[unit]),
            _ => format!("{whole} {}", units[unit]),
        }
    }
}

/// Sums amounts.
///
/// # Panics
/// On overflow of 64 bits: more than the supply is a broken invariant.
impl core::iter::Sum for TokenAmount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts
            .fold(Self::ZERO, |total, amount| total.checked_add(amount).expect("more coins than the supply"))
    }
}

/// `value * numerator / denominator`, rounded down, with a 128-bit product.
///
/// # Panics
/// When the denominator is zero or the quotient does not fit 64 bits.
pub fn mul_div_floor(value: u64, numerator: u64, denominator: u64) -> u64 {
    let quotient = u128::from(value) * u128::from(numerator) / u128::from(denominator);
    u64::try_from(quotient).expect("quotient of a proportion fits 64 bits")
}

/// How an amount is parsed from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a decimal number.
    #[error("not an amount: write for example 12.5")]
    Malformed,
    /// More than nine decimals.
    #[error("an amount has at most nine decimals")]
    TooPrecise,
    /// Over the supply.
    #[error("more coins than there are")]
    TooLarge,
}

impl core::str::FromStr for TokenAmount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty()
            || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            || fraction.contains('.')
        {
            return Err(AmountError::Malformed);
        }
        if fraction.len() > 9 {
            return Err(AmountError::TooPrecise);
        }
        let coins: u64 = whole.parse().map_err(|_| AmountError::TooLarge)?;
        let nano: u64 = format!("{fraction:0<9}").parse().map_err(|_| AmountError::Malformed)?;
        let total = coins
            .checked_mul(NANO_PER_COIN)
            .and_then(|n| n.checked_add(nano))
            .ok_or(AmountError::TooLarge)?;
        if total > Self::SUPPLY.get() { Err(AmountError::TooLarge) } else { Ok(Self::new(total)) }
    }
}

impl fmt::Display for TokenAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_exact())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_and_parse_exactly() {
        for (text, nano) in [("0", 0), ("1", 1_000_000_000), ("0.000000001", 1), ("12.5", 12_500_000_000)] {
            let amount: TokenAmount = text.parse().unwrap();
            assert_eq!(amount.get(), nano, "{text}");
            assert_eq!(amount.to_string().parse(), Ok(amount));
        }
        for (text, error) in [
            ("", AmountError::Malformed),
            (".5", AmountError::Malformed),
            ("-1", AmountError::Malformed),
            ("1.2.3", AmountError::Malformed),
            ("0.0000000001", AmountError::TooPrecise),
            ("100000001", AmountError::TooLarge),
            ("99999999999999999999", AmountError::TooLarge),
        ] {
            assert_eq!(text.parse::<TokenAmount>(), Err(error), "{text}");
        }
    }

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (48_234_567, "48.2 MB"),
            (262_144, "262 kB"),
            (8_200_000_000, "8.20 GB"),
        ] {
            assert_eq!(ByteCount::new(bytes).to_short(), text);
        }
    }
}
