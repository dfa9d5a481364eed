//! Sizes and durations as people write them: a whole number, a space if they like, a unit. Nothing is guessed: a
//! number without unit is not accepted.

use std::time::Duration;

/// Bytes of `64 KiB`.
///
/// # Errors
/// What is wrong, for the operator.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) =
        split(text).ok_or_else(|| format!("\"{text}\" is not a size; write {SIZE_EXAMPLE}"))?;
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" => return Err(format!("\"{text}\" has no unit; write {SIZE_EXAMPLE}")),
        _ => {
            return Err(format!(
                "\"{unit}\" is not a unit of size; use B, KiB, MiB or GiB"
            ));
        }
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("\"{text}\" is too large"))
}

/// Duration of `90 s`.
///
/// # Errors
/// What is wrong, for the operator.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        split(text).ok_or_else(|| format!("\"{text}\" is not a duration; write {DURATION_EXAMPLE}"))?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("\"{text}\" has no unit; write {DURATION_EXAMPLE}")),
        _ => {
            return Err(format!(
                "\"{unit}\" is not a unit of time; use ms, s, min, h or d"
            ));
        }
    };
    let total = number
        .checked_mul(milliseconds)
        .ok_or_else(|| format!("\"{text}\" is too long"))?;
    Ok(Duration::from_millis(total))
}

/// The size in the largest unit that divides it.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let fitting = units
        .into_iter()
        .find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    fitting.map_or_else(
        || format!("{bytes} B"),
        |(unit, factor)| format!("{} {unit}", bytes / factor),
    )
}

/// The duration in the largest unit that divides it.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let total = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)];
    let fitting = units
        .into_iter()
        .find(|(_, factor)| total > 0 && total.is_multiple_of(*factor));
    fitting.map_or_else(
        || format!("{total} ms"),
        |(unit, factor)| format!("{} {unit}", total / factor),
    )
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(digits)?;
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number = number.replace('_', "").parse().ok()?;
    Some((number, rest.strip_prefix(' ').unwrap_or(rest)))
}

const SIZE_EXAMPLE: &str = "for example \"64 KiB\" (B, KiB, MiB, GiB)";
const DURATION_EXAMPLE: &str = "for example \"90 s\" (ms, s, min, h, d)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_with_a_binary_unit() {
        assert_eq!(parse_size("64 KiB"), Ok(65_536));
        assert_eq!(parse_size("1MiB"), Ok(1 << 20));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        assert_eq!(parse_size("1_000 B"), Ok(1_000));
        for wrong in [
            "", "KiB", "64", "64 kb", "64  KiB", " 64 KiB", "-1 B", "1.5 MiB", "1 MB", "_1 B", "1 B ",
        ] {
            assert!(parse_size(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(
            parse_size("18446744073709551615 GiB"),
            Err("\"18446744073709551615 GiB\" is too large".into())
        );
    }

    #[test]
    fn a_number_without_unit_is_told_what_to_write() {
        let size = parse_size("64").unwrap_err();
        assert_eq!(
            size,
            "\"64\" has no unit; write for example \"64 KiB\" (B, KiB, MiB, GiB)"
        );
        let duration = parse_duration("64").unwrap_err();
        assert_eq!(
            duration,
            "\"64\" has no unit; write for example \"90 s\" (ms, s, min, h, d)"
        );
        assert_eq!(
            parse_size("1 MB").unwrap_err(),
            "\"MB\" is not a unit of size; use B, KiB, MiB or GiB"
        );
    }

    #[test]
    fn durations_go_from_milliseconds_to_days() {
        assert_eq!(parse_duration("2 ms"), Ok(Duration::from_millis(2)));
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("5 min"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("1 h"), Ok(Duration::from_secs(3_600)));
        assert_eq!(parse_duration("7 d"), Ok(Duration::from_secs(604_800)));
        for wrong in [
            "",
            "s",
            "5",
            "5 m",
            "5 S",
            "1 week",
            "0.5 s",
            "9999999999999999999 d",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for bytes in [0, 1, 1_000, 1 << 10, 3 << 20, 5 << 30] {
            assert_eq!(parse_size(&size_text(bytes)), Ok(bytes));
        }
        for milliseconds in [0, 1, 1_500, 60_000, 3_600_000, 604_800_000] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(&duration_text(duration)), Ok(duration));
        }
    }
}
