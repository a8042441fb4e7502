//! What `GET /events` tells: service, node, network, secret and config, never tasks (docker-facts, section 5).

use super::{Swarm, mix};
use crate::script::EventFaults;
use serde_json::{Map, Value, json};

/// One event, as a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `service`, `node`, `network`, `secret` or `config`.
    pub kind: &'static str,
    /// The line, without its end.
    pub line: String,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    delivered: Vec<Event>,
    held: Option<Event>,
    emitted: u64,
}

impl Log {
    fn deliver(&mut self, event: Event, faults: EventFaults) {
        self.emitted += 1;
        let hit = |salt: u64, percent: u8| mix(faults.seed ^ mix(self.emitted * 8 + salt)) % 100 < u64::from(percent);
        let (drop, twice, swap) = (hit(0, faults.drop), hit(1, faults.duplicate), hit(2, faults.swap));
        if faults.deaf || drop {
            return;
        }
        if swap && self.held.is_none() {
            self.held = Some(event);
            return;
        }
        if twice {
            self.delivered.push(event.clone());
        }
        self.delivered.push(event);
        self.delivered.extend(self.held.take());
    }
}

impl Swarm {
    /// Every event that a client that never lost its stream has been sent so far.
    pub fn events(&self) -> &[Event] {
        &self.events.delivered
    }

    pub(super) fn emit(&mut self, kind: &'static str, action: &str, id: &str, attributes: &[(&str, String)]) {
        let attributes: Map<String, Value> =
            attributes.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect();
        let at = self.timestamp();
        let line = json!({
            "Type": kind,
            "Action": action,
            "Actor": { "ID": id, "Attributes": attributes },
            "scope": "swarm",
            "time": at.as_second(),
            "timeNano": i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX),
        });
        self.events.deliver(Event { kind, line: line.to_string() }, self.script.events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(faults: EventFaults) -> Vec<String> {
        let mut swarm = Swarm::new();
        swarm.script.events = faults;
        for n in 0..100 {
            swarm.config(&format!("c{n}"), "x");
        }
        swarm.events().iter().map(|event| event.line.clone()).collect()
    }

    #[test]
    fn a_lossy_bus_is_lossy_in_the_same_way_for_the_same_seed() {
        let faults = EventFaults { seed: 7, drop: 30, duplicate: 20, swap: 20, deaf: false };
        assert_eq!(lines(faults), lines(faults));
        assert_ne!(lines(faults), lines(EventFaults { seed: 8, ..faults }));
        assert_ne!(lines(faults), lines(EventFaults::default()));
        let before = Swarm::new().events().len();
        assert_eq!(lines(EventFaults { deaf: true, ..faults }).len(), before);
    }

    #[test]
    fn tasks_make_no_events() {
        let mut swarm = Swarm::three_nodes();
        swarm.service("web").replicas(3).create();
        swarm.settle();
        let before = swarm.events().len();
        swarm.fail_one("web");
        swarm.settle();
        assert_eq!(swarm.events().len(), before);
    }
}
