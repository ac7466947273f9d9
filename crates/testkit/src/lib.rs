//! Test oracles and hostile peers. Never a dependency of shipped code.
//!
//! - [`certificates`]: a P-256 root and leaves for SPIFFE ids.
//! - [`mod@reference`]: the `h2` crate as the other end of a tunnel, over an in-memory pipe.
//! - [`hostile`]: frames that no honest peer would send.

pub mod certificates;
pub mod hostile;
pub mod reference;
