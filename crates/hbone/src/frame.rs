//! Frames.
/// x
pub(crate) enum Kind { A }
