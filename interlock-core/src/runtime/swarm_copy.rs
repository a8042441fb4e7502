//! The copy of the Swarm in memory that decisions are made from.
//!
//! Whole passes replace it, targeted reads renew parts of it. Reads overtake each other, so each gets a [`Ticket`] when it is
//! sent, and what was asked for earlier never replaces what was asked for later; nor does a lower version of a service a higher.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::read_schedule::Kind;
use crate::docker::{Observation, OwnSpecs, ServiceView};
use crate::ownership;
use crate::peers::Delivery;
use crate::reconcile::Inputs;
use crate::settings::Settings;
use crate::swarm::{Config, Network, Node, Secret, Snapshot, Task};
use crate::units::{NodeId, ServiceId};

/// The order in which reads were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Ticket(u64);

/// What one of the lists answered.
#[derive(Debug)]
pub(super) enum List {
    Nodes(Vec<Node>),
    Networks(Vec<Network>),
    Configs(Vec<Config>),
    Secrets(Vec<Secret>),
}

impl List {
    fn kind(&self) -> Kind {
        match self {
            Self::Nodes(_) => Kind::Nodes,
            Self::Networks(_) => Kind::Networks,
            Self::Configs(_) => Kind::Configs,
            Self::Secrets(_) => Kind::Secrets,
        }
    }
}

/// The copy, with all else that decisions depend on.
#[derive(Debug)]
pub(super) struct World {
    /// Shared with the thread that decides, and then alone here again.
    pub(super) inputs: Arc<Inputs>,
    /// Whole specs of our own services, for writing them back.
    pub(super) specs: OwnSpecs,
    last: Ticket,
    /// By which read each list is here, where it is later than the last whole pass.
    lists: BTreeMap<Kind, Ticket>,
    /// The same for services, those that were found to be gone included.
    services: BTreeMap<ServiceId, Ticket>,
}

impl World {
    pub(super) fn new(settings: Settings, delivery: Delivery) -> Self {
        let inputs = Inputs { delivery, ..Inputs::new(Snapshot::empty(Timestamp::UNIX_EPOCH), settings) };
        Self {
            inputs: Arc::new(inputs),
            specs: OwnSpecs::default(),
            last: Ticket::default(),
            lists: BTreeMap::new(),
            services: BTreeMap::new(),
        }
    }

    /// A read is sent now.
    pub(super) fn ticket(&mut self) -> Ticket {
        self.last = Ticket(self.last.0 + 1);
        self.last
    }

    /// Which ticket comes next: a read that starts from now on has this one or a later.
    pub(super) fn next_ticket(&self) -> Ticket {
        Ticket(self.last.0 + 1)
    }

    /// Another engine answers from now on, maybe of a Swarm that was restored from a backup: what its first whole pass finds counts,
    /// whatever versions are here.
    pub(super) fn reconnected(&mut self) {
        self.lists.clear();
        self.services.clear();
    }

    /// A whole pass came back.
    pub(super) fn all(&mut self, ticket: Ticket, observation: Observation) {
        let Observation { snapshot, mut specs, busy: _ } = observation;
        self.services.retain(|_, later| *later > ticket);
        self.lists.retain(|_, later| *later > ticket);
        let held = Arc::make_mut(&mut self.inputs);
        let old = std::mem::replace(&mut held.snapshot, snapshot);
        let new = &mut held.snapshot;

        let kept = &self.services;
        new.services.retain(|service| !kept.contains_key(&service.id));
        new.services.extend(old.services.iter().filter(|service| kept.contains_key(&service.id)).cloned());
        new.services.sort_by(|a, b| a.id.cmp(&b.id));
        new.tasks.retain(|task| !kept.contains_key(&task.service));
        new.tasks.extend(old.tasks.iter().filter(|task| kept.contains_key(&task.service)).cloned());
        new.tasks.sort_by(|a, b| a.id.cmp(&b.id));
        // What is as before stays the same value, so that what was made of it is known to hold.
        keep_equal(&mut new.services, old.services, |service| &service.id);
        keep_equal(&mut new.tasks, old.tasks, |task| &task.id);
        for id in kept.keys() {
            specs.take_from(&mut self.specs, id);
        }
        self.specs = specs;

        for kind in self.lists.keys() {
            match kind {
                Kind::Nodes => new.nodes.clone_from(&old.nodes),
                Kind::Networks => new.networks.clone_from(&old.networks),
                Kind::Configs => new.configs.clone_from(&old.configs),
                Kind::Secrets => new.secrets.clone_from(&old.secrets),
                Kind::All | Kind::Services | Kind::NodeTasks => {}
            }
        }
    }

    /// A list came back. Whether something in it is new.
    pub(super) fn list(&mut self, ticket: Ticket, list: List) -> bool {
        let kind = list.kind();
        if self.lists.get(&kind).is_some_and(|later| *later > ticket) {
            return false;
        }
        self.lists.insert(kind, ticket);
        let snapshot = &mut Arc::make_mut(&mut self.inputs).snapshot;
        match list {
            List::Nodes(nodes) => replace(&mut snapshot.nodes, nodes),
            List::Networks(networks) => replace(&mut snapshot.networks, networks),
            List::Configs(configs) => replace(&mut snapshot.configs, configs),
            List::Secrets(secrets) => replace(&mut snapshot.secrets, secrets),
        }
    }

    /// Services were asked for, and those that exist answered. Whether something about them is new.
    pub(super) fn services(
        &mut self,
        ticket: Ticket,
        asked: &BTreeSet<ServiceId>,
        views: &BTreeMap<ServiceId, ServiceView>,
    ) -> bool {
        let snapshot = &self.inputs.snapshot;
        let held: BTreeMap<_, _> = snapshot.services().map(|service| (&service.id, service.version)).collect();
        let outdated = |id: &ServiceId| {
            let overtaken = self.services.get(id).is_some_and(|later| *later > ticket);
            let older = views.get(id).zip(held.get(id)).is_some_and(|(view, version)| view.service.version < *version);
            overtaken || older
        };
        let asked: BTreeSet<_> = asked.iter().filter(|id| !outdated(id)).cloned().collect();
        let answered = || asked.iter().filter_map(|id| views.get(id));
        let services: Vec<_> = answered().map(|view| Arc::new(view.service.clone())).collect();
        let mut tasks: Vec<_> = answered().flat_map(|view| view.tasks.iter().cloned().map(Arc::new)).collect();
        tasks.sort_by(|a, b| a.id.cmp(&b.id));
        for id in &asked {
            self.services.insert(id.clone(), ticket);
            self.specs.put(id, views.get(id));
        }

        let same_services = snapshot.services.iter().filter(|service| asked.contains(&service.id)).eq(&services);
        // Of others a targeted read tells only what is wanted. What ended stays until the next whole pass.
        let is_kept = |task: &Task| {
            let is_others = |view: &ServiceView| !ownership::is_ours(&view.service.spec.labels);
            let is_read = asked.contains(&task.service);
            !is_read
                || (task.ended_at.is_some() && !task.is_wanted() && views.get(&task.service).is_some_and(is_others))
        };
        let same_tasks = snapshot.tasks.iter().filter(|task| !is_kept(task)).eq(&tasks);
        if same_services && same_tasks {
            return false;
        }
        let snapshot = &mut Arc::make_mut(&mut self.inputs).snapshot;
        snapshot.services.retain(|service| !asked.contains(&service.id));
        snapshot.services.extend(services);
        snapshot.services.sort_by(|a, b| a.id.cmp(&b.id));
        let before: Vec<_> = snapshot.tasks.extract_if(.., |task| !is_kept(task)).collect();
        keep_equal(&mut tasks, before, |task| &task.id);
        snapshot.tasks.extend(tasks);
        snapshot.tasks.sort_by(|a, b| a.id.cmp(&b.id));
        true
    }

    /// Which services have to be read because of what was found on these nodes: those whose tasks there are others now, and
    /// our own, since a list by node tells less of those.
    pub(super) fn moved(&self, nodes: &BTreeSet<NodeId>, tasks: &[Task]) -> BTreeSet<ServiceId> {
        let snapshot = &self.inputs.snapshot;
        let ours: BTreeSet<_> =
            snapshot.services().filter(|service| ownership::is_ours(&service.spec.labels)).map(|s| &s.id).collect();
        let on_nodes = |task: &&Task| task.node.as_ref().is_some_and(|node| nodes.contains(node));
        let before: BTreeMap<_, _> = snapshot.tasks().filter(on_nodes).map(|task| (&task.id, task)).collect();
        let after: BTreeMap<_, _> = tasks.iter().map(|task| (&task.id, task)).collect();
        let differs = |task: &Task| ours.contains(&task.service) || before.get(&task.id) != after.get(&task.id);
        let all = before.values().chain(after.values());
        all.filter(|task| differs(task)).map(|task| task.service.clone()).collect()
    }
}

/// Puts what is here already in the place of what equals it.
fn keep_equal<T: PartialEq, K: Ord>(new: &mut [Arc<T>], old: Vec<Arc<T>>, key: impl Fn(&T) -> &K) {
    let old: BTreeMap<_, _> = old.iter().map(|it| (key(it), it)).collect();
    for it in new {
        if let Some(same) = old.get(key(it)).filter(|same| **same == it) {
            *it = Arc::clone(same);
        }
    }
}

/// Whether the two differ.
fn replace<T: PartialEq>(old: &mut T, new: T) -> bool {
    let changed = *old != new;
    *old = new;
    changed
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::swarm::Service;

    fn service(id: &str, version: u64) -> Service {
        let json = json!({"id": id, "version": version, "created_at": "2026-01-01T00:00:00Z", "spec": {"name": id}});
        serde_json::from_value(json).unwrap()
    }

    fn task(id: &str, service: &str, node: &str) -> Task {
        let json = json!({"id": id, "service": service, "node": node, "desired": "running", "state": "running"});
        serde_json::from_value(json).unwrap()
    }

    fn secret(name: &str) -> Secret {
        serde_json::from_value(json!({"id": name, "name": name})).unwrap()
    }

    fn observation(services: Vec<Service>, tasks: Vec<Task>) -> Observation {
        let (services, tasks) =
            (services.into_iter().map(Arc::new).collect(), tasks.into_iter().map(Arc::new).collect());
        let snapshot = Snapshot { services, tasks, ..Snapshot::empty(Timestamp::UNIX_EPOCH) };
        Observation { snapshot, specs: OwnSpecs::default(), busy: Duration::ZERO }
    }

    fn answer(views: Vec<(Service, Vec<Task>)>) -> BTreeMap<ServiceId, ServiceView> {
        let view = |(service, tasks): (Service, _)| (service.id.clone(), ServiceView::for_tests(service, tasks));
        views.into_iter().map(view).collect()
    }

    fn ids(ids: &[&str]) -> BTreeSet<ServiceId> {
        ids.iter().map(|id| ServiceId::from(*id)).collect()
    }

    /// The services with their versions and the tasks, as they are held.
    fn held(world: &World) -> Value {
        let Snapshot { services, tasks, .. } = &world.inputs.snapshot;
        let services: Vec<_> = services.iter().map(|service| format!("{}@{}", service.id, service.version)).collect();
        json!([services, tasks.iter().map(|task| task.id.as_str()).collect::<Vec<_>>()])
    }

    fn world() -> World {
        let mut world = World::new(Settings::default(), Delivery::default());
        let ticket = world.ticket();
        let services = vec![service("a", 1), service("b", 1)];
        world.all(ticket, observation(services, vec![task("a1", "a", "n"), task("b1", "b", "n")]));
        world
    }

    #[test]
    fn a_targeted_read_renews_its_services_alone() {
        let mut world = world();
        let ticket = world.ticket();
        let views = answer(vec![(service("a", 2), vec![task("a2", "a", "n")])]);
        assert!(world.services(ticket, &ids(&["a"]), &views));
        assert_eq!(held(&world), json!([["a@2", "b@1"], ["a2", "b1"]]));
        let ticket = world.ticket();
        assert!(!world.services(ticket, &ids(&["a"]), &views), "nothing new");
        let ticket = world.ticket();
        assert!(world.services(ticket, &ids(&["a", "c"]), &BTreeMap::new()), "gone");
        assert_eq!(held(&world), json!([["b@1"], ["b1"]]));
    }

    #[test]
    fn an_old_answer_never_replaces_a_newer_one() {
        let mut world = world();
        let pass = world.ticket();
        let early = world.ticket();
        let late = world.ticket();
        let new = answer(vec![(service("a", 3), vec![task("a3", "a", "n")])]);
        assert!(world.services(late, &ids(&["a", "b"]), &new));
        assert!(!world.services(early, &ids(&["a", "b"]), &answer(vec![(service("b", 1), vec![])])));
        // The pass was sent before, and comes back after them: it knows nothing of the removal of b.
        world.all(
            pass,
            observation(vec![service("a", 1), service("b", 1), service("c", 1)], vec![task("b1", "b", "n")]),
        );
        assert_eq!(held(&world), json!([["a@3", "c@1"], ["a3"]]));
        let pass = world.ticket();
        world.all(pass, observation(vec![service("a", 3)], vec![]));
        assert_eq!(held(&world), json!([["a@3"], []]));
    }

    #[test]
    fn a_lower_version_is_an_old_answer_until_the_next_connection() {
        let mut world = world();
        let ticket = world.ticket();
        world.services(ticket, &ids(&["a"]), &answer(vec![(service("a", 9), vec![])]));
        let ticket = world.ticket();
        assert!(!world.services(ticket, &ids(&["a"]), &answer(vec![(service("a", 8), vec![])])));
        world.reconnected();
        let pass = world.ticket();
        world.all(pass, observation(vec![service("a", 2)], vec![]));
        assert_eq!(held(&world), json!([["a@2"], []]));
    }

    #[test]
    fn a_list_that_was_asked_for_later_stays() {
        let mut world = world();
        let early = world.ticket();
        let late = world.ticket();
        assert!(world.list(late, List::Secrets(vec![secret("new")])));
        assert!(!world.list(early, List::Secrets(vec![])));
        world.all(early, observation(vec![], vec![]));
        assert_eq!(world.inputs.snapshot.secrets, [secret("new")]);
        let ticket = world.ticket();
        assert!(!world.list(ticket, List::Secrets(vec![secret("new")])), "nothing new");
    }

    #[test]
    fn a_node_names_the_services_that_moved() {
        let world = world();
        let nodes = BTreeSet::from([NodeId::from("n")]);
        let same = [task("a1", "a", "n"), task("b1", "b", "n")];
        assert_eq!(world.moved(&nodes, &same), ids(&[]));
        assert_eq!(world.moved(&nodes, &same[1..]), ids(&["a"]));
        assert_eq!(world.moved(&nodes, &[task("a1", "a", "n"), task("b2", "b", "n")]), ids(&["b"]));
        assert_eq!(world.moved(&nodes, &[]), ids(&["a", "b"]));
    }
}
