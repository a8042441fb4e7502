//! How dockerd changes a spec between taking it and showing it: what is empty vanishes, what is missing is filled in. A client that compares
//! what it sent with what it reads must expect this.

use serde_json::{Map, Value, json};

/// A service spec as `/services/{id}` would show it.
pub(super) fn service_spec(mut spec: Value) -> Value {
    drop_empty(&mut spec);
    let Some(members) = spec.as_object_mut() else { return spec };
    labels(members);
    if let Some(template) = members.get_mut("TaskTemplate").and_then(Value::as_object_mut) {
        template.entry("ForceUpdate").or_insert(0.into());
        if template.get("Runtime").and_then(Value::as_str).unwrap_or_default().is_empty() {
            template.insert("Runtime".into(), "container".into());
        }
        if let Some(container) = template.get_mut("ContainerSpec").and_then(Value::as_object_mut) {
            container.retain(|_, v| v.as_str() != Some("") && *v != json!(false) || v.is_object());
            if container.get("Labels").is_some_and(is_empty_object) {
                container.remove("Labels");
            }
            container.entry("Isolation").or_insert("default".into());
        }
    }
    if !mode_is_known(members.get("Mode")) {
        members.insert("Mode".into(), json!({ "Replicated": { "Replicas": 1 } }));
    }
    for key in ["UpdateConfig", "RollbackConfig"] {
        if let Some(config) = members.get_mut(key).and_then(Value::as_object_mut) {
            config.retain(|key, value| !matches!(key.as_str(), "Delay" | "Monitor") || *value != json!(0));
            config.entry("Parallelism").or_insert(0.into());
            config.entry("MaxFailureRatio").or_insert(0.into());
            default_text(config, "FailureAction", "pause");
            default_text(config, "Order", "stop-first");
        }
    }
    if let Some(endpoint) = members.get_mut("EndpointSpec").and_then(Value::as_object_mut) {
        default_text(endpoint, "Mode", "vip");
        for port in endpoint.get_mut("Ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(port) = port.as_object_mut() {
                default_text(port, "Protocol", "tcp");
                default_text(port, "PublishMode", "ingress");
                port.retain(|key, value| key != "PublishedPort" || *value != json!(0));
            }
        }
    }
    spec
}

/// A config's, secret's or node's spec.
pub(super) fn plain_spec(mut spec: Value) -> Value {
    if let Some(members) = spec.as_object_mut() {
        members.retain(|_, value| !value.is_null());
        labels(members);
    }
    spec
}

fn labels(members: &mut Map<String, Value>) {
    members.entry("Labels").or_insert_with(|| json!({}));
}

fn default_text(members: &mut Map<String, Value>, key: &str, default: &str) {
    if members.get(key).and_then(Value::as_str).unwrap_or_default().is_empty() {
        members.insert(key.into(), default.into());
    }
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

fn mode_is_known(mode: Option<&Value>) -> bool {
    mode.is_some_and(|m| ["Replicated", "Global", "ReplicatedJob", "GlobalJob"].iter().any(|k| m.get(k).is_some()))
}

/// Go's `omitempty`: null members and empty lists are as if never sent.
fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, v| !v.is_null() && !v.as_array().is_some_and(Vec::is_empty));
            members.values_mut().for_each(drop_empty);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lists_and_nulls_are_as_if_never_sent_and_defaults_are_filled_in() {
        let sent = json!({
            "Name": "rt",
            "TaskTemplate": {
                "ContainerSpec": { "Image": "i", "Env": [], "Labels": {}, "Hostname": "", "TTY": false, "Init": null, "DNSConfig": {} },
                "Resources": {}, "Placement": { "Constraints": [] }, "Networks": [],
            },
            "UpdateConfig": { "Delay": 0, "Monitor": 0 },
            "EndpointSpec": { "Mode": "", "Ports": [{ "TargetPort": 80 }] },
        });
        let shown = json!({
            "Name": "rt", "Labels": {},
            "TaskTemplate": {
                "ContainerSpec": { "Image": "i", "DNSConfig": {}, "Isolation": "default" },
                "Resources": {}, "Placement": {}, "ForceUpdate": 0, "Runtime": "container",
            },
            "Mode": { "Replicated": { "Replicas": 1 } },
            "UpdateConfig": { "Parallelism": 0, "FailureAction": "pause", "MaxFailureRatio": 0, "Order": "stop-first" },
            "EndpointSpec": { "Mode": "vip", "Ports": [{ "Protocol": "tcp", "TargetPort": 80, "PublishMode": "ingress" }] },
        });
        assert_eq!(service_spec(sent), shown);
    }

    #[test]
    fn fields_that_nobody_knows_survive() {
        let spec = service_spec(json!({ "Name": "x", "Future": { "A": 1 }, "Labels": { "": "\u{0}\n" } }));
        assert_eq!(spec["Future"], json!({ "A": 1 }));
        assert_eq!(spec["Labels"], json!({ "": "\u{0}\n" }));
    }
}
