//! Times as RFC 3339 in UTC.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A time that prints as RFC 3339 with microseconds; `{:.0}` prints whole seconds.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp(pub SystemTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A clock before 1970 prints as 1970: a wrong time is better than no line.
        let since_epoch = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since_epoch.as_secs();
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if f.precision() != Some(0) {
            write!(f, ".{:06}", since_epoch.subsec_micros())?;
        }
        f.write_str("Z")
    }
}

/// Year, month and day of a day number since 1970-01-01 (proleptic Gregorian).
fn civil(day_number: u64) -> (u64, u64, u64) {
    // Counted from 1 March of year 0, leap days come last in a year and fall out of the arithmetic.
    let days = day_number + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Known instants, among them leap days and the turn of a century.
    #[test]
    fn known_times_print_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_714_557_600, "2024-05-01T10:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(
                format!(
                    "{:.0}",
                    Timestamp(UNIX_EPOCH + Duration::from_secs(seconds))
                ),
                text
            );
        }
    }

    /// The access log's times have microseconds.
    #[test]
    fn microseconds_are_padded() {
        let time = UNIX_EPOCH + Duration::from_secs(1_714_557_600) + Duration::from_micros(123_456);

        assert_eq!(Timestamp(time).to_string(), "2024-05-01T10:00:00.123456Z");
    }
}
