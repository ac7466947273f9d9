//! Two engines, two pods in network namespaces of their own, real redirection, real sockets.
//!
//! Needs root, nft and ip, as the node proxy does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fakes;
mod noise;
mod peer;
mod rig;

mod bytes;
mod certificates;
mod flow_control;
mod lifecycle;
mod passthrough;
mod policies;
mod soak;
