//! Core's own renderings of models that have an extension.
//!
//! Core delivers no byte that somebody else made. An extension of a kind that core can render checks files; it does not make them:
//! what it posts is a hash, and core compares that with the hash of its own rendering. So nothing depends on whether core and the
//! proxy read a file alike.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tonic::Status;

use super::published::Published;
use crate::kinds::{self, File, RenderError, Renderer, Rendering};
use crate::proxy_config::{Generation, ProxyConfig};
use crate::units::Cluster;

type Key = (Cluster, Generation);

/// Renders what extensions post hashes of, once a revision.
#[derive(Debug, Clone)]
pub(super) struct Own {
    made: Arc<Mutex<BTreeMap<Key, Made>>>,
    /// What renders each generation. It remembers the last rendering, so that the next one costs what changed.
    renderers: Arc<Mutex<BTreeMap<Key, Renderer>>>,
    /// One rendering at a time: decisions need the same threads.
    turn: Arc<Semaphore>,
}

/// A rendering with its hash.
#[derive(Debug, Clone)]
struct Made {
    limit: usize,
    hash: String,
    rendering: Arc<Rendering>,
}

impl Made {
    fn of(renderer: &mut Renderer, config: &ProxyConfig, limit: usize) -> Self {
        let rendering = renderer.render(config, limit, Timestamp::now());
        let hash = rendering.result.as_deref().map(kinds::hash).unwrap_or_default();
        Self { limit, hash, rendering: Arc::new(rendering) }
    }
}

impl Default for Own {
    fn default() -> Self {
        Self { made: Arc::default(), renderers: Arc::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Own {
    /// The files of a published model, if they have this hash.
    ///
    /// Returns the reason for a refusal otherwise: another hash, or that core cannot render the model either.
    ///
    /// # Errors
    ///
    /// `INTERNAL` when rendering ended without a result.
    pub(super) async fn files(
        &self,
        key: &Key,
        published: &Arc<Published>,
        posted: &str,
    ) -> Result<Result<Vec<File>, RenderError>, Status> {
        let Some(config) = published.configs.get(key) else { return Err(Status::not_found("there is no such model")) };
        let made = match self.known(key, config, published.file_limit) {
            Some(made) => made,
            None => self.make(key.clone(), published.clone()).await?,
        };
        let files = match &made.rendering.result {
            Ok(files) if made.hash == posted => Ok(files.clone()),
            Ok(_) => Err(RenderError::Differs(format!(
                "their hash is {}, that of core's own rendering {}; this core is interlock {}",
                short(posted),
                short(&made.hash),
                env!("CARGO_PKG_VERSION")
            ))),
            Err(error) => Err(error.clone()),
        };
        // What was accepted is held by those who deliver it. Another hash is compared again without rendering again.
        self.held(|held| match files {
            Ok(_) => drop(held.remove(key)),
            Err(_) => drop(held.insert(key.clone(), made)),
        });
        Ok(files)
    }

    fn known(&self, key: &Key, config: &ProxyConfig, limit: usize) -> Option<Made> {
        let fits = |made: &&Made| made.rendering.revision == config.revision && made.limit == limit;
        self.held(|held| held.get(key).filter(fits).cloned())
    }

    async fn make(&self, key: Key, published: Arc<Published>) -> Result<Made, Status> {
        let stopping = |_| Status::unavailable("core is stopping");
        let turn = self.turn.clone().acquire_owned().await.map_err(stopping)?;
        let lives: Vec<_> = published.configs.keys().cloned().collect();
        self.held(|held| held.retain(|key, _| lives.contains(key)));
        // The turn belongs to the thread: a caller that goes away does not start a second one beside it.
        let renderers = Arc::clone(&self.renderers);
        let rendered = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            // Whoever has the turn is alone here.
            let mut renderers = renderers.lock().unwrap_or_else(PoisonError::into_inner);
            renderers.retain(|key, _| published.configs.contains_key(key));
            let config = published.configs.get(&key)?;
            // A rendering that panics leaves nothing behind.
            let mut renderer = renderers.remove(&key).unwrap_or_default();
            let made = Made::of(&mut renderer, config, published.file_limit);
            renderers.insert(key, renderer);
            Some(made)
        });
        let rendered = rendered.await.map_err(|_| Status::internal("rendering ended without a result"))?;
        rendered.ok_or_else(|| Status::not_found("there is no such model"))
    }

    fn held<T>(&self, look: impl FnOnce(&mut BTreeMap<Key, Made>) -> T) -> T {
        look(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The beginning of a hash, for people.
fn short(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}
