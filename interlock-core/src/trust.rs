//! Who may talk to core: the authority, the identities that it issues, and what is read from a certificate.
//!
//! One authority a Swarm signs everything. Core makes its own server certificate at each start; extensions and proxies show one that stands,
//! with its key, in a Docker secret. Who somebody is, a role and a service cluster, stands in a URI of the certificate
//! (`interlock://proxy/us-east`) and nowhere in a message.
//!
//! The authority also signs what stands elsewhere than in certificates and decides something: which secret is whose identity, and which
//! files core gave to proxies ([`Statement`]).
//!
//! Nothing here prints a key: neither `Debug` nor an error has one.

use std::fmt;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

pub use crate::units::Fingerprint;
use crate::units::{Cluster, Role};

mod statement;

pub use statement::{Signature, SignedManifest, Statement};

/// The name by which peers know core. It stands in core's certificate alone and is in no DNS.
pub const CORE_NAME: &str = "core.interlock.internal";

impl Fingerprint {
    /// Of this certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self::of_bytes(certificate)
    }
}

/// What is wrong with a certificate, a key or a file of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no signature.
    #[error("is no signature: hexadecimal digits")]
    Signature,
    /// The file does not hold what it should.
    #[error("has no {0} in PEM")]
    Missing(&'static str),
    /// The key is not one that can be used, or not that of the certificate.
    #[error("has a key that cannot be used: {0}")]
    Key(String),
    /// The certificate is not one of ours.
    #[error("has a certificate that is not interlock's: {0}")]
    Certificate(String),
    /// Nothing could be issued.
    #[error("no certificate could be made: {0}")]
    Issue(String),
}

/// What signs all certificates.
pub struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: KeyPair,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// A certificate and its key, just made.
pub struct Issued {
    /// The certificate, the key and the authority's certificate, in PEM.
    pub pem: Zeroizing<String>,
    /// The certificate's fingerprint.
    pub fingerprint: Fingerprint,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new one, good for twenty years from now.
    ///
    /// It is good for all the time before, too: who could use its key did not have it yet, and a node whose clock is behind, as it may be
    /// before it was told the time, still takes what it signed.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub fn generate() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(issue)?;
        let mut params = params("interlock authority")?;
        params.not_before = time::OffsetDateTime::UNIX_EPOCH;
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(20 * 365);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(issue)?;
        Ok(Self { certificate_pem: certificate.pem(), certificate: certificate.der().clone(), key })
    }

    /// Reads what [`Authority::to_pem`] wrote.
    ///
    /// # Errors
    ///
    /// When it is not that.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let certificate = certificates(pem).next().ok_or(Error::Missing("certificate"))?;
        let begin = pem.find(KEY).ok_or(Error::Missing("key"))?;
        let key = KeyPair::from_pem(&pem[begin..]).map_err(|error| Error::Key(error.to_string()))?;
        let certificate_pem = pem[..begin].to_owned();
        let authority = Self { certificate, certificate_pem, key };
        // A key that is not the certificate's would sign what nobody accepts.
        authority.issuer()?;
        Ok(authority)
    }

    /// The certificate and the key, for the secret that core mounts.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}{}", self.certificate_pem, *Zeroizing::new(self.key.serialize_pem())))
    }

    /// The certificate's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// The certificate, which peers trust.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    fn issuer(&self) -> Result<Issuer<'_, &KeyPair>, Error> {
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key);
        issuer.map_err(|error| Error::Certificate(error.to_string()))
    }

    /// When the authority begins and ends.
    fn validity(&self) -> Result<[time::OffsetDateTime; 2], Error> {
        let parsed = x509_parser::parse_x509_certificate(&self.certificate);
        let (_, parsed) = parsed.map_err(|error| Error::Certificate(error.to_string()))?;
        let validity = parsed.validity();
        Ok([validity.not_before.to_datetime(), validity.not_after.to_datetime()])
    }

    /// Issues a certificate that is good as long as the authority itself. No clock is asked: that of a node that just started may be years
    /// behind, and nobody replaces a certificate because it ended. What ends one is that its secret goes.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub fn issue(&self, role: Role, cluster: &Cluster) -> Result<Issued, Error> {
        let key = KeyPair::generate().map_err(issue)?;
        let mut params = params(&format!("interlock {role} {}", cluster.title()))?;
        [params.not_before, params.not_after] = self.validity()?;
        let uri = Ia5String::try_from(format!("{SCHEME}{role}/{cluster}")).map_err(issue)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if role == Role::Core {
            params.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(CORE_NAME).map_err(issue)?));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }
        let certificate = params.signed_by(&key, &self.issuer()?).map_err(issue)?;
        let key = Zeroizing::new(key.serialize_pem());
        Ok(Issued {
            pem: Zeroizing::new(format!("{}{}{}", certificate.pem(), *key, self.certificate_pem)),
            fingerprint: Fingerprint::of(certificate.der()),
        })
    }
}

const KEY: &str = "-----BEGIN PRIVATE KEY-----";
const SCHEME: &str = "interlock://";

fn issue(error: rcgen::Error) -> Error {
    Error::Issue(error.to_string())
}

fn params(name: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(issue)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn certificates(pem: &str) -> impl Iterator<Item = CertificateDer<'static>> + '_ {
    CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok)
}

/// A certificate with its key, as its holder has it.
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// The certificate of the authority that core's is signed by.
    pub authority: CertificateDer<'static>,
    peer: Peer,
}

/// An identity of another authority than the one that its holder was made for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is signed by the authority {found}, and {expected} is the one to follow")]
pub struct ForeignAuthority {
    found: Fingerprint,
    expected: Fingerprint,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        let Self { certificate, key, authority, peer } = self;
        Self {
            certificate: certificate.clone(),
            key: key.clone_key(),
            authority: authority.clone(),
            peer: peer.clone(),
        }
    }
}

impl Identity {
    /// Reads what an [`Issued`] holds.
    ///
    /// # Errors
    ///
    /// When it is not that.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let mut certificates = certificates(pem);
        let certificate = certificates.next().ok_or(Error::Missing("certificate"))?;
        let authority = certificates.next().ok_or(Error::Missing("certificate of the authority"))?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| Error::Missing("key"))?;
        let peer = Peer::of(&certificate)?;
        Ok(Self { certificate, key, authority, peer })
    }

    /// The same, if its authority is this one.
    ///
    /// # Errors
    ///
    /// When it is another: whoever holds that one's key could speak for core.
    pub fn of_authority(self, expected: &Fingerprint) -> Result<Self, ForeignAuthority> {
        let found = Fingerprint::of(&self.authority);
        if found == *expected { Ok(self) } else { Err(ForeignAuthority { found, expected: expected.clone() }) }
    }

    /// Who this is.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// Who a certificate says that its holder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What it is.
    pub role: Role,
    /// Its service cluster; the default one for core.
    pub cluster: Cluster,
    /// The certificate's fingerprint.
    pub fingerprint: Fingerprint,
}

impl Peer {
    /// Reads a certificate. That it is valid and signed by the authority is not looked at: the handshake does that.
    ///
    /// # Errors
    ///
    /// When it is none of ours.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Certificate(what.to_owned());
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| wrong("it is not X.509"))?;
        let names = parsed.subject_alternative_name().map_err(|_| wrong("its names cannot be read"))?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let mut uris = names.iter().filter_map(|name| match name {
            x509_parser::extensions::GeneralName::URI(uri) => uri.strip_prefix(SCHEME),
            _ => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else { return Err(wrong("it does not say one role")) };
        let (role, cluster) = uri.split_once('/').ok_or_else(|| wrong("it does not say a service cluster"))?;
        let role = Role::ALL.into_iter().find(|known| known.to_string() == role).ok_or_else(|| wrong("its role"))?;
        let cluster = cluster.parse().map_err(|_| wrong("its service cluster"))?;
        Ok(Self { role, cluster, fingerprint: Fingerprint::of(certificate) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_issued_says_who_it_is() {
        let authority = Authority::generate().unwrap();
        let again = Authority::from_pem(&authority.to_pem()).unwrap();
        assert_eq!(authority.fingerprint(), again.fingerprint());
        for (role, cluster) in [(Role::Core, ""), (Role::Extension, "us-east"), (Role::Proxy, "")] {
            let issued = again.issue(role, &cluster.parse().unwrap()).unwrap();
            let identity = Identity::from_pem(&issued.pem).unwrap();
            assert_eq!((identity.peer().role, identity.peer().cluster.as_str()), (role, cluster));
            assert_eq!(identity.peer().fingerprint, issued.fingerprint);
            assert_eq!(identity.authority, *authority.certificate());
        }
    }

    /// Core keeps the one that it made when it started, and an authority may be one that was made otherwise.
    #[test]
    fn what_is_issued_is_good_as_long_as_its_authority() {
        let key = KeyPair::generate().unwrap();
        let mut params = params("made elsewhere").unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.not_before = time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(10_000);
        params.not_after = params.not_before + time::Duration::days(100_000);
        let dates = [params.not_before, params.not_after];
        let pem = format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem());
        let elsewhere = Authority::from_pem(&pem).unwrap();
        assert_eq!(elsewhere.validity().unwrap(), dates);
        for authority in [Authority::generate().unwrap(), elsewhere] {
            for role in Role::ALL {
                let identity = Identity::from_pem(&authority.issue(role, &Cluster::default()).unwrap().pem).unwrap();
                let (_, certificate) = x509_parser::parse_x509_certificate(&identity.certificate).unwrap();
                let validity = certificate.validity();
                let dates = [validity.not_before.to_datetime(), validity.not_after.to_datetime()];
                assert_eq!(dates, authority.validity().unwrap(), "{role}");
            }
        }
    }

    #[test]
    fn nothing_prints_a_key() {
        let authority = Authority::generate().unwrap();
        let issued = authority.issue(Role::Proxy, &Cluster::default()).unwrap();
        let identity = Identity::from_pem(&issued.pem).unwrap();
        let printed = format!("{authority:?} {issued:?} {identity:?}");
        assert!(!printed.contains("BEGIN") && printed.len() < 600, "{printed}");
        let broken = issued.pem.replace("PRIVATE", "PUBLIC");
        assert_eq!(Identity::from_pem(&broken).unwrap_err(), Error::Missing("key"));
    }
}
