//! Test oracles and hostile peers: the h2 crate as reference
