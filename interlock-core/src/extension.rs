//! The extension: from models to checked files.
//!
//! [`serve`](serve::serve) is the loop of an extension, wherever it runs: models in, renderings out. Core runs it in its own process for
//! a service cluster without an image, `interlock extension` runs it behind [`crate::grpc::extensions`]. An extension keeps nothing
//! that it could not make again, and knows neither Docker nor the contents of secrets.

use std::sync::Arc;

use jiff::Timestamp;

use crate::kinds::{CheckError, Checker, File, RenderError, Renderer, Rendering};
use crate::proxy_config::ProxyConfig;

mod bisect;
mod serve;

use bisect::Blame;
pub use serve::{Event, Kept, Model, serve};

/// Renders a proxy config into files of at most `limit` bytes each, and has them checked. When a checker refuses them, or runs out of time
/// or memory, it is asked again with fewer routes, to find out which ones are to blame: at most 64 times, and for 20 s, or for 60 s
/// when it ran out of something.
///
/// Without a checker the files are as good as they were rendered.
pub async fn render_and_check(config: &Arc<ProxyConfig>, limit: usize, checker: Option<&Checker>) -> Rendering {
    render_and_check_anew(config, limit, checker, None, &mut Renderer::default()).await
}

/// The same, by what rendered the last one. `good` is what was taken last: its routes are the last to be blamed.
async fn render_and_check_anew(
    config: &Arc<ProxyConfig>,
    limit: usize,
    checker: Option<&Checker>,
    good: Option<&ProxyConfig>,
    renderer: &mut Renderer,
) -> Rendering {
    let result = match (make(Arc::clone(config), limit, checker, renderer).await, checker) {
        (Ok(files), _) => Ok(files),
        (Err(failure), Some(checker)) if failure.may_be_a_routes() => {
            let blame = bisect::suspects(config, limit, checker, &failure, good).await;
            Err(failure.with(blame))
        }
        (Err(failure), _) => Err(failure.with(Blame::Routes(Vec::new()))),
    };
    Rendering { revision: config.revision.clone(), result }
}

/// Why there are no checked files.
enum Failure {
    /// The checker refuses them.
    Refused(String),
    /// The checker ran out of something.
    Exhausted(String),
    /// Anything else.
    Other(RenderError),
}

impl Failure {
    fn may_be_a_routes(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Exhausted(_))
    }

    /// What is posted. Who runs out of something without any route being to blame may have enough the next time.
    fn with(self, blame: Blame) -> RenderError {
        match (self, blame) {
            (Self::Refused(message), Blame::Settings) => RenderError::RefusedSettings(message),
            (Self::Exhausted(message), Blame::Settings) => RenderError::Failed(message),
            (Self::Exhausted(message), Blame::Routes(suspects)) if suspects.is_empty() => RenderError::Failed(message),
            (Self::Refused(message) | Self::Exhausted(message), Blame::Routes(suspects)) => {
                RenderError::Refused { message, suspects }
            }
            (Self::Other(error), _) => error,
        }
    }
}

/// Renders and checks once.
async fn make(
    config: Arc<ProxyConfig>,
    limit: usize,
    checker: Option<&Checker>,
    renderer: &mut Renderer,
) -> Result<Vec<File>, Failure> {
    let mut on_thread = std::mem::take(renderer);
    // Thousands of hosts take long enough to keep others waiting.
    let rendered = tokio::task::spawn_blocking(move || {
        let result = on_thread.render(&config, limit, Timestamp::now()).result;
        (result, on_thread)
    });
    let failed = || RenderError::Failed("rendering ended without a result".to_owned());
    let (rendered, after) = rendered.await.unwrap_or_else(|_| (Err(failed()), Renderer::default()));
    *renderer = after;
    let files = rendered.map_err(Failure::Other)?;
    let Some(checker) = checker else { return Ok(files) };
    match checker.check(&files).await {
        Ok(()) => Ok(files),
        Err(CheckError::Refused(message)) => Err(Failure::Refused(message)),
        Err(exhausted @ CheckError::Exhausted(_)) => Err(Failure::Exhausted(exhausted.to_string())),
        Err(failed @ CheckError::Failed(_)) => Err(Failure::Other(RenderError::Failed(failed.to_string()))),
    }
}
