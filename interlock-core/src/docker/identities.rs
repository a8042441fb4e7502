//! Identities on the Swarm, by the signature of their authority.

use crate::ownership;
use crate::swarm::{Holder, Identity, Secret};
use crate::trust::{self, Authority, Signature, Statement};

/// Whose identity a secret holds, if the authority's signature on it says so.
pub(super) fn verified(authority: &Authority, secret: &Secret) -> Option<Identity> {
    let claimed = ownership::claimed_identity(secret)?;
    let signature: Signature = secret.labels.get(ownership::SIGNATURE)?.parse().ok()?;
    signature.proves(&statement(&secret.name, &claimed), authority.certificate()).then_some(claimed)
}

pub(super) fn statement<'a>(name: &'a str, identity: &'a Identity) -> Statement<'a> {
    let Identity { holder, cluster, fingerprint } = identity;
    Statement::Identity { name, role: trusted(*holder), cluster, fingerprint }
}

pub(super) fn trusted(holder: Holder) -> trust::Role {
    match holder {
        Holder::Extension => trust::Role::Extension,
        Holder::Proxy => trust::Role::Proxy,
    }
}
