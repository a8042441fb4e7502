//! NGINX: its keys in `[Extensions.<name>.Config]`, and their defaults.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Limit;
use super::keys::Shape::{Boolean, Integer, IntegerOrText, List, Seconds, Text};
use super::keys::Status::{Nothing, Works};
use super::keys::{Key, Status, keys, put};
use super::values::{self, Value, Wrong};
use crate::units::ByteSize;

/// `[Extensions.<name>.Config]` for NGINX. Text is checked not to break the file; the raw options are the operator's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the key table documents each under the same name")]
pub struct Options {
    pub user: Option<String>,
    pub pid_path: String,
    pub worker_processes: WorkerProcesses,
    pub rlimit_nofile: u64,
    pub max_connections: Limit,
    pub connections_per_address: Limit,
    pub connect_timeout: Duration,
    pub send_timeout: Duration,
    pub read_timeout: Duration,
    pub keepalive_timeout: Duration,
    pub client_header_timeout: Duration,
    pub client_body_timeout: Duration,
    pub client_max_body_size: ByteSize,
    pub client_body_buffer_size: ByteSize,
    pub client_header_buffer_size: ByteSize,
    pub large_client_header_buffers: String,
    pub underscores_in_headers: bool,
    pub hide_info_headers: bool,
    pub http_version: String,
    pub ssl_protocols: String,
    pub ssl_ciphers: String,
    pub global_options: Vec<String>,
    pub http_options: Vec<String>,
    pub tcp_options: Vec<String>,
    pub ip_hash: bool,
    pub access_log_path: String,
    pub error_log_path: String,
    pub main_log_format: Option<AccessLogFormat>,
    pub trace_log_format: Option<AccessLogFormat>,
}

/// What requests are logged with. It is displayed as NGINX's `log_format` takes it behind the name: `escape=json '{"status":"$status"}'`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLogFormat {
    /// How values are escaped.
    pub escape: LogEscape,
    /// Text and variables, without a single quote, a backslash or a control character.
    pub text: String,
}

impl fmt::Display for AccessLogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.escape {
            LogEscape::Default => {}
            LogEscape::Json => f.write_str("escape=json ")?,
            LogEscape::None => f.write_str("escape=none ")?,
        }
        write!(f, "'{}'", self.text)
    }
}

/// How values are escaped in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEscape {
    /// Quotes, backslashes and what is no text, as `\x22`.
    #[default]
    Default,
    /// As JSON needs it.
    Json,
    /// Not at all.
    None,
}

/// How many worker processes NGINX has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerProcesses {
    /// One a core.
    #[default]
    Auto,
    /// This many.
    Count(u32),
}

impl Options {
    /// How many connections a worker process may have: by default half of the files that it may have open, since a request has a
    /// connection of its client, one to a task, and perhaps files for what is long. NGINX reserves 424 bytes for each, so at most 65,536.
    pub fn max_connections(&self) -> u32 {
        const MOST: u32 = 65_536;
        match self.max_connections {
            Limit::Auto => u32::try_from(self.rlimit_nofile / 2).unwrap_or(MOST).clamp(16, MOST),
            Limit::Count(count) => count,
        }
    }

    /// The same with what follows from others said outright: how many requests one address may have under way, 0 for any number.
    ///
    /// By default that is an eighth of a worker process's connections, where a proxy sees the addresses of clients at all. Behind the routing
    /// mesh all clients have those of nodes.
    pub(crate) fn settled(self, sees_addresses: bool) -> Self {
        /// The largest number that NGINX takes.
        const MOST: u32 = 65_535;
        let of_address = match self.connections_per_address {
            Limit::Auto if sees_addresses => (self.max_connections() / 8).clamp(1, MOST),
            Limit::Auto => 0,
            Limit::Count(count) => count,
        };
        let max_connections = Limit::Count(self.max_connections());
        Self { max_connections, connections_per_address: Limit::Count(of_address), ..self }
    }

    /// How many requests one address may have under way; 0 for any number.
    pub fn connections_per_address(&self) -> u32 {
        match self.connections_per_address {
            Limit::Auto => 0,
            Limit::Count(count) => count,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user: None,
            pid_path: "/var/run/proxy.pid".to_owned(),
            worker_processes: WorkerProcesses::default(),
            rlimit_nofile: 65_535,
            max_connections: Limit::Auto,
            connections_per_address: Limit::Auto,
            connect_timeout: Duration::from_secs(1),
            send_timeout: Duration::from_secs(600),
            read_timeout: Duration::from_secs(600),
            keepalive_timeout: Duration::from_secs(75),
            client_header_timeout: Duration::from_secs(10),
            client_body_timeout: Duration::from_secs(60),
            client_max_body_size: ByteSize::megabytes(32),
            client_body_buffer_size: ByteSize::kilobytes(8),
            client_header_buffer_size: ByteSize::kilobytes(1),
            large_client_header_buffers: "4 8k".to_owned(),
            underscores_in_headers: false,
            hide_info_headers: false,
            http_version: "1.1".to_owned(),
            ssl_protocols: "TLSv1.2 TLSv1.3".to_owned(),
            ssl_ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
                          ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
                          DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
                .to_owned(),
            global_options: Vec::new(),
            http_options: Vec::new(),
            tcp_options: Vec::new(),
            ip_hash: false,
            access_log_path: "/dev/stdout".to_owned(),
            error_log_path: "/dev/stdout".to_owned(),
            main_log_format: None,
            trace_log_format: None,
        }
    }
}

/// Keys of ciphers that are long out of use.
const NO_DH: Status = Nothing("has no effect: no cipher in use needs it");
const UNUSED_BY_NGINX: Status = Nothing("has no effect with NGINX");

pub(super) static KEYS: &[Key<Options>] = keys![Options;
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
    "MainLogFormat" Text, "", Works, "The format of the access log, with `escape=json ` in front or not. Without it: combined, and X-Forwarded-For.", |o, v| put(&mut o.main_log_format, log_format(v));
    "TraceLogFormat" Text, "", Works, "A second format, for HTTPOptions to use.", |o, v| put(&mut o.trace_log_format, log_format(v));
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

/// A log's format, which will stand in single quotes, with how its values are escaped in front, as in NGINX's `escape=json '{…}'`. Files that MKE wrote hold it as it stands in nginx.conf: pieces between
/// single quotes, line breaks between them, a semicolon at the end. Their `$reqid` is NGINX's own `$request_id`.
fn log_format(value: &Value<'_>) -> Result<Option<AccessLogFormat>, Wrong> {
    const WRONG: &str = "is no log format; write it on one line, with double quotes inside";
    let Some(written) = values::optional(value)? else { return Ok(None) };
    let (escape, written) = match written.trim().split_once(char::is_whitespace) {
        Some(("escape=json", rest)) => (LogEscape::Json, rest.trim()),
        Some(("escape=none", rest)) => (LogEscape::None, rest.trim()),
        Some(("escape=default", rest)) => (LogEscape::Default, rest.trim()),
        _ => (LogEscape::Default, written.trim()),
    };
    let text: String = if written.starts_with('\'') {
        let pieces: Vec<_> = written.trim_end_matches(';').trim_end().split('\'').collect();
        let between_is_blank = pieces.iter().step_by(2).all(|piece| piece.trim().is_empty());
        if !between_is_blank || pieces.len().is_multiple_of(2) {
            return Err(WRONG.to_owned());
        }
        pieces.into_iter().skip(1).step_by(2).collect()
    } else {
        written.to_owned()
    };
    if text.is_empty() || text.chars().any(|c| c.is_control() || c == '\'' || c == '\\') {
        return Err(WRONG.to_owned());
    }
    Ok(Some(AccessLogFormat { escape, text: text.replace("$reqid", "$request_id") }))
}
