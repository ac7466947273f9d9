//! Generated messages, by package. Names and numbers are those of the files in `/proto`.
#![expect(missing_docs, reason = "generated; the definitions carry the comments")]
#![expect(clippy::pedantic, reason = "generated")]
#![expect(
    clippy::large_enum_variant,
    reason = "a message lives for one conversion"
)]

include!(concat!(env!("OUT_DIR"), "/wire.rs"));
