//! The extension: from models to checked files.
//!
//! [`serve`](serve::serve) is the loop of an extension, wherever it runs: models in, renderings out. Core runs it in its own process for
//! a service cluster without an image, `interlock extension` runs it behind [`crate::grpc::extensions`]. An extension keeps nothing
//! that it could not make again, and knows neither Docker nor the contents of secrets.

use crate::proxy_config::ProxyConfig;
use crate::render::{self, File, RenderError, Rendering};

mod blame;
mod checker;
mod process;
mod serve;

pub(crate) use checker::is_exhausted;
pub use checker::{CheckError, Checker, CheckerError};
pub use serve::{Event, Kept, serve};

/// Renders a proxy config into files of at most `limit` bytes each, and has them checked. What a checker refuses, it is asked about
/// again with fewer routes, to find out which ones are to blame: at most 64 times, and for 20 s.
///
/// Without a checker the files are as good as they were rendered.
pub async fn render_and_check(config: &ProxyConfig, limit: usize, checker: Option<&Checker>) -> Rendering {
    let result = match (make(config.clone(), limit, checker).await, checker) {
        (Err(RenderError::Refused { message, .. }), Some(checker)) => {
            let suspects = blame::suspects(config, limit, checker).await;
            Err(RenderError::Refused { message, suspects })
        }
        (result, _) => result,
    };
    Rendering { revision: config.revision.clone(), result }
}

/// Renders and checks once.
async fn make(config: ProxyConfig, limit: usize, checker: Option<&Checker>) -> Result<Vec<File>, RenderError> {
    // Thousands of hosts take long enough to keep others waiting.
    let rendered = tokio::task::spawn_blocking(move || render::render(&config, limit).result).await;
    let files = rendered.map_err(|_| RenderError::Failed("rendering ended without a result".to_owned()))??;
    let Some(checker) = checker else { return Ok(files) };
    match checker.check(&files).await {
        Ok(()) => Ok(files),
        Err(CheckError::Refused(message)) => Err(RenderError::Refused { message, suspects: Vec::new() }),
        Err(failed @ CheckError::Failed(_)) => Err(RenderError::Failed(failed.to_string())),
    }
}
