//! The node agent tells us which pods to serve (ZDS), one datagram at a time.
//!
//! `message` turns datagrams into requests, `enrolment` decides (pure but for its [`Host`]),
//! `client` is the thread with the socket. Source: node-proxy specification §3, design D7.

mod client;
mod enrolment;
mod message;
mod roster;

pub use client::{Client, Wake};
pub use enrolment::{Enrolment, Host, StartError};
pub use message::Pod;
pub use roster::{Roster, RunState};

#[cfg(test)]
mod tests;
