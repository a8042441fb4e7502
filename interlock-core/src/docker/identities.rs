//! Identities on the Swarm, by the signature of their authority.

use crate::ownership;
use crate::swarm::{Identity, Secret};
use crate::trust::{Authority, Signature, Statement};
use crate::units::Role;

/// Whose identity a secret holds, if the authority's signature on it says so.
pub(super) fn verified(authority: &Authority, secret: &Secret) -> Option<Identity> {
    let claimed = ownership::claimed_identity(secret)?;
    let signature: Signature = secret.labels.get(ownership::SIGNATURE)?.parse().ok()?;
    signature.proves(&statement(&secret.name, &claimed), authority.certificate()).then_some(claimed)
}

pub(super) fn statement<'a>(name: &'a str, identity: &'a Identity) -> Statement<'a> {
    let Identity { holder, cluster, fingerprint } = identity;
    Statement::Identity { name, role: Role::from(*holder), cluster, fingerprint }
}
