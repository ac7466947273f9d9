//! A list of header fields in one allocation.

use std::fmt;

/// Header fields in order, names in lower case; pseudo-headers are not in it.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct HeaderList {
    bytes: Vec<u8>,
    /// End of the name and end of the value of each field in `bytes`.
    ends: Vec<(usize, usize)>,
}

impl HeaderList {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a field. The name must be in lower case, as HTTP/2 wants it.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(name.as_ref());
        let name_end = self.bytes.len();
        self.bytes.extend_from_slice(value.as_ref());
        self.ends.push((name_end, self.bytes.len()));
    }

    /// `push` for building in one expression.
    #[must_use]
    pub fn with(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.push(name, value);
        self
    }

    /// Every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(_, end)| end));
        starts.zip(&self.ends).map(|(start, &(name_end, end))| {
            (
                self.bytes.get(start..name_end).unwrap_or_default(),
                self.bytes.get(name_end..end).unwrap_or_default(),
            )
        })
    }

    /// Every value of a field, in order; a field may come in several lines.
    pub fn values_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(field, _)| *field == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// The first value of a field.
    #[must_use]
    pub fn value_of(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(field, _)| *field == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Size as `MAX_HEADER_LIST_SIZE` counts it: bytes plus 32 per field. Source: RFC 9113 §6.5.2.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + FIELD_OVERHEAD * self.ends.len()
    }
}

impl fmt::Debug for HeaderList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (text(name), text(value))))
            .finish()
    }
}

/// What a field costs beyond its bytes, in header lists and in HPACK's table.
pub(crate) const FIELD_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields come back in order, repeated names included, and the size follows the RFC.
    #[test]
    fn fields_are_kept_in_order() {
        let list = HeaderList::new()
            .with("baggage", "a=b")
            .with("x", "")
            .with("baggage", "c=d");

        let values: Vec<&[u8]> = list.values_of("baggage").collect();

        assert_eq!(values, [b"a=b", b"c=d"]);
        assert_eq!(list.value_of("x"), Some(&b""[..]));
        assert_eq!(list.value_of("y"), None);
        assert_eq!((list.len(), list.size()), (3, 7 + 3 + 1 + 7 + 3 + 96));
        assert_eq!(
            format!("{list:?}"),
            r#"{"baggage": "a=b", "x": "", "baggage": "c=d"}"#
        );
    }
}
