//! What the authority signs besides certificates.
//!
//! Labels, names and files on a volume are for others to write, too. What decides about them is a signature, over bytes that say what
//! they are about, so that none can stand for another.

use std::fmt;
use std::str::FromStr;

use rcgen::SigningKey;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{Authority, Error, issue};
use crate::kinds::Manifest;
use crate::units::Role;
use crate::units::hash;
use crate::units::{Cluster, Fingerprint};

/// A statement that can be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement<'a> {
    /// The secret of this name holds an identity of this role and service cluster, whose certificate has this fingerprint.
    Identity {
        /// The secret's name.
        name: &'a str,
        /// What the holder is.
        role: Role,
        /// The holder's service cluster.
        cluster: &'a Cluster,
        /// The certificate's fingerprint.
        fingerprint: &'a Fingerprint,
    },
    /// Core gave these files to proxies.
    Files(&'a Manifest),
}

impl Statement<'_> {
    /// The bytes that are signed: the kind, and each part with its length in front. No certificate begins like that.
    fn bytes(&self) -> Vec<u8> {
        let texts = match *self {
            Self::Identity { name, role, cluster, fingerprint } => {
                vec![
                    "interlock identity 1".to_owned(),
                    name.to_owned(),
                    role.to_string(),
                    cluster.to_string(),
                    fingerprint.to_string(),
                ]
            }
            Self::Files(Manifest { cluster, generation, revision, hash, parts: _ }) => {
                // The hash is that of the parts in their order.
                let [cluster, generation, revision] =
                    [cluster.to_string(), generation.to_string(), revision.to_string()];
                vec!["interlock files 1".to_owned(), cluster, generation, revision, hash.clone()]
            }
        };
        let mut bytes = Vec::new();
        for text in texts {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.into_bytes());
        }
        bytes
    }
}

/// A signature of the authority, as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// Whether this is the signature of a statement by the holder of this certificate's key.
    pub fn proves(&self, statement: &Statement<'_>, authority: &CertificateDer<'_>) -> bool {
        let Ok(certificate) = webpki::EndEntityCert::try_from(authority) else { return false };
        let bytes = statement.bytes();
        // One of them is the certificate's; for a key of another kind, each says no.
        webpki::ALL_VERIFICATION_ALGS
            .iter()
            .any(|algorithm| certificate.verify_signature(*algorithm, &bytes, &self.0).is_ok())
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hash::hex(&self.0))
    }
}

/// The longest signature: RSA with 8192 bits.
const LONGEST: usize = 1024;

impl FromStr for Signature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if !text.len().is_multiple_of(2) || text.len() > 2 * LONGEST || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::Signature);
        }
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| Error::Signature);
        (0..text.len()).step_by(2).map(byte).collect::<Result<_, _>>().map(Self)
    }
}

impl Authority {
    /// Signs a statement.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub fn sign(&self, statement: &Statement<'_>) -> Result<Signature, Error> {
        self.key.sign(&statement.bytes()).map(Signature).map_err(issue)
    }
}

/// A manifest with its signature, as it travels with files: in a config object, or on a node's volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedManifest {
    /// What was signed.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// The signature, as hexadecimal digits.
    signature: String,
}

impl SignedManifest {
    /// Signs a manifest.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub fn sign(manifest: Manifest, authority: &Authority) -> Result<Self, Error> {
        let signature = authority.sign(&Statement::Files(&manifest))?.to_string();
        Ok(Self { manifest, signature })
    }

    /// Puts a signature that came by another way beside its manifest.
    pub fn with(manifest: Manifest, signature: String) -> Self {
        Self { manifest, signature }
    }

    /// Whether the holder of this certificate's key signed it.
    pub fn is_signed_by(&self, authority: &CertificateDer<'_>) -> bool {
        let signature = self.signature.parse::<Signature>();
        signature.is_ok_and(|signature| signature.proves(&Statement::Files(&self.manifest), authority))
    }

    /// The signature, as hexadecimal digits.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// As the text of a file.
    pub fn to_toml(&self) -> String {
        // A flat table of strings and a list of them can always be written.
        toml::to_string(self).unwrap_or_default()
    }

    /// Reads the text of such a file. Keys that are not known are ignored.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k2_a_signature_proves_its_own_statement_and_nothing_else() {
        let (authority, other) = (Authority::generate().unwrap(), Authority::generate().unwrap());
        let fingerprint = authority.fingerprint();
        let (east, west): (Cluster, Cluster) = ("east".parse().unwrap(), "west".parse().unwrap());
        let said = |name, role, cluster, fingerprint| Statement::Identity { name, role, cluster, fingerprint };
        let signed = said("a", Role::Proxy, &east, &fingerprint);
        let signature = authority.sign(&signed).unwrap();
        assert!(signature.proves(&signed, authority.certificate()));
        assert!(!signature.proves(&signed, other.certificate()));
        let of_other = other.fingerprint();
        for another in [
            said("b", Role::Proxy, &east, &fingerprint),
            said("a", Role::Extension, &east, &fingerprint),
            said("a", Role::Proxy, &west, &fingerprint),
            said("a", Role::Proxy, &east, &of_other),
        ] {
            assert!(!signature.proves(&another, authority.certificate()), "{another:?}");
        }
        assert_eq!(signature.to_string().parse::<Signature>().unwrap(), signature);
        for broken in ["", "0", "zz", &signature.to_string()[2..], &"0".repeat(4000)] {
            let proves = broken.parse::<Signature>().is_ok_and(|it| it.proves(&signed, authority.certificate()));
            assert!(!proves, "{broken}");
        }
    }

    #[test]
    fn m4_files_of_another_revision_generation_or_service_cluster_are_others() {
        let authority = Authority::generate().unwrap();
        let manifest = |cluster: &str, generation: &str, revision: &str, hash: &str| Manifest {
            cluster: cluster.parse().unwrap(),
            generation: generation.parse().unwrap(),
            revision: revision.parse().unwrap(),
            hash: hash.to_owned(),
            parts: Vec::new(),
        };
        let [one, two] = ["00000000000000aa", "00000000000000bb"];
        let signed = manifest("", one, one, "a");
        let signature = authority.sign(&Statement::Files(&signed)).unwrap();
        assert!(signature.proves(&Statement::Files(&signed), authority.certificate()));
        for other in [
            manifest("b", one, one, "a"),
            manifest("", two, one, "a"),
            manifest("", one, two, "a"),
            manifest("", one, one, "b"),
        ] {
            assert!(!signature.proves(&Statement::Files(&other), authority.certificate()), "{other:?}");
        }
    }
}
