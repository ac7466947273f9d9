//! A slab whose keys do not survive their value.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// Where a value lies, and which of the values that lay there it is.
///
/// An event or timer that was meant for a value that is gone finds nothing, instead of what took
/// its place.
pub(crate) struct Key<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

/// Generations fit beside index and kind in the 64 bits that epoll keeps per descriptor.
pub(crate) const GENERATION_BITS: u32 = 29;

impl<T> Key<T> {
    pub(crate) fn from_parts(index: u32, generation: u32) -> Self {
        Self {
            index,
            generation,
            of: PhantomData,
        }
    }

    pub(crate) fn parts(self) -> (u32, u32) {
        (self.index, self.generation)
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl<T> Eq for Key<T> {}

impl<T> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// Values under keys. Removing one makes its key, and every copy of it, find nothing.
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn insert(&mut self, value: T) -> Key<T> {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.value = Some(value);
            return Key::from_parts(index, slot.generation);
        }
        // Each slot holds a descriptor or more, so there are never 2^32 of them.
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot {
            generation: 0,
            value: Some(value),
        });
        Key::from_parts(index, 0)
    }

    pub(crate) fn get(&self, key: Key<T>) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation {
            slot.value.as_ref()
        } else {
            None
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation {
            slot.value.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, key: Key<T>) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) & ((1 << GENERATION_BITS) - 1);
        self.free.push(key.index);
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| {
            Some((
                Key::from_parts(index, slot.generation),
                slot.value.as_ref()?,
            ))
        })
    }

    /// The keys of the values that `wanted` picks, so that they can be changed one by one.
    pub(crate) fn keys_where(&self, mut wanted: impl FnMut(&T) -> bool) -> Vec<Key<T>> {
        self.iter()
            .filter(|(_, value)| wanted(value))
            .map(|(key, _)| key)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key finds its own value only, never the next one in the same place.
    #[test]
    fn keys_do_not_outlive_their_value() {
        let mut slots = Slots::new();
        let first = slots.insert("first");

        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");

        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!((first.parts().0, slots.len()), (second.parts().0, 1));
    }

    /// Iteration sees what is there, with keys that work.
    #[test]
    fn iteration_skips_holes() {
        let mut slots = Slots::new();
        let keys: Vec<_> = (0..4).map(|value| slots.insert(value)).collect();
        slots.remove(keys[1]);

        let odd = slots.keys_where(|value| value % 2 == 1);

        assert_eq!(odd, [keys[3]]);
        assert_eq!(
            slots.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            [0, 2, 3]
        );
    }
}
