//! The one way content becomes a name: the first 64 bits of its SHA-256 as 16 hexadecimal digits.

use sha2::{Digest, Sha256};

/// 16 hexadecimal digits that depend on nothing but the bytes.
pub(crate) fn hex16(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).fold(String::with_capacity(16), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
