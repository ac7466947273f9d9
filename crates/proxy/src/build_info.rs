//! What was built.

/// Version, profile and cryptographic module of this build.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BuildInfo {
    /// Version of the package.
    pub version: &'static str,
    /// `release` or `debug`.
    pub profile: &'static str,
    /// Cryptographic module.
    pub provider: &'static str,
    /// Whether that module is the validated one.
    pub is_fips: bool,
}

impl BuildInfo {
    /// This build.
    #[must_use]
    pub fn current() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            profile: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
            provider: ambimesh_tls::module_name(),
            is_fips: cfg!(feature = "fips"),
        }
    }
}
