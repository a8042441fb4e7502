//! Virtual addresses and published ports of services, addresses of tasks.

use super::objects::Attachment;
use super::{Swarm, spec, text};
use serde_json::Value;

impl Swarm {
    /// Gives a service the virtual addresses and ports that its spec asks for, keeping those it has. True if anything changed: the allocator
    /// then writes the service once more.
    pub(super) fn allocate_endpoint(&mut self, id: &str) -> bool {
        let ingress = self.ingress_id();
        let Some(service) = self.services.get(id) else { return false };
        let spec = service.spec.clone();
        let before = (service.vips.clone(), service.ports.clone());
        let mut wanted: Vec<String> = Vec::new();
        if spec::wants_vip(&spec) {
            let meshed = spec::ports_of_mode(&spec, "ingress").next().is_some();
            wanted.extend(ingress.filter(|_| meshed));
            let own = spec::network_targets(&spec).into_iter().filter(|target| self.has_pool(target));
            wanted.extend(own.map(str::to_owned));
        }
        let (keep, drop): (Vec<_>, Vec<_>) = before.0.iter().cloned().partition(|(net, _)| wanted.contains(net));
        for (network, address) in drop {
            self.give_back(&network, &address);
        }
        let mut vips = Vec::new();
        for network in wanted {
            match keep.iter().find(|(net, _)| *net == network) {
                Some(kept) => vips.push(kept.clone()),
                None => vips.extend(self.take_address(&network).map(|address| (network, address))),
            }
        }
        let ports = self.allocate_ports(&spec, &before.1, id);
        let Some(service) = self.services.get_mut(id) else { return false };
        service.vips = vips;
        service.ports = ports;
        (&service.vips, &service.ports) != (&before.0, &before.1)
    }

    /// Ports of the mesh without a number get one from 30000 up; host ports get theirs on the node.
    fn allocate_ports(&self, spec: &Value, before: &[Value], id: &str) -> Vec<Value> {
        if spec::ports(spec).next().is_none() {
            return Vec::new();
        }
        let mut taken: Vec<u64> = self
            .services
            .values()
            .filter(|s| s.meta.id != id)
            .flat_map(|s| s.ports.iter().filter_map(|port| port["PublishedPort"].as_u64()))
            .collect();
        let mut ports = Vec::new();
        for port in spec::ports(spec) {
            let mut port = port.clone();
            if port.get("PublishedPort").is_none() && text(&port, "PublishMode") == "ingress" {
                let same =
                    |old: &&Value| old["TargetPort"] == port["TargetPort"] && old["Protocol"] == port["Protocol"];
                let kept = before.iter().find(same).and_then(|old| old["PublishedPort"].as_u64());
                let number = kept.or_else(|| (30_000..=32_767).find(|n| !taken.contains(n))).unwrap_or_default();
                taken.push(number);
                port["PublishedPort"] = number.into();
            }
            ports.push(port);
        }
        ports
    }

    pub(super) fn release_endpoint(&mut self, vips: Vec<(String, String)>) {
        for (network, address) in vips {
            self.give_back(&network, &address);
        }
    }

    /// Tries to give every new task its addresses; one that gets none stays *new*.
    pub(super) fn give_addresses(&mut self) -> bool {
        let mut changed = false;
        for id in self.without_address.clone() {
            changed |= self.try_addresses(&id);
        }
        changed
    }

    fn try_addresses(&mut self, id: &str) -> bool {
        let Some(task) = self.tasks.get(id) else { return self.without_address.remove(id) };
        let spec = task.spec.clone();
        let mut targets: Vec<String> = Vec::new();
        if spec::ports_of_mode(&spec, "ingress").next().is_some() {
            targets.extend(self.ingress_id());
        }
        targets.extend(spec::network_targets(&spec).into_iter().map(str::to_owned));
        let mut attachments = Vec::new();
        for network in targets {
            let mut addresses = Vec::new();
            if self.has_pool(&network) {
                let Some(address) = self.take_address(&network) else {
                    for attachment in attachments {
                        self.release_attachment(&attachment);
                    }
                    return false;
                };
                addresses.push(address);
            }
            attachments.push(Attachment { network, addresses });
        }
        self.without_address.remove(id);
        let Some(task) = self.tasks.get_mut(id) else { return false };
        task.attachments = attachments;
        self.kick(id);
        true
    }

    /// Addresses go back to the network as soon as the container is gone, while the dead task still shows them.
    pub(super) fn release_task(&mut self, id: &str) {
        let Some(task) = self.tasks.get_mut(id).filter(|t| !t.released) else { return };
        task.released = true;
        for attachment in task.attachments.clone() {
            self.release_attachment(&attachment);
        }
    }

    fn release_attachment(&mut self, attachment: &Attachment) {
        for address in &attachment.addresses {
            self.give_back(&attachment.network, address);
        }
    }

    fn has_pool(&self, network: &str) -> bool {
        self.networks.get(network).is_some_and(|n| n.pool.is_some())
    }

    fn take_address(&mut self, network: &str) -> Option<String> {
        self.networks.get_mut(network)?.pool.as_mut()?.take()
    }

    fn give_back(&mut self, network: &str, address: &str) {
        if let Some(pool) = self.networks.get_mut(network).and_then(|n| n.pool.as_mut()) {
            pool.give_back(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Swarm;
    use serde_json::json;

    #[test]
    fn a_vip_survives_task_churn_and_there_is_none_in_dnsrr_mode() {
        let mut swarm = Swarm::three_nodes().overlay("demo");
        let id = swarm.service("shop").network("demo").replicas(2).create();
        swarm.settle();
        let vips = swarm.services[&id].vips.clone();
        assert_eq!(vips[0].1, "10.0.1.2/24");
        swarm.fail_one("shop");
        swarm.settle();
        assert_eq!(swarm.services[&id].vips, vips);
        swarm.edit_service("shop", |spec| spec["EndpointSpec"] = json!({ "Mode": "dnsrr" })).unwrap();
        assert_eq!(swarm.services[&id].vips, []);
    }

    #[test]
    fn a_task_of_the_mesh_is_attached_to_ingress_too() {
        let mut swarm = Swarm::three_nodes().overlay("demo");
        swarm.service("shop").network("demo").publish_ingress(0, 80).create();
        swarm.settle();
        let task = swarm.running("shop")[0];
        assert_eq!(task.attachments.len(), 2);
        assert_eq!(task.attachments[0].network, swarm.ingress_id().unwrap());
        assert_eq!(swarm.service_json("shop")["Endpoint"]["Ports"][0]["PublishedPort"], 30_000);
    }

    #[test]
    fn a_task_that_gets_no_address_stays_new_until_one_is_free() {
        let mut swarm = Swarm::three_nodes().overlay_with_subnet("tiny", "10.9.0.0/29");
        swarm.service("a").network("tiny").replicas(4).create();
        swarm.settle();
        swarm.service("b").network("tiny").dnsrr().replicas(1).create();
        swarm.settle();
        assert_eq!(swarm.running("b").len(), 0);
        assert_eq!(swarm.tasks_of("b")[0].state.as_str(), "new");
        swarm.remove_service("a").unwrap();
        swarm.settle();
        assert_eq!(swarm.running("b").len(), 1);
    }
}
