//! Which records are written: `RUST_LOG` and `/logging` in their usual notation.

use std::fmt;
use std::str::FromStr;

/// How important a record is; the first is the most important.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// It went wrong.
    Error,
    /// It went wrong and is being dealt with.
    Warn,
    /// An operator acts on it.
    Info,
    /// For the one who debugs.
    Debug,
    /// For the one who debugs this program.
    Trace,
}

impl Level {
    /// Its one spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// A threshold; `None` is `off`.
type Threshold = Option<Level>;

/// A default threshold and thresholds of single targets: `info,access=debug`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter {
    default: Threshold,
    /// Sorted by target; each target once.
    targets: Vec<(String, Threshold)>,
}

/// Text that is no filter.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{directive:?} is neither a level (error, warn, info, debug, trace, off) nor target=level")]
pub struct FilterError {
    directive: String,
}

impl Filter {
    /// Whether a record of this level and target is written. The longest matching target decides.
    #[must_use]
    pub fn passes(&self, level: Level, target: &str) -> bool {
        let matches = |name: &str| {
            target
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let longest = self
            .targets
            .iter()
            .filter(|(name, _)| matches(name))
            .max_by_key(|(name, _)| name.len());
        let threshold = longest.map_or(self.default, |(_, threshold)| *threshold);
        threshold.is_some_and(|threshold| level <= threshold)
    }

    /// This filter with further directives laid over it.
    ///
    /// # Errors
    /// One of them is no directive.
    pub fn overlaid(mut self, directives: &str) -> Result<Self, FilterError> {
        for directive in directives
            .split(',')
            .map(str::trim)
            .filter(|d| !d.is_empty())
        {
            match directive.split_once('=') {
                Some((target, level)) if !target.is_empty() => {
                    let threshold = threshold(level).ok_or_else(|| error(directive))?;
                    self.set(target, threshold);
                }
                _ => self.default = threshold(directive).ok_or_else(|| error(directive))?,
            }
        }
        Ok(self)
    }

    fn set(&mut self, target: &str, threshold: Threshold) {
        match self
            .targets
            .binary_search_by(|(name, _)| name.as_str().cmp(target))
        {
            Ok(at) => self.targets[at].1 = threshold,
            Err(at) => self.targets.insert(at, (target.to_owned(), threshold)),
        }
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self {
            default: Some(Level::Info),
            targets: Vec::new(),
        }
        .overlaid(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (target, threshold) in &self.targets {
            write!(f, "{target}={},", name(*threshold))?;
        }
        f.write_str(name(self.default))
    }
}

fn name(threshold: Threshold) -> &'static str {
    threshold.map_or("off", Level::as_str)
}

fn threshold(text: &str) -> Option<Threshold> {
    Some(match text.to_ascii_lowercase().as_str() {
        "error" => Some(Level::Error),
        "warn" => Some(Level::Warn),
        "info" => Some(Level::Info),
        "debug" => Some(Level::Debug),
        "trace" => Some(Level::Trace),
        "off" => None,
        _ => return None,
    })
}

fn error(directive: &str) -> FilterError {
    FilterError {
        directive: directive.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The longest target that matches decides; a target matches whole segments only.
    #[test]
    fn the_most_specific_directive_decides() {
        let filter: Filter = "hickory_server::server=off,access=debug,warn"
            .parse()
            .unwrap();

        assert!(filter.passes(Level::Debug, "access"));
        assert!(filter.passes(Level::Debug, "access::line"));
        assert!(!filter.passes(Level::Info, "accessory"));
        assert!(filter.passes(Level::Warn, "zds"));
        assert!(!filter.passes(Level::Error, "hickory_server::server"));
        assert_eq!(
            filter.to_string(),
            "access=debug,hickory_server::server=off,warn"
        );
    }

    /// A bare target or an unknown level is an error that names it; laying over keeps the rest.
    #[test]
    fn bad_directives_are_named() {
        for bad in ["access", "loud", "access=loud", "=info"] {
            assert!(
                bad.parse::<Filter>().unwrap_err().to_string().contains(bad),
                "{bad}"
            );
        }
        let filter: Filter = "access=debug,info".parse().unwrap();
        assert_eq!(
            filter.overlaid("zds=trace,error").unwrap().to_string(),
            "access=debug,zds=trace,error"
        );
    }

    proptest! {
        /// What parses survives printing and parsing again.
        #[test]
        fn filters_survive_printing(text in "([a-z:]{1,8}=)?[a-z]{1,5}(,([a-z:]{1,8}=)?(info|off|debug))*") {
            if let Ok(filter) = text.parse::<Filter>() {
                prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
            }
        }
    }
}
