//! stub
#![allow(missing_docs)]
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
#[derive(Debug, Clone)]
pub struct Settings {
    pub extensions: BTreeMap<String, Extension>,
    pub poll_interval: Duration,
}
impl Settings {
    pub fn extension(&self, c: &str) -> Option<&Extension> {
        self.extensions.get(c)
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Kind {
    Nginx,
    Haproxy,
    F5,
    Template,
}
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum PublishMode {
    Ingress,
    Host,
}
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Extension {
    pub name: String,
    pub service_cluster: String,
    pub kind: Kind,
    pub proxy_image: String,
    pub proxy_args: Vec<String>,
    pub proxy_labels: BTreeMap<String, String>,
    pub proxy_container_labels: BTreeMap<String, String>,
    pub proxy_service_name: String,
    pub proxy_config_path: String,
    pub proxy_replicas: u64,
    pub proxy_stop_signal: String,
    pub proxy_stop_grace_period: Duration,
    pub proxy_constraints: Option<Vec<String>>,
    pub proxy_placement_preferences: Vec<String>,
    pub proxy_update_delay: Duration,
    pub networks: Option<Vec<String>>,
    pub publish_mode: PublishMode,
    pub published_port: u16,
    pub target_port: u16,
    pub published_ssl_port: u16,
    pub target_ssl_port: u16,
    pub options: ProxyOptions,
}
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum ProxyOptions {
    Nginx(NginxOptions),
    Other,
}
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum WorkerProcesses {
    Auto,
    Count(u32),
}
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NginxOptions {
    pub max_connections: u32,
    pub hide_info_headers: bool,
    pub user: Option<String>,
    pub worker_processes: WorkerProcesses,
    pub rlimit_nofile: u64,
    pub pid_path: String,
    pub error_log_path: String,
    pub access_log_path: String,
    pub global_options: Vec<String>,
    pub http_options: Vec<String>,
    pub main_log_format: Option<String>,
    pub trace_log_format: Option<String>,
    pub keepalive_timeout: Duration,
    pub client_max_body_size: String,
    pub client_body_buffer_size: String,
    pub client_body_timeout: Duration,
    pub client_header_buffer_size: String,
    pub large_client_header_buffers: String,
    pub underscores_in_headers: bool,
    pub send_timeout: Duration,
    pub read_timeout: Duration,
    pub connect_timeout: Duration,
    pub http_version: String,
}
impl Default for NginxOptions {
    fn default() -> Self {
        let s = Duration::from_secs;
        NginxOptions {
            max_connections: 4096,
            hide_info_headers: false,
            user: None,
            worker_processes: WorkerProcesses::Auto,
            rlimit_nofile: 65535,
            pid_path: "/var/run/proxy.pid".into(),
            error_log_path: "/dev/stdout".into(),
            access_log_path: "/dev/stdout".into(),
            global_options: vec![],
            http_options: vec![],
            main_log_format: None,
            trace_log_format: None,
            keepalive_timeout: s(75),
            client_max_body_size: "32m".into(),
            client_body_buffer_size: "8k".into(),
            client_body_timeout: s(60),
            client_header_buffer_size: "1k".into(),
            large_client_header_buffers: "4 8k".into(),
            underscores_in_headers: false,
            send_timeout: s(600),
            read_timeout: s(600),
            connect_timeout: s(1),
            http_version: "1.1".into(),
        }
    }
}
impl Default for Settings {
    fn default() -> Self {
        let e = Extension {
            name: "default".into(),
            service_cluster: "".into(),
            kind: Kind::Nginx,
            proxy_image: "nginx:stable".into(),
            proxy_args: vec![],
            proxy_labels: Default::default(),
            proxy_container_labels: Default::default(),
            proxy_service_name: "interlock-proxy".into(),
            proxy_config_path: "/etc/nginx/nginx.conf".into(),
            proxy_replicas: 2,
            proxy_stop_signal: "SIGQUIT".into(),
            proxy_stop_grace_period: Duration::from_secs(5),
            proxy_constraints: None,
            proxy_placement_preferences: vec![],
            proxy_update_delay: Duration::ZERO,
            networks: None,
            publish_mode: PublishMode::Ingress,
            published_port: 8080,
            target_port: 80,
            published_ssl_port: 8443,
            target_ssl_port: 443,
            options: ProxyOptions::Nginx(NginxOptions::default()),
        };
        Settings { extensions: BTreeMap::from([(String::new(), e)]), poll_interval: Duration::from_secs(3) }
    }
}
