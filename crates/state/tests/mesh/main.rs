//! What snapshots answer about meshes that tests put together.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod balancing;
mod dump;
mod inbound;
mod mesh;
mod model;
mod policies;
mod routes;
mod services;
mod waypoints;
mod workloads;
