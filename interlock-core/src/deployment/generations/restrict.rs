//! What a proxy task with these networks and secrets can serve of the routes that there are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Attachments;
use crate::labels;
use crate::proxy_config::Generation;
use crate::routes::model::{self, Certificate, Model, Reach, Route, Tls};
use crate::swarm::SwarmIndex;
use crate::units::{Cluster, RouteName, SecretId, SecretName, ServiceId};

/// The certificates that each generation serves, by service and route: what is shown while the next ones are on their way.
pub type Shown = BTreeMap<(Cluster, Generation), Certificates>;

/// Certificates by service and route.
pub type Certificates = BTreeMap<(ServiceId, RouteName), Certificate>;

/// The model with the targets alone that tasks with these attachments can reach. A route whose new certificate they lack is served with the
/// one of before, if they have that; what they lack of a route's protection, or do not know to be one (`knows`), costs the route.
pub(crate) fn servable<'m>(
    snapshot: &SwarmIndex<'_>,
    model: &'m Model,
    cluster: &Cluster,
    attachments: &Attachments,
    before: Option<&Certificates>,
    knows: impl Fn(&SecretName) -> bool,
) -> Cow<'m, Model> {
    let ids: BTreeMap<&str, &SecretId> =
        snapshot.secrets.iter().map(|secret| (secret.name.as_str(), &secret.id)).collect();
    let has = |name: &SecretName| ids.get(name.as_str()).is_some_and(|id| attachments.secrets.contains(*id));
    let reachable = |route: &Route| match &route.reach {
        Reach::Network(network) => attachments.networks.contains(network) || route.targets.is_empty(),
        Reach::HostPort => true,
    };
    let verifiable = |route: &Route| route.asks.options.ssl_backend_ca.as_ref().is_none_or(&knows);
    let complete = |route: &Route| {
        route.cluster != *cluster || (reachable(route) && route.asks.secrets().all(has) && verifiable(route))
    };
    let Some(needed) = model.needed.by(cluster) else { return Cow::Borrowed(model) };
    if needed.networks.keys().all(|network| attachments.networks.contains(network))
        && needed.named.keys().all(has)
        && needed.authorities.keys().all(&knows)
    {
        return Cow::Borrowed(model);
    }
    let mut part = model.clone();
    for route in Arc::make_mut(&mut part.routes).iter_mut().filter(|route| !complete(route)) {
        let route = Arc::make_mut(route);
        if !reachable(route) || !route.asks.options.secrets().all(has) || !verifiable(route) {
            route.targets.clear();
        }
        if let Tls::Terminated(certificate) = &route.asks.tls
            && !(has(&certificate.certificate) && has(&certificate.key))
        {
            let remembered = before.and_then(|shown| shown.get(&(route.seniority.id().clone(), route.name.clone())));
            let earlier = remembered.cloned().or_else(|| previous(snapshot, route));
            let usable = earlier.filter(|earlier| has(&earlier.certificate) && has(&earlier.key));
            route.asks.tls = usable.map_or(Tls::None, Tls::Terminated);
        }
    }
    Cow::Owned(part)
}

/// The certificate that the service's previous labels name.
fn previous(snapshot: &SwarmIndex<'_>, route: &Route) -> Option<Certificate> {
    let service = snapshot.service(route.seniority.id())?;
    let written = &service.previous.as_ref()?.labels;
    let reading = labels::read(written);
    let labels = reading.routes.get(&route.name)?;
    let exists = |name: &str| snapshot.secrets.iter().any(|secret| secret.name == name);
    let secret = |name: &SecretName| model::in_full(written, name, exists);
    let certificate = secret(labels.ssl_cert.as_ref()?)?;
    let key = match &labels.ssl_key {
        Some(key) => secret(key)?,
        None => certificate.clone(),
    };
    Some(Certificate { certificate, key })
}

/// The certificates that a model serves in a service cluster.
pub(crate) fn shown(model: &Model, cluster: &Cluster) -> Certificates {
    let mine = model.routes.iter().filter(|route| route.cluster == *cluster);
    mine.filter_map(|route| match &route.asks.tls {
        Tls::Terminated(certificate) => Some(((route.seniority.id().clone(), route.name.clone()), certificate.clone())),
        Tls::None | Tls::Passthrough => None,
    })
    .collect()
}
