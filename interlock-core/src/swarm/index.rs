//! A snapshot with what is looked up in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Deref};
use std::sync::Arc;

use super::{Mode, PublishMode, Service, Snapshot, Task};
use crate::units::shared::difference;
use crate::units::{NetworkId, SecretId, ServiceId};

/// A service with its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The service.
    pub service: Arc<Service>,
    /// All of its tasks that the snapshot has, sorted by id.
    pub tasks: Vec<Arc<Task>>,
}

/// With what the labels begin by which interlock tells what is its own.
const MARK: &str = "com.docker.interlock.";

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

/// A snapshot with the look-ups that there are. It is made once for a decision, and passed on.
#[derive(Debug, Clone, Copy)]
pub struct SwarmIndex<'a> {
    snapshot: &'a Snapshot,
    directory: &'a Directory,
}

impl Deref for SwarmIndex<'_> {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        self.snapshot
    }
}

impl<'a> SwarmIndex<'a> {
    /// Of a snapshot and its directory.
    pub fn new(snapshot: &'a Snapshot, directory: &'a Directory) -> Self {
        Self { snapshot, directory }
    }

    /// The service with this id.
    pub fn service(&self, id: &ServiceId) -> Option<&'a Service> {
        self.directory.by_id.get(id).map(Arc::as_ref)
    }

    /// The service with this name: Swarm has no two of one name.
    pub fn named(&self, name: &str) -> Option<&'a Service> {
        let first = Key { name: name.into(), id: ServiceId::default() };
        let (key, entry) = self.directory.entries.range((Bound::Included(first), Bound::Unbounded)).next()?;
        (&*key.name == name).then_some(&*entry.service)
    }

    /// The tasks of a service, sorted by id.
    pub fn tasks_of(&self, service: &ServiceId) -> impl Iterator<Item = &'a Task> + Clone + use<'a> {
        self.directory.tasks(service).iter().map(Arc::as_ref)
    }

    /// The services that are labelled as interlock's, whoever did that, sorted by name.
    pub fn labelled(&self) -> impl Iterator<Item = &'a Service> + use<'a> {
        self.directory.labelled.values().map(|entry| &*entry.service)
    }

    /// The services that publish ports of their nodes, sorted by name.
    pub fn with_host_ports(&self) -> impl Iterator<Item = &'a Service> + use<'a> {
        self.directory.with_host_ports.values().map(|entry| &*entry.service)
    }

    /// The services that mount a secret, sorted by name.
    pub fn with_secret(&self, secret: &SecretId) -> impl Iterator<Item = &'a Service> + use<'a> {
        self.directory.with_secret.get(secret).into_iter().flat_map(|of| of.values()).map(|entry| &*entry.service)
    }

    /// The services that are attached to a network, or were before their last update, sorted by name.
    pub fn on_network(&self, network: &NetworkId) -> impl Iterator<Item = &'a Service> + use<'a> {
        self.directory.on_network.get(network).into_iter().flat_map(|of| of.values()).map(|entry| &*entry.service)
    }

    /// The services of which not all tasks run that Swarm wants, and those that want none, with their tasks, sorted by name.
    pub fn unsteady(&self) -> impl Iterator<Item = &'a Entry> + use<'a> {
        self.directory.unsteady.values().map(Arc::as_ref)
    }

    /// How many tasks are on a network, and how many virtual IPs.
    pub fn addresses_on(&self, network: &NetworkId) -> (usize, usize) {
        let on = |counts: &BTreeMap<NetworkId, usize>| counts.get(network).copied().unwrap_or_default();
        (on(&self.directory.tasks_on), on(&self.directory.virtual_ips_on))
    }

    /// The service at this place, with its tasks.
    pub(crate) fn at(&self, key: &Key) -> Option<&'a Arc<Entry>> {
        self.directory.entries.get(key)
    }

    /// All services with their tasks, sorted by name.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a Key, &'a Arc<Entry>)> + use<'a> {
        self.directory.entries.iter()
    }
}

type Entries = BTreeMap<Key, Arc<Entry>>;

/// The services of a snapshot, by what they are looked up by, with their tasks. Made of the one of an earlier snapshot it costs what changed
/// since.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    services: Vec<Arc<Service>>,
    tasks: Vec<Arc<Task>>,
    by_id: BTreeMap<ServiceId, Arc<Service>>,
    tasks_of: BTreeMap<ServiceId, Vec<Arc<Task>>>,
    entries: Entries,
    labelled: Entries,
    unsteady: Entries,
    with_host_ports: Entries,
    with_secret: BTreeMap<SecretId, Entries>,
    on_network: BTreeMap<NetworkId, Entries>,
    tasks_on: BTreeMap<NetworkId, usize>,
    virtual_ips_on: BTreeMap<NetworkId, usize>,
}

impl Directory {
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
        for entry in &changes.gone {
            self.file(entry, false);
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
        for entry in &changes.come {
            self.file(entry, true);
        }
        changes
    }

    /// Files an entry under all that it is looked up by, or takes it out.
    fn file(&mut self, entry: &Arc<Entry>, comes: bool) {
        let Entry { service, .. } = &**entry;
        let key = Key::of(service);
        let put = |entries: &mut Entries| match comes {
            true => drop(entries.insert(key.clone(), Arc::clone(entry))),
            false => drop(entries.remove(&key)),
        };
        if service.spec.labels.range(MARK.to_owned()..).next().is_some_and(|(label, _)| label.starts_with(MARK)) {
            put(&mut self.labelled);
        }
        if !entry.is_steady() {
            put(&mut self.unsteady);
        }
        if service.spec.ports.iter().any(|port| port.mode == PublishMode::Host) {
            put(&mut self.with_host_ports);
        }
        for secret in &service.spec.secrets {
            put(self.with_secret.entry(secret.clone()).or_default());
        }
        let previous = service.previous.iter().flat_map(|spec| &spec.networks);
        for network in service.spec.networks.iter().chain(previous) {
            put(self.on_network.entry(network.clone()).or_default());
        }
    }

    fn tasks(&self, service: &ServiceId) -> &[Arc<Task>] {
        self.tasks_of.get(service).map_or(&[], Vec::as_slice)
    }
}

impl Entry {
    /// Whether as many tasks run as are wanted, and some are.
    fn is_steady(&self) -> bool {
        let wanted = self.tasks.iter().filter(|task| task.is_wanted());
        let is_met = match self.service.spec.mode {
            Mode::Replicated(replicas) => replicas > 0 && wanted.clone().count() as u64 >= replicas,
            Mode::Global => wanted.clone().next().is_some(),
            Mode::Job => true,
        };
        is_met && wanted.clone().all(|task| task.serves())
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
    /// From nothing to this directory.
    pub fn all(directory: &Directory) -> Self {
        Self { gone: Vec::new(), come: directory.entries.values().cloned().collect() }
    }
}

fn count<'a>(counts: &mut BTreeMap<NetworkId, usize>, networks: impl Iterator<Item = &'a NetworkId>, comes: bool) {
    for network in networks.collect::<BTreeSet<_>>() {
        let count = counts.entry(network.clone()).or_default();
        *count = if comes { *count + 1 } else { count.saturating_sub(1) };
    }
}
