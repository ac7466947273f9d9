//! Values shared by every crate: identities, address roles, close reasons.
//!
//! Nothing here does I/O or reads a clock. One newtype per role of an address, so that the
//! compiler refuses to swap a source with a destination.

mod address;
mod close;
mod identity;

pub use address::{Authority, AuthorityError, OriginalDst, SourceAddr};
pub use close::{CloseReason, Fault};
pub use identity::{Identity, IdentityError};

use std::fmt;
use std::sync::Arc;

/// A workload's unique key in the mesh, `<cluster>/<group>/<kind>/<namespace>/<name>`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkloadUid(Arc<str>);

impl WorkloadUid {
    /// Takes the text as it came from discovery.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text as discovery sent it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkloadUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
