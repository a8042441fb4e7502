//! What the agent is told by signals.

use std::io;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// SIGTERM, SIGINT: end at once; connections are cut.
    Stop,
    /// SIGQUIT: take no new connections, finish the open ones, end.
    Drain,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open the log files again.
    Reopen,
}

/// Turns the signals of this process into orders, from now on.
///
/// # Errors
///
/// When a handler cannot be installed.
pub fn orders() -> io::Result<mpsc::UnboundedReceiver<Order>> {
    let (orders, received) = mpsc::unbounded_channel();
    for (kind, order) in [
        (SignalKind::terminate(), Order::Stop),
        (SignalKind::interrupt(), Order::Stop),
        (SignalKind::quit(), Order::Drain),
        (SignalKind::hangup(), Order::Reload),
        (SignalKind::user_defined1(), Order::Reopen),
    ] {
        let (mut signals, orders) = (signal(kind)?, orders.clone());
        tokio::spawn(async move { while signals.recv().await.is_some() && orders.send(order).is_ok() {} });
    }
    Ok(received)
}

/// The end of all that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Stop,
    Drain,
}

/// The orders, as somebody sees them who is busy.
pub(super) struct Orders {
    pub(super) received: mpsc::UnboundedReceiver<Order>,
    /// A reload was asked for meanwhile.
    pub(super) reload: bool,
}

impl Orders {
    /// Waits for the next one. Nobody left who could give any: never.
    pub(super) async fn next(&mut self) -> Order {
        match self.received.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }

    /// Waits until all has to end. Whatever else is asked for: logs are opened again by `reopen`, a reload is noted.
    pub(super) async fn ending(&mut self, reopen: impl Fn()) -> Ending {
        loop {
            match self.next().await {
                Order::Stop => return Ending::Stop,
                Order::Drain => return Ending::Drain,
                Order::Reload => self.reload = true,
                Order::Reopen => reopen(),
            }
        }
    }
}

/// What became of work during which orders were looked after.
pub(super) enum Attended<T> {
    Done(T),
    Ended(Ending),
}

/// Does some work, unless an order to end comes first; then the work is given up.
pub(super) async fn attended<T>(
    orders: &mut Orders,
    master: Option<Pid>,
    work: impl Future<Output = T>,
) -> Attended<T> {
    let reopen = || {
        if let Some(master) = master {
            let _ = kill(master, Signal::SIGUSR1);
        }
    };
    tokio::select! {
        biased;
        ending = orders.ending(reopen) => Attended::Ended(ending),
        done = work => Attended::Done(done),
    }
}
