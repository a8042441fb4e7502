//! nginx.conf.
//!
//! Each host gets a `server` of its own with literal upstream names, up to a thousand. Beyond that, hosts that send every path to one upstream
//! share one `server` and a `map` from host to upstream: 10,000 `server` blocks take nginx several times as long to load. Hosts with
//! paths of their own keep theirs, because `proxy_pass` with a variable cannot replace the path. All names of the shared server stand in its
//! `server_name`, since another server's wildcard would otherwise win against a name that only the map knows.

use std::sync::LazyLock;

use handlebars::Handlebars;

use super::{File, MOST_FILES, RenderError, placeholders};
use crate::proxy_config::ProxyConfig;
use crate::settings::nginx::Options;

#[cfg(feature = "grpc")]
pub(crate) mod check;
#[cfg(feature = "grpc")]
pub(crate) mod check_output;
mod custom_template;
mod headers;
mod helpers;
mod hosts;
mod limits;
mod listen;
mod location;
mod names;
mod overridable;
pub mod parse_back;
mod price;
pub mod rewrite;
mod rules;
mod section;
#[cfg(feature = "grpc")]
pub mod server;
mod servers;
mod settings;
mod split;
mod stream;
mod texts;
mod upstreams;
mod view;

pub(super) use price::prices;
use section::splice;
pub(crate) use texts::Texts;
use view::View;

/// The port on which a proxy answers its own container's health check, on 127.0.0.1 alone.
pub const HEALTH_PORT: u16 = 18_989;

/// Where Docker mounts secrets.
const SECRETS: &str = "/run/secrets";

/// The file in which the agent denies addresses that hide those of clients (`proxy::not_clients`). It is a pattern, because NGINX
/// accepts a pattern without a file, and there need not be an agent.
const NOT_CLIENTS: &str = "/run/interlock/not-clients*.conf";

const MAIN: &str = "nginx.conf";
const TEMPLATES: &[(&str, &str)] = &[
    (MAIN, include_str!("../../templates/nginx.conf.hbs")),
    ("http", include_str!("../../templates/nginx/http.hbs")),
    ("grpc", include_str!("../../templates/nginx/grpc.hbs")),
    ("clients", include_str!("../../templates/nginx/clients.hbs")),
    ("targets", include_str!("../../templates/nginx/targets.hbs")),
    ("counted", include_str!("../../templates/nginx/counted.hbs")),
    ("tls", include_str!("../../templates/nginx/tls.hbs")),
    ("stream", include_str!("../../templates/nginx/stream.hbs")),
    ("request_headers", include_str!("../../templates/nginx/request_headers.hbs")),
    ("info_headers", include_str!("../../templates/nginx/info_headers.hbs")),
    ("health", include_str!("../../templates/nginx/health.hbs")),
    ("upstream", include_str!("../../templates/nginx/upstream.hbs")),
    ("stream_upstream", include_str!("../../templates/nginx/stream_upstream.hbs")),
    ("server", include_str!("../../templates/nginx/server.hbs")),
    ("tls_server", include_str!("../../templates/nginx/tls_server.hbs")),
    ("closed_server", include_str!("../../templates/nginx/closed_server.hbs")),
    ("location", include_str!("../../templates/nginx/location.hbs")),
    ("answer", include_str!("../../templates/nginx/answer.hbs")),
    ("grpc_failure", include_str!("../../templates/nginx/grpc_failure.hbs")),
    ("rules", include_str!("../../templates/nginx/rules.hbs")),
    ("found_cookie", include_str!("../../templates/nginx/found_cookie.hbs")),
    ("sticky", include_str!("../../templates/nginx/sticky.hbs")),
    ("canary", include_str!("../../templates/nginx/canary.hbs")),
    ("no_task", include_str!("../../templates/nginx/no_task.hbs")),
    ("grpc_status", include_str!("../../templates/nginx/grpc_status.hbs")),
    ("server_name", include_str!("../../templates/nginx/server_name.hbs")),
    ("map_entry", include_str!("../../templates/nginx/map_entry.hbs")),
    ("include", include_str!("../../templates/nginx/include.hbs")),
    ("include_deeper", include_str!("../../templates/nginx/include_deeper.hbs")),
];

/// A missing value is an error, and text is printed as it is: HTML escapes would neither protect nginx nor leave names whole.
fn engine() -> Handlebars<'static> {
    let mut engine = Handlebars::new();
    engine.set_strict_mode(true);
    engine.register_escape_fn(handlebars::no_escape);
    engine.set_prevent_indent(true);
    engine
}

static ENGINE: LazyLock<Result<Handlebars<'static>, RenderError>> = LazyLock::new(|| {
    let mut engine = engine();
    // Some partials stand at different depths.
    engine.set_prevent_indent(false);
    engine.register_helper("overridable", Box::new(overridable::Overridable));
    for (name, text) in TEMPLATES {
        engine.register_template_string(name, text).map_err(|error| RenderError::Template(error.to_string()))?;
    }
    Ok(engine)
});

fn print(template: &str, view: &impl serde::Serialize) -> Result<String, RenderError> {
    let engine = ENGINE.as_ref().map_err(Clone::clone)?;
    engine.render(template, view).map_err(|error| RenderError::Template(error.to_string()))
}

/// So many bytes, with more to come, are more than so many.
fn too_large(size: usize, limit: usize) -> RenderError {
    RenderError::TooLarge { size, limit, parts: MOST_FILES }
}

/// Renders the main file, and when it would be larger than `limit` bytes, the files that it includes. What comes out has been
/// parsed back: as a whole, or of what changed since the last time what is new. An operator's own template makes one file, which is the
/// operator's word.
pub(super) fn render(
    config: &ProxyConfig,
    options: &Options,
    limit: usize,
    texts: &mut Texts,
    as_a_whole: bool,
) -> Result<Vec<File>, RenderError> {
    if let Some(template) = &config.proxy.template {
        return custom_template::render(config, options, template, limit);
    }
    texts.proves = !as_a_whole && texts.frame.is_some();
    let view = View::of(config, options, limit.saturating_mul(MOST_FILES), texts)?;
    let frame = print(MAIN, &view)?;
    let main = splice(&frame, &view.lists())?;
    let path = config.proxy.config_path.clone();
    let files = if main.len() <= limit {
        vec![File { path, part: String::new(), content: main.into() }]
    } else {
        split::render(view, &path, main.len(), limit)?
    };
    // The one value in it that is always another.
    let frame = frame.replace(config.revision.as_str(), "");
    if !(texts.proves && texts.frame.as_ref() == Some(&frame)) {
        let expected = text(&placeholders::twin(config), options)?;
        let expected = parse_back::parse_text(&expected).map_err(RenderError::Structure)?;
        let rendered = parse_back::parse(&files).map_err(RenderError::Structure)?;
        if let Some(difference) = parse_back::difference(&rendered, &expected, "the file") {
            return Err(RenderError::Structure(difference));
        }
    }
    texts.frame = Some(frame);
    Ok(files)
}

/// All of a config in one text.
fn text(config: &ProxyConfig, options: &Options) -> Result<String, RenderError> {
    let mut texts = Texts::default();
    let view = View::of(config, options, usize::MAX, &mut texts)?;
    splice(&print(MAIN, &view)?, &view.lists())
}

/// The file for no hosts at all, but for a default one with TLS.
#[cfg(test)]
fn rendered(options: &Options, proxy: &crate::proxy_config::ProxySettings) -> String {
    use crate::proxy_config::{Tls, VirtualHost};
    use crate::routes::model::Certificate;
    let secret = |name: &str| name.parse().expect("a secret's name");
    let tls = Tls::Terminated(Certificate { certificate: secret("c"), key: secret("k") });
    let config = ProxyConfig {
        cluster: crate::units::Cluster::default(),
        revision: "0123456789abcdef".parse().expect("a revision"),
        proxy: proxy.clone(),
        virtual_hosts: Default::default(),
        default: Some(VirtualHost { tls, ..VirtualHost::default() }.into()),
        upstreams: Default::default(),
    };
    text(&config, options).expect("a file")
}
