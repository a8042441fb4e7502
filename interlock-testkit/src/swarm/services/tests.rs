use super::*;
use serde_json::json;

/// A valid spec, one change to it, and what Swarm says to that.
fn refusal(change: impl FnOnce(&mut Value)) -> (u16, String) {
    let mut swarm = Swarm::three_nodes().overlay("demo");
    let config = swarm.config("conf", "x");
    swarm.service("taken").publish_host(8080, 80).create();
    let mut spec = json!({
        "Name": "x",
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "i",
                "Configs": [{ "ConfigID": config, "ConfigName": "conf", "File": { "Name": "/x" } }],
            },
            "Networks": [{ "Target": "demo" }],
        },
    });
    swarm.clone_free_check(&spec);
    change(&mut spec);
    let err = swarm.create_service(spec).unwrap_err();
    (err.status, err.message.rsplit("desc = ").next().unwrap_or_default().to_owned())
}

impl Swarm {
    fn clone_free_check(&mut self, spec: &Value) {
        let mut valid = spec.clone();
        valid["Name"] = "valid".into();
        self.create_service(valid).unwrap();
    }
}

#[test]
fn a_service_on_an_unknown_network_is_a_500() {
    let got = refusal(|s| s["TaskTemplate"]["Networks"][0]["Target"] = "nonet".into());
    assert_eq!(got, (500, "network nonet not found".into()));
}

#[test]
fn ingress_cannot_be_attached() {
    let got = refusal(|s| s["TaskTemplate"]["Networks"][0]["Target"] = "ingress".into());
    assert_eq!(got, (400, "Service cannot be explicitly attached to the ingress network \"ingress\"".into()));
}

#[test]
fn a_config_reference_needs_id_and_name() {
    let configs = |s: &mut Value| s["TaskTemplate"]["ContainerSpec"]["Configs"][0].take();
    let with = |s: &mut Value, r: Value| s["TaskTemplate"]["ContainerSpec"]["Configs"] = json!([r]);
    let got = refusal(|s| {
        let mut r = configs(s);
        r["ConfigName"] = "other".into();
        with(s, r);
    });
    assert_eq!(got, (400, "config not found: other".into()));
    let got = refusal(|s| {
        let mut r = configs(s);
        r["ConfigID"] = "".into();
        with(s, r);
    });
    assert_eq!(got, (400, "malformed config reference".into()));
    let got = refusal(|s| with(s, json!({ "ConfigID": "q", "ConfigName": "conf" })));
    assert_eq!(got, (400, "invalid Config: either File or Runtime should be set".into()));
}

#[test]
fn targets_are_unique_within_a_task() {
    let got = refusal(|s| {
        s["TaskTemplate"]["ContainerSpec"]["Secrets"] = json!([
            { "SecretID": "q", "SecretName": "a", "File": { "Name": "f" } },
            { "SecretID": "r", "SecretName": "b", "File": { "Name": "f" } },
        ]);
    });
    assert_eq!(got, (400, "secret references 'a' and 'b' have a conflicting target: 'f'".into()));
}

#[test]
fn missing_secrets_are_all_named() {
    let got = refusal(|s| {
        s["TaskTemplate"]["ContainerSpec"]["Secrets"] = json!([
            { "SecretID": "q", "SecretName": "a", "File": { "Name": "f" } },
            { "SecretID": "r", "SecretName": "b", "File": { "Name": "g" } },
        ]);
    });
    assert_eq!(got, (400, "secrets not found: a, b".into()));
}

#[test]
fn names_are_unique_and_valid() {
    assert_eq!(refusal(|s| s["Name"] = "sh.op".into()).0, 400);
    let got = refusal(|s| s["Name"] = "taken".into());
    assert_eq!(got, (409, "name conflicts with an existing object: service taken already exists".into()));
}

#[test]
fn a_port_of_the_mesh_cannot_be_a_host_port_elsewhere() {
    let got = refusal(|s| s["EndpointSpec"] = json!({ "Ports": [{ "TargetPort": 1, "PublishedPort": 8080 }] }));
    assert_eq!(got.0, 400);
    assert!(got.1.starts_with("port '8080' is already in use by service 'taken' ("), "{}", got.1);
    assert!(got.1.ends_with("as a host-published port"), "{}", got.1);
}

#[test]
fn a_service_beyond_a_raft_message_is_refused_and_so_is_its_update() {
    let labels = |n: usize| json!({ "x": "a".repeat(n) });
    let big = "raft: raft message is too large and can't be sent";
    assert_eq!(refusal(|s| s["Labels"] = labels(1_600_000)), (500, big.into()));
    assert!(refusal(|s| s["Labels"] = labels(4_300_000)).1.starts_with("grpc: received message larger than max"));
    let mut swarm = Swarm::three_nodes();
    swarm.service("big").replicas(0).label("x", &"a".repeat(800_000)).create();
    let err = swarm.edit_service("big", |s| s["Labels"] = labels(800_000)).unwrap_err();
    assert_eq!(err.status, 500);
    assert!(err.message.ends_with(big));
}

#[test]
fn a_stale_version_is_a_conflict_and_changes_nothing() {
    let mut swarm = Swarm::three_nodes();
    let id = swarm.service("web").create();
    let version = swarm.services[&id].meta.version;
    let spec = Value::clone(&swarm.services[&id].spec);
    swarm.update_service("web", version, spec.clone()).unwrap();
    let err = swarm.update_service("web", version, spec).unwrap_err();
    assert_eq!((err.status, &*err.message), (500, "rpc error: code = Unknown desc = update out of sequence"));
}

#[test]
fn an_identical_update_sets_previous_spec_and_restarts_nothing() {
    let mut swarm = Swarm::three_nodes();
    let id = swarm.service("web").label("n", "1").replicas(2).create();
    swarm.settle();
    let tasks: Vec<_> = swarm.running("web").iter().map(|t| t.meta.id.clone()).collect();
    assert_eq!(swarm.services[&id].previous_spec, None);
    swarm.edit_service("web", |_| ()).unwrap();
    swarm.settle();
    let service = &swarm.services[&id];
    assert_eq!(service.previous_spec.as_ref(), Some(&service.spec));
    assert_eq!(service.update_status, None);
    assert_eq!(swarm.running("web").iter().map(|t| t.meta.id.clone()).collect::<Vec<_>>(), tasks);
}

#[test]
fn mode_and_name_cannot_change() {
    let mut swarm = Swarm::three_nodes();
    swarm.service("web").create();
    assert_eq!(swarm.edit_service("web", |s| s["Mode"] = json!({ "Global": {} })).unwrap_err().status, 501);
    assert_eq!(swarm.edit_service("web", |s| s["Name"] = "wub".into()).unwrap_err().status, 501);
}

#[test]
fn a_rollback_swaps_the_specs_and_needs_a_previous_one() {
    let mut swarm = Swarm::three_nodes();
    let id = swarm.service("web").label("n", "1").create();
    let version = swarm.services[&id].meta.version;
    let spec = Value::clone(&swarm.services[&id].spec);
    let err = swarm.rollback_service("web", version, spec.clone()).unwrap_err();
    assert_eq!(err.status, 400);
    assert!(err.message.ends_with("does not have a previous spec"));
    swarm.edit_service("web", |s| s["Labels"]["n"] = "2".into()).unwrap();
    let version = swarm.services[&id].meta.version;
    swarm.rollback_service("web", version, spec).unwrap();
    swarm.settle();
    let service = &swarm.services[&id];
    assert_eq!(service.spec["Labels"]["n"], "1");
    assert_eq!(service.previous_spec.as_ref().unwrap()["Labels"]["n"], "2");
    assert_eq!(service.update_status.as_ref().unwrap().state, "rollback_completed");
}
