//! What the operator wants: Interlock's settings file (TOML), every key read and checked before anything is touched.
//!
//! Keys are matched without regard to case. Each key stands once, in a table; reading, the file that
//! `interlock init` prints, the JSON schema and the search for the nearest key all follow from them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Cluster, PathPrefix, ProxyVersion};

mod budget;
mod check;
mod findings;
mod keys;
pub mod nginx;
mod read;
mod template;
mod values;

pub use budget::Budget;
pub use findings::{SettingError, SettingsError};
pub use keys::{KeyDoc, Shape, Status};
pub use template::{json_schema, reference, template};

/// The whole settings file.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where core listens for extensions and proxies. Default `:8080`.
    pub listen_addr: String,
    /// The Docker engine; `None` is what the environment says.
    pub docker_url: Option<String>,
    /// A PEM file with the authorities that may sign the engine's certificate.
    pub tls_ca_cert: Option<String>,
    /// A PEM file with the client's certificate for the engine.
    pub tls_cert: Option<String>,
    /// A PEM file with the client's key for the engine.
    pub tls_key: Option<String>,
    /// Whether the engine's certificate goes unchecked. Default false.
    pub allow_insecure: bool,
    /// The pause between full passes. Default 3 s.
    pub poll_interval: Duration,
    /// The address that extensions are given; `None` is detected.
    pub endpoint_override: Option<String>,
    /// Who may share a host.
    pub host_policy: HostPolicy,
    /// Which secrets labels may name.
    pub secret_policy: SecretPolicy,
    /// From where networks may be whose services are routed; empty for the Swarm's own address pools.
    pub network_pools: Vec<ipnet::IpNet>,
    /// How much is logged. Default info.
    pub log_level: LogLevel,
    /// How log lines look. Default text.
    pub log_format: LogFormat,
    /// The extensions by service cluster; the default one has the empty name. Never empty.
    pub extensions: BTreeMap<String, Extension>,
}

/// Who may share a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostPolicy {
    /// Services with one host and path are pooled.
    #[default]
    Shared,
    /// Only inside one stack.
    Stack,
}

/// Which secrets labels may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretPolicy {
    /// Any but interlock's own.
    #[default]
    Any,
    /// Those that allow it by a label.
    OptIn,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The level's name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// One extension with its proxies: a service cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Extension {
    /// The name of its table.
    pub name: String,
    /// The service cluster; empty for the default one.
    pub service_cluster: String,
    /// The program that the proxies run, with its options.
    pub kind: ProxyKind,
    /// The extension's image; `None` renders in core.
    pub image: Option<String>,
    /// The extension's arguments.
    pub args: Vec<String>,
    /// Labels of the extension's service.
    pub labels: BTreeMap<String, String>,
    /// Labels of the extension's containers.
    pub container_labels: BTreeMap<String, String>,
    /// Placement constraints of the extension.
    pub constraints: Vec<String>,
    /// Placement preferences of the extension.
    pub placement_preferences: Vec<String>,
    /// The extension's service name. Default `interlock-extension`, with the service cluster behind it if that has a name.
    pub service_name: String,
    /// The proxies' image. Default `nginx:stable`.
    pub proxy_image: String,
    /// The proxies' arguments.
    pub proxy_args: Vec<String>,
    /// Labels of the proxy service.
    pub proxy_labels: BTreeMap<String, String>,
    /// Labels of the proxies' containers.
    pub proxy_container_labels: BTreeMap<String, String>,
    /// The proxies' service name. Default `interlock-proxy`, with the service cluster behind it if that has a name.
    pub proxy_service_name: String,
    /// Where the proxies read their configuration, an absolute path. Default `/etc/nginx/nginx.conf`.
    pub proxy_config_path: String,
    /// How many proxies there are. Default 2.
    pub proxy_replicas: u64,
    /// The signal that ends a proxy. Default `SIGQUIT`, for HAProxy `SIGUSR1`: both finish open requests first.
    pub proxy_stop_signal: String,
    /// How long a proxy may take to end. Default 5 s.
    pub proxy_stop_grace_period: Duration,
    /// Placement constraints of the proxies; `None` is workers, or any node while there is no active worker.
    pub proxy_constraints: Option<Vec<String>>,
    /// Placement preferences of the proxies: `spread=node.labels.zone`.
    pub proxy_placement_preferences: Vec<String>,
    /// The pause between two proxies of a rolling update. Default 2 s.
    pub proxy_update_delay: Duration,
    /// The networks that the proxies are attached to; `None` is those that routes need.
    pub networks: Option<Vec<String>>,
    /// How the ports are published. Default by the routing mesh.
    pub publish_mode: PublishMode,
    /// The HTTP port outside. Default 8080.
    pub published_port: u16,
    /// The HTTP port inside. Default 80.
    pub target_port: u16,
    /// The HTTPS port outside. Default 8443.
    pub published_ssl_port: u16,
    /// The HTTP port that clients see; `None` for the one outside.
    pub client_port: Option<u16>,
    /// The HTTPS port that clients see; `None` for the one outside.
    pub client_ssl_port: Option<u16>,
    /// Where proxies answer health checks of what is in front of them.
    pub health_path: Option<PathPrefix>,
    /// The HTTPS port inside. Default 443.
    pub target_ssl_port: u16,
    /// A config object with a template of the operator's own.
    pub template: Option<String>,
    /// Whether changes reach proxies without new tasks. Default false.
    pub hitless_service_update: bool,
    /// Interlock 3's image for that, not needed here.
    pub config_image: Option<String>,
    /// Interlock 3's service for that, not needed here.
    pub config_service_name: Option<String>,
    /// Whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Whether PROXY protocol is accepted from them.
    pub proxy_protocol: bool,
    /// The version of the proxy program, for which directives may be rendered.
    pub proxy_version: Option<ProxyVersion>,
    /// What services may come to.
    pub budget: Budget,
    /// How the log lines of the extension and of the agents look: as core's.
    pub log_format: LogFormat,
}

/// The program that proxies run, with its options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyKind {
    /// NGINX.
    Nginx(Box<nginx::Options>),
    /// HAProxy. This version cannot render for it.
    Haproxy,
    /// An F5 BIG-IP. This version cannot render for it.
    F5,
    /// Any, by a template of the operator's own. This version cannot render for it.
    Template,
}

impl ProxyKind {
    /// Its name.
    pub const fn name(&self) -> Kind {
        match self {
            Self::Nginx(_) => Kind::Nginx,
            Self::Haproxy => Kind::Haproxy,
            Self::F5 => Kind::F5,
            Self::Template => Kind::Template,
        }
    }

    /// Whether all requests of a client go to the same task unless labels say otherwise.
    pub(crate) fn ip_hash(&self) -> bool {
        match self {
            Self::Nginx(options) => options.ip_hash,
            Self::Haproxy | Self::F5 | Self::Template => false,
        }
    }

    /// The same with what follows from others said outright. `sees_addresses`: whether proxies see the addresses of clients at all.
    pub(crate) fn settled(self, sees_addresses: bool) -> Self {
        match self {
            Self::Nginx(options) => Self::Nginx(Box::new(options.settled(sees_addresses))),
            Self::Haproxy | Self::F5 | Self::Template => self,
        }
    }
}

/// NGINX with its defaults.
impl Default for ProxyKind {
    fn default() -> Self {
        Kind::default().into()
    }
}

/// With its defaults.
impl From<Kind> for ProxyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Nginx => Self::Nginx(Box::default()),
            Kind::Haproxy => Self::Haproxy,
            Kind::F5 => Self::F5,
            Kind::Template => Self::Template,
        }
    }
}

/// The name of a kind of proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// NGINX.
    #[default]
    Nginx,
    /// HAProxy.
    Haproxy,
    /// An F5 BIG-IP.
    F5,
    /// Any, by a template of the operator's own.
    Template,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Haproxy, Self::F5, Self::Template];

    /// As settings and command lines have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::F5 => "f5",
            Self::Template => "template",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How ports are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PublishMode {
    /// By the routing mesh, on every node.
    #[default]
    Ingress,
    /// On the nodes of the proxies: applications see clients' addresses.
    Host,
}

/// A number that follows from others, or this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// It follows from others.
    #[default]
    Auto,
    /// This one.
    Count(u32),
}

/// Something in the settings that is accepted and does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The key's path: `Extensions.default.Config.UpstreamZoneSize`.
    pub key: String,
    /// The line, from 1.
    pub line: usize,
    /// What there is to know.
    pub message: String,
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    ///
    /// All that is wrong, each with the key's path, line and column.
    pub fn parse(toml: &str) -> Result<(Self, Vec<Notice>), SettingsError> {
        read::read(toml)
    }

    /// The extension of a service cluster.
    pub fn extension(&self, cluster: &str) -> Option<&Extension> {
        self.extensions.get(cluster)
    }

    /// The service clusters with their extensions.
    pub fn clusters(&self) -> impl Iterator<Item = (Cluster, &Extension)> {
        self.extensions.iter().filter_map(|(name, extension)| Some((name.parse().ok()?, extension)))
    }

    fn without_extensions() -> Self {
        Self {
            listen_addr: ":8080".to_owned(),
            docker_url: None,
            tls_ca_cert: None,
            tls_cert: None,
            tls_key: None,
            allow_insecure: false,
            poll_interval: Duration::from_secs(3),
            endpoint_override: None,
            host_policy: HostPolicy::default(),
            secret_policy: SecretPolicy::default(),
            network_pools: Vec::new(),
            log_level: LogLevel::default(),
            log_format: LogFormat::default(),
            extensions: BTreeMap::new(),
        }
    }
}

/// One NGINX extension for the default service cluster, everything at its default.
impl Default for Settings {
    fn default() -> Self {
        let mut extension = Extension::new("default");
        extension.name_services();
        Self { extensions: BTreeMap::from([(String::new(), extension)]), ..Self::without_extensions() }
    }
}

impl Extension {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            service_cluster: String::new(),
            kind: ProxyKind::default(),
            image: None,
            args: Vec::new(),
            labels: BTreeMap::new(),
            container_labels: BTreeMap::new(),
            constraints: Vec::new(),
            placement_preferences: Vec::new(),
            service_name: String::new(),
            proxy_image: "nginx:stable".to_owned(),
            proxy_args: Vec::new(),
            proxy_labels: BTreeMap::new(),
            proxy_container_labels: BTreeMap::new(),
            proxy_service_name: String::new(),
            proxy_config_path: "/etc/nginx/nginx.conf".to_owned(),
            proxy_replicas: 2,
            proxy_stop_signal: "SIGQUIT".to_owned(),
            proxy_stop_grace_period: Duration::from_secs(5),
            proxy_constraints: None,
            proxy_placement_preferences: Vec::new(),
            proxy_update_delay: Duration::from_secs(2),
            networks: None,
            publish_mode: PublishMode::default(),
            published_port: 8080,
            target_port: 80,
            published_ssl_port: 8443,
            client_port: None,
            client_ssl_port: None,
            health_path: None,
            target_ssl_port: 443,
            template: None,
            hitless_service_update: false,
            config_image: None,
            config_service_name: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            proxy_version: None,
            budget: Budget::default(),
            log_format: LogFormat::default(),
        }
    }

    /// Gives services without a name their default one.
    fn name_services(&mut self) {
        let suffix = if self.service_cluster.is_empty() { String::new() } else { format!("-{}", self.service_cluster) };
        for (name, default) in
            [(&mut self.service_name, "interlock-extension"), (&mut self.proxy_service_name, "interlock-proxy")]
        {
            if name.is_empty() {
                *name = format!("{default}{suffix}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
