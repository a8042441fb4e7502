//! Directives that follow from the operator's settings alone.

use std::collections::BTreeSet;
use std::time::Duration;

use super::listen::HTTP2_DIRECTIVE;
use crate::proxy_config::ProxySettings;
use crate::settings::nginx::{Options, WorkerProcesses};
use crate::units::ProxyVersion;

/// What Interlock logs by default: the combined format and what the client says about proxies in front of us.
const MAIN_LOG_FORMAT: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for""#;
const TRACE_LOG_FIELDS: &str =
    r"$request_id $msec $request_time $upstream_connect_time $upstream_header_time $upstream_response_time";

/// The first version that knows `keepalive_min_timeout`.
const KEEPALIVE_MIN_TIMEOUT: ProxyVersion = ProxyVersion { major: 1, minor: 27, patch: 4 };

/// The first version that keeps certificates whose paths have variables.
const CERTIFICATE_CACHE: ProxyVersion = ProxyVersion { major: 1, minor: 27, patch: 4 };

/// The first version that knows the port of a request.
const REQUEST_PORT: ProxyVersion = ProxyVersion { major: 1, minor: 29, patch: 3 };

/// The host that applications are told, with the port that the client wrote.
///
/// A request for `http://a.example.com/` is one for that host, whatever its Host header says, and is served by that host's rules. Older
/// versions cannot say its port without the header, so with those an application gets the header as it came.
pub(super) fn host(version: Option<ProxyVersion>) -> &'static str {
    match version {
        Some(version) if version >= REQUEST_PORT => "$host$is_request_port$request_port",
        _ => "$http_host",
    }
}

/// The main context.
///
/// Paths for temporary files are left to the image: stock images and ours have folders for them that their nginx was built with, and
/// where the root file system is read-only, those (`/var/lib/nginx`, `/var/cache/nginx`) and `/run` are what has to be writable.
pub(super) fn main(options: &Options) -> Vec<String> {
    let mut lines: Vec<_> = options.user.iter().map(|user| format!("user {user};")).collect();
    lines.push(match options.worker_processes {
        WorkerProcesses::Auto => "worker_processes auto;".to_owned(),
        WorkerProcesses::Count(count) => format!("worker_processes {count};"),
    });
    lines.push(format!("worker_rlimit_nofile {};", options.rlimit_nofile));
    lines.push(format!("pid {};", options.pid_path));
    lines.push(format!("error_log {};", options.error_log_path));
    // A worker that a reload replaced ends its last connections after this time.
    lines.push("worker_shutdown_timeout 1h;".to_owned());
    let mut lines = unsaid(lines, &options.global_options);
    lines.extend(options.global_options.iter().cloned());
    lines
}

/// The beginning of the http context, but for the operator's own lines.
pub(super) fn http(options: &Options, proxy: &ProxySettings) -> Vec<String> {
    let version = proxy.version;
    let mut lines = vec![
        "server_tokens off;".to_owned(),
        "default_type text/plain;".to_owned(),
        // Redirects of our own say a path alone: the port inside this container is not the one that clients see.
        "absolute_redirect off;".to_owned(),
        format!("log_format main {};", main_log_format(options)),
        format!("log_format trace {};", trace_log_format(options)),
        match options.access_log_path.as_str() {
            "off" => "access_log off;".to_owned(),
            path => format!("access_log {path} main;"),
        },
        format!("keepalive_timeout {};", time(options.keepalive_timeout)),
    ];
    if version.is_some_and(|version| version >= KEEPALIVE_MIN_TIMEOUT) {
        // A worker that a reload replaces closes idle connections of clients at once, also those on which a request is under way.
        // With this they stay open a little, so that such a request is answered.
        lines.push("keepalive_min_timeout 5s;".to_owned());
    }
    if version.is_some_and(|version| version >= HTTP2_DIRECTIVE) {
        // NGINX answers 421 to an HTTP/2 request whose own server lacks this, whatever the port's default server says.
        lines.push("http2 on;".to_owned());
    }
    lines.extend([
        format!("client_header_timeout {};", time(options.client_header_timeout)),
        // Connections that run out of time are reset, so that what they would still be sent takes no memory of the kernel.
        "reset_timedout_connection on;".to_owned(),
        format!("client_max_body_size {};", options.client_max_body_size),
        format!("client_body_buffer_size {};", options.client_body_buffer_size),
        format!("client_body_timeout {};", time(options.client_body_timeout)),
        format!("client_header_buffer_size {};", options.client_header_buffer_size),
        format!("large_client_header_buffers {};", options.large_client_header_buffers),
        format!("underscores_in_headers {};", if options.underscores_in_headers { "on" } else { "off" }),
        format!("send_timeout {};", time(options.send_timeout)),
        format!("proxy_http_version {};", options.http_version),
        // Answers go to clients as they come: events, long answers.
        "proxy_buffering off;".to_owned(),
        "proxy_buffer_size 16k;".to_owned(),
        "proxy_buffers 8 16k;".to_owned(),
        format!("proxy_connect_timeout {};", time(options.connect_timeout)),
        format!("proxy_send_timeout {};", time(options.send_timeout)),
        format!("proxy_read_timeout {};", time(options.read_timeout)),
    ]);
    // Who a client is, by the word of those who are trusted.
    let believed = proxy.believed();
    lines.extend(believed.iter().map(|network| format!("set_real_ip_from {network};")));
    if !believed.is_empty() {
        let source = if proxy.proxy_protocol { "proxy_protocol" } else { "X-Forwarded-For" };
        lines.push(format!("real_ip_header {source};"));
        lines.push("real_ip_recursive on;".to_owned());
    }
    lines.extend(no_clients(proxy));
    unsaid(lines, &options.http_options)
}

/// What TLS is like, for the http context.
pub(super) fn tls(options: &Options, version: Option<ProxyVersion>) -> Vec<String> {
    let mut lines = vec![
        format!("ssl_protocols {};", options.ssl_protocols),
        format!("ssl_ciphers {};", options.ssl_ciphers),
        "ssl_ecdh_curve X25519:prime256v1:secp384r1;".to_owned(),
        "ssl_prefer_server_ciphers off;".to_owned(),
        // Sessions are resumed at the same proxy, by its memory: keys of tickets would be as old as the proxy.
        "ssl_session_cache shared:tls:10m;".to_owned(),
        "ssl_session_timeout 1d;".to_owned(),
        "ssl_session_tickets off;".to_owned(),
    ];
    if version.is_some_and(|version| version >= CERTIFICATE_CACHE) {
        // Otherwise they are read again with every handshake. What stands in a file of a secret never changes.
        lines.push("ssl_certificate_cache max=10000 valid=1d inactive=1d;".to_owned());
    }
    unsaid(lines, &options.http_options)
}

/// Which failures of a task another one makes good.
pub(super) fn next_upstream(options: &Options) -> Vec<String> {
    let lines =
        ["proxy_next_upstream error timeout;", "proxy_next_upstream_tries 3;", "proxy_next_upstream_timeout 5s;"];
    unsaid(lines.map(str::to_owned).to_vec(), &options.http_options)
}

/// The beginning of the stream context, but for the operator's own lines.
pub(super) fn stream(options: &Options, proxy: &ProxySettings) -> Vec<String> {
    let mut lines = vec![
        format!("proxy_connect_timeout {};", time(options.connect_timeout)),
        format!("proxy_timeout {};", time(options.read_timeout)),
        // For the TLS handshake's first message, by whose name connections are passed on.
        format!("preread_timeout {};", time(options.client_header_timeout)),
        "proxy_next_upstream_tries 3;".to_owned(),
        "proxy_next_upstream_timeout 5s;".to_owned(),
    ];
    if proxy.proxy_protocol {
        lines.extend(proxy.believed().iter().map(|network| format!("set_real_ip_from {network};")));
    }
    lines.extend(no_clients(proxy));
    unsaid(lines, &options.tcp_options)
}

/// Applications reach the port inside on the networks that they share with the proxies. Clients come by the published one.
fn no_clients(proxy: &ProxySettings) -> impl Iterator<Item = String> {
    proxy.overlays.iter().map(|network| format!("deny {network};"))
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

/// Directives that may stand more than once.
const REPEATED: &[&str] = &["access_log", "deny", "error_log", "limit_conn_zone", "log_format", "set_real_ip_from"];

/// Our lines, without those that the operator's own lines say otherwise.
pub(super) fn unsaid(mut lines: Vec<String>, raw: &[String]) -> Vec<String> {
    let name = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let said: BTreeSet<_> = raw.iter().flat_map(|lines| outside_blocks(lines)).collect();
    lines.retain(|line| REPEATED.contains(&&*name(line)) || !said.contains(&name(line)));
    lines
}

/// The names of the directives that stand outside of any block: those inside say nothing about the context around it.
fn outside_blocks(lines: &str) -> Vec<String> {
    let (mut names, mut statement, mut depth) = (Vec::new(), String::new(), 0_usize);
    for c in lines.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ';' | '\n' if depth == 0 => {}
            c if depth == 0 => {
                statement.push(c);
                continue;
            }
            _ => continue,
        }
        names.extend(statement.split_whitespace().next().map(str::to_owned));
        statement.clear();
    }
    names.extend(statement.split_whitespace().next().map(str::to_owned));
    names
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
    use super::*;

    fn has(lines: &[String], wanted: &str) -> bool {
        lines.iter().any(|line| line == wanted)
    }

    fn proxy(version: Option<&str>) -> ProxySettings {
        let extension = crate::settings::Extension::new("");
        let version = version.map(|version| version.parse().unwrap());
        ProxySettings::of(&extension, version, None)
    }

    #[test]
    fn what_an_old_version_does_not_know_is_left_out() {
        let options = Options::default();
        for (version, knows) in
            [(None, false), (Some("1.22.1"), false), (Some("1.27.3"), false), (Some("1.27.4"), true)]
        {
            assert_eq!(has(&http(&options, &proxy(version)), "keepalive_min_timeout 5s;"), knows, "{version:?}");
        }
    }

    #[test]
    fn m1_slow_heads_have_little_time_and_find_much_room() {
        let options = Options::default();
        assert_eq!(options.max_connections(), 32_767);
        let lines = http(&options, &proxy(None));
        assert!(has(&lines, "client_header_timeout 10s;") && has(&lines, "reset_timedout_connection on;"), "{lines:?}");
        assert!(has(&stream(&options, &proxy(None)), "preread_timeout 10s;"));
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
        let tcp = Options { tcp_options: raw("proxy_timeout 12h;"), ..Options::default() };
        assert!(!has(&stream(&tcp, &proxy(None)), "proxy_timeout 600s;"));
        let options = Options {
            global_options: raw("timer_resolution 1s; worker_shutdown_timeout 10m;"),
            http_options: raw(
                "\tkeepalive_min_timeout\t1s; server_tokens off; ssl_session_timeout 1h; proxy_next_upstream off;\nserver { listen 81; proxy_buffering on; }",
            ),
            ..Options::default()
        };
        assert!(!has(&main(&options), "worker_shutdown_timeout 1h;"));
        assert!(!has(&http(&options, &proxy(Some("1.30.0"))), "keepalive_min_timeout 5s;"));
        assert!(!has(&http(&options, &proxy(None)), "server_tokens off;"));
        assert!(has(&http(&options, &proxy(None)), "proxy_buffering off;"), "their own server's is another");
        assert!(!has(&tls(&options, None), "ssl_session_timeout 1d;"));
        assert_eq!(next_upstream(&options), ["proxy_next_upstream_tries 3;", "proxy_next_upstream_timeout 5s;"]);
        assert!(has(&main(&Options::default()), "worker_shutdown_timeout 1h;"));
        // An own limit takes the place of ours, and may not be the only one that counts.
        let limited = Options {
            connections_per_address: crate::settings::Limit::Count(9),
            http_options: raw("limit_conn_zone $server_name zone=own:1m; limit_conn own 5;"),
            ..Options::default()
        };
        let lines = super::super::limits::http(&limited);
        assert!(has(&lines, "limit_conn_zone $counted_client zone=interlock_requests:20m;"), "{lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("limit_conn ")), "{lines:?}");
    }
}
