//! When proxies are given what they lack. Each time all of them are replaced, so whoever needs it often waits, and what
//! was in a roll that failed is tried again alone.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Attached, Attachments};
use crate::problem::{Effect, Problem, Severity, Subject, shown};
use crate::routes::model::Model;
use crate::swarm::{Service, SwarmIndex, UpdateState};
use crate::units::Cluster;

/// What is remembered of the rolls of each service cluster's proxies.
pub type Rolls = BTreeMap<Cluster, Roll>;

/// What is remembered of the rolls of a service cluster's proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roll {
    /// What the proxies' service asked for when it was looked at last.
    deployed: Attachments,
    /// When that was last changed, other than by taking it back.
    changed: Option<Timestamp>,
    /// The planned update whose failure was seen last, by the time of the one before it.
    counted: Option<Option<Timestamp>>,
    /// Whether the last update failed without anything new: then it is not for what proxies are given.
    fails_anyway: bool,
    /// What was in updates that failed.
    held: BTreeMap<Attached, Hold>,
    /// For which services something was asked for lately, and when: they need not need it any more when proxies have
    /// it.
    asked: BTreeMap<Attached, (BTreeSet<String>, Timestamp)>,
    /// Services for which proxies were replaced.
    payers: BTreeMap<String, Pause>,
    /// Since when proxies lack what is needed; `None` of what was lacking at the first look.
    lacking: BTreeMap<Attached, Option<Timestamp>>,
    /// Since when a roll waits for more to come.
    gathers: Option<Timestamp>,
    /// Whether this is the first look.
    is_first: bool,
}

/// Something that was in an update that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hold {
    failures: u32,
    until: Timestamp,
}

/// How long a service waits for whom proxies were replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    rolls: u32,
    until: Timestamp,
}

/// What was planned to be new in an update.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Added {
    /// The networks and secrets.
    pub what: BTreeSet<Attached>,
    /// When, as Swarm says, the update began that stood on the service before.
    pub before: Option<Timestamp>,
}

/// Between two rolls for what proxies lack lies at least so much.
const REST: SignedDuration = SignedDuration::from_secs(30);
/// A roll for what proxies lack waits until nothing more has come for so long: a stack comes piece by piece.
pub(super) const QUIET_FOR: SignedDuration = SignedDuration::from_secs(3);
/// The longest that it waits for that.
const GATHER: SignedDuration = SignedDuration::from_secs(30);
/// What failed is tried again after so long, and after twice as long each time.
const RETRY: SignedDuration = SignedDuration::from_secs(60);
/// The longest pause.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// For so long what nobody uses stays at most for the sake of one who has had many rolls: its owner may want to remove
/// it.
const PUT_OFF: SignedDuration = SignedDuration::from_mins(5);
/// A service that has been quiet for so long is as any other.
const QUIET: SignedDuration = SignedDuration::from_mins(10);

fn doubled(first: SignedDuration, times: u32) -> SignedDuration {
    first.checked_mul(1 << times.min(10)).unwrap_or(LONGEST).min(LONGEST)
}

fn after(now: Timestamp, pause: SignedDuration) -> Timestamp {
    now.checked_add(pause).unwrap_or(now)
}

/// Which services need what of the proxies. It is looked up when somebody asks: as long as proxies have all, nobody does.
pub(crate) struct Needs<'m>(LazyCell<Services<'m>, Box<dyn FnOnce() -> Services<'m> + 'm>>);

type Services<'m> = BTreeMap<Attached, BTreeSet<&'m str>>;

impl<'m> Needs<'m> {
    /// Of a service cluster's proxies: all that [`Model::networks`] and [`Model::secrets`] have.
    pub(crate) fn of(snapshot: &'m SwarmIndex<'_>, model: &'m Model, cluster: &'m Cluster) -> Self {
        Self(LazyCell::new(Box::new(move || needs(snapshot, model, cluster))))
    }

    /// The services that need this, if there are some.
    fn get(&self, attached: &Attached) -> Option<&BTreeSet<&'m str>> {
        self.0.get(attached)
    }
}

impl<'m> From<Services<'m>> for Needs<'m> {
    fn from(services: Services<'m>) -> Self {
        Self(LazyCell::new(Box::new(move || services)))
    }
}

fn needs<'m>(snapshot: &SwarmIndex<'_>, model: &'m Model, cluster: &Cluster) -> Services<'m> {
    let ids: BTreeMap<_, _> = snapshot.secrets.iter().map(|secret| (secret.name.as_str(), &secret.id)).collect();
    let mut needs = Services::new();
    for route in model.served(cluster) {
        let network = route.network().cloned().map(Attached::Network);
        let secrets = route.asks.secrets().filter_map(|name| ids.get(name.as_str()).copied().cloned());
        for attached in network.into_iter().chain(secrets.map(Attached::Secret)) {
            needs.entry(attached).or_default().insert(&route.service);
        }
    }
    needs
}

/// What is kept from new tasks for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    what: Attached,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Proxies were replaced a moment ago.
    Rest,
    /// More may come that goes into the same roll.
    More,
    /// It was in an update that failed.
    Failed(Timestamp),
    /// Those who need it have had proxies replaced this often.
    Often(u32, Timestamp),
}

/// What new tasks get.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Admitted {
    /// Of what is needed, what they get now.
    pub(crate) needed: Attachments,
    /// What they do not get yet.
    pub(crate) kept: Vec<Kept>,
    /// Whether something is tried again that failed.
    pub(crate) again: bool,
    /// Whether proxies keep what they have, since they were replaced a moment ago.
    pub(crate) rests: bool,
    /// When time alone changes this.
    pub(crate) next: Option<Timestamp>,
}

impl Roll {
    /// What is remembered after a look at the proxies' service.
    pub(crate) fn looked(
        before: Option<&Self>,
        service: &Service,
        deployed: &Attachments,
        previous: Option<&Attachments>,
        planned: Option<&Added>,
        needs: &Needs<'_>,
        now: Timestamp,
    ) -> Self {
        let new = || Self {
            deployed: deployed.clone(),
            changed: None,
            counted: None,
            fails_anyway: false,
            held: BTreeMap::new(),
            asked: BTreeMap::new(),
            payers: BTreeMap::new(),
            lacking: BTreeMap::new(),
            gathers: None,
            is_first: true,
        };
        let is_first = before.is_none();
        let mut roll = before.cloned().unwrap_or_else(new);
        roll.is_first = is_first;
        roll.seen(service, deployed, now);
        roll.failed(service, deployed, previous, planned, now);
        // It is not known how an update goes that has not begun.
        let calm = service.update.as_ref().is_some_and(|update| update.state == UpdateState::Completed);
        roll.fails_anyway &= !calm;
        let has = |attached: &Attached| deployed.has(attached);
        roll.held.retain(|attached, hold| {
            let is_needed = needs.get(attached).is_some() || now < after(hold.until, LONGEST);
            is_needed && !(calm && has(attached))
        });
        roll.payers.retain(|_, pause| now < after(pause.until, QUIET.max(doubled(REST, pause.rolls))));
        roll
    }

    /// Somebody's needs have replaced the proxies: whoever it was is in no hurry for the next time.
    fn seen(&mut self, service: &Service, deployed: &Attachments, now: Timestamp) {
        let before = std::mem::replace(&mut self.deployed, deployed.clone());
        let is_back = service.update.as_ref().is_some_and(|update| {
            matches!(update.state, UpdateState::RollbackStarted | UpdateState::RollbackCompleted)
        });
        if before == *deployed || is_back {
            return;
        }
        self.changed = Some(now);
        let new = deployed.without(&before);
        let payers = new.iter().filter_map(|attached| self.asked.remove(attached)).flat_map(|(owners, _)| owners);
        for payer in payers.collect::<BTreeSet<_>>() {
            let pause = self.payers.entry(payer).or_insert(Pause { rolls: 0, until: now });
            pause.until = after(now, doubled(REST, pause.rolls));
            pause.rolls += 1;
        }
    }

    /// An update failed: what was new in it is kept from the next.
    fn failed(
        &mut self,
        service: &Service,
        deployed: &Attachments,
        previous: Option<&Attachments>,
        planned: Option<&Added>,
        now: Timestamp,
    ) {
        let Some(update) = service.update.as_ref().filter(|update| update.state.failed()) else { return };
        let is_paused = update.state == UpdateState::Paused;
        // A process that planned nothing, as it has just started, goes by the spec that Swarm keeps: when it goes back
        // on demand, that is the one that failed.
        let unknown = || {
            let (new, old) = if is_paused { (deployed, previous?) } else { (previous?, deployed) };
            Some(Added { what: new.without(old), before: update.started_at })
        };
        let added = match planned.filter(|planned| planned.before != update.started_at) {
            Some(planned) => planned.clone(),
            None if planned.is_some() || self.counted.is_some() => return,
            None => match unknown() {
                Some(added) => added,
                None => return,
            },
        };
        if self.counted.replace(added.before) == Some(added.before) {
            return;
        }
        let suspects: Vec<_> = added.what.into_iter().filter(|it| is_paused || !deployed.has(it)).collect();
        self.fails_anyway = suspects.is_empty();
        for suspect in suspects {
            let hold = self.held.entry(suspect).or_insert(Hold { failures: 0, until: now });
            hold.until = after(now, doubled(RETRY, hold.failures));
            hold.failures += 1;
        }
    }

    /// What new tasks get of what is needed. What the tasks have is nobody's loss. `hitless`: whatever else changes
    /// replaces no task.
    pub(crate) fn admit(
        &mut self,
        service: &Service,
        hitless: bool,
        needed: &Attachments,
        needs: &Needs<'_>,
        now: Timestamp,
    ) -> Admitted {
        let changed_within = |time| hitless && self.changed.is_some_and(|changed| now.duration_since(changed) < time);
        let rests = changed_within(REST);
        // What is not used any more goes with the next roll of one who has many.
        let flaps = self.payers.values().any(|pause| pause.rolls > 1 && now < pause.until) && changed_within(PUT_OFF);
        let mut admitted = Admitted { needed: needed.clone(), rests: rests || flaps, ..Admitted::default() };
        let mut due = Vec::new();
        let mut others = false;
        let missing = needed.without(&self.deployed);
        let first = (!self.is_first).then_some(now);
        self.lacking.retain(|attached, _| missing.contains(attached));
        for attached in &missing {
            self.lacking.entry(attached.clone()).or_insert(first);
        }
        let mut fresh = Vec::new();
        for attached in &missing {
            let owners = needs.get(attached);
            let why = match self.held.get(attached) {
                Some(hold) if now < hold.until || self.fails_anyway => Some(Why::Failed(hold.until)),
                Some(hold) => {
                    due.push((hold.until, attached));
                    None
                }
                // What no service needs is what the settings ask for.
                None if rests && owners.is_some() => Some(Why::Rest),
                None => owners.filter(|_| hitless).and_then(|owners| self.often(owners, now)),
            };
            others |= why.is_none() && !self.held.contains_key(attached);
            match why {
                Some(why) => admitted.keep(attached, why),
                None if hitless && owners.is_some() && !self.held.contains_key(attached) => fresh.push(attached),
                None => {}
            }
        }
        let more = self.gathers_until(&fresh, now);
        if more.is_some() {
            fresh.into_iter().for_each(|attached| admitted.keep(attached, Why::More));
        }
        let rest = self.changed.map(|changed| after(changed, REST)).filter(|_| rests);
        admitted.next = rest.into_iter().chain(more).min();
        // One at a time, and nobody else's beside it.
        due.sort();
        let is_rolling = service.update.as_ref().is_some_and(|update| update.state.in_progress());
        for (n, (until, attached)) in due.into_iter().enumerate() {
            if n == 0 && !others && !rests && !is_rolling {
                admitted.again = true;
            } else {
                admitted.keep(attached, Why::Failed(until));
            }
        }
        self.asked.retain(|_, (_, at)| now.duration_since(*at) < RETRY);
        for attached in admitted.needed.without(&self.deployed) {
            let owners = needs.get(&attached).into_iter().flatten();
            let owners = owners.map(|owner| (*owner).to_owned()).collect();
            self.asked.insert(attached, (owners, now));
        }
        admitted
    }

    /// Until when a roll for these waits for more of the kind. Who needs something else each second makes nobody wait for
    /// longer than [`GATHER`].
    fn gathers_until(&mut self, fresh: &[&Attached], now: Timestamp) -> Option<Timestamp> {
        let since: Option<Vec<_>> =
            fresh.iter().map(|attached| self.lacking.get(*attached).copied().flatten()).collect();
        // What lacked at the first look may have done so for long.
        let Some((oldest, newest)) = since.and_then(|since| Some((*since.iter().min()?, *since.iter().max()?))) else {
            self.gathers = None;
            return None;
        };
        let began = self.gathers.map_or(oldest, |gathers| gathers.min(oldest));
        let until = after(newest, QUIET_FOR).min(after(began, GATHER));
        self.gathers = (now < until).then_some(began);
        self.gathers.map(|_| until)
    }

    /// Whether all who need it have had proxies replaced too often.
    fn often(&self, owners: &BTreeSet<&str>, now: Timestamp) -> Option<Why> {
        let pauses: Option<Vec<_>> =
            owners.iter().map(|owner| self.payers.get(*owner).filter(|pause| now < pause.until)).collect();
        let pause = pauses?.into_iter().min_by_key(|pause| pause.until)?;
        Some(Why::Often(pause.rolls, pause.until))
    }
}

impl Admitted {
    fn keep(&mut self, attached: &Attached, why: Why) {
        match attached {
            Attached::Network(id) => self.needed.networks.remove(id),
            Attached::Secret(id) => self.needed.secrets.remove(id),
        };
        self.kept.push(Kept { what: attached.clone(), why });
    }

    /// What waits for a moment, for whoever looks on; empty for nothing.
    pub(crate) fn waiting(&self, snapshot: &SwarmIndex<'_>) -> Option<String> {
        if self.kept.iter().any(|kept| kept.why == Why::More) {
            return Some("proxies are replaced once, when no more networks and secrets come for 3 s".to_owned());
        }
        let resting = self.kept.iter().filter(|kept| kept.why == Why::Rest);
        let names: Vec<_> = resting.map(|kept| kept.what.title(snapshot)).collect();
        (!names.is_empty())
            .then(|| format!("{} until 30 s after the proxies were last replaced for such", names.join(", ")))
    }

    /// Tells the owners of what waits for long.
    pub(crate) fn problems(&self, snapshot: &SwarmIndex<'_>, needs: &Needs<'_>, proxies: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for Kept { what, why } in &self.kept {
            let title = what.title(snapshot);
            let (wrong, right) = match why {
                Why::Rest | Why::More => continue,
                Why::Failed(until) => (
                    format!("{title} was new to the proxies in an update that failed"),
                    format!("see `docker service ps {proxies}`; it is tried again, alone, after {until:.0}"),
                ),
                Why::Often(rolls, until) => (
                    format!(
                        "{title} is new to the proxies, which were replaced {rolls} times in a row for its service"
                    ),
                    format!("leave its networks and secrets as they are; the next ones are given after {until:.0}"),
                ),
            };
            let effect = match what {
                Attached::Network(_) => Effect::LeftOut,
                Attached::Secret(_) => Effect::Kept,
            };
            for owner in needs.get(what).into_iter().flatten() {
                problems.push(Problem::new(
                    Severity::Error,
                    Subject::Service((*owner).to_owned()),
                    wrong.clone(),
                    right.clone(),
                    effect,
                ));
            }
        }
        problems
    }
}

impl Attached {
    /// For people.
    fn title(&self, snapshot: &SwarmIndex<'_>) -> String {
        let (kind, id, name) = match self {
            Self::Network(id) => {
                let known = snapshot.networks.iter().find(|network| network.id == *id);
                ("network", id.as_str(), known.map(|network| &network.name))
            }
            Self::Secret(id) => {
                let known = snapshot.secrets.iter().find(|secret| secret.id == *id);
                ("secret", id.as_str(), known.map(|secret| &secret.name))
            }
        };
        format!("{kind} {}", shown(name.map_or(id, |name| name)))
    }
}

impl Attachments {
    /// Whether this is one of them.
    fn has(&self, attached: &Attached) -> bool {
        match attached {
            Attached::Network(id) => self.networks.contains(id),
            Attached::Secret(id) => self.secrets.contains(id),
        }
    }

    /// Those that are none of the others.
    pub(crate) fn without(&self, others: &Self) -> BTreeSet<Attached> {
        let networks = self.networks.difference(&others.networks).cloned().map(Attached::Network);
        networks.chain(self.secrets.difference(&others.secrets).cloned().map(Attached::Secret)).collect()
    }
}

#[cfg(test)]
mod tests;
