//! Directives that follow from the operator's settings alone.

use std::time::Duration;

use crate::proxy_config::ProxySettings;
use crate::settings::{NginxOptions, ProxyOptions, WorkerProcesses};

/// What Interlock logs by default: the combined format and what the client says about proxies in front of us.
const MAIN_LOG_FORMAT: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for""#;
const TRACE_LOG_FIELDS: &str =
    r"$request_id $msec $request_time $upstream_connect_time $upstream_header_time $upstream_response_time";

pub(super) fn options(proxy: &ProxySettings) -> NginxOptions {
    match &proxy.options {
        ProxyOptions::Nginx(options) => options.as_ref().clone(),
        _ => NginxOptions::default(),
    }
}

/// The main context.
pub(super) fn main(options: &NginxOptions) -> Vec<String> {
    let mut lines: Vec<_> = options.user.iter().map(|user| format!("user {user};")).collect();
    lines.push(match options.worker_processes {
        WorkerProcesses::Auto => "worker_processes auto;".to_owned(),
        WorkerProcesses::Count(count) => format!("worker_processes {count};"),
    });
    lines.push(format!("worker_rlimit_nofile {};", options.rlimit_nofile));
    lines.push(format!("pid {};", options.pid_path));
    lines.push(format!("error_log {};", options.error_log_path));
    lines.extend(options.global_options.iter().cloned());
    lines
}

/// The beginning of the http context.
pub(super) fn http(options: &NginxOptions) -> Vec<String> {
    let main_format = options.main_log_format.as_deref().unwrap_or(MAIN_LOG_FORMAT);
    let trace_format =
        options.trace_log_format.clone().unwrap_or_else(|| format!("{MAIN_LOG_FORMAT} {TRACE_LOG_FIELDS}"));
    let mut lines = vec![
        "server_tokens off;".to_owned(),
        "default_type text/plain;".to_owned(),
        // Redirects of our own say a path alone: the port inside this container is not the one that clients see.
        "absolute_redirect off;".to_owned(),
        format!("log_format main '{main_format}';"),
        format!("log_format trace '{trace_format}';"),
        format!("access_log {} main;", options.access_log_path),
        format!("keepalive_timeout {};", time(options.keepalive_timeout)),
        format!("client_max_body_size {};", options.client_max_body_size),
        format!("client_body_buffer_size {};", options.client_body_buffer_size),
        format!("client_body_timeout {};", time(options.client_body_timeout)),
        format!("client_header_buffer_size {};", options.client_header_buffer_size),
        format!("large_client_header_buffers {};", options.large_client_header_buffers),
        format!("underscores_in_headers {};", if options.underscores_in_headers { "on" } else { "off" }),
        format!("send_timeout {};", time(options.send_timeout)),
        format!("proxy_http_version {};", options.http_version),
        format!("proxy_connect_timeout {};", time(options.connect_timeout)),
        format!("proxy_send_timeout {};", time(options.send_timeout)),
        format!("proxy_read_timeout {};", time(options.read_timeout)),
    ];
    lines.extend(options.http_options.iter().cloned());
    lines
}

/// A time as nginx writes it.
fn time(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}
