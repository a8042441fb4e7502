//! Core's end of the channels to extensions and agents.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use futures::future::join_all;
use futures::{FutureExt, Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Error, Options};
use crate::extension::{Event, Kept, serve};
use crate::grpc::server::{Hub, Said};
use crate::grpc::{self, tls};
use crate::grpc::{Published, parcels::packed};
use crate::kinds::Checker;
use crate::ownership;
use crate::peers::{AgentReport, Reports};
use crate::proxy_config::{Generation, Revision};
use crate::reconcile::Outcome;
use crate::settings::Settings;
use crate::swarm::{Holder, Identity, Snapshot};
use crate::trust::Authority;
use crate::units::{Cluster, ProxyVersion, Role};

/// What is shown to peers, and what they say. Where nobody may connect, both are idle.
#[derive(Debug)]
pub(super) struct Control {
    published: watch::Sender<Arc<Published>>,
    admitted: watch::Sender<Arc<tls::Admitted>>,
    said: mpsc::Receiver<Said>,
    authority: Option<Arc<Authority>>,
    server: Option<JoinHandle<()>>,
    /// Renders for the service clusters without an extension of their own.
    embedded: JoinHandle<()>,
}

impl Control {
    /// Listens, if the settings have somebody who may connect and there is an authority to know them by.
    ///
    /// # Errors
    ///
    /// When the address is taken or is none.
    pub(super) async fn start(settings: &Settings, options: &Options) -> Result<Self, Error> {
        let (published, to_publish) = watch::channel(Arc::default());
        let (admitted, to_admit) = watch::channel(Arc::default());
        let (sender, said) = mpsc::channel(256);
        let embedded = embedded(settings, &to_publish, &sender, options.checker.clone());
        let (authority, embedded) = (options.authority.clone(), tokio::spawn(embedded));
        let mut control = Self { published, admitted, said, authority, server: None, embedded };
        let peers = settings.extensions.values().any(|e| e.image.is_some() || e.hitless_service_update);
        if !peers {
            return Ok(control);
        }
        let Some(authority) = &options.authority else {
            tracing::error!(
                "extensions and proxies cannot connect: the authority is not mounted here; run `interlock install`, or mount the \
                 secret {} as interlock-authority",
                ownership::AUTHORITY_SECRET
            );
            return Ok(control);
        };
        let address = bind_address(&settings.listen_addr);
        let failed = |source| Error::Listen { address: settings.listen_addr.clone(), source };
        let listener = TcpListener::bind(&address).await.map_err(failed)?;
        tracing::info!(address = %settings.listen_addr, "listening for extensions and proxies");
        // Without it each task has an address of its own on core's networks.
        let shares_addresses = settings.endpoint_override.is_some();
        let limits = if shares_addresses { tls::Limits::behind_a_port() } else { tls::Limits::default() };
        let incoming = tls::incoming(listener, authority, to_admit, limits)
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let hub = Hub::new(to_publish, sender);
        control.server = Some(tokio::spawn(async move {
            if let Err(error) = grpc::serve(incoming, hub).await {
                tracing::error!("the service for extensions and proxies ended: {error}");
            }
        }));
        Ok(control)
    }

    /// Whether somebody may connect.
    pub(super) fn is_open(&self) -> bool {
        self.server.is_some()
    }

    /// What the next peer says; for ever nothing where nobody may connect.
    pub(super) async fn said(&mut self) -> Said {
        match self.said.recv().await {
            Some(said) => said,
            None => std::future::pending().await,
        }
    }

    /// Whether this is the revision that extensions shall render for this generation.
    pub(super) fn asks_for(&self, key: &(Cluster, Generation), revision: &Revision) -> bool {
        self.published.borrow().configs.get(key).is_some_and(|config| config.revision == *revision)
    }

    /// Ends the connections of proxies, so that they look for another core. Who finds none comes back.
    pub(super) fn send_proxies_away(&self) {
        self.admitted.send_modify(|now| Arc::make_mut(now).send_proxies_away());
    }

    /// Shows an outcome to all who are connected. Nobody is told what did not change.
    pub(super) fn publish(&self, snapshot: &Snapshot, outcome: &mut Outcome) {
        let admitted = admitted(snapshot);
        self.admitted.send_if_modified(|now| Arc::make_mut(now).accept_as(admitted));
        let before = &self.published.borrow().clone().deliveries;
        let deliveries = packed(std::mem::take(&mut outcome.deliveries), before, self.authority.as_deref());
        let published = Published {
            configs: std::mem::take(&mut outcome.proxy_configs),
            deliveries,
            secrets: std::mem::take(&mut outcome.secrets),
            file_limit: snapshot.engine.config_limit(),
        };
        self.published.send_if_modified(|now| {
            let changed = **now != published;
            if changed {
                *now = Arc::new(published);
            }
            changed
        });
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.embedded.abort();
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// The service clusters that have no extension of their own.
fn rendered_here(settings: &Settings) -> impl Iterator<Item = Cluster> {
    settings.clusters().filter(|(_, extension)| extension.image.is_none()).map(|(cluster, _)| cluster)
}

/// The versions that are checked with here. Nobody connects who could say them.
pub(super) fn own_checkers(settings: &Settings, checker: Option<&Checker>) -> BTreeMap<Cluster, ProxyVersion> {
    checker
        .map(|checker| rendered_here(settings).map(|cluster| (cluster, checker.version())).collect())
        .unwrap_or_default()
}

/// The extensions of service clusters that have none of their own: each is the same as one of its own, without a network in between.
fn embedded(
    settings: &Settings,
    published: &watch::Receiver<Arc<Published>>,
    said: &mpsc::Sender<Said>,
    checker: Option<Arc<Checker>>,
) -> impl Future<Output = ()> + Send + use<> {
    let each = rendered_here(settings).map(|cluster| {
        let (published, said, checker) = (published.clone(), said.clone(), checker.clone());
        async move {
            let events = events(cluster.clone(), published).map(Ok::<_, Infallible>);
            let post = |generation, rendering| {
                let posted = Said::Rendering(cluster.clone(), generation, rendering);
                // Core is stopping when nobody listens any more.
                said.send(posted).map(|_| Ok(()))
            };
            let ended = serve(pin!(events), checker.as_deref(), &mut Kept::default(), post).await;
            ended.unwrap_or_else(|never| match never {});
        }
    });
    join_all(each.collect::<Vec<_>>()).map(drop)
}

/// What an extension of this service cluster has to hear.
fn events(cluster: Cluster, mut published: watch::Receiver<Arc<Published>>) -> impl Stream<Item = Event> + Send {
    published.mark_changed();
    let heard = (published, BTreeMap::new(), cluster);
    futures::stream::unfold(heard, |(mut published, mut sent, cluster)| async move {
        loop {
            let newest = published.borrow_and_update().clone();
            if let Some(event) = newest.next_event(&cluster, &mut sent) {
                return Some((event, (published, sent, cluster)));
            }
            published.changed().await.ok()?;
        }
    })
}

/// Whose certificates are accepted: those whose secrets exist with the authority's signature.
fn admitted(snapshot: &Snapshot) -> tls::Admitted {
    let identities = snapshot.secrets.iter().filter_map(|secret| secret.identity.clone());
    identities
        .map(|Identity { holder, cluster, fingerprint }| {
            let role = match holder {
                Holder::Extension => Role::Extension,
                Holder::Proxy => Role::Proxy,
            };
            (fingerprint, (role, cluster))
        })
        .collect()
}

/// `:8080` and `tcp://0.0.0.0:8080`, as Interlock writes them, as an address to listen on.
fn bind_address(listen: &str) -> String {
    let listen = listen.strip_prefix("tcp://").unwrap_or(listen);
    if listen.starts_with(':') { format!("0.0.0.0{listen}") } else { listen.to_owned() }
}

/// Puts what a peer said into the reports. Whether decisions may depend on it.
pub(super) fn note(reports: &mut Reports, said: Said) -> bool {
    match said {
        Said::Rendering(..) => false,
        Said::Checker(number, Some(checker)) => reports.checkers.insert(number, checker.clone()) != Some(checker),
        Said::Checker(number, None) => reports.checkers.remove(&number).is_some(),
        Said::Agent(number, Some(report)) => {
            let before = reports.agents.insert(number, report.clone());
            // What a proxy runs matters only to one that refused something: it may say so as often as it likes.
            let same = |before: AgentReport| {
                let runs = if before.refused.is_none() { report.running.clone() } else { before.running };
                AgentReport { running: runs, ..before } == report
            };
            !before.is_some_and(same)
        }
        Said::Agent(number, None) => reports.agents.remove(&number).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m2_what_a_proxy_runs_costs_no_decision() {
        let mut reports = Reports::default();
        let report = AgentReport {
            cluster: Cluster::default(),
            generation: "00000000000000aa".parse().expect("a generation"),
            address: [10, 0, 5, 1].into(),
            hostname: "a".into(),
            version: None,
            version_warning: String::new(),
            secrets: Default::default(),
            running: None,
            refused: None,
            unreachable: Default::default(),
        };
        let revision = |number: u8| format!("{number:016x}").parse::<Revision>().expect("a revision");
        let mut says = |report: &AgentReport| note(&mut reports, Said::Agent(1, Some(report.clone())));
        assert!(says(&report), "it is new");
        let running = AgentReport { running: Some(revision(1)), ..report.clone() };
        assert!(!says(&running));
        let refuses = AgentReport { refused: Some((revision(2), "no".into())), ..running.clone() };
        assert!(says(&refuses));
        assert!(says(&AgentReport { running: Some(revision(2)), ..refuses }), "it got over it");
    }

    #[test]
    fn interlocks_ways_to_write_an_address_work() {
        assert_eq!(bind_address(":8080"), "0.0.0.0:8080");
        assert_eq!(bind_address("tcp://10.0.0.1:80"), "10.0.0.1:80");
        assert_eq!(bind_address("[::]:8080"), "[::]:8080");
    }
}
