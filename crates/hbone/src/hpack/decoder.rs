//! Bytes to header fields.

use super::dynamic_table::DynamicTable;
use super::{DEFAULT_TABLE_SIZE, huffman, static_table};

/// Why a header block cannot be decoded. The peer's table and ours differ from here on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct DecodeError(pub(crate) &'static str);

/// Takes the fields of a block, in order.
pub(crate) trait FieldSink {
    /// One field. The slices are only good for the call.
    fn field(&mut self, name: &[u8], value: &[u8]);
}

/// The decoder of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: DynamicTable,
}

/// The texts of one literal. Bounded by the block: Huffman coding grows a text by 8/5 at most.
#[derive(Default)]
struct Texts {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            table: DynamicTable::new(DEFAULT_TABLE_SIZE),
        }
    }

    /// Decodes a whole block into `sink`.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        sink: &mut impl FieldSink,
    ) -> Result<(), DecodeError> {
        let mut rest = block;
        let mut texts = Texts::default();
        let mut is_start = true;
        while let Some(&first) = rest.first() {
            match first.leading_zeros() {
                0 => self.indexed(&mut rest, sink)?,
                1 => {
                    self.literal(&mut rest, 6, &mut texts)?;
                    self.table.insert(&texts.name, &texts.value);
                    sink.field(&texts.name, &texts.value);
                }
                2 if is_start => {
                    self.resize(&mut rest)?;
                    continue;
                }
                2 => return Err(DecodeError("table size update after a field")),
                _ => {
                    self.literal(&mut rest, 4, &mut texts)?;
                    sink.field(&texts.name, &texts.value);
                }
            }
            is_start = false;
        }
        Ok(())
    }

    fn indexed(&self, rest: &mut &[u8], sink: &mut impl FieldSink) -> Result<(), DecodeError> {
        let (name, value) = self.lookup(integer(rest, 7)?)?;
        sink.field(name, value);
        Ok(())
    }

    fn literal(&self, rest: &mut &[u8], prefix: u32, texts: &mut Texts) -> Result<(), DecodeError> {
        texts.name.clear();
        texts.value.clear();
        match integer(rest, prefix)? {
            0 => text(rest, &mut texts.name)?,
            index => texts.name.extend_from_slice(self.lookup(index)?.0),
        }
        text(rest, &mut texts.value)
    }

    fn resize(&mut self, rest: &mut &[u8]) -> Result<(), DecodeError> {
        let size = integer(rest, 5)?;
        if size > DEFAULT_TABLE_SIZE {
            return Err(DecodeError("table size beyond the announced one"));
        }
        self.table.resize(size);
        Ok(())
    }

    fn lookup(&self, index: usize) -> Result<(&[u8], &[u8]), DecodeError> {
        let field = match index.checked_sub(static_table::LENGTH + 1) {
            Some(age) => self.table.field(age),
            None => static_table::field(index),
        };
        field.ok_or(DecodeError("index of no field"))
    }

    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        self.table.size()
    }
}

/// Reads an integer whose first bits are the low `prefix` bits. Source: RFC 7541 §5.1.
pub(super) fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, DecodeError> {
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(byte(rest)?) & most;
    if value < most {
        return Ok(value);
    }
    // Four more bytes reach 2^28, far beyond anything a bounded block can mean.
    for shift in [0, 7, 14, 21] {
        let next = byte(rest)?;
        value += usize::from(next & 0x7f) << shift;
        if next < 0x80 {
            return Ok(value);
        }
    }
    Err(DecodeError("integer too large"))
}

fn text(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let is_huffman = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(rest, 7)?;
    let (bytes, after) = rest
        .split_at_checked(length)
        .ok_or(DecodeError("block ends early"))?;
    *rest = after;
    if is_huffman {
        huffman::decode(bytes, out).ok_or(DecodeError("bad Huffman code"))
    } else {
        out.extend_from_slice(bytes);
        Ok(())
    }
}

fn byte(rest: &mut &[u8]) -> Result<u8, DecodeError> {
    let (&first, after) = rest.split_first().ok_or(DecodeError("block ends early"))?;
    *rest = after;
    Ok(first)
}
