//! Log lines on standard error.

use interlock_core::settings::{self, Settings};
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::args::{Global, LogFormat};

/// Logs for a process that goes on for long. While nobody reads its output it drops lines instead of waiting, since what it does matters more:
/// an engine that hangs reads nothing. The rest is written when the value is dropped.
pub(crate) fn start_without_waiting(global: &Global, settings: &Settings) -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    start_with(global, settings, writer);
    guard
}

/// Sets the level and the format: flags first, then RUST_LOG, then the settings.
pub(crate) fn start(global: &Global, settings: &Settings) {
    start_with(global, settings, std::io::stderr);
}

fn start_with(global: &Global, settings: &Settings, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let level = match global.verbose + u8::from(global.debug) {
        0 => settings.log_level.as_str(),
        1 => "debug",
        _ => "trace",
    };
    let wanted = match &global.rust_log {
        Some(directives) if global.verbose == 0 && !global.debug => directives.clone(),
        _ => level.to_owned(),
    };
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse_lossy(wanted)
        .and(filter_fn(tells_no_payload));
    let json = match (global.log_format, settings.log_format) {
        (Some(format), _) => format == LogFormat::Json,
        (None, format) => format == settings::LogFormat::Json,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = if json {
        layer.json().boxed()
    } else {
        layer.with_target(false).with_ansi(crate::show::colour_on_stderr()).boxed()
    };
    // A second subscriber cannot be set; there is none before this one.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// bollard logs request and answer bodies at debug and trace level, and those hold other people's environment variables; what is below
/// the gRPC of our own says a line a frame. Nothing that the operator asks for lifts this.
fn tells_no_payload(metadata: &Metadata<'_>) -> bool {
    let talkative = ["bollard", "hyper", "h2", "rustls", "tonic", "tower"]
        .iter()
        .any(|target| metadata.target().starts_with(target));
    !talkative || *metadata.level() <= Level::INFO
}
