//! L4 authorization: match a connection against compiled policies
