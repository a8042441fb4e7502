//! Certificates of an authority that test clients believe.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority that clients believe.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// A certificate and its key, as PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let certificate = params.self_signed(&key).unwrap();
        let authority = Self { issuer: Issuer::new(params, key), folder: tempfile::tempdir().unwrap() };
        std::fs::write(authority.file(), certificate.pem()).unwrap();
        authority
    }

    /// Its certificate, for clients.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for a host.
    pub fn pair(&self, host: &str) -> Pair {
        self.numbered(host, 1)
    }

    /// A certificate for a host that says this number.
    pub fn numbered(&self, host: &str, number: u64) -> Pair {
        self.signed(&[host], number)
    }

    /// A certificate for several hosts.
    pub fn shared(&self, hosts: &[&str]) -> Pair {
        self.signed(hosts, 1)
    }

    fn signed(&self, hosts: &[&str], number: u64) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(hosts.iter().copied().map(str::to_owned).collect::<Vec<_>>()).unwrap();
        params.serial_number = Some(number.into());
        params.distinguished_name.push(DnType::CommonName, hosts[0]);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}
