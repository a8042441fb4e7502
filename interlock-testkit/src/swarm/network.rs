//! Networks and their addresses.

use super::objects::{Json, Network};
use super::pool::Pool;
use super::{Kind, Swarm, TaskState, names, text};
use crate::error::{ApiError, Code};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::OnceLock;

impl Swarm {
    /// `POST /networks/create`. Answers the id. A subnet that is not asked for is the next /24 of 10.0.0.0/8.
    pub fn create_network(&mut self, body: Value) -> Result<String, ApiError> {
        let name = text(&body, "Name").to_owned();
        if name.is_empty() {
            return Err(ApiError::new(500, "invalid name: "));
        }
        if self.names.contains_key(&(Kind::Network, name.clone())) {
            return Err(ApiError::new(409, format!("network with name {name} already exists")));
        }
        names::dns_name(&name)?;
        let overlay = text(&body, "Driver") == "overlay";
        let ingress = body["Ingress"].as_bool().unwrap_or(false);
        if ingress && self.networks.values().any(|n| n.ingress) {
            return Err(ApiError::rpc(Code::AlreadyExists, "ingress network is already present"));
        }
        let asked = body["IPAM"]["Config"][0]["Subnet"].as_str();
        let pool = match asked {
            Some(cidr) => Pool::parse(cidr)
                .ok_or_else(|| ApiError::new(500, format!("Invalid subnet {cidr} : invalid CIDR address: {cidr}")))?,
            None => {
                let base = u32::from(Ipv4Addr::new(10, 0, 0, 0)) + self.next_subnet * 256;
                self.next_subnet += 1;
                Pool::new(base, 24)
            }
        };
        Ok(self.insert_network(body, overlay, ingress, Some(pool)))
    }

    /// `DELETE /networks/{id}`. Refused while a service's spec or a live task refers to it: **our** attachment blocks a tenant's removal.
    pub fn remove_network(&mut self, key: &str) -> Result<(), ApiError> {
        let id = self.resolve(Kind::Network, &self.networks, key)?;
        let Some(network) = self.networks.get(&id) else { return Err(ApiError::not_found("network", key)) };
        if network.predefined {
            let message = format!("{} is a pre-defined network and cannot be removed", network.name());
            return Err(ApiError::new(403, message));
        }
        let refused = |by: &str, user: &str| {
            Err(ApiError::rpc(Code::FailedPrecondition, format!("network {id} is in use by {by} {user}")))
        };
        if let Some(user) =
            self.services.values().find(|s| super::spec::network_targets(&s.spec).contains(&id.as_str()))
        {
            return refused("service", &user.meta.id);
        }
        let attached = |t: &&super::Task| t.attachments.iter().any(|a| a.network == id);
        let live = |t: &&super::Task| t.desired <= TaskState::Running && t.state <= TaskState::Running;
        if let Some(user) = self.tasks.values().filter(live).find(attached).filter(|_| !network.ingress) {
            return refused("task", &user.meta.id);
        }
        let name = network.name().to_owned();
        let swarm_wide = network.scope == "swarm";
        self.networks.remove(&id);
        self.names.remove(&(Kind::Network, name.clone()));
        self.index += 1;
        if swarm_wide {
            self.emit("network", "remove", &id, &[("name", name)]);
        }
        Ok(())
    }

    fn insert_network(&mut self, body: Value, swarm_wide: bool, ingress: bool, pool: Option<Pool>) -> String {
        let predefined = pool.is_none();
        let meta = self.new_meta();
        let id = meta.id.clone();
        let network = Network {
            meta,
            scope: if swarm_wide { "swarm" } else { "local" },
            ingress,
            predefined,
            pool,
            json: Json::default(),
            in_task: OnceLock::new(),
            body,
        };
        let name = network.name().to_owned();
        self.names.insert((Kind::Network, name.clone()), id.clone());
        self.networks.insert(id.clone(), network);
        if swarm_wide {
            self.emit("network", "create", &id, &[("name", name)]);
        }
        id
    }

    pub(super) fn add_predefined_networks(&mut self) {
        for (name, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null"), ("docker_gwbridge", "bridge")]
        {
            self.insert_network(json!({ "Name": name, "Driver": driver }), false, false, None);
        }
        let ingress = json!({ "Name": "ingress", "Driver": "overlay" });
        let pool = Pool::new(u32::from(Ipv4Addr::new(10, 0, 0, 0)), 24);
        self.next_subnet = 1;
        self.insert_network(ingress, true, true, Some(pool));
    }

    pub(super) fn ingress_id(&self) -> Option<String> {
        self.networks.values().find(|n| n.ingress).map(|n| n.meta.id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_29_has_five_addresses_and_reuses_them_late() {
        let mut pool = Pool::parse("10.9.0.0/29").unwrap();
        let all: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(all, ["10.9.0.2/29", "10.9.0.3/29", "10.9.0.4/29", "10.9.0.5/29", "10.9.0.6/29"]);
        pool.give_back("10.9.0.3/29");
        assert_eq!(pool.take().unwrap(), "10.9.0.3/29");
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn a_slash_24_ends_at_253_endpoints() {
        let mut pool = Pool::parse("10.9.0.0/24").unwrap();
        assert_eq!(std::iter::from_fn(|| pool.take()).count(), 253);
    }

    #[test]
    fn a_network_in_use_cannot_be_removed() {
        let mut swarm = Swarm::three_nodes().overlay("demo");
        let service = swarm.service("shop").network("demo").create();
        let refusal = swarm.remove_network("demo").unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.message.ends_with(&format!("is in use by service {service}")), "{refusal}");
        swarm.settle();
        swarm.remove_service("shop").unwrap();
        swarm.settle();
        swarm.remove_network("demo").unwrap();
        assert_eq!(swarm.remove_network("demo").unwrap_err().message, "network demo not found");
    }

    #[test]
    fn network_names_are_unique_and_dns_labels() {
        let mut swarm = Swarm::new().overlay("demo");
        let twice = swarm.create_network(json!({ "Name": "demo", "Driver": "overlay" })).unwrap_err();
        assert_eq!((twice.status, &*twice.message), (409, "network with name demo already exists"));
        assert_eq!(swarm.create_network(json!({ "Name": "de mo", "Driver": "overlay" })).unwrap_err().status, 400);
    }

    #[test]
    fn dockers_own_networks_cannot_be_removed() {
        assert_eq!(Swarm::new().remove_network("bridge").unwrap_err().status, 403);
    }
}
