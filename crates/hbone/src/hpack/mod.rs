//! Header compression. Source: RFC 7541.
//!
//! The decoder is complete; the encoder uses literals and the static table only, so it has no
//! state that a peer could make grow or that could fall out of step.

mod decoder;
mod dynamic_table;
mod encoder;
mod huffman;
mod static_table;

#[cfg(test)]
mod tests;

pub(crate) use decoder::{Decoder, FieldSink};
pub(crate) use encoder::{TABLE_SIZE_ZERO, encode_field, encode_status};

/// The dynamic table size both ends start with; we announce no other.
pub(crate) const DEFAULT_TABLE_SIZE: usize = 4096;
