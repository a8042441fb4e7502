//! Values that are shared, and known by a hash of their content.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::{Serialize, Serializer};

use super::hash;

/// A shared value with a name for its content. A copy costs no memory, and the name is made once for all copies.
///
/// It is serialised as the value is.
pub struct Hashed<T>(Arc<Inner<T>>);

struct Inner<T> {
    value: T,
    digest: OnceLock<Digest>,
}

/// The first half of a SHA-256.
pub type Digest = [u8; 16];

impl<T> Hashed<T> {
    /// Whether the two are one value, without a look at it.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Serialize> Hashed<T> {
    /// Whether the two have the same content, by their names if they are not one value.
    pub fn has_content_of(&self, other: &Self) -> bool {
        self.is_same(other) || self.digest() == other.digest()
    }

    /// A name for the content: equal content, equal name, on every machine. It is that of the value as JSON.
    pub fn digest(&self) -> &Digest {
        // Maps are sorted and nothing in it is a time, so equal values have equal bytes.
        self.0.digest.get_or_init(|| hash::digest(&serde_json::to_vec(&self.0.value).unwrap_or_default()))
    }
}

impl<T> From<T> for Hashed<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(Inner { value, digest: OnceLock::new() }))
    }
}

impl<T> Deref for Hashed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> Clone for Hashed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: PartialEq> PartialEq for Hashed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.0.value == other.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Hashed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

impl<T: Serialize> Serialize for Hashed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.value.serialize(serializer)
    }
}
