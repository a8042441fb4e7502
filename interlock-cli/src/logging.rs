//! Log lines on standard error.

use interlock_core::settings::{self, Settings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::args::{Global, LogFormat};

/// Sets the level and the format: flags first, then RUST_LOG, then the settings.
pub(crate) fn start(global: &Global, settings: &Settings) {
    let level = match global.verbose + u8::from(global.debug) {
        0 => settings.log_level.as_str(),
        1 => "debug",
        _ => "trace",
    };
    let wanted = match &global.rust_log {
        Some(directives) if global.verbose == 0 && !global.debug => directives.clone(),
        _ => level.to_owned(),
    };
    // bollard logs request and answer bodies, which hold other people's environment variables, at debug and trace level. The cap
    // comes last and is the most specific, so nothing the operator writes lifts it.
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(wanted);
    let filter = ["bollard=info", "hyper=info", "hyper_util=info"]
        .iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let json = match (global.log_format, settings.log_format) {
        (Some(format), _) => format == LogFormat::Json,
        (None, format) => format == settings::LogFormat::Json,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber cannot be set; there is none before this one.
    let _ = if json {
        builder.json().try_init()
    } else {
        builder.with_target(false).with_ansi(crate::show::colour_on_stderr()).try_init()
    };
}
