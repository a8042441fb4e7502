//! Counted places: how many of something one holder may have at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many of each are in use. A copy counts together with the original.
#[derive(Debug)]
pub(super) struct Places<K>(Arc<Mutex<BTreeMap<K, usize>>>);

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Ord + Clone> Places<K> {
    /// Takes one more for this holder. `None` when it has as many as the limit says.
    pub(super) fn take(&self, key: K, limit: usize) -> Option<Place<K>> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key.clone()).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { key, places: self.0.clone() })
    }
}

/// One that is in use. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place<K: Ord> {
    key: K,
    places: Arc<Mutex<BTreeMap<K, usize>>>,
}

impl<K: Ord> Place<K> {
    /// Whose it is.
    pub(super) fn holder(&self) -> &K {
        &self.key
    }
}

impl<K: Ord> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}
