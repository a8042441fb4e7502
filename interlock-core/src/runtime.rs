//! The loop: observe, decide, apply, again and again.
//!
//! ```text
//!  events ──▶ what to read ──▶ copy of the Swarm ──▶ debounce ──▶ reconcile (pure) ──▶ apply, one call after the other
//!  clock ───▶    (due)            (world)                          │         ▲                   │
//!                  ▲                                               ▼         │                   │
//!                  │                               shown to extensions and proxies (control)      │
//!                  └───────────────────────────── what was touched is read anew ◀───────────────┘
//! ```
//!
//! # Guarantees
//!
//! - Events are hints. Each makes us read what it is about, and a full pass finds what they missed: every `PollInterval`, less often
//!   only where passes would take more than 2 % of a processor.
//! - Tasks send no events, so a service that something happened to is read again every 75 ms until its tasks have come to rest.
//! - A read that fails changes nothing: what runs stays as it is until a later one succeeds. When reads have failed for 30 seconds, proxies are
//!   sent to look for another core, again and again, and served when they come back.
//! - One plan is carried out at a time, and the next is made from what was read after it. A conflict is answered by reading again
//!   and planning again; of a call whose outcome is not known, what happened is read first.
//! - A step that fails holds up its own service cluster alone, one of core's own none at all, and is tried again with growing delays.
//! - Stopping takes at most five seconds: the call under way is finished, no other begun. Nothing is lost by an end at any moment.
//!
//! # Assumptions
//!
//! The program that calls this has a tokio runtime, and logs with a `tracing` subscriber that caps the target `bollard` at `info`.

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::select;
use tokio::time::{Instant, sleep};

use crate::docker::{self, Client, Deadlines, Endpoint, ErrorKind};
use crate::kinds::Checker;
use crate::peers::Delivery;
use crate::problem::Problem;
use crate::reconcile::{Inputs, Memo, Outcome, reconcile_with};
use crate::settings::Settings;
use crate::trust::Authority;
use crate::units::Backoff;

mod checked;
mod deciding;
mod execute;
mod follow;
mod installing;
mod log_changes;
mod once;
mod peer_server;
mod read;
mod read_schedule;
mod serving;
mod settling;
mod swarm_copy;
mod timing;

pub use checked::reconcile_checked;
pub use installing::{Installed, authority, install, uninstall};
pub use once::{Progress, Report, run_once};
pub use serving::serving;

use follow::{Ended, Follower};
use peer_server::Control;

/// Everything about the loop that is not in the settings file.
#[derive(Debug, Clone)]
pub struct Options {
    /// The engine.
    pub endpoint: Endpoint,
    /// How long calls may take.
    pub deadlines: Deadlines,
    /// The clock, for the one time that decisions depend on. By default it goes on from when the process began, whatever is set.
    pub clock: fn() -> Timestamp,
    /// What signs the identities of extensions and proxies. Without it none can connect.
    pub authority: Option<Arc<Authority>>,
    /// The name of the container that this runs in, if it runs in one: how it finds its own service.
    pub container: Option<String>,
    /// With what core checks the files that it renders by itself; `None` leaves that to the proxies.
    pub checker: Option<Arc<Checker>>,
    /// How new revisions get to running proxies that follow core.
    pub delivery: Delivery,
    /// How old a connection may get. An engine can stop telling of events without closing the stream.
    pub renew_after: Duration,
    /// How long reads may fail before proxies are sent to look for another core, and each time again.
    pub blind_after: Duration,
    /// What decides.
    pub reconcile: fn(&Inputs, &mut Memo) -> Outcome,
}

impl Options {
    /// The usual ones for this engine.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            deadlines: Deadlines::default(),
            clock: steady_now,
            authority: None,
            container: None,
            checker: None,
            delivery: Delivery::default(),
            renew_after: Duration::from_secs(600),
            blind_after: Duration::from_secs(30),
            reconcile: reconcile_with,
        }
    }
}

/// Why the loop, or one pass of it, gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine cannot be worked with, and trying again would not help.
    #[error(transparent)]
    Docker(#[from] docker::Error),
    /// Extensions and proxies could not connect.
    #[error("cannot listen on {address} (ListenAddr of the settings)")]
    Listen {
        /// The address.
        address: String,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// Something of somebody else's is in the way.
    #[error("{0}")]
    InTheWay(Box<Problem>),
    /// An update that was made did not hold: Swarm went back, or waits for somebody.
    #[error("the update of service {service} failed ({reason}); see `docker service ps {service}`")]
    UpdateFailed {
        /// The service.
        service: String,
        /// What a task says, or else Swarm.
        reason: String,
    },
    /// There was still something to do or to wait for when the time was over.
    #[error("not done after {limit:?}: {left}")]
    Timeout {
        /// How long it had.
        limit: Duration,
        /// What was left, as phrases.
        left: String,
    },
}

/// The time of day when this was first asked, and from then on what has really passed: a clock that somebody sets does not make an update
/// look as if it took an hour.
fn steady_now() -> Timestamp {
    static FIRST: LazyLock<(Timestamp, std::time::Instant)> =
        LazyLock::new(|| (Timestamp::now(), std::time::Instant::now()));
    let (time, moment) = *FIRST;
    time.checked_add(moment.elapsed()).unwrap_or(time)
}

/// How long an engine may say that it is no manager. It says so while its node is being promoted or is joining.
const NO_MANAGER: Duration = Duration::from_secs(30);
/// A connection that lasted for less says nothing about the next one.
const STEADY: Duration = Duration::from_secs(10);

/// Works until `shutdown` is ready.
///
/// # Errors
///
/// When trying again cannot help: an address to listen on that is taken, an endpoint or TLS files that are wrong, no permission, an engine that is too old or too new; and
/// when the engine says for 30 seconds that it is no manager, so that Swarm starts us somewhere else. An engine that is
/// not there is waited for without end.
pub async fn run(settings: Settings, options: Options, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let mut shutdown = pin!(shutdown);
    let control = Control::start(&settings, &options).await?;
    let mut follower = Follower::new(settings.clone(), options.clone(), control);
    let mut delays = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
    let mut no_manager_since: Option<Instant> = None;
    loop {
        let connected = select! {
            () = &mut shutdown => return Ok(()),
            connected = follower.hearing(connect(&settings, &options)) => connected,
        };
        let error = match connected {
            Ok(client) => {
                let since = Instant::now();
                follower.told().connected(client.engine());
                let error = match follower.follow(&client, shutdown.as_mut()).await {
                    Ended::Shutdown => return Ok(()),
                    Ended::Renew => continue,
                    Ended::Lost(error) => error,
                };
                if follower.take_worked() {
                    no_manager_since = None;
                }
                if since.elapsed() >= STEADY {
                    delays.reset();
                }
                error
            }
            Err(error) => match error.kind() {
                ErrorKind::Permanent | ErrorKind::TooLarge | ErrorKind::Permission => return Err(error.into()),
                _ => error,
            },
        };
        if error.kind() == ErrorKind::NotAManager
            && no_manager_since.get_or_insert_with(Instant::now).elapsed() >= NO_MANAGER
        {
            return Err(error.into());
        }
        follower.disconnected(&error);
        let delay = delays.next();
        select! {
            () = &mut shutdown => return Ok(()),
            () = follower.hearing(sleep(delay)) => {}
        }
    }
}

/// Connects with all that an application of plans needs.
async fn connect(settings: &Settings, options: &Options) -> Result<Client, docker::Error> {
    let client = Client::connect_with(&options.endpoint, options.deadlines).await?;
    let client = client.for_settings(settings).with_authority(options.authority.clone());
    match &options.container {
        Some(container) => client.as_container(container).await,
        None => Ok(client),
    }
}
