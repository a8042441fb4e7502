//! What Swarm refuses in a service spec, in the order in which it looks.

use super::objects::Service;
use super::{Kind, Swarm, names, spec, text};
use crate::error::{ApiError, Code};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Checks that need only the spec. 400s.
pub(super) fn spec_alone(spec: &Value) -> Result<(), ApiError> {
    names::dns_name(text(spec, "Name"))?;
    let container = &spec["TaskTemplate"]["ContainerSpec"];
    constraints(spec)?;
    references(container, "Secrets", "SecretID", "SecretName", "secret")?;
    references(container, "Configs", "ConfigID", "ConfigName", "config")?;
    if text(container, "Image").is_empty() {
        return Err(ApiError::invalid("ContainerSpec: image reference must be provided"));
    }
    let mut mounts = BTreeSet::new();
    for mount in container["Mounts"].as_array().into_iter().flatten() {
        if !mounts.insert(text(mount, "Target")) {
            return Err(ApiError::invalid(format!("ContainerSpec: duplicate mount point: {}", text(mount, "Target"))));
        }
    }
    update_configs(spec)?;
    endpoint(spec)
}

/// dockerd's own conversion errors, before swarmkit sees anything.
pub(super) fn conversion(spec: &Value) -> Result<(), ApiError> {
    let Some(container) = spec["TaskTemplate"].get("ContainerSpec") else {
        return Err(ApiError::new(400, "mismatched Runtime and *Spec fields"));
    };
    for reference in container["Configs"].as_array().into_iter().flatten() {
        if reference.get("File").is_none() && reference.get("Runtime").is_none() {
            return Err(ApiError::new(400, "invalid Config: either File or Runtime should be set"));
        }
    }
    Ok(())
}

fn constraints(spec: &Value) -> Result<(), ApiError> {
    for constraint in spec["TaskTemplate"]["Placement"]["Constraints"].as_array().into_iter().flatten() {
        let constraint = constraint.as_str().unwrap_or_default();
        if !constraint.contains("==") && !constraint.contains("!=") {
            return Err(ApiError::rpc(Code::Unknown, "constraint expected one operator from ==, !="));
        }
    }
    Ok(())
}

fn references(container: &Value, list: &str, id: &str, name: &str, kind: &str) -> Result<(), ApiError> {
    let mut targets: BTreeMap<&str, &str> = BTreeMap::new();
    for reference in container[list].as_array().into_iter().flatten() {
        if text(reference, id).is_empty() || text(reference, name).is_empty() {
            return Err(ApiError::invalid(format!("malformed {kind} reference")));
        }
        let Some(file) = reference.get("File") else {
            if reference.get("Runtime").is_some() {
                continue;
            }
            return Err(ApiError::invalid(format!("malformed {kind} reference, no target provided")));
        };
        let target = text(file, "Name");
        if target.is_empty() {
            return Err(ApiError::invalid(format!(
                "malformed file {kind} reference, invalid target file name provided"
            )));
        }
        if let Some(first) = targets.insert(target, text(reference, name)) {
            let second = text(reference, name);
            return Err(ApiError::invalid(format!(
                "{kind} references '{first}' and '{second}' have a conflicting target: '{target}'"
            )));
        }
    }
    Ok(())
}

fn update_configs(spec: &Value) -> Result<(), ApiError> {
    let Some(config) = spec.get("UpdateConfig") else { return Ok(()) };
    if spec::Mode::of(spec).job() {
        return Err(ApiError::invalid("Jobs may not have an update config"));
    }
    let negative = |key: &str| config[key].as_i64().is_some_and(|n| n < 0);
    if negative("Delay") {
        return Err(ApiError::invalid("TaskSpec: update-delay cannot be negative"));
    }
    if negative("Monitor") {
        return Err(ApiError::invalid("TaskSpec: update-monitor cannot be negative"));
    }
    if !(0.0..=1.0).contains(&config["MaxFailureRatio"].as_f64().unwrap_or_default()) {
        return Err(ApiError::invalid("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1"));
    }
    Ok(())
}

fn endpoint(spec: &Value) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for port in spec::ports(spec) {
        if !spec::wants_vip(spec) && text(port, "PublishMode") == "ingress" {
            let desc = "EndpointSpec: port published with ingress mode can't be used with dnsrr mode";
            return Err(ApiError::invalid(desc));
        }
        if published(port) != 0 && !seen.insert((published(port), text(port, "Protocol"))) {
            return Err(ApiError::invalid("EndpointSpec: duplicate published ports provided"));
        }
    }
    Ok(())
}

fn published(port: &Value) -> u64 {
    port["PublishedPort"].as_u64().unwrap_or_default()
}

impl Swarm {
    /// `network x not found` is a **500**. Targets become ids.
    pub(super) fn resolve_networks(&self, spec: &mut Value) -> Result<(), ApiError> {
        let mut own = spec.get_mut("TaskTemplate").and_then(|t| t.get_mut("Networks")).map(Value::take);
        let mut old = spec.get_mut("Networks").map(Value::take);
        for list in own.iter_mut().chain(old.iter_mut()) {
            for network in list.as_array_mut().into_iter().flatten() {
                let target = text(network, "Target").to_owned();
                let id = self
                    .resolve(Kind::Network, &self.networks, &target)
                    .map_err(|_| ApiError::new(500, format!("network {target} not found")))?;
                network["Target"] = id.into();
            }
        }
        if let Some(list) = own {
            spec["TaskTemplate"]["Networks"] = list;
        }
        if let Some(list) = old {
            spec["Networks"] = list;
        }
        Ok(())
    }

    pub(super) fn check_networks(&self, spec: &Value) -> Result<(), ApiError> {
        for target in spec::network_targets(spec) {
            if let Some(network) = self.networks.get(target).filter(|n| n.ingress) {
                return Err(ApiError::invalid(format!(
                    "Service cannot be explicitly attached to the ingress network \"{}\"",
                    network.name()
                )));
            }
        }
        Ok(())
    }

    /// Two services may publish one port only if both do it in host mode.
    pub(super) fn check_ports(&self, spec: &Value, own_id: &str) -> Result<(), ApiError> {
        let wanted: Vec<_> = spec::ports(spec).filter(|port| published(port) != 0).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for service in self.services.values().filter(|s| s.meta.id != own_id) {
            for held in &service.ports {
                let clash = |mine: &&&Value| {
                    published(mine) == published(held) && text(mine, "Protocol") == text(held, "Protocol")
                };
                let Some(mine) = wanted.iter().find(clash) else { continue };
                let how = match (text(held, "PublishMode"), text(mine, "PublishMode")) {
                    ("host", "host") => continue,
                    ("host", _) => "a host-published port",
                    _ => "an ingress port",
                };
                let (name, id) = (service.name(), &service.meta.id);
                let port = published(held);
                let desc = format!("port '{port}' is already in use by service '{name}' ({id}) as {how}");
                return Err(ApiError::invalid(desc));
            }
        }
        Ok(())
    }

    /// A reference needs the id *and* the name of an existing object.
    pub(super) fn check_references(&self, spec: &Value) -> Result<(), ApiError> {
        let container = &spec["TaskTemplate"]["ContainerSpec"];
        for (list, id, name, kind, map) in [
            ("Secrets", "SecretID", "SecretName", "secret", &self.secrets),
            ("Configs", "ConfigID", "ConfigName", "config", &self.configs),
        ] {
            let references = container[list].as_array().into_iter().flatten();
            let missing: Vec<_> = references
                .filter(|r| map.get(text(r, id)).is_none_or(|blob| blob.name() != text(r, name)))
                .map(|r| text(r, name))
                .collect();
            if !missing.is_empty() {
                let plural = if missing.len() == 1 { "" } else { "s" };
                return Err(ApiError::invalid(format!("{kind}{plural} not found: {}", missing.join(", "))));
            }
        }
        Ok(())
    }
}

/// What an update may not change. 501s.
pub(super) fn immutable(service: &Service, spec: &Value) -> Result<(), ApiError> {
    let networks = |spec: &Value| spec.get("Networks").cloned();
    let own = |spec: &Value| spec["TaskTemplate"].get("Networks").cloned();
    if networks(spec) != networks(&service.spec) && own(spec) == own(&service.spec) {
        let desc = "networks must be migrated to TaskSpec before being changed";
        return Err(ApiError::rpc(Code::Unimplemented, desc));
    }
    Ok(())
}

/// Likewise, looked at after the references.
pub(super) fn mode_and_name(service: &Service, spec: &Value) -> Result<(), ApiError> {
    if !spec::Mode::of(spec).same_kind(spec::Mode::of(&service.spec)) {
        return Err(ApiError::rpc(Code::Unimplemented, "service mode change is not allowed"));
    }
    if text(spec, "Name") != service.name() {
        return Err(ApiError::rpc(Code::Unimplemented, "renaming services is not supported"));
    }
    Ok(())
}
