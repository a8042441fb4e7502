//! A template of the operator's own, given what routes ask for under the names that Interlock gave it.
//!
//! What it makes is the operator's word: nothing is compared with anything. A file that nginx does not take gets as far as its checker.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::LazyLock;

use handlebars::template::TemplateElement;
use handlebars::{RenderErrorReason, TemplateError, TemplateErrorReason, handlebars_helper};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::section::Section;
use super::view::Health;
use super::{SECRETS, engine, settings};
use crate::kinds::{File, RenderError};
use crate::labels::options::{Balance, Canary, RedirectTarget, RouteOptions};
use crate::proxy_config::{Forward, ProxyConfig, Revision, Server, Template, Tls, Upstream, UpstreamName, VirtualHost};
use crate::settings::nginx::{Options, WorkerProcesses};
use crate::units::{CookieName, HostPattern, PathPrefix, SecretName};

/// Renders the one file that a template makes.
pub(super) fn render(
    config: &ProxyConfig,
    options: &Options,
    template: &Template,
    limit: usize,
) -> Result<Vec<File>, RenderError> {
    let Template { name, text } = template;
    let text = text.as_deref().ok_or_else(|| RenderError::NoTemplate(name.clone()))?;
    let mut engine = engine();
    engine.register_helper("quote", Box::new(quote));
    engine.register_template_string(name, text).map_err(|error| not_read(&error))?;
    if engine.get_template(name).is_some_and(|template| nests_partials(template, false)) {
        // One that leads back to itself would end the process, not the rendering.
        return Err(RenderError::Template("an inline partial uses a partial".to_owned()));
    }
    let mut printed = Within { text: Vec::new(), limit };
    let made = engine.render_to_write(name, &Data::of(config, options), &mut printed);
    if printed.text.len() > limit {
        return Err(RenderError::TooLarge { size: printed.text.len(), limit, parts: 1 });
    }
    made.map_err(|error| not_rendered(&error))?;
    let content = String::from_utf8(printed.text).map_err(|error| RenderError::Template(error.to_string()))?;
    Ok(vec![File { path: config.proxy.config_path.clone(), part: String::new(), content: content.into() }])
}

/// What a template prints, until that is more than is allowed: a loop in it may be multiplied by others' labels.
struct Within {
    text: Vec<u8>,
    limit: usize,
}

impl Write for Within {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        if self.text.len() <= self.limit { Ok(bytes.len()) } else { Err(io::ErrorKind::FileTooLarge.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is wrong with a text that is no template. The library's own words about it are the names of its grammar's rules.
fn not_read(error: &TemplateError) -> RenderError {
    let wrong = match error.reason() {
        TemplateErrorReason::InvalidSyntax(_) => {
            "this is no Handlebars; at the end of the text, a block is not closed".to_owned()
        }
        reason => reason.to_string(),
    };
    let (line, column) = error.pos().unwrap_or_default();
    RenderError::Template(format!("line {line}, column {column}: {wrong}"))
}

fn not_rendered(error: &handlebars::RenderError) -> RenderError {
    let wrong = match error.reason() {
        RenderErrorReason::MissingVariable(Some(name)) => format!("there is no {name}"),
        reason => reason.to_string(),
    };
    let (line, column) = (error.line_no.unwrap_or_default(), error.column_no.unwrap_or_default());
    RenderError::Template(format!("line {line}, column {column}: {wrong}"))
}

/// Whether a partial is used inside an inline one.
fn nests_partials(template: &handlebars::Template, inside: bool) -> bool {
    let any = |templates: [&Option<handlebars::Template>; 2], inside| {
        templates.into_iter().flatten().any(|template| nests_partials(template, inside))
    };
    template.elements.iter().any(|element| match element {
        TemplateElement::PartialExpression(_) | TemplateElement::PartialBlock(_) if inside => true,
        TemplateElement::PartialBlock(it) => any([&it.template, &None], inside),
        TemplateElement::DecoratorBlock(it) => any([&it.template, &None], true),
        TemplateElement::HelperBlock(it) => any([&it.template, &it.inverse], inside),
        _ => false,
    })
}

handlebars_helper!(quote: |text: str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")));

/// What a template is given. The names are Interlock's where it has one.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Data<'a> {
    version: &'static str,
    service_cluster: &'a str,
    revision: &'a Revision,
    port: u16,
    #[serde(rename = "SSLPort")]
    ssl_port: u16,
    published_port: u16,
    #[serde(rename = "PublishedSSLPort")]
    published_ssl_port: u16,
    extension_config: Map<String, Value>,
    has_default_backend: bool,
    /// What is done with requests for other hosts, by path.
    default: Vec<Backend<'a>>,
    hosts: BTreeMap<&'a HostPattern, Vec<Backend<'a>>>,
    #[serde(rename = "SSLBackends")]
    ssl_backends: BTreeMap<&'a HostPattern, SslBackend<'a>>,
    upstreams: Vec<Pool<'a>>,
    /// The server by which agents and health checks know what is served.
    health: Section<Health<'a>>,
}

/// What is done with requests for one path of a host.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Backend<'a> {
    path: &'a PathPrefix,
    /// Empty while no task is running.
    upstream: &'a str,
    targets: Vec<SocketAddr>,
    #[serde(rename = "IPHash")]
    ip_hash: bool,
    sticky_session_cookie: &'a str,
    default_backend: bool,
    redirects: Vec<Redirect<'a>>,
    context_roots: Vec<ContextRoot<'a>>,
    websocket_endpoints: &'a [PathPrefix],
    #[serde(rename = "SSLBackend")]
    ssl_backend: bool,
    #[serde(rename = "SSLOnly")]
    ssl_only: bool,
    #[serde(rename = "SSLCert")]
    ssl_cert: &'a str,
    #[serde(rename = "SSLCertTarget")]
    ssl_cert_target: String,
    #[serde(rename = "SSLKey")]
    ssl_key: &'a str,
    #[serde(rename = "SSLKeyTarget")]
    ssl_key_target: String,
    canaries: Vec<CanaryTo<'a>>,
    /// Under the names of their labels; those that were not asked for are missing.
    options: &'a RouteOptions,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Redirect<'a> {
    source: String,
    target: &'a RedirectTarget,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ContextRoot<'a> {
    path: &'a PathPrefix,
    rewrite: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CanaryTo<'a> {
    /// One of the two is empty.
    header: &'a str,
    cookie: &'a str,
    /// Empty for any.
    value: &'a str,
    upstream: &'a UpstreamName,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SslBackend<'a> {
    host: &'a HostPattern,
    port: u16,
    passthrough: bool,
    /// Where connections that are passed through go; empty while no task is running.
    upstream: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pool<'a> {
    name: &'a UpstreamName,
    #[serde(rename = "IPHash")]
    ip_hash: bool,
    sticky_session_cookie: &'a str,
    #[serde(rename = "VirtualIP")]
    virtual_ip: bool,
    servers: Vec<PoolServer>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PoolServer {
    address: SocketAddr,
    weight: u32,
    max_fails: u32,
    fail_timeout: String,
}

impl<'a> Data<'a> {
    fn of(config: &'a ProxyConfig, options: &Options) -> Self {
        let ProxyConfig { cluster, revision, proxy, virtual_hosts, default, upstreams } = config;
        Self {
            version: concat!("interlock/", env!("CARGO_PKG_VERSION")),
            service_cluster: cluster.as_str(),
            revision,
            port: proxy.port,
            ssl_port: proxy.ssl_port,
            published_port: proxy.published_port,
            published_ssl_port: proxy.published_ssl_port,
            extension_config: extension_config(options),
            has_default_backend: default.is_some(),
            default: default.iter().flat_map(|host| backends(config, None, host)).collect(),
            hosts: virtual_hosts
                .iter()
                .map(|(name, host)| (name, backends(config, Some(name), host)))
                .filter(|(_, backends)| !backends.is_empty())
                .collect(),
            ssl_backends: virtual_hosts.iter().filter_map(|(name, host)| ssl(config, name, host)).collect(),
            upstreams: upstreams.iter().map(|(name, upstream)| pool((name, upstream))).collect(),
            health: Health::section(revision),
        }
    }
}

/// Where requests go that are sent elsewhere whatever their path is.
static NOWHERE: LazyLock<(PathPrefix, Forward)> = LazyLock::new(|| (PathPrefix::root(), Forward::default()));

/// None for a host whose connections are passed through.
fn backends<'a>(config: &'a ProxyConfig, name: Option<&'a HostPattern>, host: &'a VirtualHost) -> Vec<Backend<'a>> {
    let redirected = host.locations.is_empty() && (host.redirect_http.is_some() || host.redirect_https.is_some());
    let nowhere = redirected.then(|| (&NOWHERE.0, &NOWHERE.1));
    let each = host.locations.iter().chain(nowhere);
    each.map(|(path, forward)| backend(config, name, host, path, forward)).collect()
}

fn backend<'a>(
    config: &'a ProxyConfig,
    name: Option<&'a HostPattern>,
    host: &'a VirtualHost,
    path: &'a PathPrefix,
    forward: &'a Forward,
) -> Backend<'a> {
    let Forward { rewrite, upstream, canaries, options } = forward;
    let servers = upstream.as_ref().and_then(|name| config.upstreams.get(name)).map(|it| it.servers.as_slice());
    let certificate = match &host.tls {
        Tls::Terminated(certificate) => Some(certificate),
        Tls::None | Tls::Passthrough(_) => None,
    };
    let secret = |name: Option<&'a SecretName>| name.map_or("", SecretName::as_str);
    let file = |name: Option<&SecretName>| name.map(|name| format!("{SECRETS}/{name}")).unwrap_or_default();
    let (cert, key) = (certificate.map(|it| &it.certificate), certificate.map(|it| &it.key));
    let redirect = |scheme: &str, target: &'a Option<RedirectTarget>| {
        let name = name?;
        Some(Redirect { source: format!("{scheme}://{name}"), target: target.as_ref()? })
    };
    let from = [redirect("http", &host.redirect_http), redirect("https", &host.redirect_https)];
    Backend {
        path,
        upstream: upstream.as_ref().map_or("", UpstreamName::as_str),
        targets: servers.unwrap_or_default().iter().map(|server| server.address).collect(),
        ip_hash: options.balance == Balance::IpHash,
        sticky_session_cookie: cookie(&options.balance),
        default_backend: name.is_none(),
        redirects: from.into_iter().flatten().collect(),
        context_roots: (!path.is_root()).then_some(ContextRoot { path, rewrite: *rewrite }).into_iter().collect(),
        websocket_endpoints: &options.websocket_endpoints,
        ssl_backend: options.backend_protocol.is_tls(),
        ssl_only: options.ssl_only,
        ssl_cert: secret(cert),
        ssl_cert_target: file(cert),
        ssl_key: secret(key),
        ssl_key_target: file(key),
        canaries: canaries.iter().map(|to| canary(&to.canary, &to.upstream)).collect(),
        options,
    }
}

fn canary<'a>(canary: &'a Canary, upstream: &'a UpstreamName) -> CanaryTo<'a> {
    let (header, cookie, value) = match canary {
        Canary::Header(name, value) => (name.as_str(), "", value),
        Canary::Cookie(name, value) => ("", name.as_str(), value),
    };
    CanaryTo { header, cookie, value: value.as_ref().map_or("", |value| value.as_str()), upstream }
}

fn ssl<'a>(
    config: &ProxyConfig,
    name: &'a HostPattern,
    host: &'a VirtualHost,
) -> Option<(&'a HostPattern, SslBackend<'a>)> {
    let (passthrough, upstream) = match &host.tls {
        Tls::None => return None,
        Tls::Terminated(_) => (false, ""),
        Tls::Passthrough(upstream) => (true, upstream.as_ref().map_or("", UpstreamName::as_str)),
    };
    let port = config.proxy.published_ssl_port;
    Some((name, SslBackend { host: name, port, passthrough, upstream }))
}

fn pool<'a>((name, upstream): (&'a UpstreamName, &'a Upstream)) -> Pool<'a> {
    let Upstream { servers, balance, virtual_ip } = upstream;
    let server = |Server { address, weight, health }: &Server| PoolServer {
        address: *address,
        weight: *weight,
        max_fails: health.max_fails.unwrap_or(1),
        fail_timeout: health.fail_timeout.map_or_else(|| "10s".to_owned(), |time| time.to_string()),
    };
    Pool {
        name,
        ip_hash: *balance == Balance::IpHash,
        sticky_session_cookie: cookie(balance),
        virtual_ip: *virtual_ip,
        servers: servers.iter().map(server).collect(),
    }
}

fn cookie(balance: &Balance) -> &str {
    match balance {
        Balance::Cookie(cookie) => CookieName::as_str(cookie),
        Balance::RoundRobin | Balance::IpHash => "",
    }
}

/// The settings of the proxies under the names of their keys.
fn extension_config(options: &Options) -> Map<String, Value> {
    let Options {
        user,
        pid_path,
        worker_processes,
        rlimit_nofile,
        max_connections: _,
        connections_per_address: _,
        connect_timeout,
        send_timeout,
        read_timeout,
        keepalive_timeout,
        client_header_timeout,
        client_body_timeout,
        client_max_body_size,
        client_body_buffer_size,
        client_header_buffer_size,
        large_client_header_buffers,
        underscores_in_headers,
        hide_info_headers,
        http_version,
        ssl_protocols,
        ssl_ciphers,
        global_options,
        http_options,
        tcp_options,
        ip_hash,
        access_log_path,
        error_log_path,
        main_log_format: _,
        trace_log_format: _,
    } = options;
    let values = json!({
        "User": user.as_deref().unwrap_or_default(),
        "PidPath": pid_path,
        "WorkerProcesses": match worker_processes {
            WorkerProcesses::Auto => json!("auto"),
            WorkerProcesses::Count(count) => json!(count),
        },
        "RLimitNoFile": rlimit_nofile,
        "MaxConnections": options.max_connections(),
        "ConnectionsPerAddress": options.connections_per_address(),
        "ConnectTimeout": settings::time(*connect_timeout),
        "SendTimeout": settings::time(*send_timeout),
        "ReadTimeout": settings::time(*read_timeout),
        "KeepaliveTimeout": settings::time(*keepalive_timeout),
        "ClientHeaderTimeout": settings::time(*client_header_timeout),
        "ClientBodyTimeout": settings::time(*client_body_timeout),
        "ClientMaxBodySize": client_max_body_size.to_string(),
        "ClientBodyBufferSize": client_body_buffer_size.to_string(),
        "ClientHeaderBufferSize": client_header_buffer_size.to_string(),
        "LargeClientHeaderBuffers": large_client_header_buffers,
        "UnderscoresInHeaders": underscores_in_headers,
        "HideInfoHeaders": hide_info_headers,
        "HTTPVersion": http_version,
        "SSLProtocols": ssl_protocols,
        "SSLCiphers": ssl_ciphers,
        "GlobalOptions": global_options,
        "HTTPOptions": http_options,
        "TCPOptions": tcp_options,
        "IPHash": ip_hash,
        "AccessLogPath": access_log_path,
        "ErrorLogPath": error_log_path,
        "MainLogFormat": settings::main_log_format(options),
        "TraceLogFormat": settings::trace_log_format(options),
    });
    match values {
        Value::Object(values) => values,
        _ => Map::new(),
    }
}
