//! Sockets in network namespaces; the only crate that may hold unsafe code
