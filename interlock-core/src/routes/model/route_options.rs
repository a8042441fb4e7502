//! What a route asks for besides hosts and tasks, with what its labels have to do with each other.

use std::collections::{BTreeMap, BTreeSet};

use super::Refusal;
use super::reach::World;
use crate::labels::options::{Balance, Canary, RouteOptions, Site, TimeSpan};
use crate::labels::{Addresses, Label, Passthrough, Redirect, RouteLabels, TABLE, TlsVerify};
use crate::ownership;
use crate::settings::{Extension, SecretPolicy};
use crate::swarm::{Labels, STACK_LABEL, Secret, Service};
use crate::units::{HostPattern, PathPrefix, SecretName};

/// What a route asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asks {
    /// What all services that share its requests have to agree on.
    pub options: RouteOptions,
    /// When its tasks count as failed.
    pub health: Health,
    /// Its service's share of the requests, if that does not follow from the number of tasks.
    pub weight: Option<u32>,
    /// What requests have to carry, one of these, to get here; all get here when empty.
    pub canaries: Vec<Canary>,
    /// What is done with TLS connections for its hosts.
    pub tls: Tls,
    /// Hosts of its own whose requests are sent elsewhere.
    pub redirects: Vec<Redirect>,
}

impl Asks {
    /// The secrets that proxies need for it.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        let certificate = match &self.tls {
            Tls::Terminated(Certificate { certificate, key }) => vec![certificate, key],
            Tls::None | Tls::Passthrough => Vec::new(),
        };
        self.options.secrets().chain(certificate)
    }
}

/// When a task counts as failed, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize)]
pub struct Health {
    /// After so many failures; never when zero. Default: 1.
    pub max_fails: Option<u32>,
    /// Within this time, and for as long. Default: 10 s.
    pub fail_timeout: Option<TimeSpan>,
}

/// What is done with TLS connections for a route's hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Tls {
    /// There are none.
    #[default]
    None,
    /// They end at the proxies.
    Terminated(Certificate),
    /// They go to the tasks as they are.
    Passthrough,
}

/// The secrets that a host is served over TLS with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Certificate {
    /// The certificate, with those between it and its authority behind it.
    pub certificate: SecretName,
    /// The key; the same secret when it holds both.
    pub key: SecretName,
}

/// Reads what a route asks for, or says what does not go together.
pub(super) fn asks(
    world: &World<'_>,
    service: &Service,
    extension: &Extension,
    labels: &RouteLabels,
) -> Result<Asks, Refusal> {
    let tls = tls(world, service, labels)?;
    let secret =
        |key, name: &Option<SecretName>| name.as_ref().map(|name| known(world, service, key, name)).transpose();
    let mut options = RouteOptions::said_by(labels);
    options.ssl_backend_ca = secret("ssl_backend_ca", &labels.ssl_backend_ca)?.filter(|_| verifies(labels));
    options.balance = balance(extension, labels, options.balance)?;
    for (label, name) in options.own_secrets_mut() {
        *name = known(world, service, label, name)?;
    }
    if options.backend_protocol.is_grpc() && labels.context_root_rewrite == Some(true) {
        let wrong = "cannot be combined with context_root_rewrite: the paths of gRPC are the names of its methods";
        let refusal = Refusal::new(wrong, "remove one of the two labels");
        return Err(refusal.about("backend_protocol", options.backend_protocol.as_str()));
    }
    if verifies(labels) {
        if options.ssl_backend_ca.is_none() {
            let right = match options.backend_protocol.is_tls() {
                true => "set com.docker.lb.ssl_backend_ca to the secret with the authorities",
                false => {
                    "set com.docker.lb.ssl_backend_ca to the secret with the authorities, and set \
                     com.docker.lb.ssl_backend=true"
                }
            };
            return Err(Refusal::new("needs authorities to verify certificates", right)
                .about("ssl_backend_tls_verify", "required"));
        }
        if !options.backend_protocol.is_tls() {
            let right = "set com.docker.lb.ssl_backend=true, or backend_protocol to https or grpcs";
            return Err(
                Refusal::new("needs a service that speaks TLS", right).about("ssl_backend_tls_verify", "required")
            );
        }
    }
    let asks = Asks {
        options,
        health: Health { max_fails: labels.max_fails, fail_timeout: labels.fail_timeout },
        weight: labels.weight,
        canaries: canaries(labels)?,
        tls,
        redirects: redirects(labels)?,
    };
    passes_through(labels, &asks)?;
    if world.shows_clients(extension) {
        return Ok(asks);
    }
    let unenforced = on(labels).find_map(|label| match label.addresses {
        Addresses::Needed(what) => Some(hidden(label.key, what)),
        Addresses::Weaker(_) | Addresses::Unread => None,
    });
    unenforced.map_or(Ok(asks), Err)
}

/// The labels of a route that ask for something.
fn on(labels: &RouteLabels) -> impl Iterator<Item = &'static Label> {
    TABLE.iter().filter(|label| (label.is_on)(labels))
}

/// Labels that mean less where all clients look alike.
pub(super) fn by_address(world: &World<'_>, extension: &Extension, labels: &RouteLabels) -> Vec<Refusal> {
    if labels.ssl_passthrough == Some(true) || world.shows_clients(extension) {
        return Vec::new();
    }
    let weaker = on(labels).filter_map(|label| match label.addresses {
        Addresses::Weaker(what) => Some(hidden(label.key, what)),
        Addresses::Needed(_) | Addresses::Unread => None,
    });
    weaker.map(Refusal::served).collect()
}

fn hidden(label: &'static str, what: &str) -> Refusal {
    let wrong = format!("{what}: with PublishMode ingress all clients have addresses of the routing mesh");
    let right = "ask the operator to set PublishMode to host, or to add the balancer that knows clients' addresses to TrustedProxies";
    Refusal::new(wrong, right).about(label, "")
}

fn tls(world: &World<'_>, service: &Service, labels: &RouteLabels) -> Result<Tls, Refusal> {
    let passes = labels.ssl_passthrough == Some(true);
    let tls = match (&labels.ssl_cert, &labels.ssl_key) {
        (Some(certificate), _) if passes => {
            let wrong = "cannot be combined with ssl_passthrough: TLS ends either at the proxies or at the service";
            return Err(Refusal::new(wrong, "remove one of the two labels").about("ssl_cert", certificate.as_str()));
        }
        (Some(certificate), key) => {
            let certificate = known(world, service, "ssl_cert", certificate)?;
            let key = match key {
                Some(key) => known(world, service, "ssl_key", key)?,
                None => certificate.clone(),
            };
            Tls::Terminated(Certificate { certificate, key })
        }
        (None, Some(key)) => {
            let right = match passes {
                true => "remove it: with ssl_passthrough TLS ends at the service",
                false => "set com.docker.lb.ssl_cert to the certificate's secret",
            };
            return Err(Refusal::new("is a key without a certificate", right).about("ssl_key", key.as_str()));
        }
        (None, None) if passes => Tls::Passthrough,
        (None, None) => Tls::None,
    };
    if labels.ssl_only == Some(true) && tls == Tls::None {
        let right = "set com.docker.lb.ssl_cert to the secret with a certificate";
        return Err(Refusal::new("needs a certificate for its hosts", right).about("ssl_only", "true"));
    }
    Ok(tls)
}

/// The name in full of a secret that a label names: inside the service's stack by the name without the stack's, or by its name. As in a
/// stack file, the stack's own comes first.
pub(crate) fn in_full(labels: &Labels, name: &SecretName, exists: impl Fn(&str) -> bool) -> Option<SecretName> {
    let of_stack = labels.get(STACK_LABEL).and_then(|stack| format!("{stack}_{name}").parse::<SecretName>().ok());
    of_stack.into_iter().chain([name.clone()]).find(|name| exists(name.as_str()))
}

/// A secret as Docker has it, if it is for the service.
fn known(world: &World<'_>, service: &Service, label: &'static str, name: &SecretName) -> Result<SecretName, Refusal> {
    let stack = service.spec.labels.get(STACK_LABEL);
    let found = in_full(&service.spec.labels, name, |name| world.secrets.contains_key(name));
    let Some((secret, name)) = found.and_then(|name| Some((world.secrets.get(name.as_str())?, name))) else {
        let right = "create it with `docker secret create`";
        return Err(Refusal::new("is not a secret of this Swarm", right).about(label, name.as_str()));
    };
    if world.own_secrets.contains(name.as_str()) {
        let right = "name a secret of the service's own";
        return Err(Refusal::new("is a secret of interlock's own", right).about(label, name.as_str()));
    }
    if world.settings.secret_policy == SecretPolicy::OptIn && !allows(secret, stack) {
        let right =
            "ask the secret's owner to label it com.docker.lb.allow=STACK, or com.docker.lb.allow=* for all services";
        let wrong =
            "may not be used by this service: with SecretPolicy opt-in the secret needs the label com.docker.lb.allow";
        return Err(Refusal::new(wrong, right).about(label, name.as_str()));
    }
    Ok(name)
}

/// Whether a secret's owner lets services of this stack have proxies show it.
fn allows(secret: &Secret, stack: Option<&String>) -> bool {
    let allowed = secret.labels.get(ownership::ALLOW).map(String::as_str);
    allowed == Some("*") || (allowed.is_some() && allowed == stack.map(String::as_str))
}

fn verifies(labels: &RouteLabels) -> bool {
    labels.ssl_backend_tls_verify == Some(TlsVerify::Required)
}

fn balance(extension: &Extension, labels: &RouteLabels, said: Balance) -> Result<Balance, Refusal> {
    match (&labels.sticky_session_cookie, labels.ip_hash == Some(true)) {
        (Some(cookie), true) => Err(Refusal::new("cannot be combined with ip_hash", "remove one of the two labels")
            .about("sticky_session_cookie", cookie.as_str())),
        (None, false) if extension.kind.ip_hash() && labels.ip_hash.is_none() => Ok(Balance::IpHash),
        _ => Ok(said),
    }
}

fn canaries(labels: &RouteLabels) -> Result<Vec<Canary>, Refusal> {
    let canaries: Vec<_> = labels.canary_header.iter().chain(&labels.canary_cookie).cloned().collect();
    if !canaries.is_empty() && labels.context_root_rewrite == Some(true) {
        let label = if labels.canary_header.is_some() { "canary_header" } else { "canary_cookie" };
        let wrong = "cannot be combined with context_root_rewrite";
        return Err(Refusal::new(wrong, "remove one of the two labels").about(label, ""));
    }
    Ok(canaries)
}

fn redirects(labels: &RouteLabels) -> Result<Vec<Redirect>, Refusal> {
    let redirects = labels.redirects.clone().unwrap_or_default();
    let hosts = labels.hosts.as_deref().unwrap_or_default();
    let is_own = |host: &HostPattern| hosts.contains(host);
    match redirects.iter().find(|redirect| !is_own(&redirect.from_host)) {
        Some(foreign) => {
            let right = "add it to com.docker.lb.hosts";
            Err(Refusal::new("redirects a host that is not among the service's hosts", right)
                .about("redirects", foreign.from_host.to_string()))
        }
        None => match circle(&redirects, hosts, labels.ssl_only == Some(true)) {
            Some(host) => Err(Refusal::new(
                format!("redirects {host} in a loop"),
                "point one redirect at a host that is not redirected",
            )
            .about("redirects", "")),
            None => Ok(redirects),
        },
    }
}

/// A host from which redirects lead back to it. With `ssl_only` each host without one of its own is redirected from http to https.
fn circle(redirects: &[Redirect], hosts: &[HostPattern], ssl_only: bool) -> Option<HostPattern> {
    let site = |is_https, host: &HostPattern| Site { is_https, host: host.clone() };
    let upgraded = hosts.iter().filter(|_| ssl_only).map(|host| (site(false, host), Some(site(true, host))));
    let source = |redirect: &Redirect| site(redirect.from_https, &redirect.from_host);
    let of_labels = redirects.iter().rev().map(|redirect| (source(redirect), redirect.to.site().cloned()));
    // The first of a host decides.
    let next: BTreeMap<_, _> = upgraded.chain(of_labels).collect();
    // Each place is gone through once, whatever the ways have in common.
    let mut seen = BTreeSet::new();
    redirects.iter().find_map(|redirect| {
        let start = source(redirect);
        let mut way = BTreeSet::new();
        let mut place = Some(&start);
        while let Some(here) = place {
            if way.contains(here) {
                return Some(here.host.clone());
            }
            if !seen.insert(here.clone()) {
                return None;
            }
            way.insert(here.clone());
            place = next.get(here).and_then(Option::as_ref);
        }
        None
    })
}

/// Labels that do nothing beside the others. What another service has to do with is told where routes are put together.
pub(super) fn without_effect(labels: &RouteLabels, asks: &Asks) -> Vec<Refusal> {
    let root = PathPrefix::root();
    let path = labels.context_root.as_ref().unwrap_or(&root);
    if asks.tls == Tls::Passthrough {
        let wrong = "does nothing with ssl_passthrough: NGINX does not read the requests";
        let inert = on(labels).filter(|label| label.passthrough == Passthrough::Ignored);
        return inert.map(|label| Refusal::new(wrong, "remove it").about(label.key, "")).collect();
    }
    let mut told = Vec::new();
    if labels.ssl_backend_ca.is_some() && !verifies(labels) {
        let right = "set com.docker.lb.ssl_backend_tls_verify=required";
        told.push(Refusal::new("does nothing while certificates are not verified", right).about("ssl_backend_ca", ""));
    }
    if labels.context_root_rewrite == Some(true) && path.is_root() {
        let refusal = Refusal::new("does nothing without a path to remove", "set com.docker.lb.context_root");
        told.push(refusal.about("context_root_rewrite", ""));
    }
    let outside = |endpoint: &&PathPrefix| !path.covers(endpoint);
    if let Some(endpoint) = asks.options.websocket_endpoints.iter().find(outside) {
        let wrong = format!("names {endpoint}, which is not under the context root {path}");
        told.push(Refusal::new(wrong, "write paths as clients send them").about("websocket_endpoints", ""));
    }
    told
}

/// What goes through as it is cannot be looked into.
fn passes_through(labels: &RouteLabels, asks: &Asks) -> Result<(), Refusal> {
    if asks.tls != Tls::Passthrough {
        return Ok(());
    }
    match on(labels).find(|label| label.passthrough == Passthrough::Refused) {
        Some(label) => {
            let wrong = "cannot be combined with ssl_passthrough: NGINX does not read the requests";
            Err(Refusal::new(wrong, "remove one of the two labels").about(label.key, ""))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_the_stacks_own_before_that_of_others() {
        let of_shop = Labels::from([(STACK_LABEL.to_owned(), "shop".to_owned())]);
        let found = |labels: &Labels, name: &str, there: &[&str]| {
            let found = in_full(labels, &name.parse().unwrap(), |name| there.contains(&name));
            found.map(|name| name.to_string())
        };
        assert_eq!(found(&of_shop, "cert", &["cert", "shop_cert"]).as_deref(), Some("shop_cert"));
        assert_eq!(found(&of_shop, "shop_cert", &["cert", "shop_cert"]).as_deref(), Some("shop_cert"));
        assert_eq!(found(&of_shop, "cert", &["cert", "other_cert"]).as_deref(), Some("cert"));
        assert_eq!(found(&Labels::new(), "cert", &["shop_cert"]), None);
    }
}
