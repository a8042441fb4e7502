//! Core's side: models for extensions, files for agents, and what they answer.
//!
//! Nothing is decided here. What is served comes from a [`watch`] channel, so that a slow peer gets the newest and never a queue; what peers
//! say goes into one channel as values, checked.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::Stream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::convert::{self, Malformed, Posted};
use super::core_renderings::Own;
use super::published::Published;
use super::tls::{self, Caller};
use super::v1;
use crate::extension::{Event, Model};
use crate::kinds::{RenderError, Rendering};
use crate::peers::{AgentReport, SecretReport, Secrets};
use crate::proxy_config::Generation;
use crate::units::{Cluster, ProxyVersion, Role, SecretName};

/// What peers say. Connections have numbers that are not used again.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// An extension's checker took these files, which are core's own, or it said why there are none.
    Rendering(Cluster, Generation, Rendering),
    /// An extension checks with this version; `None` when it went.
    Checker(u64, Option<(Cluster, ProxyVersion)>),
    /// An agent reports; `None` when it went.
    Agent(u64, Option<AgentReport>),
}

/// Both services of the contract.
#[derive(Debug, Clone)]
pub struct Hub {
    published: watch::Receiver<Arc<Published>>,
    said: mpsc::Sender<Said>,
    connections: Arc<AtomicU64>,
    own: Own,
    /// What the agents of each generation said last of their secrets: whoever says the same shares it.
    secrets: Arc<Mutex<BTreeMap<(Cluster, Generation), Secrets>>>,
}

/// How long an agent may take to say who it is.
const HELLO: Duration = Duration::from_secs(5);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Hub {
    /// Serves what is published, and passes on what is said.
    pub fn new(published: watch::Receiver<Arc<Published>>, said: mpsc::Sender<Said>) -> Self {
        Self { published, said, connections: Arc::default(), own: Own::default(), secrets: Arc::default() }
    }

    /// Says something for as long as the stream lives, and then that it went.
    fn guard(&self, gone: impl FnOnce(u64) -> Said) -> Guard {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        Guard { number, gone: Some(gone(number)), said: self.said.clone() }
    }

    /// What an agent said of its secrets, kept once for all that say the same.
    fn shared(&self, key: &(Cluster, Generation), said: BTreeMap<SecretName, SecretReport>) -> Secrets {
        let mut last = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let lives = &self.published.borrow().secrets;
        last.retain(|key, _| lives.contains_key(key));
        match last.get(key) {
            Some(same) if **same == said => same.clone(),
            _ => {
                let said = Secrets::new(said);
                last.insert(key.clone(), said.clone());
                said
            }
        }
    }

    async fn say(&self, said: Said) -> Result<(), Status> {
        self.said.send(said).await.map_err(|_| Status::unavailable("core is stopping"))
    }
}

struct Guard {
    number: u64,
    gone: Option<Said>,
    said: mpsc::Sender<Said>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(gone) = self.gone.take() else { return };
        if let Err(mpsc::error::TrySendError::Full(gone)) = self.said.try_send(gone) {
            // The channel is full for a moment. What went must not be forgotten.
            let said = self.said.clone();
            tokio::spawn(async move { said.send(gone).await });
        }
    }
}

fn with_role<T>(request: &Request<T>, role: Role) -> Result<Caller, Status> {
    let caller = tls::caller(request)?;
    let shown = caller.peer().role;
    if shown == role {
        return Ok(caller.clone());
    }
    Err(Status::permission_denied(format!("this is for an {role}; the certificate says {shown}")))
}

fn refused(malformed: Malformed) -> Status {
    Status::invalid_argument(malformed.to_string())
}

#[tonic::async_trait]
impl v1::extensions_server::Extensions for Hub {
    type WatchStream = Answers<v1::WatchResponse>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = with_role(&request, Role::Extension)?;
        let place = caller.stream()?;
        let peer = caller.peer().clone();
        let v1::WatchRequest { agent, checker_version } = request.into_inner();
        let (cluster, program) = (peer.cluster.title(), crate::problem::shown(&agent));
        let is_logged = caller.is_logged();
        if is_logged {
            tracing::info!(cluster, agent = program, address = %caller.address(), "extension connected");
        }
        if is_logged && agent.strip_prefix("interlock/").is_some_and(|version| version != env!("CARGO_PKG_VERSION")) {
            let core = env!("CARGO_PKG_VERSION");
            tracing::warn!(
                cluster,
                agent = program,
                core,
                "the extension has another version than core: its files may differ"
            );
        }
        let guard = self.guard(|number| Said::Checker(number, None));
        if let Ok(version) = checker_version.parse() {
            self.say(Said::Checker(guard.number, Some((peer.cluster.clone(), version)))).await?;
        }
        let (sender, receiver) = mpsc::channel(1);
        let mut published = self.published.clone();
        published.mark_changed();
        tokio::spawn(async move {
            let _held = (guard, place);
            let mut sent = BTreeMap::new();
            // Ends when core stops or the extension went, whatever is published meanwhile.
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    changed = published.changed() => if changed.is_err() { return },
                }
                loop {
                    let Ok(permit) = sender.reserve().await else { return };
                    let newest = published.borrow_and_update().clone();
                    let Some(event) = newest.next_event(&peer.cluster, &mut sent) else { break };
                    permit.send(Ok(v1::WatchResponse { event: event_to_wire(&event) }));
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn post(&self, request: Request<v1::PostRequest>) -> Result<Response<v1::PostResponse>, Status> {
        let peer = with_role(&request, Role::Extension)?.peer().clone();
        let posted = convert::posted_from_wire(request.into_inner()).map_err(refused)?;
        let Posted { generation, revision, result } = posted;
        let key = (peer.cluster, generation);
        let is_current =
            |published: &Published| published.configs.get(&key).is_some_and(|config| config.revision == revision);
        let overtaken = || Status::failed_precondition(format!("revision {revision} is not the current one"));
        let published = self.published.borrow().clone();
        if !is_current(&published) {
            return Err(overtaken());
        }
        let result = match result {
            Ok(hash) => match published.deliveries.get(&key).and_then(|parcel| parcel.files_of(&revision, &hash)) {
                Some(delivered) => Ok(delivered.to_vec()),
                None => self.own.files(&key, &published, &hash).await?,
            },
            Err(error) => Err(error),
        };
        // That took a while. A newer rendering may have come before this one.
        if !is_current(&self.published.borrow()) {
            return Err(overtaken());
        }
        let wrong = match &result {
            Err(differs @ RenderError::Differs(_)) => {
                tracing::error!(cluster = key.0.title(), "files refused: {differs}");
                Some(differs.to_string())
            }
            _ => None,
        };
        let (cluster, generation) = key;
        self.say(Said::Rendering(cluster, generation, Rendering { revision, result })).await?;
        match wrong {
            None => Ok(Response::new(v1::PostResponse {})),
            Some(wrong) => Err(Status::invalid_argument(wrong)),
        }
    }
}

fn event_to_wire(event: &Event) -> Option<v1::watch_response::Event> {
    use v1::watch_response::Event as Wire;
    match event {
        Event::Model(model) => {
            let Model { config, generation, file_limit } = &**model;
            Some(Wire::Model(convert::model_to_wire(generation, config, *file_limit)))
        }
        Event::Withdrawn(generation) => Some(Wire::WithdrawnGeneration(generation.to_string())),
        // Only what comes from the wire can be that.
        Event::Unreadable(..) => None,
    }
}

#[tonic::async_trait]
impl v1::proxies_server::Proxies for Hub {
    type FollowStream = Answers<v1::FollowResponse>;

    async fn follow(
        &self,
        request: Request<Streaming<v1::FollowRequest>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let caller = with_role(&request, Role::Proxy)?;
        let place = caller.stream()?;
        let cluster = caller.peer().cluster.clone();
        // Which secrets a task has is known once the Swarm was read. What it says is read then: between here and where it is dropped nothing
        // waits, as a message may be large in memory.
        let mut published = self.published.clone();
        let first = published.wait_for(|published| !published.secrets.is_empty()).await.map(drop);
        first.map_err(|_| Status::unavailable("core is stopping"))?;
        let mut requests = request.into_inner();
        let hello = tokio::time::timeout(HELLO, requests.message()).await;
        let hello = hello.map_err(|_| Status::deadline_exceeded("no hello"))??;
        let Some(v1::FollowRequest { event: Some(v1::follow_request::Event::Hello(hello)) }) = hello else {
            return Err(Status::invalid_argument("the first request has to be a hello"));
        };
        let generation = convert::generation(&hello.generation).map_err(refused)?;
        let key = (cluster.clone(), generation.clone());
        let known = published.borrow().secrets.get(&key).cloned();
        let secrets = |known| self.shared(&key, convert::secrets_from_wire(&hello.secrets, known));
        let mut report = AgentReport {
            cluster,
            generation,
            address: caller.address(),
            hostname: convert::words(&hello.hostname),
            version: hello.proxy_version.parse().ok(),
            version_warning: convert::words(&hello.version_warning),
            secrets: known.as_ref().map(secrets).unwrap_or_default(),
            running: hello.revision.parse().ok(),
            refused: None,
            unreachable: convert::unreachable_from_wire(&hello.unreachable),
        };
        if caller.is_logged() {
            tracing::info!(
                cluster = report.cluster.title(),
                proxy = crate::problem::shown(&report.hostname),
                version = crate::problem::shown(&hello.proxy_version),
                address = %report.address,
                "proxy connected"
            );
        }
        let mut sent = convert::hash(&hello.hash);
        let is_known = known.is_some();
        drop((hello, known));
        let guard = self.guard(|number| Said::Agent(number, None));
        self.say(Said::Agent(guard.number, Some(report.clone()))).await?;
        let (sender, receiver) = mpsc::channel(1);
        published.mark_changed();
        let said = self.said.clone();
        tokio::spawn(async move {
            // All of it, not its number alone: it lives as long as the stream.
            let (guard, _place) = (guard, place);
            let mut has_sent = false;
            loop {
                tokio::select! {
                    // Whatever is published meanwhile.
                    () = sender.closed() => return,
                    changed = published.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let Ok(permit) = sender.reserve().await else { return };
                        let newest = published.borrow_and_update().clone();
                        if !is_known && newest.secrets.contains_key(&key) {
                            // What it said of its secrets was not kept. With the next stream it says so again.
                            return;
                        }
                        let parcel = newest.deliveries.get(&key);
                        if let Some(revision) = parcel.and_then(|parcel| parcel.next_revision(&key.1, &mut sent)) {
                            has_sent = true;
                            permit.send(Ok(v1::FollowResponse { revision: Some(revision) }));
                        }
                    }
                    request = requests.message() => {
                        let Ok(Some(v1::FollowRequest { event })) = request else { return };
                        // A later agent may say what this version does not know.
                        let Some(event) = event else { continue };
                        if let v1::follow_request::Event::Accepted(accepted) = &event
                            && !has_sent
                            && accepted.hash != sent
                        {
                            // An earlier stream brought this, and its proxy took it after the Hello.
                            sent = convert::hash(&accepted.hash);
                            published.mark_changed();
                        }
                        note(&mut report, event);
                        if said.send(Said::Agent(guard.number, Some(report.clone()))).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn note(report: &mut AgentReport, event: v1::follow_request::Event) {
    use v1::follow_request::Event;
    let proxy = crate::problem::shown(&report.hostname);
    match event {
        Event::Hello(_) => {}
        Event::Accepted(accepted) => {
            tracing::debug!(cluster = report.cluster.title(), proxy, revision = accepted.revision, "proxy serves");
            report.running = accepted.revision.parse().ok();
            report.refused = None;
        }
        Event::Refused(refusal) => {
            report.running = refusal.running_revision.parse().ok();
            report.refused = refusal.revision.parse().ok().map(|revision| (revision, convert::words(&refusal.message)));
        }
        Event::Reachability(now) => report.unreachable = convert::unreachable_from_wire(&now.unreachable),
    }
}
