//! Bodies: a whole one, or the endless stream of events.

use crate::swarm::Swarm;
use bytes::Bytes;
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often a stream looks for news. Tests edit the Swarm behind the server's back, so there is nothing to be woken by.
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(super) enum Body {
    Whole(Option<Bytes>),
    Events { swarm: Arc<Mutex<Swarm>>, next: usize, kinds: Vec<String>, clock: Interval },
}

impl Body {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }

    pub(super) fn events(swarm: Arc<Mutex<Swarm>>, next: usize, kinds: Vec<String>) -> Self {
        let mut clock = interval(LOOK_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self::Events { swarm, next, kinds, clock }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b)))),
            Self::Events { swarm, next, kinds, clock } => loop {
                let mut lines = String::new();
                {
                    let swarm = super::lock(swarm);
                    for event in swarm.events().get(*next..).unwrap_or_default() {
                        if kinds.is_empty() || kinds.iter().any(|kind| kind == event.kind) {
                            lines.push_str(&event.line);
                            lines.push('\n');
                        }
                    }
                    *next = swarm.events().len();
                }
                if !lines.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from(lines)))));
                }
                if clock.poll_tick(context).is_pending() {
                    return Poll::Pending;
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(Some(bytes)) => hyper::body::SizeHint::with_exact(bytes.len() as u64),
            Self::Whole(None) => hyper::body::SizeHint::with_exact(0),
            Self::Events { .. } => hyper::body::SizeHint::default(),
        }
    }
}
