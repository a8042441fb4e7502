//! The marks by which interlock knows its own objects, and nothing else is ever changed or removed.

use std::collections::BTreeSet;

use crate::settings::Settings;
use crate::swarm::{Holder, Identity, Labels, Secret, Service, ServiceSpec, Snapshot, SwarmIndex};
use crate::units::{Cluster, NetworkId, Role, SecretId};

pub(crate) mod acting;
pub(crate) mod core_name;

/// On a secret of somebody else: the stack whose services may name it in labels, or `*` for all, where `SecretPolicy` asks for that.
pub const ALLOW: &str = "com.docker.lb.allow";

/// On everything that interlock creates; its value is [`OWNER_VALUE`].
pub const OWNER: &str = "com.docker.interlock.owner";
/// The value of [`OWNER`].
pub const OWNER_VALUE: &str = "interlock";
/// The service cluster that an object belongs to; empty for the default one.
pub const CLUSTER: &str = "com.docker.interlock.cluster";
/// On a proxy service: the revision of what it serves.
pub const REVISION: &str = "com.docker.interlock.revision";
/// On a proxy service: what the settings last asked for, field by field, as JSON. A field is written again only when the
/// settings ask for something else, so that what somebody changed by hand in the meantime stays.
pub const APPLIED: &str = "com.docker.interlock.applied";
/// Interlock's own label of proxy services, by which operators' scripts find them.
pub const TYPE: &str = "type";
/// The value of [`TYPE`] on proxy services.
pub const TYPE_PROXY: &str = "com.docker.interlock.core.proxy";
/// The value of [`TYPE`] on core's own service.
pub const TYPE_CORE: &str = "com.docker.interlock.core";
/// The value of [`TYPE`] on extension services.
pub const TYPE_EXTENSION: &str = "com.docker.interlock.core.extension";
/// On secrets with key material: `authority`, or the role of who holds it: `extension` or `proxy`.
pub const ROLE: &str = "com.docker.interlock.role";
/// On identity secrets: the SHA-256 of the certificate as 64 hexadecimal digits. Core accepts no other certificates than those that
/// stand on a secret with the authority's signature.
pub const FINGERPRINT: &str = "com.docker.interlock.fingerprint";
/// On identity secrets: the authority's signature over the secret's name and what the labels say of the identity. Without it they
/// prove nothing: who may create secrets may label them as he likes.
pub const SIGNATURE: &str = "com.docker.interlock.signature";
/// On identity secrets: the fingerprint of the authority that signed it.
pub const AUTHORITY: &str = "com.docker.interlock.authority";
/// On a hitless proxy service: the version of the proxy program that all of its agents reported, so that a new core knows it before
/// they connect.
pub const PROXY_VERSION: &str = "com.docker.interlock.proxy-version";
/// On an extension's service, or on the proxy service where core renders: 16 digits of the hash of the options that the checker
/// looked at last. If it refused them, a blank and its message follow. So `install` learns what became of new settings.
pub const OPTIONS: &str = "com.docker.interlock.options";
/// The name of the secret with the authority's certificate and key.
pub const AUTHORITY_SECRET: &str = "com.docker.interlock.authority";
/// What names of identity secrets begin with: the role, the service cluster's slug and a number follow.
pub const IDENTITY_PREFIX: &str = "com.docker.interlock.identity.";
/// Where core reads the authority, as Docker mounts it.
pub const AUTHORITY_PATH: &str = "/run/secrets/interlock-authority";
/// What names of interlock's own secrets begin with. No label may name one for a route.
pub const SECRET_PREFIX: &str = "com.docker.interlock.";
/// Where an extension or an agent reads its identity, as Docker mounts it.
pub const IDENTITY_PATH: &str = "/run/secrets/interlock-identity";
/// The overlay network between core and extensions. A hitless service cluster's proxies have one of their own, with `-` and the
/// cluster's slug behind this name.
pub const CONTROL_NETWORK: &str = "interlock";
/// The name of core's service, unless somebody chose another.
pub const CORE_SERVICE: &str = "interlock-core";
/// What names of config objects with core's settings begin with.
pub const SETTINGS_PREFIX: &str = "com.docker.interlock.settings.";
/// What names of our config objects begin with.
pub const CONFIG_PREFIX: &str = "com.docker.interlock.proxy.";

/// The name of the network between core and the proxies of a hitless service cluster.
pub fn proxy_network(cluster: &Cluster) -> String {
    format!("{CONTROL_NETWORK}-{}", cluster.slug())
}

/// The networks between core and its peers, as far as they exist. Nobody is reached by them.
pub fn core_networks(settings: &Settings, snapshot: &Snapshot) -> BTreeSet<NetworkId> {
    let hitless = settings.extensions.iter().filter(|(_, extension)| extension.hitless_service_update);
    let of_proxies: BTreeSet<_> = hitless.filter_map(|(name, _)| Some(proxy_network(&name.parse().ok()?))).collect();
    let networks = snapshot.networks.iter().filter(|network| {
        of_proxies.contains(&network.name) || (network.name == CONTROL_NETWORK && is_ours(&network.labels))
    });
    networks.map(|network| network.id.clone()).collect()
}

/// Whether the object's labels say that interlock created it.
pub fn is_ours(labels: &Labels) -> bool {
    labels.get(OWNER).is_some_and(|value| value == OWNER_VALUE)
}

/// Whether the service is a proxy service that interlock created: the ownership label, the type label, and a config object of
/// ours in its tasks. A service on which somebody copied only the label is not.
pub fn is_our_proxy(service: &Service) -> bool {
    is_ours(&service.spec.labels)
        && service.spec.labels.get(TYPE).is_some_and(|value| value == TYPE_PROXY)
        && service.spec.configs.iter().any(|config| config.name.starts_with(CONFIG_PREFIX))
}

/// Whether the service is an extension service that interlock created: the ownership label, the type label, and an identity of ours in its
/// tasks.
pub fn is_our_extension(snapshot: &Snapshot, service: &Service) -> bool {
    let identity = |id: &SecretId| {
        let known = snapshot.secrets.iter().find(|secret| secret.id == *id);
        known.is_some_and(|secret| identity_of(snapshot, secret).is_some())
    };
    is_ours(&service.spec.labels)
        && service.spec.labels.get(TYPE).is_some_and(|value| value == TYPE_EXTENSION)
        && service.spec.secrets.iter().any(identity)
}

/// Whether the service is one of ours of this type, a value of [`TYPE`]: its labels say so, and its tasks have what only we give them, or had it
/// before somebody's last update. Labels alone anybody can copy, and a service of ours gets our secrets.
pub fn is_ours_of_type(snapshot: &Snapshot, service: &Service, kind: &str) -> bool {
    let specs = [Some(&service.spec), service.previous.as_ref()];
    is_ours(&service.spec.labels)
        && service.spec.labels.get(TYPE).is_some_and(|value| value == kind)
        && specs.into_iter().flatten().any(|spec| has_what_we_give(snapshot, spec, kind))
}

fn has_what_we_give(snapshot: &Snapshot, spec: &ServiceSpec, kind: &str) -> bool {
    let config = |prefix: &str| spec.configs.iter().any(|config| config.name.starts_with(prefix));
    let secret = |ours: &dyn Fn(&Secret) -> bool| {
        let mut mounted = snapshot.secrets.iter().filter(|secret| spec.secrets.contains(&secret.id));
        mounted.any(ours)
    };
    match kind {
        TYPE_PROXY => config(CONFIG_PREFIX),
        TYPE_EXTENSION => secret(&|secret| identity_of(snapshot, secret).is_some()),
        TYPE_CORE => secret(&is_authority) || config(SETTINGS_PREFIX),
        _ => false,
    }
}

/// Whether the service's tasks have the authority: then it is core, whoever deployed it.
pub fn has_authority(snapshot: &Snapshot, service: &Service) -> bool {
    let mut mounted = snapshot.secrets.iter().filter(|secret| service.spec.secrets.contains(&secret.id));
    mounted.any(is_authority)
}

/// The services whose tasks have the authority, sorted by name.
pub(crate) fn with_authority<'a>(snapshot: &SwarmIndex<'a>) -> impl Iterator<Item = &'a Service> + use<'a> {
    let authority = snapshot.secrets.iter().find(|secret| is_authority(secret)).map(|secret| secret.id.clone());
    let mounting = authority.map(|authority| snapshot.with_secret(&authority));
    mounting.into_iter().flatten()
}

/// Whether this is the authority's secret. Secrets have different names, so there is one at most.
pub fn is_authority(secret: &Secret) -> bool {
    is_ours(&secret.labels) && secret.name == AUTHORITY_SECRET
}

/// Whose identity a secret holds. Where nobody could verify it, because whoever read the Swarm has no authority, it is what its name and
/// labels say: enough to leave things as they are and to remove what an operator wants removed, and for nothing else.
pub fn identity_of(snapshot: &Snapshot, secret: &Secret) -> Option<Identity> {
    if snapshot.authority.is_some() { secret.identity.clone() } else { claimed_identity(secret) }
}

/// Whose identity a secret's name and labels say that it holds.
pub fn claimed_identity(secret: &Secret) -> Option<Identity> {
    let Secret { name, labels, .. } = secret;
    if !is_ours(labels) || !name.starts_with(IDENTITY_PREFIX) {
        return None;
    }
    let holder = match labels.get(ROLE)?.as_str() {
        "extension" => Holder::Extension,
        "proxy" => Holder::Proxy,
        _ => return None,
    };
    Some(Identity { holder, cluster: cluster_of(labels)?, fingerprint: labels.get(FINGERPRINT)?.parse().ok()? })
}

/// Whether the service is core's own: the ownership label, the type label, and the authority in its tasks.
pub fn is_core(snapshot: &Snapshot, service: &Service) -> bool {
    is_ours(&service.spec.labels)
        && service.spec.labels.get(TYPE).is_some_and(|value| value == TYPE_CORE)
        && has_authority(snapshot, service)
}

/// The service cluster that one of our objects belongs to.
pub fn cluster_of(labels: &Labels) -> Option<Cluster> {
    labels.get(CLUSTER)?.parse().ok()
}

/// The value of the `type` label.
pub(crate) const fn type_label(role: Role) -> &'static str {
    match role {
        Role::Core => TYPE_CORE,
        Role::Extension => TYPE_EXTENSION,
        Role::Proxy => TYPE_PROXY,
    }
}
