//! Swarms of a few services at addresses of this machine, and what applications behind nginx say.

use interlock_core::kinds::File;
use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_core::swarm::state::State;

use super::settings;

/// Proxies that see the addresses of clients.
pub const HOST_MODE: &str = "[Extensions.default]\nPublishMode = \"host\"\n";

/// A Swarm whose services run at these addresses, with these secrets. Without settings its proxies are published on their hosts.
pub fn inputs(services: &str, tasks: &[(&str, &str)], secrets: &[&str], toml: &str) -> Inputs {
    let mut text =
        "snapshot:\n  observed_at: 2026-01-01T12:00:00Z\n  networks: [{ id: n, name: n, driver: overlay }]\n"
            .to_owned();
    if !secrets.is_empty() {
        text += "  secrets:\n";
        text += &secrets.iter().map(|name| format!("    - {{ id: {name}, name: {name} }}\n")).collect::<String>();
    }
    text += &format!("  services:\n{services}  tasks:\n");
    for (i, (service, address)) in tasks.iter().enumerate() {
        text += &format!(
            "    - {{ id: t{i}, service: {service}, desired: running, state: running, networks: [{{ network: n, addresses: [{address}] }}] }}\n"
        );
    }
    let snapshot = State::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")).snapshot;
    Inputs::new(snapshot, settings(if toml.is_empty() { HOST_MODE } else { toml }))
}

/// What is rendered for it.
pub fn rendered(services: &str, tasks: &[(&str, &str)]) -> Vec<File> {
    rendered_with(services, tasks, &[], "")
}

/// The same with secrets and settings.
pub fn rendered_with(services: &str, tasks: &[(&str, &str)], secrets: &[&str], toml: &str) -> Vec<File> {
    let (outcome, renderings) = reconcile_embedded(&inputs(services, tasks, secrets, toml));
    assert_eq!(outcome.problems, []);
    renderings.into_values().next().unwrap().result.unwrap()
}

pub fn service(name: &str, port: u16, labels: &str) -> String {
    format!(
        "    - {{ id: {name}, version: 1, created_at: 2026-01-01T00:00:00Z, spec: {{ name: {name}, networks: [n], labels: {{ com.docker.lb.port: \"{port}\", {labels} }} }} }}\n"
    )
}

/// A service with these labels, without what all begin with.
pub fn labelled(name: &str, port: u16, labels: &[(&str, &str)]) -> String {
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("com.docker.lb.{key}: {value:?}")).collect();
    service(name, port, &labels.join(", "))
}

/// The application that answered.
pub fn app(answer: &str) -> Option<&str> {
    answer.split_once("app=").and_then(|(_, rest)| rest.lines().next())
}

pub fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}
