//! The table. A new label is a row here, the place where proxies are told about it, and a fixture: see CONTRIBUTING.md.

use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::options::{
    BackendProtocol, Balance, ByteSize, Canary, HeaderEdit, RateLimit, TimeSpan, headers, is_default,
};
use super::row::Guard::{Access, Agree, Nothing, Withholds};
use super::row::Passthrough::{Holds, Ignored, Refused};
use super::row::{Addresses, Guard, Label, RouteOption, Scope, labels};
use super::values::{BackendMode, Redirect, TlsVerify, body_size, boolean, hosts, networks, number, paths, redirects};
use crate::units::{Cluster, CookieName, HostPattern, Invalid, NetworkName, PathPrefix, Port, SecretName};

labels! {
    together {
        backend_protocol: BackendProtocol = protocol,
        ssl_backend_ca: Option<SecretName> = authorities,
    }

    hosts: Vec<HostPattern> {
        syntax: "1 to 256 host names, separated by commas; *.example.com for all names under one",
        default: "none: the service gets no requests, unless it is the default backend",
        example: "shop.example.com, *.shop.example.com",
        counterexample: "shop.example.com; return 200",
        doc: "The hosts whose requests this service gets. Services with the same host and path share the requests, weighted by their task counts.",
        inherited: false,
        passthrough: Holds,
        guard: Nothing,
        scope: Scope::Makes,
        interlock1: "hostname",
        read: hosts,
    }
    port: Port {
        syntax: "1 to 65535",
        default: "none: required",
        example: "8080",
        counterexample: "http",
        doc: "The port that the service's containers listen on.",
        inherited: false,
        passthrough: Holds,
        guard: Nothing,
        interlock1: "port",
        read: str::parse,
    }
    network: NetworkName {
        syntax: "a network's name",
        default: "the overlay network that the service is on, when it is on exactly one",
        example: "demo_default",
        counterexample: "ingress",
        doc: "The overlay network on which the proxies reach the service. A stack's network may be written without the stack's name.",
        inherited: true,
        passthrough: Holds,
        guard: Nothing,
        interlock1: "network",
        read: str::parse,
    }
    context_root: PathPrefix {
        syntax: "a path",
        default: "/",
        example: "/app",
        counterexample: "/app/../admin",
        doc: "The service gets only requests under this path: /app stands for /app and /app/x, not for /apple. Several services may share a host with different paths: the longest path decides.",
        inherited: false,
        passthrough: Refused,
        guard: Nothing,
        off: "/",
        scope: Scope::Narrows,
        interlock1: "context_root",
        read: str::parse,
    }
    context_root_rewrite: bool {
        syntax: "true or false",
        default: "false",
        example: "true",
        counterexample: "yes",
        doc: "Whether the proxies remove the context root from the path before the service sees it. X-Forwarded-Prefix then has the context root. NGINX decodes escapes like %2F in the rest of the path. The proxies redirect (308) a request for exactly the context root to the same path with a slash.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        off: "false",
        interlock1: "context_root_rewrite",
        read: boolean,
    }
    default_backend: bool {
        syntax: "true or false",
        default: "false",
        example: "true",
        counterexample: "yes",
        doc: "Whether this service gets the requests for hosts that no service names. Needs no hosts.",
        inherited: false,
        passthrough: Refused,
        guard: Nothing,
        off: "false",
        scope: Scope::Makes,
        read: boolean,
    }
    service_cluster: Cluster {
        syntax: "a ServiceCluster of the settings",
        default: "the extension without a ServiceCluster",
        example: "us-east",
        counterexample: "us east",
        doc: "Which service cluster's proxies serve this service.",
        inherited: true,
        passthrough: Holds,
        guard: Nothing,
        scope: Scope::Narrows,
        read: str::parse,
    }
    backend_mode: BackendMode {
        syntax: "task or vip",
        default: "task",
        example: "task",
        counterexample: "dnsrr",
        doc: "With task the proxies send requests to each task. With vip the proxies send them to the service's virtual IP, and Swarm chooses the task. With vip a change of the tasks changes nothing at the proxies, and sessions cannot stick to a task.",
        inherited: true,
        passthrough: Holds,
        guard: Nothing,
        read: str::parse,
    }
    ssl_cert: SecretName {
        syntax: "a Docker secret's name, or that of one of the service's stack without the stack's name",
        default: "none",
        example: "shop.example.com.cert",
        counterexample: "../shop.pem",
        doc: "The secret with the certificate of the hosts. The proxies terminate TLS.",
        inherited: true,
        passthrough: Refused,
        guard: Nothing,
        interlock1: "ssl_cert",
        read: str::parse,
    }
    ssl_key: SecretName {
        syntax: "a Docker secret's name, or that of one of the service's stack without the stack's name",
        default: "none: the certificate's secret also holds the key",
        example: "shop.example.com.key",
        counterexample: "/run/secrets/key",
        doc: "The secret with the private key that belongs to ssl_cert.",
        inherited: true,
        passthrough: Refused,
        guard: Nothing,
        interlock1: "ssl_cert_key",
        read: str::parse,
    }
    ssl_only: bool {
        syntax: "true or false",
        default: "false",
        example: "true",
        counterexample: "on",
        doc: "Whether the proxies redirect plain HTTP requests to HTTPS. Behind a balancer that terminates TLS, let the balancer redirect: it sends plain HTTP to the proxies.",
        inherited: true,
        passthrough: Holds,
        guard: Withholds,
        off: "false",
        interlock1: "ssl_only",
        read: boolean,
        option ssl_only: bool = |route| route.ssl_only.unwrap_or_default(),
    }
    ssl_passthrough: bool {
        syntax: "true or false",
        default: "false",
        example: "true",
        counterexample: "on",
        doc: "Whether TLS connections for the hosts go to the service untouched. The proxies answer plain HTTP with 503, unless a route without ssl_passthrough also has the host.",
        inherited: true,
        passthrough: Holds,
        guard: Withholds,
        off: "false",
        read: boolean,
    }
    ssl_backend: bool {
        syntax: "true or false",
        default: "false",
        example: "true",
        counterexample: "on",
        doc: "Whether the proxies speak TLS to the service.",
        inherited: true,
        passthrough: Ignored,
        guard: Withholds,
        off: "false",
        interlock1: "ssl_backend",
        read: boolean,
        part_of: backend_protocol,
    }
    ssl_backend_tls_verify: TlsVerify {
        syntax: "none or required",
        default: "none",
        example: "required",
        counterexample: "optional",
        doc: "Whether the proxies verify the service's certificate.",
        inherited: true,
        passthrough: Refused,
        guard: Withholds,
        off: "none",
        interlock1: "ssl_backend_tls_verify",
        read: str::parse,
        part_of: ssl_backend_ca,
    }
    websocket_endpoints: Arc<Vec<PathPrefix>> {
        syntax: "paths, separated by commas",
        default: "none",
        example: "/ws,/events",
        counterexample: "ws",
        doc: "Paths on which the proxies keep idle connections for long. WebSocket itself works on every path without this label.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        interlock1: "websocket_endpoint",
        read: |text| paths(text).map(Arc::new),
        option websocket_endpoints: Arc<Vec<PathPrefix>> = |route| route.websocket_endpoints.clone().unwrap_or_default(),
    }
    sticky_session_cookie: CookieName {
        syntax: "a cookie's name",
        default: "none",
        example: "session",
        counterexample: "session id",
        doc: "Requests with the same value of this cookie go to the same task. The application sets the cookie. Requests without it go to all tasks in turn. The name has letters, digits, `_`, `-` and `.`. When the number of tasks changes, only the same share of the values moves to other tasks.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        read: str::parse,
        option balance: Balance = balance,
    }
    ip_hash: bool {
        syntax: "true or false",
        default: "false",
        example: "true",
        counterexample: "on",
        doc: "Whether all requests from one client address go to the same task. Of an IPv4 address only the first three numbers count.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        off: "false",
        addresses: Addresses::Weaker("sends all clients of a node to one task"),
        interlock1: "ip_hash",
        read: boolean,
        part_of: balance,
    }
    redirects: Vec<Redirect> {
        syntax: "pairs of source and target URL, a comma inside and a semicolon between them",
        default: "none",
        example: "http://old.example.com,https://shop.example.com",
        counterexample: "http://old.example.com",
        doc: "The proxies redirect (302) requests for the source's host to the target, and append the request's URI. The source is one of hosts, without path or port. An https source needs a certificate. Core refuses redirects that form a loop.",
        inherited: false,
        passthrough: Holds,
        guard: Nothing,
        read: redirects,
    }
    max_fails: u32 {
        syntax: "0 to 99999",
        default: "1; 0 with sticky_session_cookie or ip_hash",
        example: "3",
        counterexample: "-1",
        doc: "How many failures within fail_timeout take a task out for that time. 0 means never. A task fails when it refuses a connection, does not accept it in time, closes it before it has answered, or answers with headers larger than 16 kB. A request may cause a failure, so the proxies never take all tasks out: when each task is out, all of them get requests. With sticky_session_cookie or ip_hash NGINX cannot do that, so it counts no failures unless this label is set.",
        inherited: true,
        passthrough: Holds,
        guard: Nothing,
        read: |text| number(text, 99_999),
    }
    fail_timeout: TimeSpan {
        syntax: "a number with s, m, h or d",
        default: "10s",
        example: "30s",
        counterexample: "500ms",
        doc: "The time in which the proxies count failures, and for which they then take the task out.",
        inherited: true,
        passthrough: Holds,
        guard: Nothing,
        read: TimeSpan::whole_seconds,
    }
    weight: u32 {
        syntax: "0 to 1000",
        default: "1 for each task: the share follows the number of tasks",
        example: "20",
        counterexample: "20%",
        doc: "This service's share of the requests among services with the same host and path, for any number of its tasks. 0 means none. A canary with 0 still gets the requests that ask for it.",
        inherited: true,
        passthrough: Holds,
        guard: Nothing,
        read: |text| number(text, 1000),
    }
    backend_protocol: BackendProtocol {
        syntax: "http, https, grpc or grpcs",
        default: "http",
        example: "grpc",
        counterexample: "h2c",
        doc: "The protocol that the service's containers speak. https and grpcs are http and grpc over TLS. gRPC clients need HTTP/2. The proxies speak it on TLS hosts, and with NGINX 1.25.1 or later also without TLS. The proxies' own answers to gRPC clients have gRPC's form: UNAVAILABLE while no task is running. max_body_size limits all that a client sends in one call.",
        inherited: true,
        passthrough: Ignored,
        guard: Agree,
        read: str::parse,
        part_of: backend_protocol,
    }
    ssl_backend_ca: SecretName {
        syntax: "a Docker secret's name, or that of one of the service's stack without the stack's name",
        default: "none",
        example: "internal-ca.pem",
        counterexample: "../ca.pem",
        doc: "With ssl_backend_tls_verify=required: the secret with the authorities (PEM), one of which must have signed the service's certificate. The certificate must be valid for each host of the route: the proxies compare it with the host of the request.",
        inherited: true,
        passthrough: Ignored,
        guard: Withholds,
        read: str::parse,
        part_of: ssl_backend_ca,
    }
    canary_header: Canary {
        syntax: "a header's name, or NAME:VALUE",
        default: "none",
        example: "X-Canary:yes",
        counterexample: "X Canary",
        doc: "Requests with this header, and with this value if one is written, go to this service. Requests without it go to the other services with the same host and path. Case is ignored. Use a weight of 0 for a preview. Cannot be combined with context_root_rewrite, also not on another service with this host and path.",
        inherited: true,
        passthrough: Refused,
        guard: Nothing,
        read: Canary::header,
    }
    canary_cookie: Canary {
        syntax: "a cookie's name, or NAME:VALUE",
        default: "none",
        example: "canary:yes",
        counterexample: "my canary",
        doc: "Like canary_header, for a cookie. The cookie's name has letters, digits, `_`, `-` and `.`.",
        inherited: true,
        passthrough: Refused,
        guard: Nothing,
        read: Canary::cookie,
    }
    max_body_size: ByteSize {
        syntax: "a number with k, m or g; 0 for any",
        default: "ClientMaxBodySize of the settings",
        example: "100m",
        counterexample: "lots",
        doc: "The largest request body. The proxies answer larger ones with 413.",
        inherited: true,
        passthrough: Refused,
        guard: Withholds,
        off: "0",
        read: body_size,
        option max_body_size: Option<ByteSize> = |route| route.max_body_size.clone(),
    }
    connect_timeout: TimeSpan {
        syntax: "100ms to 60s",
        default: "ConnectTimeout of the settings",
        example: "3s",
        counterexample: "2m",
        doc: "How long to wait for a task to accept a connection before trying the next one. At most 3 tries within 5 s; with 5s or more there is no second try.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        read: |text| TimeSpan::within(text, "100ms", "60s"),
        option connect_timeout: Option<TimeSpan> = |route| route.connect_timeout,
    }
    read_timeout: TimeSpan {
        syntax: "1s to 1d",
        default: "ReadTimeout of the settings",
        example: "30s",
        counterexample: "0s",
        doc: "The longest pause in which a task sends nothing. After that the proxies answer the request with 504, or close the connection.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        read: |text| TimeSpan::within(text, "1s", "1d"),
        option read_timeout: Option<TimeSpan> = |route| route.read_timeout,
    }
    send_timeout: TimeSpan {
        syntax: "1s to 1d",
        default: "SendTimeout of the settings",
        example: "30s",
        counterexample: "2d",
        doc: "The longest pause in which a task accepts nothing of a request.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        read: |text| TimeSpan::within(text, "1s", "1d"),
        option send_timeout: Option<TimeSpan> = |route| route.send_timeout,
    }
    rate_limit: RateLimit {
        syntax: "requests per second, and after a comma how many more at once: 1 to 100000, 0 to 100000",
        default: "none",
        example: "10,50",
        counterexample: "10r/s",
        doc: "How many requests each client address may send to each proxy. The proxies answer further ones with 429. Without the second number, as many more may come at once as in one second.",
        inherited: true,
        passthrough: Refused,
        guard: Access,
        addresses: Addresses::Weaker("counts all clients of a node as one"),
        read: str::parse,
        option rate_limit: Option<RateLimit> = |route| route.rate_limit,
    }
    allow: Arc<Vec<IpNet>> {
        syntax: "networks in CIDR notation, without bits behind the prefix, or addresses, separated by commas",
        default: "everybody",
        example: "198.51.100.0/24, 192.0.2.7",
        counterexample: "10.1.2.3/8",
        doc: "The client addresses that may send requests. Others get 403, and so do all addresses on overlay networks that the proxies are attached to. With PublishMode ingress Swarm hides clients' addresses, and core does not publish the service unless TrustedProxies names the balancer that knows the addresses.",
        inherited: true,
        passthrough: Refused,
        guard: Access,
        addresses: Addresses::Needed("cannot be enforced"),
        read: |text| networks(text).map(Arc::new),
        option allow: Arc<Vec<IpNet>> = |route| route.allow.clone().unwrap_or_default(),
    }
    basic_auth: SecretName {
        syntax: "a Docker secret's name, or that of one of the service's stack without the stack's name",
        default: "everybody",
        example: "staff.htpasswd",
        counterexample: "../htpasswd",
        doc: "The secret with the users that may send requests, as `htpasswd` writes it. Others get 401. If the application reads paths in another way than the proxies, protect a whole host and not only a path.",
        inherited: true,
        passthrough: Refused,
        guard: Access,
        read: str::parse,
        secret: basic_auth,
    }
    raw_paths: bool {
        syntax: "true or false",
        default: "false",
        example: "true",
        counterexample: "yes",
        doc: "Whether the service gets requests whose path holds `;`, `%3B`, a backslash, `%5C` or `%2F` although the paths of its host differ in allow, basic_auth or rate_limit. Without this label the proxies answer them with 400 on such a host: many applications read another path in them than the proxies, for instance a protected one.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        off: "false",
        read: boolean,
        option raw_paths: bool = |route| route.raw_paths.unwrap_or_default(),
    }
    hsts: TimeSpan {
        syntax: "1s to 730d",
        default: "none",
        example: "365d",
        counterexample: "true",
        doc: "How long browsers must use only HTTPS for the host (Strict-Transport-Security). The proxies send it in answers over TLS.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        read: |text| TimeSpan::within(text, "1s", "730d"),
        option hsts: Option<u32> = |route| route.hsts.map(TimeSpan::seconds),
    }
    compress: bool {
        syntax: "true or false",
        default: "false",
        example: "true",
        counterexample: "gzip",
        doc: "Whether the proxies compress (gzip) answers of text, JSON, XML, scripts, styles and SVG for clients that accept it.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        off: "false",
        read: boolean,
        option compress: bool = |route| route.compress.unwrap_or_default(),
    }
    request_headers: Arc<Vec<HeaderEdit>> {
        syntax: "`Name: value` to set and `-Name` to remove, separated by semicolons",
        default: "none",
        example: "X-Tenant: blue; -Accept-Encoding",
        counterexample: "Host: other",
        doc: "Headers that the proxies set on requests, or remove from them, before the service sees them. Write a value with semicolons in double quotes: `Name: \"a; b\"`.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        read: |text| headers::edits(text).map(Arc::new),
        option request_headers: Arc<Vec<HeaderEdit>> = |route| route.request_headers.clone().unwrap_or_default(),
    }
    response_headers: Arc<Vec<HeaderEdit>> {
        syntax: "`Name: value` to set and `-Name` to remove, separated by semicolons",
        default: "none",
        example: "X-Frame-Options: DENY; -X-Powered-By",
        counterexample: "X-Frame-Options",
        doc: "Headers that the proxies set on answers, in place of the service's own, or remove from them, before the client sees them. Write a value with semicolons in double quotes: `Content-Security-Policy: \"default-src 'self'; img-src *\"`.",
        inherited: true,
        passthrough: Ignored,
        guard: Nothing,
        read: |text| headers::edits(text).map(Arc::new),
        option response_headers: Arc<Vec<HeaderEdit>> = |route| route.response_headers.clone().unwrap_or_default(),
    }
}

fn protocol(labels: &RouteLabels) -> BackendProtocol {
    let protocol = labels.backend_protocol.unwrap_or_default();
    if labels.ssl_backend == Some(true) { protocol.over_tls() } else { protocol }
}

/// The secret with the authorities that a task's certificate has to be signed by; `None` to take any.
fn authorities(labels: &RouteLabels) -> Option<SecretName> {
    labels.ssl_backend_ca.clone().filter(|_| labels.ssl_backend_tls_verify == Some(TlsVerify::Required))
}

fn balance(labels: &RouteLabels) -> Balance {
    match &labels.sticky_session_cookie {
        Some(cookie) => Balance::Cookie(cookie.clone()),
        None if labels.ip_hash == Some(true) => Balance::IpHash,
        None => Balance::RoundRobin,
    }
}
