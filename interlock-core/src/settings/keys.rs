//! Every key, once.

use super::values::{self, Value, Wrong};
use super::{
    Extension, HostPolicy, Kind, LogFormat, LogLevel, NginxOptions, ProxyOptions, PublishMode, SecretPolicy, Settings,
    WorkerProcesses,
};

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

/// Every key, in the order of the file that `interlock init` prints.
pub fn reference() -> Vec<KeyDoc> {
    fn docs<T>(section: &'static str, keys: &'static [Key<T>]) -> impl Iterator<Item = KeyDoc> {
        keys.iter().map(move |Key { name, kind, default, doc, status, set: _ }| KeyDoc {
            section,
            name,
            shape: *kind,
            default,
            doc,
            status: *status,
        })
    }
    docs("", GLOBAL)
        .chain(docs("Extensions.<name>", EXTENSION))
        .chain(docs("Extensions.<name>.Config", NGINX))
        .collect()
}

use Shape::{Boolean, Integer, IntegerOrText, List, Map, OneOf, Seconds, Text};
use Status::{Nothing, Works};

/// Makes the rows shorter: name, shape, default, status, doc, reader.
macro_rules! keys {
    ($target:ty; $($name:literal $kind:expr, $default:literal, $status:expr, $doc:literal, $set:expr;)*) => {
        &[$(Key::<$target> { name: $name, kind: $kind, default: $default, doc: $doc, status: $status, set: $set }),*]
    };
}

/// Keys of ciphers that are long out of use.
const NO_DH: Status = Status::Nothing("has no effect: no cipher in use needs it");
const UNUSED_BY_NGINX: Status = Nothing("has no effect with NGINX");
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
        e.kind = values::choice(v, &[("nginx", Kind::Nginx), ("haproxy", Kind::Haproxy), ("f5", Kind::F5), ("template", Kind::Template)])?;
        if e.kind != Kind::Nginx { e.options = ProxyOptions::Other; }
        Ok(()) };
    "ProxyImage" Text, "\"nginx:stable\"", Works, "The proxies' image: interlock-proxy-nginx, or without HitlessServiceUpdate a stock NGINX, 1.22 or later.", |e, v| put(&mut e.proxy_image, values::words(v));
    "ProxyArgs" List, "[]", Works, "Arguments for the proxies' containers.", |e, v| put(&mut e.proxy_args, values::list(v));
    "ProxyServiceName" Text, "\"interlock-proxy\"", Works, "The name of the proxy service. A named service cluster has its name behind the default.", |e, v| put(&mut e.proxy_service_name, values::service_name(v));
    "ProxyReplicas" Integer, "2", Works, "The number of proxies. With PublishMode = \"host\" each proxy needs a node of its own: core runs no more proxies than suitable nodes, and warns.", |e, v| put(&mut e.proxy_replicas, values::integer(v, 0, 10_000));
    "PublishMode" OneOf(&["ingress", "host"]), "\"ingress\"", Works, "ingress: Swarm publishes the ports on every node, by the routing mesh. host: only on the proxies' nodes, and NGINX sees clients' addresses. Two service clusters may publish the same port only with host and ProxyConstraints that exclude each other: the same key with different values.", |e, v| put(&mut e.publish_mode, values::choice(v, &[("ingress", PublishMode::Ingress), ("host", PublishMode::Host)]));
    "PublishedPort" Integer, "8080", Works, "The HTTP port that the proxies publish.", |e, v| put(&mut e.published_port, values::port(v));
    "TargetPort" Integer, "80", Works, "The HTTP port inside the proxies' containers.", |e, v| put(&mut e.target_port, values::port(v));
    "PublishedSSLPort" Integer, "8443", Works, "The HTTPS port that the proxies publish.", |e, v| put(&mut e.published_ssl_port, values::port(v));
    "ClientPort" Integer, "", Works, "The HTTP port that clients see, for X-Forwarded-Port, when a balancer in front of the proxies has another one. Without it: PublishedPort.", |e, v| put(&mut e.client_port, values::port(v).map(Some));
    "ClientSSLPort" Integer, "", Works, "The HTTPS port that clients see, for X-Forwarded-Port and redirects to HTTPS, when a balancer in front of the proxies has another one: 443 behind one that forwards 443 to 8443. Without it: PublishedSSLPort.", |e, v| put(&mut e.client_ssl_port, values::port(v).map(Some));
    "HealthPath" Text, "", Works, "A path, like /interlock-health, at which NGINX itself answers 200 for every host, for the health checks of a balancer in front of the proxies. Services do not get requests for it.", |e, v| put(&mut e.health_path, values::health_path(v));
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
    "Image" Text, "", Works, "The extension's image, like interlock:0.1.0: it renders the configuration and validates it with NGINX. Without it, core renders by itself.", |e, v| put(&mut e.image, values::optional(v));
    "Args" List, "[]", Works, "Arguments for the extension. Core adds options like -D to the arguments that connect the extension to core. Other arguments replace those.", |e, v| put(&mut e.args, values::list(v));
    "ServiceName" Text, "\"interlock-extension\"", Works, "The name of the extension's service.", |e, v| put(&mut e.service_name, values::service_name(v));
    "Labels" Map, "", Works, "Labels for the extension's service.", |e, v| put(&mut e.labels, values::labels(v));
    "ContainerLabels" Map, "", Works, "Labels for the extension's containers.", |e, v| put(&mut e.container_labels, values::labels(v));
    "Constraints" List, "", Works, "The placement constraints of the extension.", |e, v| put(&mut e.constraints, values::constraints(v));
    "PlacementPreferences" List, "[]", Works, "How the extension is spread.", |e, v| put(&mut e.placement_preferences, values::preferences(v));
    "Template" Text, "", Works, "A Docker config object with a template of your own for the proxies' configuration: docs/templates.md.", |e, v| put(&mut e.template, values::optional(v));
    "TrustedProxies" List, "[]", Works, "Addresses and networks whose X-Forwarded-For, -Proto, -Host and -Port or PROXY header NGINX uses, like [\"192.0.2.0/24\"]. Write the balancers in front of the proxies. Do not write address pools of Docker's networks: NGINX never uses the headers of applications. On the TLS port NGINX ignores X-Forwarded-For while a host there is passed through.", |e, v| put(&mut e.trusted_proxies, values::cidrs(v));
    "ProxyProtocol" Boolean, "false", Works, "All connections begin with the PROXY protocol. NGINX uses the addresses in it only if the connection comes from TrustedProxies.", |e, v| put(&mut e.proxy_protocol, values::boolean(v));
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

pub(super) static NGINX: &[Key<NginxOptions>] = keys![NginxOptions;
    "HideInfoHeaders" Boolean, "false", Works, "Do not send the x-* headers in answers. x-upstream-addr shows addresses of containers.", |o, v| put(&mut o.hide_info_headers, values::boolean(v));
    "WorkerProcesses" IntegerOrText, "\"auto\"", Works, "The number of worker processes of a proxy. auto is one for each processor.", |o, v| {
        o.worker_processes = match v.as_str() {
            Some(text) if text.eq_ignore_ascii_case("auto") => WorkerProcesses::Auto,
            Some(text) => match text.parse().ok().filter(|count| (1..=1024).contains(count)) {
                Some(count) => WorkerProcesses::Count(count),
                None => return Err(format!("is {text:?}, expected \"auto\" or a whole number from 1 to 1024")),
            },
            None => WorkerProcesses::Count(values::small(v, 1, 1024)?),
        };
        Ok(()) };
    "MaxConnections" IntegerOrText, "\"auto\"", Works, "How many connections a worker process may have, clients and tasks together. auto is half of RLimitNoFile, at most 65536. NGINX reserves 424 bytes of memory for each.", |o, v| put(&mut o.max_connections, values::limit(v, 16, 10_000_000));
    "ConnectionsPerAddress" IntegerOrText, "\"auto\"", Works, "How many requests and passed-through connections one client address may have open at each proxy. Of IPv6 addresses only the first 64 bits count. More requests get 429. 0 means no limit. auto is an eighth of MaxConnections where proxies see clients' addresses (PublishMode host, or TrustedProxies), else no limit.", |o, v| put(&mut o.connections_per_address, values::limit(v, 0, 65_535));
    "RLimitNoFile" Integer, "65535", Works, "How many files a worker process may have open.", |o, v| put(&mut o.rlimit_nofile, values::integer(v, 16, 100_000_000));
    "ConnectTimeout" Seconds, "1", Works, "Seconds to wait for a task to accept a connection before trying the next one. At most 3 tries within 5 s; with 5 or more there is no second try.", |o, v| put(&mut o.connect_timeout, values::seconds(v));
    "SendTimeout" Seconds, "600", Works, "Seconds without progress after which NGINX stops sending to a task or client.", |o, v| put(&mut o.send_timeout, values::seconds(v));
    "ReadTimeout" Seconds, "600", Works, "Seconds without a byte after which NGINX stops waiting for a task.", |o, v| put(&mut o.read_timeout, values::seconds(v));
    "KeepaliveTimeout" Text, "\"75s\"", Works, "How long NGINX keeps an idle connection of a client.", |o, v| put(&mut o.keepalive_timeout, values::pause(v));
    "ClientMaxBodySize" Text, "\"32m\"", Works, "The largest request body. 0 means no limit.", |o, v| put(&mut o.client_max_body_size, values::size(v));
    "ClientBodyBufferSize" Text, "\"8k\"", Works, "How much of a request body NGINX holds in memory.", |o, v| put(&mut o.client_body_buffer_size, values::buffer(v));
    "ClientHeaderTimeout" Text, "\"10s\"", Works, "How long a client may take to send the head of a request, and for the TLS handshake.", |o, v| {
        o.client_header_timeout = values::pause(v)?;
        if o.client_header_timeout.is_zero() { Err("is zero".to_owned()) } else { Ok(()) } };
    "ClientBodyTimeout" Text, "\"60s\"", Works, "The longest pause inside a request body.", |o, v| put(&mut o.client_body_timeout, values::pause(v));
    "ClientHeaderBufferSize" Text, "\"1k\"", Works, "The buffer for ordinary request headers.", |o, v| put(&mut o.client_header_buffer_size, values::buffer(v));
    "LargeClientHeaderBuffers" Text, "\"4 8k\"", Works, "How many buffers of which size large request headers may have.", |o, v| put(&mut o.large_client_header_buffers, values::buffers(v));
    "UnderscoresInHeaders" Boolean, "false", Works, "Accept request headers with underscores in their names. Applications that read X_Real_IP as X-Real-IP then trust headers of clients.", |o, v| put(&mut o.underscores_in_headers, values::boolean(v));
    "HTTPVersion" Text, "\"1.1\"", Works, "The HTTP version that NGINX speaks to tasks: 1.0 or 1.1. WebSocket and connections that stay open need 1.1.", |o, v| {
        o.http_version = values::choice(v, &[("1.1", "1.1"), ("1.0", "1.0")])?.to_owned();
        Ok(()) };
    "AccessLogPath" Text, "\"/dev/stdout\"", Works, "Where NGINX logs requests: a file, `syslog:...` or off.", |o, v| put(&mut o.access_log_path, values::log(v, &["off"]));
    "ErrorLogPath" Text, "\"/dev/stdout\"", Works, "Where NGINX logs errors: a file, `syslog:...` or stderr.", |o, v| put(&mut o.error_log_path, values::log(v, &["stderr"]));
    "MainLogFormat" Text, "", Works, "The format of the access log, with `escape=json ` in front or not. Without it: combined, and X-Forwarded-For.", |o, v| put(&mut o.main_log_format, values::log_format(v));
    "TraceLogFormat" Text, "", Works, "A second format, for HTTPOptions to use.", |o, v| put(&mut o.trace_log_format, values::log_format(v));
    "PidPath" Text, "\"/var/run/proxy.pid\"", Works, "The file with NGINX's process id.", |o, v| put(&mut o.pid_path, values::path(v));
    "User" Text, "", Works, "The user of the worker processes. Without it: the one that the image's NGINX was built with.", |o, v| put(&mut o.user, values::optional_words(v));
    "GlobalOptions" List, "[]", Works, "Lines for the main context, unchanged.", |o, v| put(&mut o.global_options, values::lines(v));
    "HTTPOptions" List, "[]", Works, "Lines for the http context, unchanged. They replace interlock's lines for the same directive.", |o, v| put(&mut o.http_options, values::lines(v));
    "TCPOptions" List, "[]", Works, "Lines for the stream context, unchanged.", |o, v| put(&mut o.tcp_options, values::lines(v));
    "SSLProtocols" Text, "\"TLSv1.2 TLSv1.3\"", Works, "The TLS versions that clients may use.", |o, v| put(&mut o.ssl_protocols, values::tls_versions(v));
    "SSLCiphers" Text, "", Works, "The TLS 1.2 ciphers that clients may use. Without it: Mozilla's intermediate list.", |o, v| put(&mut o.ssl_ciphers, values::words(v));
    "SSLOpts" IntegerOrText, "\"\"", UNUSED_BY_NGINX, "Accepted for compatibility.", |_, v| values::anything(v);
    "SSLVerify" Text, "", UNUSED_BY_NGINX, "Accepted for compatibility.", |_, v| values::text(v).map(drop);
    "SSLDefaultDHParam" Integer, "", NO_DH, "Accepted for compatibility.", |_, v| values::integer(v, 0, 16_384).map(drop);
    "SSLDefaultDHParamPath" Text, "", NO_DH, "Accepted for compatibility.", |_, v| values::text(v).map(drop);
    "IPHash" Boolean, "false", Works, "Send all requests of a client address to the same task, for all services, like the label ip_hash.", |o, v| put(&mut o.ip_hash, values::boolean(v));
    "ServerNamesHashBucketSize" Integer, "", Nothing("has no effect: the size follows from the names"), "Accepted for compatibility.", |_, v| values::integer(v, 0, 1 << 20).map(drop);
    "UpstreamZoneSize" Integer, "", Nothing("has no effect: upstreams share no memory zone, which would make large configurations slow"), "Accepted for compatibility.", |_, v| values::integer(v, 0, 1 << 20).map(drop);
    "AdminUser" Text, "", UNUSED_BY_NGINX, "Accepted for compatibility.", |_, v| values::text(v).map(drop);
    "AdminPass" Text, "", UNUSED_BY_NGINX, "Accepted for compatibility.", |_, v| values::text(v).map(drop);
    "Version" Text, "", UNUSED_BY_NGINX, "Accepted for compatibility.", |_, v| values::text(v).map(drop);
];

/// Puts what was read into its field.
fn put<T>(field: &mut T, read: Result<T, Wrong>) -> Result<(), Wrong> {
    *field = read?;
    Ok(())
}
