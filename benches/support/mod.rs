//! A Swarm of any size as a value, without a server in between.

use interlock_core::reconcile::Inputs;
use interlock_core::settings::Settings;
use interlock_core::swarm::{
    Engine, Labels, Network, Node, NodeState, Role, Service, ServiceSpec, Snapshot, Task, TaskNetwork, TaskState,
};
use jiff::Timestamp;

/// Services `s0` and so on, each with a host of its own and so many running tasks, all on one overlay network.
pub(crate) fn inputs(services: u32, tasks_each: u32) -> Inputs {
    Inputs::new(snapshot(services, tasks_each), Settings::default())
}

fn snapshot(services: u32, tasks_each: u32) -> Snapshot {
    let now = Timestamp::UNIX_EPOCH;
    let network = Network {
        id: id("n", 0).as_str().into(),
        name: "apps".to_owned(),
        driver: "overlay".to_owned(),
        ingress: false,
        labels: Labels::new(),
        subnets: Vec::new(),
        created_at: None,
    };
    let node = Node {
        id: id("w", 0).as_str().into(),
        hostname: "worker".to_owned(),
        role: Role::Worker,
        availability: Default::default(),
        state: NodeState::Ready,
        address: None,
        labels: Labels::new(),
        engine_labels: Labels::new(),
        platform: None,
    };
    let engine = Engine { version: "20.10.24".to_owned(), api_version: "1.41".to_owned(), ..Engine::default() };
    let tasks =
        (0..services).flat_map(|service| (0..tasks_each).map(move |slot| (service, service * tasks_each + slot)));
    Snapshot {
        services: (0..services).map(|number| service(number, &network, now).into()).collect(),
        tasks: tasks.map(|(service, number)| task(service, number, &network, &node).into()).collect(),
        networks: vec![network],
        nodes: vec![node],
        engine,
        ..Snapshot::empty(now)
    }
}

fn service(number: u32, network: &Network, now: Timestamp) -> Service {
    let labels = [("hosts", format!("s{number}.example.com")), ("port", "8080".into()), ("network", "apps".into())];
    Service {
        id: id("s", number).as_str().into(),
        version: 10,
        created_at: now,
        spec: ServiceSpec {
            name: format!("s{number}"),
            labels: labels.map(|(key, value)| (format!("com.docker.lb.{key}"), value)).into(),
            networks: vec![network.id.clone()],
            ..ServiceSpec::default()
        },
        previous: None,
        virtual_ips: Vec::new(),
        update: None,
    }
}

fn task(service: u32, number: u32, network: &Network, node: &Node) -> Task {
    let address = std::net::Ipv4Addr::from(0x0a40_0000 + number);
    Task {
        id: id("t", number).as_str().into(),
        service: id("s", service).as_str().into(),
        node: Some(node.id.clone()),
        desired: TaskState::Running,
        state: TaskState::Running,
        networks: vec![TaskNetwork { network: network.id.clone(), addresses: vec![address.into()] }],
        host_ports: Vec::new(),
        configs: Vec::new(),
        error: String::new(),
        ended_at: None,
    }
}

/// As long as Docker's are.
fn id(kind: &str, number: u32) -> String {
    format!("{kind}{number:024}")
}
