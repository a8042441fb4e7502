//! Following one engine: the loop itself.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::select;
use tokio::time::{Instant, sleep_until, timeout};

use super::Options;
use super::deciding::{Decided, Undecided, decide};
use super::execute::{Applied, Holds, Stop, apply};
use super::log_changes::{self, Told};
use super::peer_server::{self, Control};
use super::read::{Answer, Reply, read};
use super::read_schedule::{Kind, ReadSchedule};
use super::settling::Settling;
use super::swarm_copy::{List, Ticket, World};
use super::timing::{Debounce, Pace, Sight};
use crate::docker::{self, Client, ErrorKind, Hint};
use crate::grpc::server::Said;
use crate::plan::Action;
use crate::proxy_config::template;
use crate::reconcile::{Memo, Outcome};
use crate::settings::Settings;
use crate::units::{Backoff, NodeId};

/// Why an engine is not followed any longer.
#[derive(Debug)]
pub(super) enum Ended {
    /// We shall stop.
    Shutdown,
    /// The connection is old. An engine can stop telling of events without closing the stream.
    Renew,
    /// The connection broke, or the engine is no manager any more.
    Lost(docker::Error),
}

/// Where the loop is. Events are taken and reads go on in all of these.
enum State {
    /// Since this ticket the copy may be outdated in these respects, and nothing is decided before they were read anew. So it begins,
    /// and so it is after each application. Then: watching.
    Behind(BTreeSet<Kind>, Ticket),
    /// The copy follows the Swarm. A change is decided on when it is due; if there is something to do: applying.
    Watching,
    /// A plan is being carried out. Then: behind.
    Applying(BoxFuture<'static, Applied>, Stop),
}

/// What outlives a connection.
pub(super) struct Follower {
    options: Options,
    world: World,
    state: State,
    schedule: ReadSchedule,
    settling: Settling,
    /// Nodes whose tasks have to be looked at.
    nodes: BTreeSet<NodeId>,
    debounce: Debounce,
    pace: Pace,
    holds: Holds,
    read_failures: Backoff,
    sight: Sight,
    told: Told,
    control: Control,
    reads: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// A decision that is being made. It may be beside any state of the loop.
    deciding: Option<BoxFuture<'static, Decided>>,
    /// What the last decision made on its way. It is with the one that is being made.
    memo: Memo,
    /// Why the last decision came to nothing, and the pauses before the next.
    undecided: Option<Undecided>,
    undecided_pauses: Backoff,
    /// Until when no decision is made.
    not_before: Option<Instant>,
    /// Whether anything was read lately.
    worked: bool,
    /// Whether anything was ever read.
    worked_ever: bool,
    /// When time alone may change what there is to do.
    again_at: Option<Instant>,
}

impl Follower {
    /// The longest that a call under way may hold up the end.
    const GRACE: Duration = Duration::from_millis(4500);

    pub(super) fn new(settings: Settings, options: Options, control: Control) -> Self {
        let pace = Pace::new(settings.poll_interval);
        let own_checkers = peer_server::own_checkers(&settings, options.checker.as_deref());
        let mut world = World::new(settings, options.delivery);
        let inputs = Arc::make_mut(&mut world.inputs);
        inputs.reports.own_checkers = own_checkers;
        inputs.takes_turns = true;
        Self {
            pace,
            world,
            sight: Sight::new(options.blind_after),
            options,
            state: State::Watching,
            schedule: ReadSchedule::default(),
            settling: Settling::default(),
            nodes: BTreeSet::new(),
            debounce: Debounce::default(),
            holds: Holds::default(),
            read_failures: Backoff::new(Duration::from_secs(1), Duration::from_secs(15)),
            told: Told::default(),
            control,
            reads: FuturesUnordered::new(),
            deciding: None,
            memo: Memo::default(),
            undecided: None,
            undecided_pauses: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            not_before: None,
            worked: false,
            worked_ever: false,
            again_at: None,
        }
    }

    /// What was told, to tell it only once.
    pub(super) fn told(&mut self) -> &mut Told {
        &mut self.told
    }

    /// Whether anything was read since this was asked last.
    pub(super) fn take_worked(&mut self) -> bool {
        std::mem::take(&mut self.worked)
    }

    /// Hears what peers say while something else is done: nobody waits for core because core waits for the engine.
    pub(super) async fn hearing<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            select! {
                done = &mut work => return done,
                said = self.control.said() => self.said(said, Instant::now()),
            }
        }
    }

    /// The engine cannot be worked with now.
    pub(super) fn disconnected(&mut self, error: &docker::Error) {
        self.told.disconnected(error);
        self.sight.failed(Instant::now());
        self.send_away_if_due(Instant::now());
    }

    /// Sends proxies to look for another core, if nothing could be read for long.
    fn send_away_if_due(&mut self, now: Instant) {
        let is_known = self.sight.is_lost();
        if !self.sight.take_due(now) || !self.control.is_open() {
            return;
        }
        if !is_known {
            let after = self.options.blind_after;
            tracing::warn!(
                "cannot read the Swarm for {after:?}: sending proxies away every {after:?} to look for another core"
            );
        }
        self.control.send_proxies_away();
    }

    /// Whether to decide for those who follow core alone, before a plan can be made. Not on a copy that is long out of date, and not while
    /// proxies were sent away that have not come back: what they reported is missing.
    fn may_think(&self) -> bool {
        self.control.is_open() && self.worked_ever && !self.sight.is_lost()
    }

    /// Follows an engine until one of the ends.
    pub(super) async fn follow(&mut self, client: &Client, mut shutdown: Pin<&mut impl Future<Output = ()>>) -> Ended {
        let mut events = Box::pin(client.events());
        let renew_at = Instant::now() + self.options.renew_after;
        self.begin();
        let ended = loop {
            let now = Instant::now();
            self.send_away_if_due(now);
            self.start_reads(client, now);
            self.decide_if_due(now);
            let wake_at = self.wake_at(renew_at);
            // One of seven things happens next:
            // 1. We shall stop.
            // 2. An event comes: what it is about is read. When the stream ends, we connect anew.
            // 3. A read comes back: the copy is renewed, and if something in it is new a decision is due.
            // 4. A plan was carried out, as far as it went: what it touched is read before anything else is decided.
            // 5. A decision was made: those who follow core are shown it, and it is carried out if the copy is up to date.
            // 6. An extension or a proxy says something: decisions may depend on it.
            // 7. It is time: for a read, for a decision, for a new connection, to send proxies away.
            select! {
                () = &mut shutdown => break Ended::Shutdown,
                event = events.next() => match event {
                    Some(Ok(hint)) => self.hint(hint, Instant::now()),
                    Some(Err(error)) => break Ended::Lost(error),
                    None => break Ended::Lost(docker::Error::ended("events")),
                },
                Some(answer) = self.reads.next() => {
                    if let Some(ended) = self.answer(answer, Instant::now()) {
                        break ended;
                    }
                }
                applied = self.state.applied() => self.applied(applied, Instant::now()),
                decided = made(&mut self.deciding) => self.decided(decided, client, Instant::now()),
                said = self.control.said() => self.said(said, Instant::now()),
                () = sleep_until(wake_at) => {
                    if renew_at <= Instant::now() && !matches!(self.state, State::Applying(..)) {
                        break Ended::Renew;
                    }
                }
            }
        };
        self.end().await;
        ended
    }

    fn begin(&mut self) {
        self.world.reconnected();
        self.schedule = ReadSchedule::default();
        self.schedule.want(Kind::All, Instant::now());
        self.state = State::Behind(BTreeSet::from([Kind::All]), self.world.next_ticket());
    }

    /// Ends what is under way: reads at once, an application after the call that it is making.
    async fn end(&mut self) {
        self.reads.clear();
        self.deciding = None;
        if let State::Applying(applying, stop) = std::mem::replace(&mut self.state, State::Watching) {
            stop.now();
            match timeout(Self::GRACE, applying).await {
                Ok(applied) => self.applied(applied, Instant::now()),
                Err(_) => tracing::warn!("a call was abandoned; the next pass shows whether it was carried out"),
            }
        }
    }

    fn hint(&mut self, hint: Hint, now: Instant) {
        tracing::debug!("event: {hint:?}");
        match hint {
            Hint::Service(id) => {
                self.settling.touch(id, now);
                self.schedule.want(Kind::Services, now);
            }
            Hint::Node(id) => {
                self.nodes.insert(id);
                self.schedule.want(Kind::NodeTasks, now);
                self.schedule.want(Kind::Nodes, now);
            }
            Hint::Network => self.schedule.want(Kind::Networks, now),
            Hint::Secret => self.schedule.want(Kind::Secrets, now),
            Hint::Config => self.schedule.want(Kind::Configs, now),
            Hint::Other => {}
        }
    }

    fn start_reads(&mut self, client: &Client, now: Instant) {
        for kind in self.schedule.start(now) {
            let ticket = self.world.ticket();
            let services = if kind == Kind::Services { self.settling.next() } else { BTreeSet::new() };
            let nodes = if kind == Kind::NodeTasks { std::mem::take(&mut self.nodes) } else { BTreeSet::new() };
            let templates = template::mounted(self.world.inputs.snapshot.services());
            let clock = self.options.clock;
            self.reads.push(read(client.clone(), kind, ticket, services, nodes, templates, clock).boxed());
        }
    }

    fn answer(&mut self, answer: Answer, now: Instant) -> Option<Ended> {
        let Answer { kind, ticket, sent, reply } = answer;
        let took = now.saturating_duration_since(sent);
        self.schedule.done(kind, now, took);
        let changed = match reply {
            Ok(reply) => self.take(reply, ticket, sent, took, now),
            Err(error) => return self.read_failed(kind, error, now),
        };
        if changed {
            self.debounce.changed(now);
        }
        if let State::Behind(kinds, since) = &mut self.state
            && *since <= ticket
        {
            kinds.remove(&kind);
            if kinds.is_empty() || kind == Kind::All {
                // Whatever was found: this is what the decision was waiting for.
                self.debounce.changed(now);
                self.state = State::Watching;
            }
        }
        None
    }

    /// Renews the copy. Whether something in it is new.
    fn take(&mut self, reply: Reply, ticket: Ticket, sent: Instant, took: Duration, now: Instant) -> bool {
        match reply {
            Reply::All(observation) => {
                self.worked = true;
                self.worked_ever = true;
                self.read_failures.reset();
                self.sight.regained();
                self.schedule.awake();
                self.told.readable();
                self.pace.passed(took, observation.busy);
                self.world.all(ticket, *observation);
                self.schedule.want(Kind::All, now + self.pace.interval());
                // Some decisions depend on the time alone, so each pass is followed by one.
                true
            }
            Reply::Services(asked, views, configs) => {
                self.settling.read(&asked, sent, &views);
                if !self.settling.is_empty() {
                    self.schedule.want(Kind::Services, now + Settling::AGAIN);
                }
                let of_configs = configs.is_some_and(|configs| self.world.list(ticket, List::Configs(configs)));
                self.world.services(ticket, &asked, &views) || of_configs
            }
            Reply::NodeTasks(nodes, tasks) => {
                for id in self.world.moved(&nodes, &tasks) {
                    self.settling.touch(id, now);
                    self.schedule.want(Kind::Services, now);
                }
                false
            }
            Reply::List(list) => self.world.list(ticket, list),
        }
    }

    /// The connection is given up, or the engine is left alone for a while.
    fn read_failed(&mut self, kind: Kind, error: docker::Error, now: Instant) -> Option<Ended> {
        match error.kind() {
            ErrorKind::Unreachable | ErrorKind::NotAManager | ErrorKind::Permission => Some(Ended::Lost(error)),
            ErrorKind::Gone if kind != Kind::All => {
                // A service went while it was read.
                self.schedule.want(kind, now + Settling::AGAIN);
                None
            }
            _ => {
                self.told.unreadable(&error);
                self.sight.failed(now);
                // Several reads fail for one reason, and count once.
                if kind == Kind::All || !self.schedule.rests() {
                    self.schedule.rest_until(now + self.read_failures.next());
                }
                self.state.behind_in(Kind::All, self.world.next_ticket());
                None
            }
        }
    }

    /// Takes what a peer said.
    fn said(&mut self, said: Said, now: Instant) {
        let inputs = Arc::make_mut(&mut self.world.inputs);
        if let Said::Rendering(cluster, generation, rendering) = &said {
            let key = (cluster.clone(), generation.clone());
            if !self.control.asks_for(&key, &rendering.revision) {
                return;
            }
            let held = inputs.renderings.insert(key, rendering.clone());
            match held {
                Some(held) if held == *rendering => {}
                Some(held) if held.revision == rendering.revision => self.debounce.changed(now),
                // It was waited for: the next decision is about it.
                _ => self.debounce.now(now),
            }
        }
        if peer_server::note(&mut inputs.reports, said) {
            self.debounce.changed(now);
        }
    }

    /// Begins to decide, if that is due.
    ///
    /// While a plan is being carried out, and until what it touched was read again, nothing is begun; what extensions and proxies get does
    /// not wait for that.
    fn decide_if_due(&mut self, now: Instant) {
        if self.deciding.is_some() || self.not_before.is_some_and(|at| now < at) {
            return;
        }
        let may_act = matches!(self.state, State::Watching);
        let changed = self.debounce.due().is_some_and(|due| due <= now);
        let thinks = changed && (may_act || self.may_think());
        let is_time = self.again_at.is_some_and(|at| at <= now);
        let again = may_act && (self.holds.over(now) || is_time);
        if !(thinks || again) {
            return;
        }
        self.debounce.fired(now);
        self.again_at = None;
        Arc::make_mut(&mut self.world.inputs).snapshot.observed_at = (self.options.clock)();
        let (inputs, memo, last) = (self.world.inputs.clone(), std::mem::take(&mut self.memo), self.undecided.clone());
        self.deciding = Some(decide(inputs, memo, may_act, self.options.reconcile, last).boxed());
    }

    /// A decision was made. It is shown to those who follow core, and if the copy is still up to date, begun to be carried out.
    fn decided(&mut self, decided: Decided, client: &Client, now: Instant) {
        let Decided { inputs: decided_on, may_act, result, memo } = decided;
        self.memo = memo;
        let (mut outcome, busy) = match result {
            Ok(made) => made,
            Err(undecided) => {
                log_changes::undecided(&undecided, self.undecided.as_ref());
                self.undecided = Some(undecided);
                let again = now + self.undecided_pauses.next();
                self.not_before = Some(again);
                self.again_at = Some(again);
                return;
            }
        };
        if self.undecided.take().is_some() {
            tracing::info!("decisions are made again");
            self.undecided_pauses.reset();
        }
        self.not_before = None;
        self.pace.thought(busy);
        let lives: BTreeSet<_> = outcome.proxy_configs.keys().cloned().collect();
        self.control.publish(&decided_on.snapshot, &mut outcome);
        let Outcome { plan, problems, live, mut memory, next, .. } = outcome;
        let observed_at = decided_on.snapshot.observed_at;
        let services = &decided_on.snapshot.services;
        self.again_at =
            next.and_then(|next| Duration::try_from(next.duration_since(observed_at)).ok()).map(|time| now + time);
        self.told.routes(live);
        let may_act = may_act && matches!(self.state, State::Watching);
        if may_act {
            self.told.outcome(&problems, &plan, services);
        }
        drop(decided_on);
        let inputs = Arc::make_mut(&mut self.world.inputs);
        inputs.renderings.retain(|key, _| lives.contains(key));
        if !may_act {
            // Nothing of the plan is attempted.
            memory.attempts = std::mem::take(&mut inputs.memory.attempts);
            inputs.memory = memory;
            return;
        }
        inputs.memory = memory;
        let steps = self.holds.allowed(plan.steps, now);
        if steps.is_empty() {
            return;
        }
        let (client, specs, stop) = (client.clone(), self.world.specs.clone(), Stop::default());
        let stopped = stop.clone();
        let applying = async move { apply(&client, steps, &specs, stopped, log_changes::done).await };
        self.state = State::Applying(applying.boxed(), stop);
    }

    /// A plan was carried out, as far as it went. What it touched is read before anything else is decided.
    fn applied(&mut self, applied: Applied, now: Instant) {
        let certain = applied.certain();
        let Applied { done, failed, in_use } = applied;
        for (step, _) in &in_use {
            self.holds.in_use(step, now);
        }
        let mut kinds = BTreeSet::from([Kind::Configs]);
        for step in &done {
            match &step.action {
                Action::UpdateService { id, .. }
                | Action::RollBackService { id, .. }
                | Action::RemoveService { id, .. } => {
                    self.settling.touch(id.clone(), now);
                    kinds.insert(Kind::Services);
                }
                // Its id is not known here.
                Action::CreateService { .. } => {
                    kinds.insert(Kind::All);
                }
                Action::CreateConfig { .. } | Action::CreateManifest { .. } | Action::RemoveConfig { .. } => {}
                Action::CreateAuthority { .. } | Action::CreateIdentity { .. } | Action::RemoveSecret { .. } => {
                    kinds.insert(Kind::Secrets);
                }
                Action::CreateNetwork { .. } => {
                    kinds.insert(Kind::Networks);
                }
                // It is listed until its last task is gone, which takes seconds: the next pass is soon enough to look.
                Action::RemoveNetwork { .. } => {}
            }
        }
        let mut at = now;
        for (step, error) in &failed {
            match &step.action {
                // It is known what changed, and whoever changed it may do so again soon.
                Action::UpdateService { id, .. } if error.kind() == ErrorKind::Conflict => {
                    self.settling.touch(id.clone(), now);
                    kinds.insert(Kind::Services);
                }
                _ => {
                    kinds.insert(Kind::All);
                }
            }
            self.told.failed(step, error);
            let until = self.holds.failed(step, error.kind(), now);
            if !certain {
                // An engine that could not do this will not like to be asked for everything at once.
                at = at.max(until);
            }
        }
        for step in done.iter().filter(|step| failed.iter().all(|(failed, _)| failed.cluster != step.cluster)) {
            self.holds.succeeded(&step.cluster);
            self.told.succeeded(&step.cluster);
        }
        if kinds.contains(&Kind::All) {
            kinds = BTreeSet::from([Kind::All]);
        }
        for kind in &kinds {
            self.schedule.want(*kind, at);
        }
        self.state = State::Behind(kinds, self.world.next_ticket());
    }

    /// When to look again, if nothing happens before.
    fn wake_at(&self, renew_at: Instant) -> Instant {
        let decide = match self.state {
            _ if self.deciding.is_some() => None,
            State::Watching => self.debounce.due().into_iter().chain(self.holds.next()).chain(self.again_at).min(),
            State::Behind(..) | State::Applying(..) if self.may_think() => self.debounce.due(),
            State::Behind(..) | State::Applying(..) => None,
        };
        let decide = decide.map(|at| self.not_before.map_or(at, |earliest| earliest.max(at)));
        let renew = if matches!(self.state, State::Applying(..)) { None } else { Some(renew_at) };
        let next = [decide, renew, self.schedule.next(), self.sight.due()].into_iter().flatten().min();
        next.unwrap_or_else(|| Instant::now() + Duration::from_secs(60))
    }
}

/// Waits for a decision; for ever when none is being made.
async fn made(deciding: &mut Option<BoxFuture<'static, Decided>>) -> Decided {
    let Some(making) = deciding else { return std::future::pending().await };
    let made = making.await;
    *deciding = None;
    made
}

impl State {
    /// Waits for an application to end; for ever when there is none.
    async fn applied(&mut self) -> Applied {
        match self {
            Self::Applying(applying, _) => applying.await,
            Self::Behind(..) | Self::Watching => std::future::pending().await,
        }
    }

    /// The copy may be outdated in this respect.
    fn behind_in(&mut self, kind: Kind, since: Ticket) {
        match self {
            Self::Applying(..) => {}
            Self::Behind(..) | Self::Watching => *self = Self::Behind(BTreeSet::from([kind]), since),
        }
    }
}
