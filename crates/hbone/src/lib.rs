//! A CONNECT-only HTTP/2 codec without I/O
