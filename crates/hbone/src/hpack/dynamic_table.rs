//! The fields a peer asked us to remember.

use std::collections::VecDeque;

use crate::header_list::FIELD_OVERHEAD;

/// A first-in-first-out table, newest first. Invariants: `size <= limit`.
#[derive(Debug)]
pub(super) struct DynamicTable {
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    bytes: Box<[u8]>,
    name_length: usize,
}

impl DynamicTable {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            limit,
        }
    }

    /// The entry with this age: 0 is the newest.
    pub(super) fn field(&self, age: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(age)?;
        entry.bytes.split_at_checked(entry.name_length)
    }

    /// Remembers a field, forgetting the oldest. One that is larger than the table empties it.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let needed = name.len() + value.len() + FIELD_OVERHEAD;
        self.evict_to(self.limit.saturating_sub(needed));
        if needed <= self.limit {
            let bytes = [name, value].concat().into_boxed_slice();
            self.entries.push_front(Entry {
                bytes,
                name_length: name.len(),
            });
            self.size += needed;
        }
    }

    /// Changes the size the peer wants to use.
    pub(super) fn resize(&mut self, limit: usize) {
        self.limit = limit;
        self.evict_to(limit);
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else {
                return;
            };
            self.size = self
                .size
                .saturating_sub(oldest.bytes.len() + FIELD_OVERHEAD);
        }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }
}
