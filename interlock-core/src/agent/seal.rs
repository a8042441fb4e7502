//! Which configurations a proxy may serve: those that core signed for it.
//!
//! What comes over the stream, lies on the node's volume or is mounted by Docker is believed for its signature and for nothing else. Who
//! shares the volume may write there, and what a compromised proxy left there would outlive it.

use rustls::pki_types::CertificateDer;

use super::candidate::Candidate;
use crate::kinds::Manifest;
use crate::proxy_config::Generation;
use crate::trust::SignedManifest;
use crate::units::Cluster;

/// Whose signature counts, and for what.
#[derive(Debug, Clone)]
pub struct Seal {
    /// The authority's certificate.
    pub authority: CertificateDer<'static>,
    /// The proxy's service cluster.
    pub cluster: Cluster,
    /// The proxy's generation.
    pub generation: Generation,
}

impl Seal {
    /// Says why a configuration may not be served, if so.
    pub(super) fn breaks(&self, candidate: &Candidate) -> Option<&'static str> {
        let Some(revision) = candidate.revision.clone() else { return Some("core did not sign it") };
        let manifest = Manifest {
            cluster: self.cluster.clone(),
            generation: self.generation.clone(),
            revision,
            hash: candidate.hash.clone(),
            parts: Vec::new(),
        };
        let signed = SignedManifest::with(manifest, candidate.signature.clone());
        if signed.is_signed_by(&self.authority) { None } else { Some("core did not sign it for this proxy") }
    }
}
