//! What was read of each service, kept from one decision to the next: a service is read again when it, its tasks or what is known of it
//! changed, or something that matters for all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::attach::{Allows, Facts, Verdicts};
use super::budget::{Budgets, Sums};
use super::reach::World;
use super::{Known, Model, Needed, Pace, Pricing, Read, Refused, Remembered, Route, read_one};
use crate::ownership::core_name::{Claim, Claims};
use crate::problem::Problem;
use crate::settings::Settings;
use crate::swarm::index::{Changes, Entry, Key, SwarmIndex};
use crate::swarm::{Engine, Labels, Network, Node, Secret, Service, Snapshot};
use crate::units::shared::Difference;
use crate::units::{NetworkId, NodeId};

/// Reads the services of one snapshot after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reader {
    /// `None` before the first reading.
    surroundings: Option<Surroundings>,
    facts: Facts,
    services: BTreeMap<Key, Reading>,
    /// Those of which something is told.
    told: BTreeSet<Key>,
    /// Those that have to be read again, since time may change what is made of them.
    restless: BTreeSet<Key>,
    /// The names of services that are gone or ask for nothing, and of whose changes something is remembered.
    leaving: BTreeSet<String>,
    refused: Refused,
    /// Of all routes, before budgets.
    model: Model,
    sums: Sums,
}

/// What was read of one service.
#[derive(Debug, Clone)]
struct Reading {
    read: Read,
    problems: Vec<Problem>,
    pace: Option<Pace>,
}

impl Reading {
    fn labels(&self) -> Option<&Arc<Labels>> {
        self.read.as_ref().map(|(labels, _)| labels)
    }

    fn routes(&self) -> &[Arc<Route>] {
        self.read.as_ref().map_or(&[], |(_, routes)| routes)
    }
}

/// What matters for every service, besides what it is itself.
#[derive(Debug, Clone, PartialEq)]
struct Surroundings {
    settings: Settings,
    engine: Engine,
    networks: Vec<Network>,
    secrets: Vec<Secret>,
    nodes: Vec<(NodeId, String, Option<IpAddr>)>,
    ours: Vec<Arc<Service>>,
    allows: Vec<Allows>,
    claims: Vec<(NetworkId, String)>,
    /// Which networks proxies must not be attached to, of those that somebody needs. It follows from the rest, and from how many tasks are on
    /// each.
    verdicts: Verdicts,
}

impl Surroundings {
    fn of(snapshot: &Snapshot, settings: &Settings, claims: &Claims<'_>, facts: &Facts) -> Self {
        let node = |node: &Node| (node.id.clone(), node.hostname.clone(), node.address);
        let of_network = |(network, claims): (&&NetworkId, &Vec<Claim<'_>>)| {
            claims.iter().map(|claim| ((*network).clone(), format!("{claim:?}"))).collect::<Vec<_>>()
        };
        Self {
            settings: settings.clone(),
            engine: snapshot.engine.clone(),
            networks: snapshot.networks.clone(),
            secrets: snapshot.secrets.clone(),
            nodes: snapshot.nodes.iter().map(node).collect(),
            ours: facts.ours().cloned().collect(),
            allows: facts.allows().cloned().collect(),
            claims: claims.iter().flat_map(of_network).collect(),
            verdicts: Verdicts::new(),
        }
    }
}

impl Reader {
    /// Reads the services: as [`super::read`] does, whatever was read before, as long as it got all changes of the index since. It costs what
    /// changed.
    pub(crate) fn read(
        &mut self,
        (snapshot, changes): (&SwarmIndex<'_>, &Changes),
        settings: &Settings,
        claims: &Claims<'_>,
        pricing: Pricing,
        known: Known<'_>,
    ) -> (Model, Vec<Problem>) {
        self.facts.renew(changes);
        let facts = std::mem::take(&mut self.facts);
        let world = World::new(snapshot, settings, claims, &facts);
        let overlays: Vec<_> = snapshot.networks.iter().flat_map(|network| network.subnets.iter().copied()).collect();
        let budgets = Budgets::of(pricing, settings, snapshot.engine.config_limit(), &overlays);
        let mut around = Surroundings::of(snapshot, settings, claims, &facts);
        let mut is_known = self.surroundings.take().is_some_and(|before| {
            around.verdicts.clone_from(&before.verdicts);
            around == before && world.ground.holds(&before.verdicts)
        });
        is_known &= known.last_good.is_some_and(|known| *known == self.model.last_good);
        is_known &= known.paces.is_some_and(|known| *known == self.model.paces);
        if !is_known {
            self.model.last_good = Arc::default();
            self.model.paces = known.paces.cloned().unwrap_or_default();
            self.leaving = self.model.paces.keys().cloned().collect();
        }
        let nobody = Refused::new();
        let refused = known.refused.unwrap_or(&nobody);
        let mut changed = Difference::default();
        for entry in changes.gone.iter().filter(|entry| snapshot.at(&Key::of(&entry.service)).is_none()) {
            self.forget(&entry.service, &mut changed);
        }
        for (key, entry) in self.due(snapshot, changes, is_known, refused) {
            let service = &entry.service;
            let remembered = Remembered {
                labels: known.last_good.and_then(|known| known.get(&service.id)),
                refusal: refused.get(&service.id),
                pace: known.paces.and_then(|paces| paces.get(&service.spec.name)),
                now: snapshot.observed_at,
            };
            let (read, problems, pace) = read_one(&world, &budgets, service, &remembered);
            self.put(key, service, Reading { read, problems, pace }, &mut changed);
        }
        self.leave(snapshot);
        self.refused.clone_from(refused);
        around.verdicts = world.ground.verdicts();
        self.surroundings = Some(around);
        if !changed.is_empty() {
            changed.apply(Arc::make_mut(&mut self.model.routes), Route::order);
            Arc::make_mut(&mut self.model.needed).renew(&changed);
        }
        self.sums.renew(&changed, &self.model.routes, snapshot.engine.config_limit());
        let told = self.told.iter().filter_map(|key| self.services.get(key));
        let mut problems: Vec<_> = told.flat_map(|reading| &reading.problems).cloned().collect();
        let mut model = self.model.clone();
        match self.sums.fit(&budgets) {
            Some(bytes) => model.bytes = bytes,
            None => {
                problems.extend(budgets.fit(&mut model));
                model.needed = Arc::new(Needed::of(&model.routes));
            }
        }
        self.facts = facts;
        (model, problems)
    }

    /// The services that have to be read.
    fn due(
        &self,
        index: &SwarmIndex<'_>,
        changes: &Changes,
        is_known: bool,
        refused: &Refused,
    ) -> BTreeMap<Key, Arc<Entry>> {
        if !is_known {
            return index.entries().map(|(key, entry)| (key.clone(), Arc::clone(entry))).collect();
        }
        let entry = |key: &Key| Some((key.clone(), Arc::clone(index.at(key)?)));
        let of_refused = self.refused.keys().chain(refused.keys()).filter_map(|id| index.service(id));
        let come = changes.come.iter().map(|entry| &entry.service);
        let keys = come.map(Arc::as_ref).chain(of_refused).map(Key::of);
        keys.chain(self.restless.iter().cloned()).filter_map(|key| entry(&key)).collect()
    }

    fn put(&mut self, key: Key, service: &Service, reading: Reading, changed: &mut Difference<Route>) {
        if self.model.last_good.get(&service.id) != reading.labels() {
            let known = Arc::make_mut(&mut self.model.last_good);
            match reading.labels() {
                Some(labels) => drop(known.insert(service.id.clone(), Arc::clone(labels))),
                None => drop(known.remove(&service.id)),
            }
        }
        let name = &service.spec.name;
        match &reading.pace {
            Some(pace) => {
                if self.model.paces.get(name) != Some(pace) {
                    Arc::make_mut(&mut self.model.paces).insert(name.clone(), pace.clone());
                }
                self.leaving.remove(name);
            }
            None if self.model.paces.contains_key(name) => drop(self.leaving.insert(name.clone())),
            None => {}
        }
        let is_restless = reading.pace.as_ref().is_some_and(|pace| !pace.rests());
        set(&mut self.restless, &key, is_restless || self.leaving.contains(name));
        set(&mut self.told, &key, !reading.problems.is_empty());
        let mut reading = reading;
        let before = self.services.remove(&key);
        let before = before.as_ref().map_or(&[][..], Reading::routes);
        if before == reading.routes() {
            // What is as before stays the same value, so that what was made of it is known to hold.
            reading.read = reading.read.map(|(labels, _)| (labels, before.to_vec()));
        } else {
            changed.gone.extend_from_slice(before);
            changed.come.extend_from_slice(reading.routes());
        }
        self.services.insert(key, reading);
    }

    fn forget(&mut self, service: &Service, changed: &mut Difference<Route>) {
        let key = Key::of(service);
        set(&mut self.restless, &key, false);
        set(&mut self.told, &key, false);
        changed.gone.extend(self.services.remove(&key).iter().flat_map(Reading::routes).cloned());
        if self.model.last_good.contains_key(&service.id) {
            Arc::make_mut(&mut self.model.last_good).remove(&service.id);
        }
        if self.model.paces.contains_key(&service.spec.name) {
            self.leaving.insert(service.spec.name.clone());
        }
    }

    /// Forgets the changes of those that are gone, once they are over.
    fn leave(&mut self, snapshot: &Snapshot) {
        let over = self
            .leaving
            .iter()
            .filter(|name| self.model.paces.get(*name).is_none_or(|pace| !pace.lasts(snapshot.observed_at)));
        let over: Vec<_> = over.cloned().collect();
        for name in over {
            self.leaving.remove(&name);
            Arc::make_mut(&mut self.model.paces).remove(&name);
        }
    }
}

fn set<K: Ord + Clone>(set: &mut BTreeSet<K>, key: &K, is_in: bool) {
    if is_in {
        set.insert(key.clone());
    } else {
        set.remove(key);
    }
}
