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

mod block;
#[cfg(feature = "grpc")]
pub(crate) mod check;
#[cfg(feature = "grpc")]
pub(crate) mod check_output;
mod custom_template;
mod directives;
pub(super) mod grpc;
mod headers;
mod helpers;
mod limits;
mod listen;
pub mod parse_back;
mod price;
pub mod rewrite;
mod section;
#[cfg(feature = "grpc")]
pub mod server;
mod servers;
mod split;
mod view;

pub(super) use price::prices;
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
    ("upstreams", include_str!("../../templates/nginx/upstreams.hbs")),
    ("server_names", include_str!("../../templates/nginx/server_names.hbs")),
    ("map_entries", include_str!("../../templates/nginx/map_entries.hbs")),
    ("servers", include_str!("../../templates/nginx/servers.hbs")),
    ("server", include_str!("../../templates/nginx/server.hbs")),
    ("locations", include_str!("../../templates/nginx/locations.hbs")),
    ("location", include_str!("../../templates/nginx/location.hbs")),
    ("blocks", include_str!("../../templates/nginx/blocks.hbs")),
    ("stream_upstreams", include_str!("../../templates/nginx/stream_upstreams.hbs")),
    ("health", include_str!("../../templates/nginx/health.hbs")),
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
/// parsed back. An operator's own template makes one file, which is the operator's word.
pub(super) fn render(config: &ProxyConfig, options: &Options, limit: usize) -> Result<Vec<File>, RenderError> {
    if let Some(template) = &config.proxy.template {
        return custom_template::render(config, options, template, limit);
    }
    let most = limit.saturating_mul(MOST_FILES);
    let view = View::of(config, options, most)?;
    let main = print(MAIN, &view)?;
    let path = config.proxy.config_path.clone();
    let files = if main.len() <= limit {
        vec![File { path, part: String::new(), content: main }]
    } else {
        split::render(view, &path, main.len(), limit)?
    };
    let twin = placeholders::twin(config);
    let expected = print(MAIN, &View::of(&twin, options, usize::MAX)?)?;
    let expected = parse_back::parse_text(&expected).map_err(RenderError::Structure)?;
    let rendered = parse_back::parse(&files).map_err(RenderError::Structure)?;
    match parse_back::difference(&rendered, &expected, "the file") {
        None => Ok(files),
        Some(difference) => Err(RenderError::Structure(difference)),
    }
}
