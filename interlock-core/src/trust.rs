//! Who may talk to core: the authority, the identities that it issues, and what is read from a certificate.
use crate::names::Cluster;
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Core,
    Extension,
    Proxy,
}
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(String);
impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::str::FromStr for Fingerprint {
    type Err = std::convert::Infallible;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Ok(Self(s.to_owned()))
    }
}
#[derive(Debug)]
pub struct Authority;
pub struct Issued {
    pub pem: String,
    pub fingerprint: Fingerprint,
}
impl Authority {
    pub fn from_pem(_: &str) -> Result<Self, std::io::Error> {
        todo!()
    }
    pub fn issue(&self, _: Role, _: &Cluster) -> Result<Issued, std::io::Error> {
        static N: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let n = N.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(Issued { pem: "x".to_owned(), fingerprint: Fingerprint(format!("{n:064}")) })
    }
    pub fn generate() -> Result<Self, std::io::Error> {
        Ok(Self)
    }
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint("1".repeat(64))
    }
    pub fn to_pem(&self) -> String {
        "x".to_owned()
    }
}
#[derive(Debug, Clone)]
pub struct Peer {
    pub role: Role,
    pub cluster: Cluster,
    pub fingerprint: Fingerprint,
}
impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Core => "core",
            Self::Extension => "extension",
            Self::Proxy => "proxy",
        })
    }
}
