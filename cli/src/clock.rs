//! The wall clock as text. It may be wrong by any amount: a board without a battery starts in 1970, and others go back
//! to their first day or far into the future.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the time as events contain it: `2026-01-16T14:30:00.123456Z` (RFC 3339).
pub fn timestamp_micros() -> String {
    micros_of(SystemTime::now())
}

/// Returns the time in milliseconds: `2026-01-16T14:30:00.123Z` (RFC 3339).
pub fn timestamp_millis() -> String {
    millis_of(SystemTime::now())
}

fn micros_of(time: SystemTime) -> String {
    let mut text = String::new();
    let written = write!(text, "{}", humantime::format_rfc3339_micros(time.max(UNIX_EPOCH)));
    // RFC 3339 has years of four digits. `to_string` would panic beyond them.
    if written.is_ok() { text } else { "9999-12-31T23:59:59.999999Z".to_owned() }
}

fn millis_of(time: SystemTime) -> String {
    let micros = micros_of(time);
    format!("{}Z", &micros[..micros.len() - "123Z".len()])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_time_has_a_timestamp() {
        let after = |seconds: u64, nanos| UNIX_EPOCH + Duration::new(seconds, nanos);
        let last_second = 253_402_300_799;
        for (time, micros, millis) in [
            (
                UNIX_EPOCH - Duration::from_secs(86_400 * 365),
                "1970-01-01T00:00:00.000000Z",
                "1970-01-01T00:00:00.000Z",
            ),
            (
                UNIX_EPOCH - Duration::from_nanos(1),
                "1970-01-01T00:00:00.000000Z",
                "1970-01-01T00:00:00.000Z",
            ),
            (UNIX_EPOCH, "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000Z"),
            (
                after(1_768_573_800, 123_456_789),
                "2026-01-16T14:30:00.123456Z",
                "2026-01-16T14:30:00.123Z",
            ),
            (
                after(last_second, 999_999_999),
                "9999-12-31T23:59:59.999999Z",
                "9999-12-31T23:59:59.999Z",
            ),
            (after(last_second + 1, 0), "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999Z"),
            (after(1 << 40, 0), "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(micros_of(time), micros);
            assert_eq!(millis_of(time), millis);
        }
    }
}
