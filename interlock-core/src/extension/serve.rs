//! The loop of an extension.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use tokio::time::Instant;

use super::{Checker, render_and_check_anew};
use crate::kinds::{RenderError, Renderer, Rendering};
use crate::proxy_config::{Generation, ProxyConfig, Revision};
use crate::units::Backoff;

/// What an extension needs to render.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What the proxies shall do.
    pub config: Arc<ProxyConfig>,
    /// The generation that it is for.
    pub generation: Generation,
    /// How many bytes a file may have.
    pub file_limit: usize,
}

/// What an extension is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A new or changed model.
    Model(Box<Model>),
    /// A model that cannot be read, and why.
    Unreadable(Generation, Revision, String),
    /// No model of this generation is needed any more.
    Withdrawn(Generation),
}

impl Event {
    fn generation(&self) -> &Generation {
        match self {
            Self::Model(model) => &model.generation,
            Self::Unreadable(generation, ..) | Self::Withdrawn(generation) => generation,
        }
    }
}

/// What was made last of each generation. Whoever asks for the same again, like a core that was started anew, gets it without waiting.
#[derive(Debug, Default)]
pub struct Kept {
    made: BTreeMap<Generation, (usize, Rendering)>,
    /// What files were made of last.
    good: BTreeMap<Generation, Arc<ProxyConfig>>,
    /// What renders each. It remembers the last rendering, so that the next one costs what changed.
    renderers: BTreeMap<Generation, Renderer>,
}

/// Renders models and posts what comes out, until the events end or something fails. A model that was overtaken before it was begun is
/// left out; one that was begun is finished, so that models that change faster than they can be rendered still give files.
/// Generations take turns. What failed for a reason that may pass is tried again, after pauses that double from 2 s to 5 min.
///
/// # Errors
///
/// The first of an event or a post.
pub async fn serve<E, P>(
    mut events: impl Stream<Item = Result<Event, E>> + Unpin,
    checker: Option<&Checker>,
    kept: &mut Kept,
    mut post: impl FnMut(Generation, Rendering) -> P,
) -> Result<(), E>
where
    P: Future<Output = Result<(), E>>,
{
    let mut waiting = VecDeque::new();
    let mut retries = Retries::default();
    loop {
        let event = tokio::select! {
            biased;
            event = next(&mut events, &mut waiting) => event?,
            event = retries.next() => Some(event),
        };
        let Some(event) = event else { return Ok(()) };
        let (generation, rendering) = match event {
            Event::Model(model) => {
                let rendering = kept.make(&model, checker).await;
                let generation = model.generation.clone();
                match rendering.result {
                    // A checker that came to no result may come to one the next time.
                    Err(RenderError::Failed(_)) => retries.later(model),
                    _ => retries.forget(&generation),
                }
                (generation, rendering)
            }
            Event::Unreadable(generation, revision, wrong) => {
                retries.forget(&generation);
                let result = Err(RenderError::Failed(format!("the model cannot be read: {wrong}")));
                (generation, Rendering { revision, result })
            }
            Event::Withdrawn(generation) => {
                kept.made.remove(&generation);
                kept.good.remove(&generation);
                kept.renderers.remove(&generation);
                retries.forget(&generation);
                continue;
            }
        };
        post(generation, rendering).await?;
    }
}

/// The shortest and the longest pause before a model is tried again. Each is longer by up to as much again by chance.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// Models that came to no result.
#[derive(Default)]
struct Retries(BTreeMap<Generation, Retry>);

struct Retry {
    model: Box<Model>,
    at: Instant,
    pauses: Backoff,
}

impl Retries {
    /// The next that is due. It stays until something is said of it.
    async fn next(&self) -> Event {
        let Some(next) = self.0.values().min_by_key(|retry| retry.at) else { return std::future::pending().await };
        tokio::time::sleep_until(next.at).await;
        Event::Model(next.model.clone())
    }

    fn later(&mut self, model: Box<Model>) {
        let (shortest, longest) = PAUSES;
        let same = |retry: &Retry| retry.model.config.revision == model.config.revision;
        let mut pauses = match self.0.remove(&model.generation).filter(same) {
            Some(retry) => retry.pauses,
            None => Backoff::new(shortest, longest),
        };
        let at = Instant::now() + pauses.next();
        self.0.insert(model.generation.clone(), Retry { model, at, pauses });
    }

    fn forget(&mut self, generation: &Generation) {
        self.0.remove(generation);
    }
}

/// The next event to act on, when all have been taken that are there.
async fn next<E>(
    events: &mut (impl Stream<Item = Result<Event, E>> + Unpin),
    waiting: &mut VecDeque<Event>,
) -> Result<Option<Event>, E> {
    loop {
        let event = match waiting.is_empty() {
            true => events.next().await,
            false => match events.next().now_or_never() {
                None => return Ok(waiting.pop_front()),
                Some(event) => event,
            },
        };
        let Some(event) = event.transpose()? else { return Ok(None) };
        // It takes the place of an older one of its generation.
        match waiting.iter_mut().find(|waiting| waiting.generation() == event.generation()) {
            Some(older) => *older = event,
            None => waiting.push_back(event),
        }
    }
}

impl Kept {
    async fn make(&mut self, model: &Model, checker: Option<&Checker>) -> Rendering {
        let Model { config, generation, file_limit } = model;
        let same = |(limit, kept): &&(usize, Rendering)| limit == file_limit && kept.revision == config.revision;
        if let Some((_, kept)) = self.made.get(generation).filter(same) {
            return kept.clone();
        }
        let good = self.good.get(generation).map(Arc::as_ref);
        let renderer = self.renderers.entry(generation.clone()).or_default();
        let rendering = render_and_check_anew(config, *file_limit, checker, good, renderer).await;
        if rendering.result.is_ok() {
            self.good.insert(generation.clone(), config.clone());
        }
        // A checker that came to no result may come to one the next time.
        if !matches!(rendering.result, Err(RenderError::Failed(_))) {
            self.made.insert(generation.clone(), (*file_limit, rendering.clone()));
        }
        rendering
    }
}
