use serde_json::json;

use super::*;
use crate::swarm::{Labels, UpdateState};

/// What an engine answers for one service, with everything that a newer engine might add.
fn service_json(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut service = json!({
        "ID": "svc1",
        "Version": {"Index": 18_446_744_073_709_551_615_u64, "New": 1},
        "CreatedAt": "2026-11-23T11:00:00.123456789Z",
        "UpdatedAt": "2026-11-23T11:00:01Z",
        "Spec": {
            "Name": "shop_web",
            "Labels": {"com.docker.lb.hosts": "shop.example.com", "com.docker.stack.namespace": "shop", "owner.phone": "555"},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "shop:1", "Env": ["PASSWORD=hunter2"], "Args": ["--token", "hunter2"],
                    "Mounts": [{"Type": "bind", "Source": "/root", "Target": "/x"}],
                    "Configs": [{"File": {"Name": "/etc/a", "UID": "0", "GID": "0", "Mode": 292}, "ConfigID": "c1", "ConfigName": "a"},
                                {"Runtime": {}, "ConfigID": "c2", "ConfigName": "b"}],
                    "Secrets": [{"File": {"Name": "k"}, "SecretID": "s1", "SecretName": "key"}]
                },
                "Networks": [{"Target": "n1", "Aliases": ["web"]}, {"Target": "n2"}],
                "ForceUpdate": 0, "Runtime": "container"
            },
            "Mode": {"Replicated": {"Replicas": 3}},
            "EndpointSpec": {"Mode": "vip", "Ports": [
                {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"},
                {"Protocol": "tcp", "TargetPort": 81, "PublishMode": "host"},
                {"Protocol": "udp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"},
                {"Protocol": "quic", "TargetPort": 82}]}
        },
        "Endpoint": {"Spec": {}, "VirtualIPs": [
            {"NetworkID": "n1", "Addr": "10.0.1.2/24"}, {"NetworkID": "n2", "Addr": "fd00::2/64"}, {"NetworkID": "n3", "Addr": ""}]},
        "UpdateStatus": {"State": "completed", "StartedAt": "2026-11-23T11:00:00Z", "Message": "update completed"},
        "JobStatus": null, "SomethingNew": {"deep": [1, 2, 3]}
    });
    change(&mut service);
    serde_json::to_vec(&service).unwrap()
}

fn read(change: impl FnOnce(&mut Value)) -> Service {
    service(&service_json(change)).unwrap().service
}

#[test]
fn a_service_keeps_the_parts_that_decisions_depend_on() {
    let service = read(|_| {});
    assert_eq!(service.version, u64::MAX);
    assert_eq!(service.created_at.to_string(), "2026-11-23T11:00:00.123456789Z");
    assert_eq!(service.spec.mode, Mode::Replicated(3));
    assert_eq!(service.spec.networks, ["n1".into(), "n2".into()]);
    assert_eq!(service.spec.secrets, ["s1".into()]);
    assert_eq!(
        service.spec.configs,
        [
            ConfigMount { id: "c1".into(), name: "a".to_owned(), target: "/etc/a".to_owned() },
            ConfigMount { id: "c2".into(), name: "b".to_owned(), target: String::new() },
        ]
    );
    assert_eq!(
        service.spec.ports,
        [
            PublishedPort { target: 80, published: 8080, mode: PublishMode::Ingress },
            PublishedPort { target: 81, published: 0, mode: PublishMode::Host },
        ]
    );
    let ips: Vec<_> = service.virtual_ips.iter().map(|ip| ip.address.to_string()).collect();
    assert_eq!(ips, ["10.0.1.2", "fd00::2"]);
    assert!(matches!(service.update, Some(UpdateStatus { state: UpdateState::Completed, started_at: Some(_), .. })));
    assert_eq!(service.previous, None);
}

#[test]
fn what_an_owner_would_not_show_is_never_held() {
    let service = read(|_| {});
    let labels: Vec<_> = service.spec.labels.keys().map(String::as_str).collect();
    assert_eq!(labels, ["com.docker.lb.hosts", "com.docker.stack.namespace"]);
    assert!(!format!("{service:?}").contains("hunter2"));
}

#[test]
fn only_our_own_services_keep_their_whole_spec_and_it_is_whole() {
    assert!(service(&service_json(|_| {})).unwrap().spec.is_none());
    let ours = service(&service_json(|service| {
        service["Spec"]["Labels"][ownership::OWNER] = json!(ownership::OWNER_VALUE);
        service["Spec"]["TaskTemplate"]["FieldOfANewerEngine"] = json!({"a": [1, 2.5, null]});
    }));
    let spec = ours.unwrap().spec.unwrap();
    assert_eq!(spec["TaskTemplate"]["FieldOfANewerEngine"], json!({"a": [1, 2.5, null]}));
    assert_eq!(spec["Labels"]["owner.phone"], "555");
}

#[test]
fn the_mode_is_read_or_counts_as_a_job() {
    let mode = |mode: Value| read(|service| service["Spec"]["Mode"] = mode).spec.mode;
    assert_eq!(mode(json!({"Global": {}})), Mode::Global);
    assert_eq!(mode(json!({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}})), Mode::Job);
    assert_eq!(mode(json!({"GlobalJob": {}})), Mode::Job);
    assert_eq!(mode(json!({"ModeOfANewerEngine": {"Replicas": 2}})), Mode::Job);
    assert_eq!(mode(json!({"Replicated": {}})), Mode::Replicated(1));
    assert_eq!(mode(json!({"Replicated": {"Replicas": 0}})), Mode::Replicated(0));
}

#[test]
fn an_unknown_word_is_unknown_and_null_is_nothing() {
    let service = read(|service| {
        service["UpdateStatus"]["State"] = json!("rolled_sideways");
        service["UpdateStatus"]["StartedAt"] = json!("0001-01-01T00:00:00Z");
        service["Spec"]["Labels"] = Value::Null;
        service["Spec"]["EndpointSpec"] = Value::Null;
        service["Spec"]["TaskTemplate"]["Networks"] = Value::Null;
        service["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"] = Value::Null;
        service["Endpoint"]["VirtualIPs"] = Value::Null;
        service["PreviousSpec"] = json!({"Name": "shop_web", "Mode": {"Global": {}}});
    });
    let update = service.update.unwrap();
    assert_eq!((update.state, update.started_at), (UpdateState::Unknown, None));
    assert_eq!(service.spec.labels, Labels::new());
    assert!(service.spec.networks.is_empty() && service.spec.ports.is_empty() && service.spec.configs.is_empty());
    assert_eq!(service.previous.unwrap().mode, Mode::Global);
    assert_eq!(read(|service| service["UpdateStatus"] = Value::Null).update, None);
    assert_eq!(read(|service| service["UpdateStatus"] = json!({})).update, None);
}

#[test]
fn networks_of_the_service_count_when_its_tasks_have_none() {
    let service = read(|service| {
        service["Spec"]["TaskTemplate"]["Networks"] = Value::Null;
        service["Spec"]["Networks"] = json!([{"Target": "old"}]);
    });
    assert_eq!(service.spec.networks, ["old".into()]);
    let both = read(|service| service["Spec"]["Networks"] = json!([{"Target": "old"}]));
    assert_eq!(both.spec.networks, ["n1".into(), "n2".into()]);
}

#[test]
fn dns_round_robin_has_no_virtual_ip() {
    let service = read(|service| {
        service["Spec"]["EndpointSpec"] = json!({"Mode": "dnsrr"});
        service["Endpoint"] = json!({"Spec": {"Mode": "dnsrr"}});
    });
    assert!(service.virtual_ips.is_empty());
}

#[test]
fn an_object_without_what_makes_it_one_fails_the_whole_list() {
    let list = |broken: &str| format!("[{},{broken}]", String::from_utf8(service_json(|_| {})).unwrap());
    assert_eq!(services(list(r#"{"ID":"b","Version":{"Index":1},"Spec":{}}"#).as_bytes()).unwrap().len(), 2);
    for broken in
        [r#"{"Version":{"Index":1},"Spec":{}}"#, r#"{"ID":"b","Spec":{}}"#, r#"{"ID":"b","Version":{"Index":1}}"#, "3"]
    {
        assert!(services(list(broken).as_bytes()).is_err(), "{broken}");
    }
    assert!(services(b"[").is_err());
    assert!(services(br#"{"message":"hello"}"#).is_err());
    assert!(tasks(br#"[{"ServiceID":"s"}]"#, |_| true).is_err());
    assert!(networks(br#"[{"Name":"n"}]"#).is_err());
    assert!(nodes(br#"[{"Spec":{}}]"#).is_err());
}

fn task_json(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut task = json!([{
        "ID": "t1", "Version": {"Index": 5}, "ServiceID": "svc1", "NodeID": "node1", "Slot": 1,
        "Spec": {"ContainerSpec": {"Image": "a", "Env": ["PASSWORD=hunter2"], "Configs": [{"ConfigID": "c1", "ConfigName": "a"}]},
                 "Networks": [{"Target": "n1"}]},
        "Status": {"Timestamp": "2026-11-23T11:00:00Z", "State": "running", "Message": "started", "Err": "it broke",
                   "ContainerStatus": {"ContainerID": "abc", "PID": 1, "ExitCode": 0},
                   "PortStatus": {"Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 30000, "PublishMode": "host"},
                                            {"Protocol": "udp", "TargetPort": 80, "PublishedPort": 30001, "PublishMode": "host"}]}},
        "DesiredState": "running",
        "NetworksAttachments": [
            {"Network": {"ID": "n1", "Version": {"Index": 2}, "Spec": {"Name": "net"}, "DriverState": {}}, "Addresses": ["10.0.1.3/24", "fd00::3/64"]},
            {"Network": {"ID": "n2"}, "Addresses": null}]
    }]);
    change(&mut task[0]);
    serde_json::to_vec(&task).unwrap()
}

#[test]
fn a_task_keeps_its_states_and_addresses() {
    let task = tasks(&task_json(|_| {}), |_| false).unwrap().remove(0);
    assert!(task.serves());
    assert_eq!(task.node, Some("node1".into()));
    assert_eq!(task.networks[0].addresses.len(), 2);
    assert_eq!(task.networks[1], TaskNetwork { network: "n2".into(), addresses: Vec::new() });
    assert_eq!(task.host_ports, [PublishedPort { target: 80, published: 30000, mode: PublishMode::Host }]);
    assert!(task.configs.is_empty(), "of others' tasks they are not read");
}

#[test]
fn of_our_own_tasks_configs_and_errors_are_kept() {
    let task = tasks(&task_json(|_| {}), |service| service == "svc1").unwrap().remove(0);
    assert_eq!(task.configs, ["c1".into()]);
    assert_eq!((task.error.as_str(), task.ended_at), ("it broke", None));
    assert!(!format!("{task:?}").contains("hunter2"));
}

#[test]
fn of_tasks_that_ended_the_last_one_with_a_reason_is_kept_without_its_addresses() {
    let of = |id: &str, error: &str, at: &str| {
        let json = task_json(|task| {
            task["ID"] = json!(id);
            task["DesiredState"] = json!("shutdown");
            let status = json!({"State": "rejected", "Err": error, "Timestamp": at, "PortStatus": {}});
            task["Status"] = status;
        });
        serde_json::from_slice::<Vec<Value>>(&json).unwrap().remove(0)
    };
    let long = "x".repeat(100_000);
    let all = [
        of("t1", "No such image: old", "2026-11-23T11:00:00Z"),
        of("t2", &format!("No such image: \u{1b}[31m{long}"), "2026-11-23T11:00:02Z"),
        of("t3", "No such image: older", "2026-11-23T11:00:01Z"),
        of("t4", "", "2026-11-23T11:00:03Z"),
    ];
    let ended = ended(&serde_json::to_vec(&all).unwrap()).unwrap();
    assert_eq!(ended.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["t2"]);
    let task = &ended[0];
    assert_eq!(task.ended_at.map(|at| at.to_string()).as_deref(), Some("2026-11-23T11:00:02Z"));
    assert!(task.error.starts_with("No such image: \\u{1b}") && task.error.chars().count() <= 301, "{}", task.error);
    assert!(task.node.is_none() && task.networks.is_empty() && task.host_ports.is_empty());
}

#[test]
fn labels_of_containers_are_named_where_the_service_has_not_got_them() {
    let service = read(|service| {
        let labels =
            json!({"com.docker.lb.hosts": "x", "com.docker.lb.port": "80", "mine": "x", "interlock.port": "80"});
        service["Spec"]["TaskTemplate"]["ContainerSpec"]["Labels"] = labels;
    });
    assert_eq!(service.spec.misplaced, ["com.docker.lb.port"]);
}

#[test]
fn a_state_that_a_newer_engine_has_is_not_running() {
    let task = tasks(&task_json(|task| task["Status"]["State"] = json!("hibernating")), |_| false).unwrap().remove(0);
    assert_eq!(task.state, TaskState::Unknown);
    assert!(!task.serves());
    let task = tasks(&task_json(|task| task["DesiredState"] = Value::Null), |_| false).unwrap().remove(0);
    assert_eq!(task.desired, TaskState::Unknown);
    // A task that is not assigned has no node, one that did not start has no status to speak of.
    let task = tasks(
        &task_json(|task| {
            let task = task.as_object_mut().unwrap();
            task.remove("NodeID");
            task.insert("Status".to_owned(), json!({"State": "pending", "PortStatus": {}}));
        }),
        |_| false,
    )
    .unwrap()
    .remove(0);
    assert_eq!((task.node, task.state), (None, TaskState::Pending));
}

#[test]
fn a_container_attached_by_hand_is_no_service_task() {
    let read = tasks(&task_json(|task| task["ServiceID"] = json!("")), |_| false).unwrap();
    assert!(read.is_empty());
}

#[test]
fn a_node_has_an_address_that_others_can_reach() {
    let address = |seen: &str, manager: Value| {
        let json = json!([{"ID": "a", "Spec": {"Role": "manager", "Availability": "pause"}, "Description": {"Hostname": "h"},
            "Status": {"State": "ready", "Addr": seen}, "ManagerStatus": manager}]);
        nodes(json.to_string().as_bytes()).unwrap().remove(0).address.map(|ip| ip.to_string())
    };
    let manager = json!({"Leader": true, "Reachability": "reachable", "Addr": "10.77.0.1:2377"});
    assert_eq!(address("10.0.0.9", Value::Null).as_deref(), Some("10.0.0.9"));
    assert_eq!(address("10.0.0.9", manager.clone()).as_deref(), Some("10.0.0.9"));
    assert_eq!(address("0.0.0.0", manager.clone()).as_deref(), Some("10.77.0.1"));
    assert_eq!(address("127.0.0.1", manager).as_deref(), Some("10.77.0.1"));
    assert_eq!(address("::1", json!({"Addr": "[fd00::1]:2377"})).as_deref(), Some("fd00::1"));
    assert_eq!(address("127.0.0.1", json!({"Addr": "127.0.0.1:2377"})), None);
    assert_eq!(address("127.0.0.1", Value::Null), None);
}

#[test]
fn nodes_of_a_newer_engine_are_read() {
    let json =
        br#"[{"ID":"a","Spec":{"Role":"observer","Availability":"resting"},"Status":{"State":"asleep"}},{"ID":"b"}]"#;
    let nodes = nodes(json).unwrap();
    assert_eq!(
        (nodes[0].role, nodes[0].availability, nodes[0].state),
        (Role::Worker, Availability::Unknown, NodeState::Unknown)
    );
    assert_eq!(nodes[1].state, NodeState::Unknown);
}

#[test]
fn only_networks_of_the_swarm_are_read_and_each_once() {
    let json = br#"[
        {"Id":"b","Name":"shop_default","Scope":"swarm","Driver":"overlay","Ingress":false,"Labels":null,"Containers":{},"Options":null,
         "Created":"2026-11-23T12:00:00Z","IPAM":{"Driver":"default","Options":null,"Config":[]}},
        {"Id":"a","Name":"ingress","Scope":"swarm","Driver":"overlay","Ingress":true,"Labels":{"com.docker.lb.x":"1","private":"2"}},
        {"Id":"b","Name":"shop_default","Scope":"swarm","Driver":"overlay","Created":"2026-11-23T11:00:00Z",
         "IPAM":{"Driver":"default","Options":null,"Config":[{"Subnet":"10.0.1.0/24","Gateway":"10.0.1.1"},{"Subnet":"odd"}]}},
        {"Id":"c","Name":"bridge","Scope":"local","Driver":"bridge"}]"#;
    let networks = networks(json).unwrap();
    let names: Vec<_> = networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(names, ["ingress", "shop_default"]);
    assert!(networks[0].ingress);
    assert_eq!(networks[0].labels.len(), 1);
    assert_eq!(networks[1].subnets, ["10.0.1.0/24".parse::<ipnet::IpNet>().unwrap()]);
    assert_eq!(networks[1].created_at, "2026-11-23T11:00:00Z".parse().ok());
    assert!(networks[0].subnets.is_empty() && networks[0].created_at.is_none());
}

#[test]
fn configs_are_ours_and_decoded() {
    let json = br#"[
        {"ID":"1","CreatedAt":"2026-11-23T11:00:00Z","Spec":{"Name":"a","Labels":{"com.docker.interlock.owner":"interlock"},"Data":"aMOk\/\/\/\/"}},
        {"ID":"2","CreatedAt":"2026-11-23T11:00:00Z","Spec":{"Name":"b","Labels":{"com.docker.interlock.owner":"somebody"},"Data":"aGk="}},
        {"ID":"3","Spec":{"Name":"c","Labels":{"com.docker.interlock.owner":"interlock"},"Data":"aGk="}},
        {"ID":"4","Spec":{"Name":"d","Labels":{"com.docker.interlock.owner":"interlock"}}}]"#;
    let configs = configs(json).unwrap();
    assert_eq!(configs.len(), 3);
    assert!(configs[0].data.starts_with("h\u{e4}"), "what is no UTF-8 is replaced: {:?}", configs[0].data);
    assert_eq!(configs[1].data, "hi");
    assert_eq!(configs[1].created_at, Timestamp::MAX, "an unknown age never wins");
    assert_eq!(configs[2].data, "");
}

#[test]
fn of_secrets_only_name_and_labels_are_read() {
    let json = br#"[{"ID":"1","Spec":{"Name":"key","Labels":{"com.docker.lb.allow":"*","x":"y"},"Data":"aGk=","Driver":{"Name":"vault"}}}]"#;
    let secrets = secrets(json).unwrap();
    assert_eq!(secrets[0].labels.len(), 1);
    assert!(!format!("{secrets:?}").contains("aGk="));
}
