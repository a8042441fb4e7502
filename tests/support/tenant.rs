//! A service that somebody else owns, beside a neighbour that wants nothing special.

use std::sync::LazyLock;

use interlock_core::kinds::File;
use interlock_core::labels::PREFIX;
use interlock_core::problem::{Effect, Problem, Subject};
use interlock_core::reconcile::{Inputs, reconcile_embedded};

use super::routes::{inputs, labelled};

/// Labels without the prefix, or with it.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// What is rendered, and what is told about the tenant.
pub struct Told {
    pub files: Vec<File>,
    pub problems: Vec<Problem>,
}

impl Told {
    pub fn text(&self) -> String {
        self.files.iter().map(|file| &*file.content).collect()
    }

    /// Whether anything of the tenant is served.
    pub fn serves(&self, what: &str) -> bool {
        self.text().contains(what)
    }
}

/// The neighbour alone.
pub fn neighbour() -> &'static Told {
    static ALONE: LazyLock<Told> = LazyLock::new(|| told(&world("", &[])));
    &ALONE
}

/// The neighbour and the tenant, who has a host and a port unless its labels say others.
pub fn beside(labels: Labels<'_>) -> Told {
    told(&of_tenant(labels, &[], ""))
}

/// The same as inputs, with secrets and settings.
pub fn of_tenant(labels: Labels<'_>, secrets: &[&str], toml: &str) -> Inputs {
    let mut inputs = world(toml, secrets);
    let mut service = (*inputs.snapshot.services[0]).clone();
    service.id = "tenant".into();
    service.spec.name = "tenant".to_owned();
    service.spec.labels = [("hosts", "tenant.example.com"), ("port", "8080")]
        .iter()
        .chain(labels)
        .map(|(key, value)| {
            (if key.contains("docker.") { (*key).to_owned() } else { format!("{PREFIX}{key}") }, (*value).to_owned())
        })
        .collect();
    let mut task = (*inputs.snapshot.tasks[0]).clone();
    task.id = "t-tenant".into();
    task.service = service.id.clone();
    task.networks[0].addresses = vec!["127.30.0.66".parse().unwrap()];
    inputs.snapshot.services.push(service.into());
    inputs.snapshot.tasks.push(task.into());
    inputs
}

fn world(toml: &str, secrets: &[&str]) -> Inputs {
    inputs(&labelled("shop", 8080, &[("hosts", "shop.example.com")]), &[("shop", "127.30.0.1")], secrets, toml)
}

pub fn told(inputs: &Inputs) -> Told {
    let (outcome, renderings) = reconcile_embedded(inputs);
    let files = renderings.into_values().flat_map(|rendering| rendering.result.unwrap()).collect();
    let about = |problem: &Problem| problem.subject == Subject::Service("tenant".to_owned());
    Told { files, problems: outcome.problems.into_iter().filter(about).collect() }
}

/// The tenant is not served, is told which of its labels is wrong, and the neighbour's files are those that it has alone, to the byte.
pub fn refused(label: &str, value: &str) {
    let labels = [(label, value)];
    let told = beside(&labels);
    let named = |problem: &Problem| {
        problem.effect == Effect::LeftOut && problem.label.as_deref().is_some_and(|key| key.contains(label))
    };
    assert!(told.problems.iter().any(named), "{label}={value:?}: {:?}", told.problems);
    assert!(told.files == neighbour().files, "{label}={value:?} changed the neighbour's file");
}

/// The tenant is served, and nothing is wrong.
pub fn taken(labels: Labels<'_>) -> Told {
    let told = beside(labels);
    assert_eq!(told.problems, [], "{labels:?}");
    assert!(told.serves("127.30.0.66:8080"), "{labels:?}");
    told
}
