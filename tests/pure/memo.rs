//! What was made for one decision changes no other decision.

use std::sync::Arc;

use interlock_core::labels::TABLE;
use interlock_core::reconcile::{Inputs, Memo, Outcome, reconcile_embedded_with, reconcile_with};
use interlock_core::swarm::{Labels, Service, Task, TaskState};

use crate::support::Scenario;
use crate::support::tenant::of_tenant;

const PREFIX: &str = "com.docker.lb.";

/// Those that the examples of labels name.
const SECRETS: &[&str] = &["shop.example.com.cert", "shop.example.com.key", "staff.htpasswd", "internal-ca.pem"];

const SETTINGS: &[&str] = &[
    "",
    "HostPolicy = \"stack\"\n[Extensions.default]\n",
    "[Extensions.default]\nPublishMode = \"host\"\n",
    "[Extensions.default]\nRateLimits = 2\n",
];

/// Decides with what is remembered and with nothing. Both have to come to the same.
fn decide(inputs: &Inputs, memo: &mut Memo, what: &str) -> Outcome {
    let (outcome, renderings) = reconcile_embedded_with(inputs, memo);
    let (fresh, of_fresh) = reconcile_embedded_with(inputs, &mut Memo::default());
    assert!(renderings == of_fresh, "{what}: other files");
    let (one, other) = (format!("{outcome:#?}"), format!("{fresh:#?}"));
    let differ = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    assert!(one == other, "{what}: {differ:?}");
    outcome
}

#[test]
fn a_memo_of_one_swarm_is_fine_for_any_other() {
    let mut memo = Memo::default();
    let scenarios = Scenario::all();
    for scenario in scenarios.iter().chain(scenarios.iter().rev()) {
        let inputs = scenario.inputs();
        let _ = decide(&inputs, &mut memo, &scenario.name);
        let served = reconcile_with(&inputs, &mut memo);
        assert_eq!(format!("{:?}", served.plan), format!("{:?}", interlock_core::reconcile::reconcile(&inputs).plan));
    }
}

/// Numbers that only look random.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    fn is(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

fn labels(draw: &mut Draw) -> Labels {
    let hosts = ["a.example.com", "b.example.com", "*.example.com", "a.example.com,c.example.com"];
    let mut labels: Labels = [("port", "8080"), ("hosts", hosts[draw.below(4)])]
        .map(|(key, value)| (format!("{PREFIX}{key}"), value.to_owned()))
        .into();
    for _ in 0..draw.below(4) {
        let any = &TABLE[draw.below(TABLE.len())];
        // What these ask for depends on what else there is on the Swarm and in the settings.
        let asks = ["allow", "basic_auth", "ssl_cert", "network", "rate_limit"][draw.below(5)];
        let asks = TABLE.iter().find(|label| label.key == asks).unwrap();
        let label = if draw.is(2) { any } else { asks };
        let value = match label.key {
            "network" => "n",
            _ if draw.is(8) => label.counterexample,
            _ => label.example,
        };
        labels.insert(format!("{PREFIX}{}", label.key), value.to_owned());
    }
    if draw.is(5) {
        labels.insert("com.docker.stack.namespace".to_owned(), ["red", "blue"][draw.below(2)].to_owned());
    }
    labels
}

fn change(inputs: &mut Inputs, draw: &mut Draw, number: usize) -> &'static str {
    let snapshot = &mut inputs.snapshot;
    let place = draw.below(snapshot.services.len());
    match draw.below(12) {
        0 | 1 => {
            let mut service = Service::clone(&snapshot.services[place]);
            (service.id, service.spec.name) = (format!("s{number}").as_str().into(), format!("s{number}"));
            service.spec.labels = labels(draw);
            service.created_at += std::time::Duration::from_secs(number as u64);
            let mut task = Task::clone(&snapshot.tasks[0]);
            (task.id, task.service) = (format!("t{number}").as_str().into(), service.id.clone());
            snapshot.tasks.push(task.into());
            snapshot.services.push(service.into());
            "a new service"
        }
        2 if place > 0 => {
            let gone = snapshot.services.remove(place);
            snapshot.tasks.retain(|task| task.service != gone.id);
            "a service less"
        }
        3 | 4 => {
            let service = Arc::make_mut(&mut snapshot.services[place]);
            service.previous = Some(service.spec.clone());
            service.spec.labels = labels(draw);
            "other labels"
        }
        5 => {
            let place = draw.below(snapshot.tasks.len());
            let mut task = Task::clone(&snapshot.tasks[place]);
            task.id = format!("t{number}").as_str().into();
            let address = format!("127.30.1.{}", draw.below(250)).parse().unwrap();
            task.networks.iter_mut().for_each(|network| network.addresses = vec![address]);
            snapshot.tasks.push(task.into());
            "a task more"
        }
        6 if snapshot.tasks.len() > 1 => {
            let place = 1 + draw.below(snapshot.tasks.len() - 1);
            snapshot.tasks.remove(place);
            "a task less"
        }
        7 => {
            let place = draw.below(snapshot.tasks.len());
            let task = Arc::make_mut(&mut snapshot.tasks[place]);
            task.desired = if task.desired == TaskState::Running { TaskState::Shutdown } else { TaskState::Running };
            "a task that ends or comes back"
        }
        8 => {
            let secrets = of_tenant(&[], SECRETS, "").snapshot.secrets;
            snapshot.secrets = secrets.into_iter().filter(|_| !draw.is(3)).collect();
            "other secrets"
        }
        9 => {
            let network = &mut snapshot.networks[0];
            network.subnets = [vec![], vec!["10.0.9.0/24".parse().unwrap()], vec!["10.0.9.0/28".parse().unwrap()]]
                [draw.below(3)]
            .clone();
            "another subnet"
        }
        10 => {
            inputs.settings = of_tenant(&[], &[], SETTINGS[draw.below(SETTINGS.len())]).settings;
            "other settings"
        }
        _ => {
            snapshot.engine.config_limit = [None, Some(30_000)][draw.below(2)];
            "files of another size"
        }
    }
}

#[test]
fn whatever_changes_a_memo_changes_no_decision() {
    for seed in 1..=3 {
        let mut draw = Draw(seed);
        let mut inputs = of_tenant(&[], SECRETS, SETTINGS[0]);
        let mut memo = Memo::default();
        let mut story = Vec::new();
        for number in 0..200 {
            story.push(change(&mut inputs, &mut draw, number));
            inputs.snapshot.observed_at += std::time::Duration::from_secs(draw.below(60) as u64);
            let what = format!("seed {seed}, step {number}: {}", story[story.len() - 1]);
            inputs.memory = decide(&inputs, &mut memo, &what).memory;
        }
    }
}
