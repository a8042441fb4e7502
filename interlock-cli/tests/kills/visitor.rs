//! A client that tries again until it is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::agent::Node;

pub(crate) struct Visitor {
    leaves: Arc<AtomicBool>,
    thread: Option<JoinHandle<Visit>>,
}

/// What it saw.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    /// The answers, without those that repeat the one before.
    pub(crate) answers: Vec<u64>,
    /// The longest time from one answer to the next.
    pub(crate) longest_gap: Duration,
}

/// Nobody asks on when a test failed.
impl Drop for Visitor {
    fn drop(&mut self) {
        self.leaves.store(true, Ordering::Relaxed);
    }
}

impl Visitor {
    /// Comes to a node that serves.
    pub(crate) fn come(node: &Node) -> Self {
        let leaves = Arc::new(AtomicBool::new(false));
        let (left, port) = (leaves.clone(), node.port);
        Self { leaves, thread: Some(std::thread::spawn(move || visit(port, &left))) }
    }

    pub(crate) fn leave(mut self) -> Visit {
        self.leaves.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn visit(port: SocketAddr, leaves: &AtomicBool) -> Visit {
    let mut visit = Visit::default();
    let mut last = Instant::now();
    while !leaves.load(Ordering::Relaxed) {
        if let Some(answer) = Node::served_on(port) {
            visit.longest_gap = visit.longest_gap.max(last.elapsed());
            last = Instant::now();
            if visit.answers.last() != Some(&answer) {
                visit.answers.push(answer);
            }
        }
        // Others use these processors, too.
        std::thread::sleep(Duration::from_millis(1));
    }
    visit.longest_gap = visit.longest_gap.max(last.elapsed());
    visit
}
