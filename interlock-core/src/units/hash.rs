//! The one way content becomes a name: its SHA-256 in hexadecimal digits, of names that people read the first 16.

use sha2::{Digest, Sha256};

/// 16 hexadecimal digits that depend on nothing but the bytes.
pub(crate) fn hex16(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

/// The first half of the SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(bytes)[..16]);
    half
}

/// Pieces that come to one name. Where one ends and the next begins has to follow from what they are.
#[derive(Default)]
pub(crate) struct Pieces(Sha256);

impl Pieces {
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// 16 hexadecimal digits that depend on all of them in their order.
    pub(crate) fn hex16(self) -> String {
        hex(&self.0.finalize()[..8])
    }
}

/// 64 hexadecimal digits that depend on these texts, on where one ends and the next begins, and on nothing else.
pub(crate) fn hex64<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
    hex(&hasher.finalize())
}

/// The SHA-256 as 64 hexadecimal digits.
#[cfg(any(feature = "docker", feature = "grpc"))]
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
