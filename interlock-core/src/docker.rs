//! The Docker adapter: the only module that knows an engine.
//!
//! [`Client::observe`] reads a whole [`Snapshot`](crate::swarm::Snapshot), [`Client::apply`] carries out one
//! [`Action`](crate::plan::Action), [`Client::events`] tells that something changed somewhere. Nothing here decides anything.
//!
//! # Two ways of talking, one connection
//!
//! Lists, and everything about a service's spec, are plain JSON requests with structures of our own. Bollard's structures are
//! generated from one version of the API: its specs would drop fields that a newer engine has from every service that is written
//! back, and its enumerations are closed, so that one task in a state it does not know would fail a list of ten thousand. For what
//! has neither danger, events, creating a config object, removing things, bollard does the work. Both send through the same
//! transport, which also puts the negotiated API version in front of every path; bollard by itself leaves it out.
//!
//! # Guarantees
//!
//! - A read is complete or an error. One that is not understood fails as a whole.
//! - Every call has a deadline that covers the body ([`Deadlines`]). Only the event stream has none: when it is quiet for too long
//!   is for the caller to decide.
//! - Answers are parsed off the asynchronous threads, and what is not needed is skipped while parsing.
//!
//! # Caveats
//!
//! - Bollard logs payloads at debug and trace level. Whoever sets up logging must cap the target `bollard` at `info`.
//! - Nothing is retried here. [`Error::kind`] says what would help.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::EventsOptionsBuilder;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};

use crate::proxy_config::template;
use crate::settings::Settings;
use crate::swarm::Engine;
use crate::trust::Authority;
use crate::units::{NodeId, ServiceId};

mod apply;
mod convert;
mod endpoint;
mod error;
mod identities;
mod objects;
mod observe;
mod tls;
mod view;
mod wire;

pub use endpoint::Endpoint;
pub use error::{Error, ErrorKind};
pub use observe::Observation;
pub use tls::TlsFiles;
pub use view::{OwnSpecs, ServiceView};

/// How long calls may take, from sending to the last byte of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For reading a list. Of ten thousand services that is some 50 MB.
    pub list: Duration,
    /// For reading one object.
    pub inspect: Duration,
    /// For a write. An engine without a leader would take 20 s to say so.
    pub write: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { list: Duration::from_secs(30), inspect: Duration::from_secs(5), write: Duration::from_secs(5) }
    }
}

/// A connection to a Swarm manager. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    transport: endpoint::Shared,
    /// `/v1.41`: in front of every path.
    prefix: Arc<str>,
    engine: Engine,
    deadlines: Deadlines,
    docker: Docker,
    authority: Option<Arc<Authority>>,
    /// The authority that this connection made, if it made one: a call that is repeated stores the same.
    made: Arc<OnceLock<Authority>>,
    core: Option<ServiceId>,
    templates: Arc<BTreeSet<String>>,
}

/// Something changed. An event is never believed, only taken as a reason to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// This service, or its tasks.
    Service(ServiceId),
    /// This node, or what runs on it.
    Node(NodeId),
    /// A network of the Swarm.
    Network,
    /// A secret.
    Secret,
    /// A config object.
    Config,
    /// Something else.
    Other,
}

/// The oldest API version that has all that is needed: engine 20.10.
const OLDEST: ApiVersion = ApiVersion(1, 41);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ApiVersion(usize, usize);

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Client {
    /// Connects with the default [`Deadlines`].
    ///
    /// # Errors
    ///
    /// As [`Client::connect_with`].
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        Self::connect_with(endpoint, Deadlines::default()).await
    }

    /// Connects, agrees on an API version, and makes sure that the engine is a manager.
    ///
    /// # Errors
    ///
    /// [`Error::Endpoint`] and [`Error::Tls`] for what cannot work, [`Error::Unreachable`], [`Error::Permission`],
    /// [`Error::ApiVersion`], [`Error::NotAManager`]; and as any call, when the engine does not answer or not sensibly.
    pub async fn connect_with(endpoint: &Endpoint, deadlines: Deadlines) -> Result<Self, Error> {
        let transport = Arc::new(endpoint::Transport::new(endpoint)?);
        let unversioned = Self {
            docker: through(&transport, Arc::from(""), deadlines)?,
            transport,
            prefix: Arc::from(""),
            engine: Engine::default(),
            deadlines,
            authority: None,
            made: Arc::default(),
            core: None,
            templates: Arc::default(),
        };
        let mut client = unversioned.negotiate().await?;
        let info = client.manager().await?;
        // Pools are those that the Swarm was made with. Of one that was made without any an engine says none.
        let pools = info.swarm.cluster.default_addr_pool.iter().filter_map(|pool| convert::subnet(pool));
        client.engine.address_pools = pools.collect();
        if client.engine.address_pools.is_empty() {
            client.engine.address_pools = vec![Engine::DEFAULT_ADDRESS_POOL];
        }
        client.engine.log_driver = info.logging_driver.filter(|driver| !driver.is_empty());
        Ok(client)
    }

    /// Agrees on the newest API version that both sides know. Again after each reconnection: engines get upgraded.
    async fn negotiate(self) -> Result<Self, Error> {
        let answer = self.get("version", "/version", self.deadlines.inspect).await?;
        let version: wire::Version = parse("version", &answer)?;
        let newest_ours =
            ApiVersion(bollard::API_DEFAULT_VERSION.major_version, bollard::API_DEFAULT_VERSION.minor_version);
        let newest = ApiVersion::parse(&version.api_version);
        let oldest = ApiVersion::parse(&version.min_api_version).unwrap_or(OLDEST);
        let common =
            newest.map(|newest| newest.min(newest_ours)).filter(|common| *common >= oldest && *common >= OLDEST);
        let Some(common) = common else {
            return Err(Error::ApiVersion {
                url: self.transport.url().to_owned(),
                oldest: version.min_api_version,
                newest: version.api_version,
                ours: format!("{OLDEST} to {newest_ours}"),
            });
        };
        let prefix: Arc<str> = format!("/v{common}").into();
        Ok(Self {
            docker: through(&self.transport, prefix.clone(), self.deadlines)?,
            prefix,
            engine: Engine { version: version.version, api_version: common.to_string(), ..Engine::default() },
            ..self
        })
    }

    /// Fails with [`Error::NotAManager`] when the engine is none (any more).
    ///
    /// # Errors
    ///
    /// That one, and as any call.
    pub async fn check_manager(&self) -> Result<(), Error> {
        self.manager().await.map(drop)
    }

    /// What the engine says of itself, if it is a manager.
    async fn manager(&self) -> Result<wire::Info, Error> {
        let answer = self.get("info", "/info", self.deadlines.inspect).await?;
        let info = parse::<wire::Info>("info", &answer)?;
        let swarm = &info.swarm;
        if swarm.control_available && swarm.local_node_state == "active" {
            return Ok(info);
        }
        let state = match swarm.local_node_state.as_str() {
            "active" => "it is a worker".to_owned(),
            "" | "inactive" => "it is not part of a Swarm".to_owned(),
            state => format!("its Swarm state is {state}"),
        };
        Err(Error::NotAManager { url: self.transport.url().to_owned(), state })
    }

    /// With what signs the identities that plans ask for. Without it such an action is an error.
    #[must_use]
    pub fn with_authority(self, authority: Option<Arc<Authority>>) -> Self {
        Self { authority, ..self }
    }

    /// Reading also the config objects that these settings name, which are somebody else's.
    #[must_use]
    pub fn for_settings(self, settings: &Settings) -> Self {
        Self { templates: Arc::new(template::named(settings)), ..self }
    }

    /// As the program in this container of the engine's, whose service then stands in snapshots as core's. A name that the engine does not
    /// know says nothing: we may run outside of containers, or talk to another node's engine. Neither does an engine that lets us not ask.
    ///
    /// # Errors
    ///
    /// When the engine does not answer: it has to be asked again, as who takes core for another service tells all peers another address.
    pub async fn as_container(self, name: &str) -> Result<Self, Error> {
        let path = format!("/containers/{}/json", observe::encode(name));
        let answer = self.get("container", &path, self.deadlines.inspect).await;
        let inspected = match answer.and_then(|answer| parse::<wire::Container>("container", &answer)) {
            Ok(container) => Some(container),
            Err(error) => match error.kind() {
                ErrorKind::Gone | ErrorKind::Permission | ErrorKind::Permanent => None,
                _ => return Err(error),
            },
        };
        let service = inspected.map(|container| container.config.labels.service).filter(|id| !id.is_empty());
        Ok(Self { core: service.map(ServiceId::new), ..self })
    }

    /// The engine and the API version in use.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What changes on the Swarm, from now on, as hints. The stream ends when the connection does and has no deadline of its own;
    /// an engine may also stop telling without closing it, so read everything from time to time and ask for a new stream.
    pub fn events(&self) -> impl Stream<Item = Result<Hint, Error>> + Send + 'static {
        let filters = [
            ("type", ["service", "node", "network", "secret", "config"].map(String::from).to_vec()),
            ("scope", vec!["swarm".to_owned()]),
        ];
        let filters = filters.map(|(key, values)| (key.to_owned(), values)).into_iter().collect();
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let url = self.transport.url().to_owned();
        self.docker.events(Some(options)).map(move |event| match event {
            Ok(event) => Ok(hint(event)),
            Err(error) => Err(Error::bollard(&url, "events", error)),
        })
    }

    /// A request without a body.
    async fn get(&self, object: &str, path: &str, limit: Duration) -> Result<Bytes, Error> {
        self.call(object, Method::GET, path, Bytes::new(), limit).await
    }

    /// Sends a request and reads the whole answer, within the limit.
    async fn call(
        &self,
        object: &str,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, Error> {
        let wrong = |source: http::Error| Error::Broken { object: object.to_owned(), source: source.into() };
        let request = Request::builder().method(method).uri(format!("{}{path}", self.prefix));
        let request = request.header(http::header::CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(body)).map_err(wrong)?;
        within(object, limit, async {
            let failed = |error| Error::connection(self.transport.url(), object, error);
            let response = self.transport.send(request).await.map_err(failed)?;
            let status = response.status();
            let broken = |source: hyper::Error| Error::Broken { object: object.to_owned(), source: source.into() };
            let body = whole(response.into_body()).await.map_err(broken)?;
            if status.is_success() {
                return Ok(body);
            }
            let message = serde_json::from_slice::<wire::Message>(&body).map(|body| body.message);
            let message = message.unwrap_or_else(|_| String::from_utf8_lossy(&body).trim().to_owned());
            Err(Error::Refused { object: object.to_owned(), status: status.as_u16(), message })
        })
        .await
    }
}

/// All data of a body, held once: collecting frames and then joining them would hold 45 MB of tasks twice.
async fn whole(mut body: hyper::body::Incoming) -> Result<Bytes, hyper::Error> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.into())
}

/// The future's result, or an error that names the object when it takes too long.
async fn within<T>(object: &str, limit: Duration, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result,
        Err(_) => Err(Error::Deadline { object: object.to_owned(), limit }),
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(object: &str, json: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|source| Error::Answer { object: object.to_owned(), source })
}

/// Bollard on our transport, with the API version in front of every path.
fn through(transport: &endpoint::Shared, prefix: Arc<str>, deadlines: Deadlines) -> Result<Docker, Error> {
    let url = transport.url().to_owned();
    let transport = transport.clone();
    let send = move |request: bollard::BollardRequest| {
        let (transport, prefix) = (transport.clone(), prefix.clone());
        async move {
            let (mut head, body) = request.into_parts();
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            let path = if path.starts_with(&*prefix) { path.to_owned() } else { format!("{prefix}{path}") };
            head.uri = path.parse::<Uri>()?;
            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            Ok::<_, bollard::errors::Error>(transport.send(Request::from_parts(head, Full::new(body))).await?)
        }
    };
    // This limit ends with the answer's head, so that calls have their own; it is the longer one, and counts for events alone.
    let seconds = deadlines.list.max(deadlines.write).as_secs() + 1;
    Docker::connect_with_custom_transport(send, Some("http://docker"), seconds, bollard::API_DEFAULT_VERSION)
        .map_err(|error| Error::bollard(&url, "connection", error))
}

fn hint(event: bollard::models::EventMessage) -> Hint {
    use bollard::models::EventMessageTypeEnum as Type;
    let id = event.actor.and_then(|actor| actor.id).unwrap_or_default();
    match event.typ {
        Some(Type::SERVICE) if !id.is_empty() => Hint::Service(ServiceId::new(id)),
        Some(Type::NODE) if !id.is_empty() => Hint::Node(NodeId::new(id)),
        Some(Type::NETWORK) => Hint::Network,
        Some(Type::SECRET) => Hint::Secret,
        Some(Type::CONFIG) => Hint::Config,
        _ => Hint::Other,
    }
}

#[cfg(test)]
mod tests;
