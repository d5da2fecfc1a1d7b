//! Moments and file modes as Kubo writes and prints them. UTC throughout.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: i64 = 86_400;
/// Older than this, the year is of more use than the hour; as `ls` of GNU.
const HALF_YEAR: i64 = 182 * DAY;

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) i64);

/// A moment in the parts of a calendar.
struct Parts {
    year: i64,
    /// From 0.
    month: usize,
    day: i64,
    /// Within the day.
    second: i64,
}

impl Moment {
    /// Reads RFC 3339 in UTC, as Go writes it; the fraction is dropped. Go's zero moment, the year 1, is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let mut numbers = date.splitn(3, '-').chain(time.split('.').next()?.splitn(3, ':'));
        let mut next = || numbers.next()?.parse::<i64>().ok();
        let (year, month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?, next()?);
        let in_range = (2..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        in_range.then(|| Self(days_before(year, month, day) * DAY + hour * 3600 + minute * 60 + second))
    }

    /// The moment of the clock.
    pub(crate) fn now() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_secs());
        Self(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// `Nov 27 01:05` of the last half year, else `Mar 04  2020`.
    pub(crate) fn in_list(self, now: Self) -> String {
        let parts = self.parts();
        let age = now.0.saturating_sub(self.0);
        let month = MONTHS[parts.month];
        if (0..HALF_YEAR).contains(&age) {
            format!("{month} {:02} {:02}:{:02}", parts.day, parts.second / 3600, parts.second / 60 % 60)
        } else {
            format!("{month} {:02}  {}", parts.day, parts.year)
        }
    }

    /// `4 Nov 2026, 01:05:43 UTC`.
    pub(crate) fn in_full(self) -> String {
        let parts = self.parts();
        let (hour, minute, second) = (parts.second / 3600, parts.second / 60 % 60, parts.second % 60);
        format!("{} {} {}, {hour:02}:{minute:02}:{second:02} UTC", parts.day, MONTHS[parts.month], parts.year)
    }

    // Days to year, month, day in the proleptic Gregorian calendar, by eras of 400 years that begin in March
    // (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    fn parts(self) -> Parts {
        let shifted = self.0.div_euclid(DAY) + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 2 } else { from_march - 10 };
        let year = year_of_era + era * 400 + i64::from(month < 2);
        let month = usize::try_from(month).expect("between 0 and 11");
        Parts { year, month, day, second: self.0.rem_euclid(DAY) }
    }
}

// Days since 1970 (same source, days_from_civil).
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A mode as Go's `FileMode` numbers it, which is what the RPC carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GoMode(pub(crate) u32);

impl GoMode {
    const DIRECTORY: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;
    const SETUID: u32 = 1 << 23;
    const SETGID: u32 = 1 << 22;
    const STICKY: u32 = 1 << 20;

    /// The bits of `chmod`.
    pub(crate) fn unix(self) -> u32 {
        let bit = |go: u32, unix: u32| if self.0 & go != 0 { unix } else { 0 };
        self.0 & 0o777 | bit(Self::SETUID, 0o4000) | bit(Self::SETGID, 0o2000) | bit(Self::STICKY, 0o1000)
    }

    /// As Go writes it: a letter for each special bit, or a dash, then the permissions.
    pub(crate) fn in_go(self) -> String {
        let special = [
            (Self::DIRECTORY, 'd'),
            (Self::SYMLINK, 'L'),
            (Self::SETUID, 'u'),
            (Self::SETGID, 'g'),
            (Self::STICKY, 't'),
        ];
        let letters: String =
            special.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, letter)| *letter).collect();
        let permissions = Self(self.0 & 0o777).to_string();
        if letters.is_empty() { permissions } else { letters + &permissions[1..] }
    }
}

/// As `ls -l`: `drwxr-xr-x`.
impl std::fmt::Display for GoMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.0 {
            mode if mode & Self::DIRECTORY != 0 => 'd',
            mode if mode & Self::SYMLINK != 0 => 'l',
            _ => '-',
        };
        let unix = self.unix();
        let mut text = String::from(kind);
        for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
            let bits = unix >> shift;
            text.push(if bits & 4 != 0 { 'r' } else { '-' });
            text.push(if bits & 2 != 0 { 'w' } else { '-' });
            text.push(match (unix & special != 0, bits & 1 != 0) {
                (true, true) => letter,
                (true, false) => letter.to_ascii_uppercase(),
                (false, true) => 'x',
                (false, false) => '-',
            });
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_kubo_prints_them() {
        let now = Moment::parse("2026-11-27T01:06:00Z").unwrap();
        for (text, list, full) in [
            ("2026-11-27T01:05:43Z", "Nov 27 01:05", "27 Nov 2026, 01:05:43 UTC"),
            ("2020-03-04T00:00:00Z", "Mar 04  2020", "4 Mar 2020, 00:00:00 UTC"),
            ("2027-01-05T10:00:00.5Z", "Jan 05  2027", "5 Jan 2027, 10:00:00 UTC"),
            ("1969-12-31T23:59:59Z", "Dec 31  1969", "31 Dec 1969, 23:59:59 UTC"),
            ("2000-02-29T12:00:00Z", "Feb 29  2000", "29 Feb 2000, 12:00:00 UTC"),
        ] {
            let moment = Moment::parse(text).unwrap();
            assert_eq!((moment.in_list(now), moment.in_full()), (list.to_owned(), full.to_owned()), "{text}");
        }
        for text in ["", "0001-01-01T00:00:00Z", "2026-11-27", "2026-13-27T00:00:00Z", "x-y-zT1:2:3Z"] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn modes_as_ls_prints_them() {
        for (mode, text) in [
            (2_147_484_141, "drwxr-xr-x"),
            (8_389_101, "-rwsr-xr-x"),
            (0o644, "-rw-r--r--"),
            ((1 << 27) | 0o777, "lrwxrwxrwx"),
            ((1 << 20) | 0o776, "-rwxrwxrwT"),
        ] {
            assert_eq!(GoMode(mode).to_string(), text);
        }
        assert_eq!(GoMode(8_389_101).unix(), 0o4755);
        assert_eq!(GoMode(8_389_101).in_go(), "urwxr-xr-x");
        assert_eq!(GoMode(0o644).in_go(), "-rw-r--r--");
    }
}
