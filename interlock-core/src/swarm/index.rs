//! A snapshot with what is looked up in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::{Service, Snapshot, Task};
use crate::units::shared::difference;
use crate::units::{NetworkId, ServiceId};

/// A service with its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The service.
    pub service: Arc<Service>,
    /// All of its tasks that the snapshot has, sorted by id.
    pub tasks: Vec<Arc<Task>>,
}

/// By what entries are sorted: the service's name, then its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    name: Arc<str>,
    id: ServiceId,
}

impl Key {
    /// Where a service is.
    pub(crate) fn of(service: &Service) -> Self {
        Self { name: service.spec.name.as_str().into(), id: service.id.clone() }
    }
}

/// The services of a snapshot, by name and by id, with their tasks. Made of the one of an earlier snapshot it costs what changed since.
#[derive(Debug, Clone, Default)]
pub struct SwarmIndex {
    services: Vec<Arc<Service>>,
    tasks: Vec<Arc<Task>>,
    by_id: BTreeMap<ServiceId, Arc<Service>>,
    tasks_of: BTreeMap<ServiceId, Vec<Arc<Task>>>,
    entries: BTreeMap<Key, Arc<Entry>>,
    tasks_on: BTreeMap<NetworkId, usize>,
    virtual_ips_on: BTreeMap<NetworkId, usize>,
}

impl SwarmIndex {
    /// Of this snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut index = Self::default();
        index.renew(snapshot);
        index
    }

    /// Becomes that of another snapshot. Returns the entries that are gone and those that have come: one that changed is in both.
    pub fn renew(&mut self, snapshot: &Snapshot) -> Changes {
        let services = difference(&self.services, &snapshot.services, |one, other| one.id.cmp(&other.id));
        let tasks = difference(&self.tasks, &snapshot.tasks, |one, other| one.id.cmp(&other.id));
        let of_services = services.gone.iter().chain(&services.come).map(|service| &service.id);
        let of_tasks = tasks.gone.iter().chain(&tasks.come).map(|task| &task.service);
        let touched: BTreeSet<_> = of_services.chain(of_tasks).cloned().collect();
        let mut changes = Changes::default();
        for id in &touched {
            changes.gone.extend(self.by_id.get(id).and_then(|service| self.entries.remove(&Key::of(service))));
        }
        tasks.apply(&mut self.tasks, |one, other| one.id.cmp(&other.id));
        services.apply(&mut self.services, |one, other| one.id.cmp(&other.id));
        for task in &tasks.gone {
            count(&mut self.tasks_on, task.networks.iter().map(|network| &network.network), false);
            let Some(tasks) = self.tasks_of.get_mut(&task.service) else { continue };
            tasks.retain(|other| !Arc::ptr_eq(other, task));
            if tasks.is_empty() {
                self.tasks_of.remove(&task.service);
            }
        }
        for task in &tasks.come {
            count(&mut self.tasks_on, task.networks.iter().map(|network| &network.network), true);
            let tasks = self.tasks_of.entry(task.service.clone()).or_default();
            tasks.insert(tasks.partition_point(|other| other.id <= task.id), Arc::clone(task));
        }
        for service in &services.gone {
            count(&mut self.virtual_ips_on, service.virtual_ips.iter().map(|ip| &ip.network), false);
            self.by_id.remove(&service.id);
        }
        for service in &services.come {
            count(&mut self.virtual_ips_on, service.virtual_ips.iter().map(|ip| &ip.network), true);
            self.by_id.insert(service.id.clone(), Arc::clone(service));
        }
        for id in &touched {
            let Some(service) = self.by_id.get(id) else { continue };
            let tasks = self.tasks_of.get(id).cloned().unwrap_or_default();
            let entry = Arc::new(Entry { service: Arc::clone(service), tasks });
            self.entries.insert(Key::of(service), Arc::clone(&entry));
            changes.come.push(entry);
        }
        changes
    }

    /// The service with this id.
    pub fn service(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        self.by_id.get(id)
    }

    /// The first service with this name. Swarm has no two of one name.
    pub fn named(&self, name: &str) -> Option<&Arc<Entry>> {
        let first = Key { name: name.into(), id: ServiceId::default() };
        let (key, entry) = self.entries.range((Bound::Included(first), Bound::Unbounded)).next()?;
        (&*key.name == name).then_some(entry)
    }

    /// What is at this place.
    pub(crate) fn at(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.entries.get(key)
    }

    /// The tasks of a service, sorted by id.
    pub fn tasks(&self, service: &ServiceId) -> &[Arc<Task>] {
        self.tasks_of.get(service).map_or(&[], Vec::as_slice)
    }

    /// All services with their tasks, by the services' names.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Arc<Entry>)> {
        self.entries.iter()
    }

    /// How many tasks are on a network, and how many virtual IPs.
    pub fn on_network(&self, network: &NetworkId) -> (usize, usize) {
        let on = |counts: &BTreeMap<NetworkId, usize>| counts.get(network).copied().unwrap_or_default();
        (on(&self.tasks_on), on(&self.virtual_ips_on))
    }
}

/// What changed from one index to the next.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Entries that are no more.
    pub gone: Vec<Arc<Entry>>,
    /// Entries that were not there before.
    pub come: Vec<Arc<Entry>>,
}

impl Changes {
    /// From nothing to this index.
    pub fn all(index: &SwarmIndex) -> Self {
        Self { gone: Vec::new(), come: index.entries.values().cloned().collect() }
    }
}

fn count<'a>(counts: &mut BTreeMap<NetworkId, usize>, networks: impl Iterator<Item = &'a NetworkId>, comes: bool) {
    for network in networks.collect::<BTreeSet<_>>() {
        let count = counts.entry(network.clone()).or_default();
        *count = if comes { *count + 1 } else { count.saturating_sub(1) };
    }
}
