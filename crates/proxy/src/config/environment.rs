//! Reading single variables: every error names the variable and its value.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A variable whose value cannot be used. Start-up ends with it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{variable}={value:?}: {problem}")]
pub struct ConfigError {
    /// Name of the variable.
    pub variable: String,
    /// Its value, as it was set; empty if it is missing.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The environment, as it was handed to us.
pub(super) struct Environment<'a>(pub(super) &'a BTreeMap<String, String>);

impl<'a> Environment<'a> {
    /// The value, if the variable is set; it may be empty.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value, if the variable is set and not empty.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// The value as text, or a default.
    pub(super) fn text_or(&self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or(default).to_owned()
    }

    /// `true` or `false`; unset or empty: the default.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, ConfigError> {
        match self.text(name) {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(self.error(name, "is neither true nor false")),
        }
    }

    /// Any value that parses itself; unset or empty: `None`.
    pub(super) fn parsed<T>(&self, name: &str) -> Result<Option<T>, ConfigError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let parse = |text: &str| {
            text.parse()
                .map_err(|e: T::Err| self.error(name, &e.to_string()))
        };
        self.text(name).map(parse).transpose()
    }

    /// A duration like `5m`, `10s` or `1h30m`; unset or empty: `None`.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>, ConfigError> {
        let parse = |text| {
            duration(text).ok_or_else(|| self.error(name, "is no duration such as 10s or 5m"))
        };
        self.text(name).map(parse).transpose()
    }

    /// A Kubernetes CPU quantity, rounded up to whole CPUs; unset or empty: `None`.
    pub(super) fn cpus(&self, name: &str) -> Result<Option<usize>, ConfigError> {
        let parse = |text| {
            cpus(text).ok_or_else(|| self.error(name, "is no CPU quantity such as 2 or 500m"))
        };
        self.text(name).map(parse).transpose()
    }

    /// Refuses a variable whose effect this build does not have, rather than ignore it.
    pub(super) fn refuse(&self, name: &str, harmless: &[&str]) -> Result<(), ConfigError> {
        match self.text(name) {
            Some(value) if !harmless.contains(&value) => {
                Err(self.error(name, "is not supported by this node proxy"))
            }
            _ => Ok(()),
        }
    }

    /// Name and value of each variable with this prefix, without the prefix, sorted.
    pub(super) fn with_prefix(&self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// The error for this variable.
    pub(super) fn error(&self, name: &str, problem: &str) -> ConfigError {
        ConfigError {
            variable: name.to_owned(),
            value: self.raw(name).unwrap_or_default().to_owned(),
            problem: problem.to_owned(),
        }
    }
}

/// Numbers with units, one after another: `h`, `m`, `s`, `ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let letters = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, remaining) = after.split_at(letters);
        let milliseconds_each = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(
            number.checked_mul(milliseconds_each)?,
        ))?;
        rest = remaining;
    }
    Some(total)
}

/// `2`, `1.5` or `500m`, rounded up.
fn cpus(text: &str) -> Option<usize> {
    if let Some(milli) = text.strip_suffix('m') {
        return milli.parse::<usize>().ok().map(|m| m.div_ceil(1000));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole: usize = whole.parse().ok()?;
    whole.checked_add(usize::from(fraction.bytes().any(|b| b != b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Durations are written as Istio's charts write them.
    #[test]
    fn durations_are_read_as_written() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("20ms", 20),
        ] {
            assert_eq!(
                duration(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "10",
            "s",
            "10 s",
            "-1s",
            "1d",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    /// A fraction of a CPU counts as a whole one.
    #[test]
    fn cpu_quantities_are_rounded_up() {
        for (text, count) in [
            ("2", 2),
            ("500m", 1),
            ("1500m", 2),
            ("1.5", 2),
            ("2.0", 2),
            ("0", 0),
        ] {
            assert_eq!(cpus(text), Some(count), "{text}");
        }
        for text in ["", "m", "two", "1.", "1.x", "-1", "1Gi"] {
            assert_eq!(cpus(text), None, "{text}");
        }
    }

    proptest! {
        /// No text makes a parser panic.
        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let _ = (duration(&text), cpus(&text));
        }
    }
}
