//! Moments in time, as records write them.

use core::fmt;
use core::time::Duration;

const DAY: i64 = 86_400;
const NANOSECONDS: u32 = 1_000_000_000;
/// Longest text of a moment that is looked at, bytes: a fraction may have any number of digits.
const TEXT_BYTES_MAX: usize = 64;

/// A moment to the nanosecond, UTC, in the years 0 to 9999 that RFC 3339 can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    seconds: i64,
    nanoseconds: u32,
}

/// First second of the year 0 and last of the year 9999.
const SECONDS: core::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

impl Moment {
    /// A moment by seconds since 1970; one out of range becomes the nearest.
    pub fn from_unix_seconds(seconds: i64) -> Self {
        Self { seconds: seconds.clamp(*SECONDS.start(), *SECONDS.end()), nanoseconds: 0 }
    }

    /// The moment so long after 1970 began, as a clock tells it.
    pub fn from_unix(time: Duration) -> Self {
        Self::from_unix_seconds(0).after(time)
    }

    /// Whole seconds since 1970.
    pub fn unix_seconds(self) -> i64 {
        self.seconds
    }

    /// The moment so much later; the last one there is, at most.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        let nanoseconds = self.nanoseconds + time.subsec_nanos();
        let carry = i64::from(nanoseconds / NANOSECONDS);
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let seconds = self.seconds.saturating_add(seconds).saturating_add(carry);
        if seconds > *SECONDS.end() {
            return Self { seconds: *SECONDS.end(), nanoseconds: NANOSECONDS - 1 };
        }
        Self { seconds, nanoseconds: nanoseconds % NANOSECONDS }
    }

    /// How long it is from `earlier` to this one; nothing when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        if self <= earlier {
            return Duration::ZERO;
        }
        let seconds = u64::try_from(self.seconds - earlier.seconds).expect("not earlier");
        (Duration::from_secs(seconds) + Duration::from_nanos(self.nanoseconds.into()))
            .saturating_sub(Duration::from_nanos(earlier.nanoseconds.into()))
    }

    /// Reads RFC 3339; digits of a fraction beyond the ninth are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX || !text.is_ascii() {
            return None;
        }
        let bytes = text.as_bytes();
        let number = |from: usize, count: usize| -> Option<i64> {
            let digits = bytes.get(from..from + count)?;
            digits.iter().all(u8::is_ascii_digit).then_some(())?;
            text[from..from + count].parse().ok()
        };
        let is = |at: usize, expected: &[u8]| bytes.get(at).is_some_and(|byte| expected.contains(byte));
        let are_separated = is(4, b"-") && is(7, b"-") && is(10, b"Tt") && is(13, b":") && is(16, b":");
        are_separated.then_some(())?;
        let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
        let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
        let is_date = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
        (is_date && hour < 24 && minute < 60 && second < 60).then_some(())?;
        let mut rest = &text[19..];
        let mut nanoseconds = 0;
        if let Some(fraction) = rest.strip_prefix('.') {
            let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
            (end > 0).then_some(())?;
            nanoseconds = format!("{:0<9.9}", &fraction[..end]).parse().ok()?;
            rest = &fraction[end..];
        }
        let seconds = days_before(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
        let seconds = seconds - offset(rest)?;
        SECONDS.contains(&seconds).then_some(Self { seconds, nanoseconds })
    }
}

/// Seconds that local time is ahead of UTC: `Z` or `+hh:mm`.
fn offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, time) = match text.split_at_checked(1)? {
        ("+", time) => (1, time),
        ("-", time) => (-1, time),
        _ => return None,
    };
    let (hours, minutes) = time.split_once(':')?;
    let read = |text: &str, below: i64| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| is_number && *number < below)
    };
    Some(sign * (read(hours, 24)? * 3600 + read(minutes, 60)? * 60))
}

impl fmt::Display for Moment {
    /// RFC 3339 in UTC, the fraction without zeros at its end, as Go writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanoseconds != 0 {
            write!(f, ".{}", format!("{:09}", self.nanoseconds).trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Days since 1970 and back in the proleptic Gregorian calendar, by eras of 400 years that begin in March (Howard
// Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil and civil_from_days).
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
