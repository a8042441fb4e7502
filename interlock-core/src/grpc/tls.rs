//! TLS 1.3 with certificates on both sides.
//!
//! tonic's own TLS lets neither the versions of TLS be chosen, nor handshakes be bounded, nor a connection be closed when its certificate is
//! revoked. So tonic is given connections that are made here, with rustls.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::trust::{Authority, CORE_NAME, Error, Identity};
use crate::units::{Cluster, Role};

mod admitted;
mod caller;
mod client;
mod known;
mod listen;
mod places;
mod repeats;

pub use admitted::Admitted;
pub use caller::{Caller, StreamPlace, caller};
pub use client::{addresses, channel, channel_knowing};
pub(crate) use known::some_of;
pub use listen::{Connection, Limits, incoming};

const H2: &[u8] = b"h2";

fn roots(authority: &rustls::pki_types::CertificateDer<'static>) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).map_err(|error| Error::Certificate(error.to_string()))?;
    Ok(Arc::new(roots))
}

fn wrong(error: rustls::Error) -> Error {
    Error::Certificate(error.to_string())
}

/// Core's side, with a certificate that is made for it now.
fn server(authority: &Authority) -> Result<ServerConfig, Error> {
    let own = Identity::from_pem(&authority.issue(Role::Core, &Cluster::default())?.pem)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority.certificate())?, provider.clone());
    let verifier = verifier.build().map_err(|error| Error::Certificate(error.to_string()))?;
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let builder = builder.map_err(wrong)?.with_client_cert_verifier(verifier);
    let mut config = builder.with_single_cert(vec![own.certificate], own.key).map_err(wrong)?;
    config.alpn_protocols = vec![H2.to_vec()];
    // A resumed session would skip the look at the certificate.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// A peer's side.
fn client(identity: &Identity) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(wrong)?;
    let builder = builder.with_root_certificates(roots(&identity.authority)?);
    let key: PrivateKeyDer<'static> = identity.key.clone_key();
    let mut config = builder.with_client_auth_cert(vec![identity.certificate.clone()], key).map_err(wrong)?;
    config.alpn_protocols = vec![H2.to_vec()];
    Ok(config)
}

/// The name that core's certificate has.
fn core_name() -> ServerName<'static> {
    ServerName::try_from(CORE_NAME).expect("it is a DNS name")
}
