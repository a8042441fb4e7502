//! Every key, once.

use super::values::{self, Value, Wrong};
use super::{Extension, HostPolicy, Kind, LogFormat, LogLevel, PublishMode, SecretPolicy, Settings};

/// A row of a table of keys.
pub(super) struct Key<T> {
    /// Its name as documented.
    pub(super) name: &'static str,
    /// What values look like.
    pub(super) kind: Shape,
    /// Its default as it would stand in the file; empty for none.
    pub(super) default: &'static str,
    /// What it means.
    pub(super) doc: &'static str,
    /// Whether it works.
    pub(super) status: Status,
    /// Reads a value into its field.
    pub(super) set: fn(&mut T, &Value<'_>) -> Result<(), Wrong>,
}

/// What a value is in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A whole number of seconds, or a duration in a string.
    Seconds,
    /// A whole number, or a word in a string.
    IntegerOrText,
    /// A list of strings.
    List,
    /// A table of strings.
    Map,
    /// One of these words, in any case.
    OneOf(&'static [&'static str]),
}

/// What a key does in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Works,
    /// It is accepted and has no effect, for this reason.
    Nothing(&'static str),
}

/// A key for documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDoc {
    /// The table that it stands in: empty, `Extensions.<name>` or `Extensions.<name>.Config`.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What values look like.
    pub shape: Shape,
    /// Its default as it would stand in the file; empty for none.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Whether it works.
    pub status: Status,
}

use Shape::{Boolean, Integer, List, Map, OneOf, Text};
use Status::{Nothing, Works};

/// Makes the rows shorter: name, shape, default, status, doc, reader.
macro_rules! keys {
    ($target:ty; $($name:literal $kind:expr, $default:literal, $status:expr, $doc:literal, $set:expr;)*) => {
        &[$(Key::<$target> { name: $name, kind: $kind, default: $default, doc: $doc, status: $status, set: $set }),*]
    };
}
pub(super) use keys;

const NO_V3: Status =
    Nothing("has no effect: Interlock 3 needed it, and here HitlessServiceUpdate does the same without it");
const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

pub(super) static GLOBAL: &[Key<Settings>] = keys![Settings;
    "PollInterval" Text, "\"3s\"", Works, "The pause between full passes. Core sees changes at once by events; a pass finds the changes that events missed.",
        |s, v| { s.poll_interval = values::duration(v)?; if s.poll_interval.is_zero() { Err("is zero".to_owned()) } else { Ok(()) } };
    "DockerURL" Text, "", Works, "The Docker engine of a manager. --host, DOCKER_HOST and a Docker context take precedence. Without any of them: the local socket.", |s, v| put(&mut s.docker_url, values::optional(v));
    "TLSCACert" Text, "", Works, "For a TCP DockerURL: a PEM file with the authority that signed the engine's certificate.", |s, v| put(&mut s.tls_ca_cert, values::optional(v));
    "TLSCert" Text, "", Works, "For a TCP DockerURL: a PEM file with core's certificate.", |s, v| put(&mut s.tls_cert, values::optional(v));
    "TLSKey" Text, "", Works, "For a TCP DockerURL: a PEM file with core's key.", |s, v| put(&mut s.tls_key, values::optional(v));
    "AllowInsecure" Boolean, "false", Works, "Do not verify the engine's certificate.", |s, v| put(&mut s.allow_insecure, values::boolean(v));
    "LogLevel" OneOf(LEVELS), "\"info\"", Works, "The level of the log: error, warn, info, debug or trace.", |s, v| put(&mut s.log_level, values::choice(v, &[
        ("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug), ("trace", LogLevel::Trace)]));
    "LogFormat" OneOf(&["text", "json"]), "\"text\"", Works, "The format of log lines: text or json. It holds for core, extensions and, with HitlessServiceUpdate, the proxies' agents. MainLogFormat sets the format of NGINX's own lines.", |s, v| put(&mut s.log_format, values::choice(v, &[("text", LogFormat::Text), ("json", LogFormat::Json)]));
    "HostPolicy" OneOf(&["shared", "stack"]), "\"shared\"", Works, "shared: any service may add itself to any host, and services with the same host and path share the requests. stack: a host belongs to the stack of the oldest service that names it or has a wildcard over it, and the default backend to the stack that had it first.", |s, v| {
        put(&mut s.host_policy, values::choice(v, &[("shared", HostPolicy::Shared), ("stack", HostPolicy::Stack)])) };
    "SecretPolicy" OneOf(&["any", "opt-in"]), "\"any\"", Works, "any: a label may name any secret but interlock's own. opt-in: only a secret with the label com.docker.lb.allow, whose value is the name of the service's stack or *.", |s, v| {
        put(&mut s.secret_policy, values::choice(v, &[("any", SecretPolicy::Any), ("opt-in", SecretPolicy::OptIn)])) };
    "NetworkPools" List, "[]", Works, "The address pools of application networks, like [\"10.0.0.0/16\"]. Core attaches proxies only to networks whose subnets lie in them. Without it: the address pools that the Swarm was made with.", |s, v| put(&mut s.network_pools, values::cidrs(v));
    "ListenAddr" Text, "\":8080\"", Works, "The address at which core listens for extensions and proxies, if any of them connect.", |s, v| put(&mut s.listen_addr, values::text(v));
    "EndpointOverride" Text, "", Works, "The address at which extensions and proxies reach core, like core.example.com:8080. Without it: the tasks of core's service.", |s, v| put(&mut s.endpoint_override, values::optional(v));
];

pub(super) static EXTENSION: &[Key<Extension>] = keys![Extension;
    "ServiceCluster" Text, "\"\"", Works, "The service cluster: services choose it with com.docker.lb.service_cluster. The empty name is for services without that label.", |e, v| put(&mut e.service_cluster, values::text(v));
    "Kind" OneOf(&["nginx", "haproxy", "f5", "template"]), "\"nginx\"", Works, "The program that the proxies run. This version supports nginx.", |e, v| {
        e.kind = values::choice(v, &Kind::ALL.map(|kind| (kind.as_str(), kind)))?.into();
        Ok(()) };
    "ProxyImage" Text, "\"nginx:stable\"", Works, "The proxies' image: interlock-proxy-nginx, or without HitlessServiceUpdate a stock NGINX, 1.22 or later.", |e, v| put(&mut e.proxy_image, values::words(v));
    "ProxyArgs" List, "[]", Works, "Arguments for the proxies' containers.", |e, v| put(&mut e.proxy_args, values::list(v));
    "ProxyServiceName" Text, "\"interlock-proxy\"", Works, "The name of the proxy service. A named service cluster has its name behind the default.", |e, v| put(&mut e.proxy_service_name, values::service_name(v));
    "ProxyReplicas" Integer, "2", Works, "The number of proxies. With PublishMode = \"host\" each proxy needs a node of its own: core runs no more proxies than suitable nodes, and warns.", |e, v| put(&mut e.proxy_replicas, values::integer(v, 0, 10_000));
    "PublishMode" OneOf(&["ingress", "host"]), "\"ingress\"", Works, "ingress: Swarm publishes the ports on every node, by the routing mesh. host: only on the proxies' nodes, and the proxies see clients' addresses. Two service clusters may publish the same port only with host and ProxyConstraints that exclude each other: the same key with different values.", |e, v| put(&mut e.publish_mode, values::choice(v, &[("ingress", PublishMode::Ingress), ("host", PublishMode::Host)]));
    "PublishedPort" Integer, "8080", Works, "The HTTP port that the proxies publish.", |e, v| put(&mut e.published_port, values::port(v));
    "TargetPort" Integer, "80", Works, "The HTTP port inside the proxies' containers.", |e, v| put(&mut e.target_port, values::port(v));
    "PublishedSSLPort" Integer, "8443", Works, "The HTTPS port that the proxies publish.", |e, v| put(&mut e.published_ssl_port, values::port(v));
    "ClientPort" Integer, "", Works, "The HTTP port that clients see, for X-Forwarded-Port, when a balancer in front of the proxies has another one. Without it: PublishedPort.", |e, v| put(&mut e.client_port, values::port(v).map(Some));
    "ClientSSLPort" Integer, "", Works, "The HTTPS port that clients see, for X-Forwarded-Port and redirects to HTTPS, when a balancer in front of the proxies has another one: 443 behind one that forwards 443 to 8443. Without it: PublishedSSLPort.", |e, v| put(&mut e.client_ssl_port, values::port(v).map(Some));
    "HealthPath" Text, "", Works, "A path, like /interlock-health, at which the proxies themselves answer 200 for every host, for the health checks of a balancer in front of the proxies. Services do not get requests for it.", |e, v| put(&mut e.health_path, values::health_path(v));
    "TargetSSLPort" Integer, "443", Works, "The HTTPS port inside the proxies' containers.", |e, v| put(&mut e.target_ssl_port, values::port(v));
    "ProxyConstraints" List, "", Works, "The placement constraints of proxies. Without it: workers, or managers while there is no active worker.", |e, v| put(&mut e.proxy_constraints, values::constraints(v).map(Some));
    "ProxyPlacementPreferences" List, "[]", Works, "How proxies are spread, like [\"spread=node.labels.zone\"].", |e, v| put(&mut e.proxy_placement_preferences, values::preferences(v));
    "Networks" List, "", Works, "The only networks of applications that the proxies are attached to. Without it: the networks of the services that they serve.", |e, v| put(&mut e.networks, values::networks(v));
    "ProxyStopSignal" Text, "\"SIGQUIT\"", Works, "The signal that stops a proxy. SIGQUIT lets NGINX finish open requests.", |e, v| put(&mut e.proxy_stop_signal, values::signal(v));
    "ProxyStopGracePeriod" Text, "\"5s\"", Works, "How long a proxy may take to stop.", |e, v| put(&mut e.proxy_stop_grace_period, values::duration(v));
    "ProxyUpdateDelay" Text, "\"2s\"", Works, "The pause between two proxies in a rolling update. Swarm needs a moment to notice that a new proxy failed. Without a pause it may have stopped the next one by then.", |e, v| put(&mut e.proxy_update_delay, values::duration(v));
    "ProxyConfigPath" Text, "\"/etc/nginx/nginx.conf\"", Works, "Where the proxies read their configuration.", |e, v| put(&mut e.proxy_config_path, values::path(v));
    "ProxyLabels" Map, "", Works, "Labels for the proxy service.", |e, v| put(&mut e.proxy_labels, values::labels(v));
    "ProxyContainerLabels" Map, "", Works, "Labels for the proxies' containers.", |e, v| put(&mut e.proxy_container_labels, values::labels(v));
    "HitlessServiceUpdate" Boolean, "false", Works, "Deliver changes to running proxies without replacing them. This needs the image interlock-proxy-nginx and what `interlock install` sets up.", |e, v| put(&mut e.hitless_service_update, values::boolean(v));
    "Image" Text, "", Works, "The extension's image, like interlock:0.1.0: it renders the configuration and validates it with the program that the proxies run. Without it, core renders by itself.", |e, v| put(&mut e.image, values::optional(v));
    "Args" List, "[]", Works, "Arguments for the extension. Core adds options like -D to the arguments that connect the extension to core. Other arguments replace those.", |e, v| put(&mut e.args, values::list(v));
    "ServiceName" Text, "\"interlock-extension\"", Works, "The name of the extension's service.", |e, v| put(&mut e.service_name, values::service_name(v));
    "Labels" Map, "", Works, "Labels for the extension's service.", |e, v| put(&mut e.labels, values::labels(v));
    "ContainerLabels" Map, "", Works, "Labels for the extension's containers.", |e, v| put(&mut e.container_labels, values::labels(v));
    "Constraints" List, "", Works, "The placement constraints of the extension.", |e, v| put(&mut e.constraints, values::constraints(v));
    "PlacementPreferences" List, "[]", Works, "How the extension is spread.", |e, v| put(&mut e.placement_preferences, values::preferences(v));
    "Template" Text, "", Works, "A Docker config object with a template of your own for the proxies' configuration: docs/templates.md.", |e, v| put(&mut e.template, values::optional(v));
    "TrustedProxies" List, "[]", Works, "Addresses and networks whose X-Forwarded-For, -Proto, -Host and -Port or PROXY header the proxies use, like [\"192.0.2.0/24\"]. Write the balancers in front of the proxies. Do not write address pools of Docker's networks: the proxies never use the headers of applications. On the TLS port NGINX ignores X-Forwarded-For while a host there is passed through.", |e, v| put(&mut e.trusted_proxies, values::cidrs(v));
    "ProxyProtocol" Boolean, "false", Works, "All connections begin with the PROXY protocol. The proxies use the addresses in it only if the connection comes from TrustedProxies.", |e, v| put(&mut e.proxy_protocol, values::boolean(v));
    "ProxyVersion" Text, "", Works, "The version of the proxy program, like 1.30.7: newer ones get more directives. Without it: what the agents report, else the oldest supported one.", |e, v| put(&mut e.proxy_version, values::version(v));
    "ServiceHosts" Integer, "1024", Works, "How many hosts the routes of one service may have together. A service that asks for more is not published.", |e, v| put(&mut e.budget.hosts, values::small(v, 1, 65_536));
    "ServiceLocations" Integer, "8192", Works, "How many locations the routes of one service may need together: each path and WebSocket endpoint counts once or twice for each host, and again for TLS.", |e, v| put(&mut e.budget.locations, values::small(v, 1, 1_000_000));
    "ServiceHeaderBytes" Integer, "1048576", Works, "How many bytes the headers of one service's labels may take in the proxies' configuration. There they stand once or twice for each host, and again for TLS.", |e, v| put(&mut e.budget.header_bytes, values::small(v, 1, 16 << 20));
    "ServiceRateLimits" Integer, "32", Works, "How many routes of one service may have a rate limit. Each takes 1 MB of memory of each proxy.", |e, v| put(&mut e.budget.rate_limits, values::small(v, 0, 10_000));
    "ServiceBytes" Integer, "2097152", Works, "How many bytes of the proxies' configuration one service may take, the addresses of its tasks aside.", |e, v| put(&mut e.budget.bytes, values::small(v, 1024, 16 << 20));
    "RateLimits" Integer, "512", Works, "How many rate limits all services may have together. Core does not publish the newest services beyond that.", |e, v| put(&mut e.budget.all_rate_limits, values::small(v, 0, 10_000));
    "ConfigImage" Text, "", NO_V3, "Accepted for compatibility.", |e, v| put(&mut e.config_image, values::optional(v));
    "ConfigServiceName" Text, "", NO_V3, "Accepted for compatibility.", |e, v| put(&mut e.config_service_name, values::optional(v));
];

/// Puts what was read into its field.
pub(super) fn put<T>(field: &mut T, read: Result<T, Wrong>) -> Result<(), Wrong> {
    *field = read?;
    Ok(())
}
