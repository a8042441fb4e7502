//! TLS towards an engine that listens on TCP.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::{BoxError, Error};

/// The files that a TLS connection to an engine needs, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that may sign the engine's certificate. Needed when `verify` is set.
    pub ca: Option<PathBuf>,
    /// The client's own certificate, with `key`.
    pub cert: Option<PathBuf>,
    /// The client's own key, with `cert`.
    pub key: Option<PathBuf>,
    /// Whether the engine's certificate is checked. Without it anybody on the way can pose as the engine.
    pub verify: bool,
}

/// What hyper needs to speak TLS with these files.
pub(super) fn client_config(url: &str, files: &TlsFiles) -> Result<ClientConfig, Error> {
    let TlsFiles { ca, cert, key, verify } = files;
    let error = |wrong: String, source: BoxError| Error::Tls { url: url.to_owned(), wrong, source };
    let unreadable = |path: &Path| {
        let wrong = format!("cannot read {}", path.display());
        move |source: rustls::pki_types::pem::Error| error(wrong, source.into())
    };
    let endpoint = |wrong: &str| Error::Endpoint { url: url.to_owned(), wrong: wrong.to_owned() };

    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|source| error("cannot set TLS up".to_owned(), source.into()))?;
    let builder = match (ca, verify) {
        (_, false) => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider))),
        (None, true) => {
            return Err(endpoint(
                "cannot be verified without a CA file: give the one that signed the engine's certificate",
            ));
        }
        (Some(ca), true) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca).map_err(unreadable(ca))? {
                let wrong = || format!("{} holds a certificate that is of no use as an authority", ca.display());
                roots.add(certificate).map_err(|source| error(wrong(), source.into()))?;
            }
            if roots.is_empty() {
                return Err(endpoint(&format!("cannot be verified: {} holds no certificate", ca.display())));
            }
            builder.with_root_certificates(roots)
        }
    };
    match (cert, key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert).map_err(unreadable(cert))?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
            let wrong = || format!("{} and {} are no pair", cert.display(), key.display());
            builder.with_client_auth_cert(chain, secret).map_err(|source| error(wrong(), source.into()))
        }
        _ => Err(endpoint("has only one of certificate and key: give both or neither")),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(path)?.collect()
}

/// Takes any certificate, for operators who asked for just that. Signatures are still checked.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
