use super::*;
use crate::Engine;
use crate::script::Rule;

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|s| s["Spec"]["Name"].as_str().unwrap()).collect()
}

#[test]
fn lists_are_filtered_by_name_prefix_and_label() {
    let mut swarm = Swarm::three_nodes();
    swarm.service("web").label("a", "1").create();
    swarm.service("other").label("a", "2").create();
    assert_eq!(names(&swarm.get("/services?filters={\"name\":[\"we\"]}")), ["web"]);
    assert_eq!(names(&swarm.get("/v1.41/services?filters=%7B%22label%22%3A%7B%22a%3D2%22%3Atrue%7D%7D")), ["other"]);
    assert_eq!(swarm.get("/services?filters={\"label\":[\"a\"]}").as_array().unwrap().len(), 2);
    let bogus = swarm.answer("GET", "/services?filters={\"bogus\":[\"x\"]}", b"");
    assert_eq!(bogus.status, 400);
    assert!(String::from_utf8_lossy(&bogus.body).contains("Invalid filter 'bogus'"));
}

#[test]
fn tasks_are_filtered_by_service_node_and_desired_state() {
    let mut swarm = Swarm::three_nodes();
    swarm.service("web").replicas(3).create();
    swarm.service("other").replicas(2).create();
    swarm.settle();
    let count =
        |swarm: &mut Swarm, filters: &str| swarm.get(&format!("/tasks?filters={filters}")).as_array().unwrap().len();
    assert_eq!(count(&mut swarm, r#"{"service":["web"]}"#), 3);
    assert_eq!(count(&mut swarm, r#"{"service":["web","other"],"desired-state":["running"]}"#), 5);
    assert_eq!(count(&mut swarm, r#"{"desired-state":["shutdown"]}"#), 0);
    let per_node: usize =
        ["node1", "node2", "node3"].iter().map(|n| count(&mut swarm, &format!(r#"{{"node":["{n}"]}}"#))).sum();
    assert_eq!(per_node, 5);
    assert_eq!(swarm.answer("GET", r#"/tasks?filters={"service":["nope"]}"#, b"").status, 404);
    assert_eq!(swarm.answer("GET", r#"/tasks?filters={"desired-state":["zork"]}"#, b"").status, 500);
}

#[test]
fn a_running_task_looks_like_swarms() {
    let mut swarm = Swarm::three_nodes().overlay("demo");
    swarm.service("web").network("demo").publish_host(8080, 80).create();
    swarm.settle();
    let task = &swarm.get("/tasks")[0];
    assert_eq!(task["Slot"], 1);
    assert_eq!(task["DesiredState"], "running");
    assert_eq!(task["Status"]["State"], "running");
    assert_eq!(task["Status"]["PortStatus"]["Ports"][0]["PublishedPort"], 8080);
    assert_eq!(task["NetworksAttachments"][0]["Network"]["Spec"]["Name"], "demo");
    assert_eq!(task["NetworksAttachments"][0]["Addresses"], json!(["10.0.1.3/24"]));
    assert_eq!(task["Spec"]["ContainerSpec"]["Image"], "web:1");
    assert_eq!(task["Spec"].get("Runtime"), None);
}

#[test]
fn service_status_is_only_shown_on_demand() {
    let mut swarm = Swarm::three_nodes();
    swarm.service("web").replicas(2).create();
    swarm.settle();
    let status = json!({ "RunningTasks": 2, "DesiredTasks": 2, "CompletedTasks": 0 });
    assert_eq!(swarm.get("/services?status=true")[0]["ServiceStatus"], status);
    assert_eq!(swarm.get("/services")[0].get("ServiceStatus"), None);
}

#[test]
fn networks_are_filtered_by_driver_scope_and_name() {
    let mut swarm = Swarm::new().overlay("demo");
    let count =
        |swarm: &mut Swarm, filters: &str| swarm.get(&format!("/networks?filters={filters}")).as_array().unwrap().len();
    assert_eq!(count(&mut swarm, r#"{"driver":["overlay"]}"#), 2);
    assert_eq!(count(&mut swarm, r#"{"scope":["swarm"],"name":["dem"]}"#), 1);
    assert_eq!(count(&mut swarm, r#"{"type":["custom"]}"#), 3);
    let demo = swarm.get("/networks/demo");
    assert_eq!(demo["IPAM"]["Config"][0], json!({ "Subnet": "10.0.1.0/24", "Gateway": "10.0.1.1" }));
    assert!(demo["Id"].is_string() && demo["Labels"].is_null());
}

#[test]
fn things_are_found_by_id_name_and_unique_prefix_of_the_id() {
    let mut swarm = Swarm::new();
    let id = swarm.config("a", "x");
    for key in [&*id, "a", &id[..10]] {
        assert_eq!(swarm.get(&format!("/configs/{key}"))["ID"], *id);
    }
    assert_eq!(swarm.answer("GET", "/configs/nope", b"").status, 404);
    assert_eq!(swarm.answer("GET", "/nope", b"").status, 404);
}

#[test]
fn an_update_needs_a_version() {
    let mut swarm = Swarm::three_nodes();
    swarm.service("web").create();
    let answer = swarm.answer("POST", "/services/web/update", b"{}");
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8_lossy(&answer.body).contains("invalid service version ''"));
}

#[test]
fn a_newer_engine_tells_in_the_ping_that_it_is_a_manager() {
    let header = |swarm: &mut Swarm| {
        let answer = swarm.answer("GET", "/_ping", b"");
        answer.headers.iter().find(|(name, _)| *name == "Swarm").map(|(_, value)| value.clone())
    };
    let mut swarm = Swarm::new();
    assert_eq!(header(&mut swarm), None);
    swarm.engine = Engine::v29();
    assert_eq!(header(&mut swarm).as_deref(), Some("active/manager"));
    swarm.control = Control::Worker;
    assert_eq!(header(&mut swarm).as_deref(), Some("active/worker"));
    assert_eq!(swarm.answer("GET", "/services", b"").status, 503);
    assert_eq!(swarm.answer("GET", "/v1.41/services", b"").status, 400);
}

#[test]
fn without_a_leader_reads_fail_too_but_not_the_ping() {
    let mut swarm = Swarm::new();
    swarm.control = Control::Leaderless;
    assert_eq!(swarm.answer("GET", "/services", b"").status, 500);
    assert_eq!(swarm.answer("GET", "/_ping", b"").status, 200);
}

#[test]
fn a_write_can_commit_and_still_report_a_timeout() {
    let mut swarm = Swarm::new();
    swarm.script.rule(Rule::write("/configs/create", Fault::CommitThen(ApiError::deadline_exceeded())).times(1));
    let body = br#"{"Name":"a","Data":"eA=="}"#;
    let Outcome::Answered(answer) = swarm.call("POST", "/v1.41/configs/create", body) else { panic!("no answer") };
    assert_eq!((answer.status, swarm.configs().count()), (500, 1));
    let Outcome::Answered(again) = swarm.call("POST", "/configs/create", body) else { panic!("no answer") };
    assert_eq!((again.status, swarm.writes()), (409, 2));
    assert_eq!(swarm.calls()[0].path, "/configs/create");
}

#[test]
fn a_crash_point_commits_or_not_as_wanted() {
    for commits in [false, true] {
        let mut swarm = Swarm::new();
        swarm.script.crash_at_write(1, commits);
        let outcome = swarm.call("POST", "/configs/create", br#"{"Name":"a","Data":"eA=="}"#);
        assert_eq!((outcome, swarm.configs().count()), (Outcome::Dropped, usize::from(commits)));
        assert_eq!(swarm.call("GET", "/services", b""), Outcome::Dropped);
    }
}

#[test]
fn with_auto_settle_tasks_run_when_the_write_is_answered() {
    let mut swarm = Swarm::three_nodes();
    swarm.auto_settle = true;
    let spec = json!({ "Name": "web", "TaskTemplate": { "ContainerSpec": { "Image": "i" } } });
    swarm.call("POST", "/services/create", spec.to_string().as_bytes());
    assert_eq!(swarm.running("web").len(), 1);
}

#[test]
fn equal_calls_give_equal_swarms() {
    let build = || {
        let mut swarm = Swarm::with_many(5, 2);
        (swarm.get("/services"), swarm.get("/tasks"), swarm.get("/networks"))
    };
    assert_eq!(build(), build());
}
