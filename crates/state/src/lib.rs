//! What discovery has told us: workloads, services, policies, and the route of a connection
