//! What follows from the operator's settings and from the version of NGINX alone.

use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use crate::proxy_config::ProxySettings;
use crate::settings::nginx::{Options, WorkerProcesses};
use crate::units::ProxyVersion;

/// What Interlock logs by default: the combined format and what the client says about proxies in front of us.
const MAIN_LOG_FORMAT: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for""#;
const TRACE_LOG_FIELDS: &str =
    r"$request_id $msec $request_time $upstream_connect_time $upstream_header_time $upstream_response_time";

/// The first version in which HTTP/2 is a directive of its own. Older versions have it as a parameter of TLS listeners.
pub(super) const HTTP2_DIRECTIVE: ProxyVersion = ProxyVersion { major: 1, minor: 25, patch: 1 };

/// The first version that knows `keepalive_min_timeout`.
const KEEPALIVE_MIN_TIMEOUT: ProxyVersion = ProxyVersion { major: 1, minor: 27, patch: 4 };

/// The first version that keeps certificates whose paths have variables.
const CERTIFICATE_CACHE: ProxyVersion = ProxyVersion { major: 1, minor: 27, patch: 4 };

/// The first version that knows the port of a request.
const REQUEST_PORT: ProxyVersion = ProxyVersion { major: 1, minor: 29, patch: 3 };

pub(super) fn knows(version: Option<ProxyVersion>, first: ProxyVersion) -> bool {
    version.is_some_and(|version| version >= first)
}

/// The host that applications are told, with the port that the client wrote.
///
/// A request for `http://a.example.com/` is one for that host, whatever its Host header says, and is served by that host's rules. Older
/// versions cannot say its port without the header, so with those an application gets the header as it came.
pub(super) fn host(version: Option<ProxyVersion>) -> &'static str {
    if knows(version, REQUEST_PORT) { "$host$is_request_port$request_port" } else { "$http_host" }
}

/// The main context.
///
/// Paths for temporary files are left to the image: stock images and ours have folders for them that their nginx was built with, and
/// where the root file system is read-only, those (`/var/lib/nginx`, `/var/cache/nginx`) and `/run` are what has to be writable.
#[derive(Serialize)]
pub(super) struct Main<'a> {
    user: Option<&'a str>,
    worker_processes: String,
    rlimit_nofile: u64,
    pid_path: &'a str,
    error_log_path: &'a str,
    worker_connections: u32,
    operators_lines: &'a [String],
}

impl<'a> Main<'a> {
    pub(super) fn of(options: &'a Options) -> Self {
        Self {
            user: options.user.as_deref(),
            worker_processes: match options.worker_processes {
                WorkerProcesses::Auto => "auto".to_owned(),
                WorkerProcesses::Count(count) => count.to_string(),
            },
            rlimit_nofile: options.rlimit_nofile,
            pid_path: &options.pid_path,
            error_log_path: &options.error_log_path,
            worker_connections: options.max_connections(),
            operators_lines: &options.global_options,
        }
    }
}

/// The beginning of the http context, for HTTP and for gRPC.
#[derive(Serialize)]
pub(super) struct Http<'a> {
    main_log_format: String,
    trace_log_format: String,
    /// A path, or `off`.
    access_log_path: &'a str,
    /// Whether it is a path.
    logs: bool,
    keepalive_timeout: String,
    keepalive_min_timeout: bool,
    /// Whether HTTP/2 is a directive of its own.
    http2: bool,
    client_header_timeout: String,
    client_max_body_size: String,
    client_body_buffer_size: String,
    client_body_timeout: String,
    client_header_buffer_size: String,
    large_client_header_buffers: &'a str,
    underscores_in_headers: &'static str,
    send_timeout: String,
    http_version: &'a str,
    connect_timeout: String,
    read_timeout: String,
    /// Who is believed about a client's address.
    trusted: Vec<IpNet>,
    /// How they say it: the PROXY protocol or the name of a header.
    client_address: &'static str,
    overlays: &'a [IpNet],
    /// How many requests one address may have under way; 0 for any number.
    connections_per_address: u32,
    operators_lines: &'a [String],
}

impl<'a> Http<'a> {
    pub(super) fn of(options: &'a Options, proxy: &'a ProxySettings) -> Self {
        Self {
            main_log_format: main_log_format(options),
            trace_log_format: trace_log_format(options),
            access_log_path: &options.access_log_path,
            logs: options.access_log_path != "off",
            keepalive_timeout: time(options.keepalive_timeout),
            keepalive_min_timeout: knows(proxy.version, KEEPALIVE_MIN_TIMEOUT),
            http2: knows(proxy.version, HTTP2_DIRECTIVE),
            client_header_timeout: time(options.client_header_timeout),
            client_max_body_size: options.client_max_body_size.to_string(),
            client_body_buffer_size: options.client_body_buffer_size.to_string(),
            client_body_timeout: time(options.client_body_timeout),
            client_header_buffer_size: options.client_header_buffer_size.to_string(),
            large_client_header_buffers: &options.large_client_header_buffers,
            underscores_in_headers: if options.underscores_in_headers { "on" } else { "off" },
            send_timeout: time(options.send_timeout),
            http_version: &options.http_version,
            connect_timeout: time(options.connect_timeout),
            read_timeout: time(options.read_timeout),
            trusted: proxy.believed(),
            client_address: if proxy.proxy_protocol { "proxy_protocol" } else { "X-Forwarded-For" },
            overlays: &proxy.overlays,
            connections_per_address: options.connections_per_address(),
            operators_lines: &options.http_options,
        }
    }
}

/// What requests are logged with.
pub(super) fn main_log_format(options: &Options) -> String {
    options.main_log_format.as_ref().map_or_else(|| format!("'{MAIN_LOG_FORMAT}'"), ToString::to_string)
}

/// The same where somebody wants to know more.
pub(super) fn trace_log_format(options: &Options) -> String {
    let format = options.trace_log_format.as_ref();
    format.map_or_else(|| format!("'{MAIN_LOG_FORMAT} {TRACE_LOG_FIELDS}'"), ToString::to_string)
}

/// Whether this version keeps certificates that it read.
pub(super) fn keeps_certificates(version: Option<ProxyVersion>) -> bool {
    knows(version, CERTIFICATE_CACHE)
}

/// A time as nginx writes it.
pub(super) fn time(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_back::{Directive, parse_text};
    use super::super::rendered;
    use super::*;
    use crate::settings::Limit;

    fn proxy(version: Option<&str>) -> ProxySettings {
        let extension = crate::settings::Extension::new("");
        let version = version.map(|version| version.parse().unwrap());
        ProxySettings::of(&extension, version, None)
    }

    /// Whether a line stands in a context: "" is the main one.
    fn has(text: &str, context: &str, wanted: &str) -> bool {
        let all = parse_text(text).unwrap();
        let block = |name: &str| all.iter().find(|it| it.name() == name).and_then(|it| it.block.as_ref());
        let directives: &[Directive<'_>] = if context.is_empty() { &all } else { block(context).map_or(&[], |it| it) };
        directives.iter().any(|it| it.block.is_none() && it.words.join(" ") == wanted)
    }

    #[test]
    fn what_an_old_version_does_not_know_is_left_out() {
        for (version, knows) in
            [(None, false), (Some("1.22.1"), false), (Some("1.27.3"), false), (Some("1.27.4"), true)]
        {
            let text = rendered(&Options::default(), &proxy(version));
            assert_eq!(has(&text, "http", "keepalive_min_timeout 5s"), knows, "{version:?}");
        }
    }

    #[test]
    fn m1_slow_heads_have_little_time_and_find_much_room() {
        let options = Options { tcp_options: vec!["# some".to_owned()], ..Options::default() };
        assert_eq!(options.max_connections(), 32_767);
        let text = rendered(&options, &proxy(None));
        assert!(has(&text, "http", "client_header_timeout 10s"), "{text}");
        assert!(has(&text, "http", "reset_timedout_connection on"), "{text}");
        assert!(has(&text, "stream", "preread_timeout 10s"), "{text}");
    }

    #[test]
    fn the_host_is_that_of_the_request_where_it_can_be_told() {
        let version = |text: &str| Some(text.parse().unwrap());
        assert_eq!(host(version("1.29.3")), "$host$is_request_port$request_port");
        assert_eq!((host(version("1.29.2")), host(None)), ("$http_host", "$http_host"));
    }

    #[test]
    fn what_the_operator_sets_is_not_set_twice() {
        let raw = |line: &str| vec!["env X;".to_owned(), line.to_owned()];
        let options = Options {
            global_options: raw("timer_resolution 1s; worker_shutdown_timeout 10m;"),
            http_options: raw(
                "\tkeepalive_min_timeout\t1s; server_tokens off; ssl_session_timeout 1h; proxy_next_upstream off;\nserver { listen 81; proxy_buffering on; }",
            ),
            tcp_options: raw("proxy_timeout 12h;"),
            ..Options::default()
        };
        let (ours, text) = (rendered(&Options::default(), &proxy(None)), rendered(&options, &proxy(Some("1.30.0"))));
        assert!(has(&ours, "", "worker_shutdown_timeout 1h") && !has(&text, "", "worker_shutdown_timeout 1h"));
        assert!(has(&text, "stream", "proxy_timeout 12h") && !has(&text, "stream", "proxy_timeout 600s"));
        assert!(has(&text, "stream", "proxy_connect_timeout 1s"));
        assert!(!has(&text, "http", "keepalive_min_timeout 5s"));
        assert!(ours.contains("ssl_session_timeout 1d;") && !text.contains("ssl_session_timeout 1d;"));
        assert_eq!((ours.matches("server_tokens off;").count(), text.matches("server_tokens off;").count()), (1, 1));
        assert!(has(&text, "http", "proxy_buffering off"), "their own server's is another");
        assert!(!text.contains("proxy_next_upstream error timeout;"));
        assert!(
            has(&text, "http", "proxy_next_upstream_tries 3") && has(&text, "http", "proxy_next_upstream_timeout 5s")
        );
        // An own limit takes the place of ours, and may not be the only one that counts.
        let limited = Options {
            connections_per_address: Limit::Count(9),
            http_options: raw("limit_conn_zone $server_name zone=own:1m; limit_conn own 5;"),
            ..Options::default()
        };
        let text = rendered(&limited, &proxy(None));
        assert!(has(&text, "http", "limit_conn_zone $counted_client zone=interlock_requests:20m"), "{text}");
        assert!(!text.contains("limit_conn interlock_requests"), "{text}");
    }
}
