use crate::script::Fate;
use crate::{ApiError, Swarm, TaskState};
use serde_json::{Value, json};
use std::time::Duration;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A service `web` of so many tasks that is up to date and idle.
fn web(replicas: u64, update_config: Value) -> Swarm {
    let mut swarm = Swarm::three_nodes();
    let service = swarm.service("web").replicas(replicas).label("n", "1");
    if update_config.is_null() {
        service.create()
    } else {
        service.update_config(update_config).create()
    };
    swarm.settle();
    swarm
}

fn set_env(swarm: &mut Swarm, value: &str) -> Result<(), ApiError> {
    swarm.edit_service("web", |spec| spec["TaskTemplate"]["ContainerSpec"]["Env"] = json!([value]))
}

fn state(swarm: &Swarm) -> Option<&'static str> {
    swarm.find_service("web").unwrap().update_status.as_ref().map(|s| s.state)
}

fn version(swarm: &Swarm) -> u64 {
    swarm.find_service("web").unwrap().meta.version
}

fn running_env(swarm: &Swarm, value: &str) -> usize {
    let has = |spec: &Value| spec["TaskTemplate"]["ContainerSpec"]["Env"] == json!([value]);
    swarm.running("web").iter().filter(|t| has(&t.spec)).count()
}

#[test]
fn a_change_of_the_template_updates_one_task_at_a_time_and_is_watched_for_five_seconds() {
    let mut swarm = web(3, Value::Null);
    let before = version(&swarm);
    set_env(&mut swarm, "A=1").unwrap();
    assert_eq!(state(&swarm), None);
    swarm.tick(Duration::from_millis(1));
    assert_eq!(state(&swarm), Some("updating"));
    let after_start = version(&swarm);
    assert!(after_start > before + 1, "the status is a write of its own");
    swarm.tick(seconds(1));
    assert!(swarm.running("web").len() >= 2);
    swarm.tick(seconds(3));
    assert_eq!((running_env(&swarm, "A=1"), state(&swarm)), (3, Some("updating")));
    swarm.settle();
    assert_eq!(state(&swarm), Some("completed"));
    assert!(version(&swarm) > after_start);
}

#[test]
fn a_label_changes_no_task_and_no_status() {
    let mut swarm = web(2, Value::Null);
    let before = version(&swarm);
    swarm.edit_service("web", |spec| spec["Labels"]["n"] = "2".into()).unwrap();
    swarm.settle();
    assert_eq!(state(&swarm), None);
    let service = swarm.find_service("web").unwrap();
    assert_eq!(service.previous_spec.as_ref().unwrap()["Labels"]["n"], "1");
    assert!(service.meta.version > before);
    assert_eq!(swarm.tasks_of("web").len(), 2);
}

#[test]
fn a_change_of_ports_replaces_tasks_though_the_template_is_the_same() {
    let mut swarm = web(1, Value::Null);
    swarm
        .edit_service("web", |s| {
            s["EndpointSpec"] = json!({ "Ports": [{ "TargetPort": 80, "PublishedPort": 81, "PublishMode": "host" }] });
        })
        .unwrap();
    swarm.settle();
    assert_eq!(state(&swarm), Some("completed"));
    assert_eq!(swarm.running("web")[0].ports[0]["PublishedPort"], 81);
}

#[test]
fn a_constraint_that_is_still_satisfied_restarts_nothing() {
    let mut swarm = web(3, Value::Null);
    let place = |c: &str| {
        let placement = json!({ "Constraints": [c] });
        move |spec: &mut Value| spec["TaskTemplate"]["Placement"] = placement
    };
    swarm.edit_service("web", place("node.role!=nothing")).unwrap();
    swarm.settle();
    assert_eq!((state(&swarm), swarm.tasks_of("web").len()), (None, 3));
    swarm.edit_service("web", place("node.role==manager")).unwrap();
    swarm.settle();
    assert_eq!(state(&swarm), Some("completed"));
    let manager = swarm.nodes().find(|n| n.leader).unwrap().meta.id.clone();
    assert!(swarm.running("web").iter().all(|t| t.node_id.as_ref() == Some(&manager)));
}

#[test]
fn the_old_task_is_unwanted_at_once_but_keeps_running_until_it_has_stopped() {
    let mut swarm = web(1, Value::Null);
    swarm.timing.stop = seconds(8);
    set_env(&mut swarm, "A=1").unwrap();
    swarm.tick(Duration::from_millis(1));
    let old = swarm.tasks_of("web").into_iter().find(|t| t.desired == TaskState::Shutdown).unwrap();
    assert_eq!(old.state, TaskState::Running);
    swarm.tick(seconds(7));
    assert_eq!(swarm.running("web").len(), 0, "the new task waits for the old one to stop");
    swarm.tick(seconds(2));
    assert_eq!(running_env(&swarm, "A=1"), 1);
}

#[test]
fn start_first_keeps_the_old_task_until_the_new_one_runs() {
    let mut swarm = web(1, json!({ "Parallelism": 1, "Order": "start-first" }));
    swarm.script.fate_when("web", |t| !t.spec["TaskTemplate"]["ContainerSpec"]["Env"].is_null(), Fate::NeverStart);
    set_env(&mut swarm, "A=1").unwrap();
    swarm.tick(seconds(3600));
    assert_eq!((swarm.running("web").len(), running_env(&swarm, "A=1")), (1, 0));
    assert_eq!(state(&swarm), Some("updating"), "there is no time limit");
}

#[test]
fn start_first_with_a_host_port_on_every_node_never_finishes() {
    let mut swarm = Swarm::three_nodes();
    let config = json!({ "Parallelism": 1, "Order": "start-first" });
    swarm.service("web").global().publish_host(80, 80).update_config(config).create();
    swarm.settle();
    set_env(&mut swarm, "A=1").unwrap();
    swarm.tick(seconds(3600));
    assert_eq!((swarm.running("web").len(), state(&swarm)), (3, Some("updating")));
    let tasks = swarm.tasks_of("web");
    let waiting = tasks.iter().find(|t| t.state == TaskState::Pending).unwrap();
    assert_eq!(waiting.err.as_deref(), Some("no suitable node (host-mode port already in use on 1 node)"));
}

#[test]
fn parallelism_and_delay_pace_the_roll() {
    let mut swarm = web(4, json!({ "Parallelism": 2, "Delay": 20_000_000_000_u64 }));
    set_env(&mut swarm, "A=1").unwrap();
    swarm.tick(seconds(10));
    assert_eq!(running_env(&swarm, "A=1"), 2);
    swarm.tick(seconds(15));
    assert_eq!(running_env(&swarm, "A=1"), 4);
    swarm.tick(seconds(20));
    assert_eq!(state(&swarm), Some("updating"));
    swarm.settle();
    assert_eq!(state(&swarm), Some("completed"));
}

#[test]
fn a_failing_update_pauses_by_default_and_any_later_edit_starts_it_again() {
    let mut swarm = web(3, Value::Null);
    swarm.script.fate_when(
        "web",
        |t| t.spec["TaskTemplate"]["ContainerSpec"]["Env"] == json!(["BAD"]),
        Fate::FailOnStart { exit: 3 },
    );
    set_env(&mut swarm, "BAD").unwrap();
    swarm.tick(seconds(60));
    assert_eq!((state(&swarm), swarm.running("web").len()), (Some("paused"), 2));
    let message = &swarm.find_service("web").unwrap().update_status.as_ref().unwrap().message;
    assert!(message.starts_with("update paused due to failure or early termination of task "), "{message}");
    swarm.edit_service("web", |spec| spec["Labels"]["n"] = "2".into()).unwrap();
    assert_eq!(state(&swarm), None);
    swarm.tick(seconds(60));
    let previous = swarm.find_service("web").unwrap().previous_spec.clone().unwrap();
    assert_eq!(previous["TaskTemplate"]["ContainerSpec"]["Env"], json!(["BAD"]), "the last good spec is lost");
    assert!(swarm.running("web").len() < 2, "and another good task is gone");
}

#[test]
fn an_automatic_rollback_leaves_no_previous_spec() {
    let mut swarm = web(2, json!({ "Parallelism": 1, "FailureAction": "rollback" }));
    set_env(&mut swarm, "A=1").unwrap();
    swarm.settle();
    swarm.script.fate_when(
        "web",
        |t| t.spec["TaskTemplate"]["ContainerSpec"]["Env"] == json!(["BAD"]),
        Fate::FailOnStart { exit: 3 },
    );
    set_env(&mut swarm, "BAD").unwrap();
    swarm.settle();
    assert_eq!(state(&swarm), Some("rollback_completed"));
    assert_eq!(swarm.find_service("web").unwrap().previous_spec, None);
    assert_eq!(running_env(&swarm, "A=1"), 2);
}

#[test]
fn a_rollback_that_fails_is_paused_and_never_rolled_back() {
    let mut swarm = web(2, json!({ "Parallelism": 1, "FailureAction": "rollback" }));
    swarm.edit_service("web", |s| s["RollbackConfig"] = json!({ "Parallelism": 1 })).unwrap();
    swarm.settle();
    swarm.script.fate_of("web", Fate::FailOnStart { exit: 3 });
    set_env(&mut swarm, "BAD").unwrap();
    swarm.tick(seconds(60));
    assert_eq!(state(&swarm), Some("rollback_paused"));
}

#[test]
fn a_failure_after_the_monitoring_is_none_of_the_update() {
    let mut swarm = web(1, json!({ "Parallelism": 1, "Monitor": 2_000_000_000_u64 }));
    swarm.script.fate_when(
        "web",
        |t| t.spec["TaskTemplate"]["ContainerSpec"]["Env"] == json!(["BAD"]),
        Fate::FailAfter { delay: seconds(4), exit: 1 },
    );
    set_env(&mut swarm, "BAD").unwrap();
    swarm.tick(seconds(30));
    assert_eq!(state(&swarm), Some("completed"));
}

#[test]
fn a_tolerated_ratio_of_failures_does_not_stop_the_update() {
    let mut swarm = web(4, json!({ "Parallelism": 1, "MaxFailureRatio": 0.25 }));
    swarm.script.fate_when(
        "web",
        |t| t.slot == 2 && !t.spec["TaskTemplate"]["ContainerSpec"]["Env"].is_null(),
        Fate::FailOnStart { exit: 1 },
    );
    set_env(&mut swarm, "A=1").unwrap();
    swarm.tick(seconds(4));
    assert_eq!((running_env(&swarm, "A=1"), state(&swarm)), (3, Some("updating")));
}

#[test]
fn a_new_update_cancels_a_running_one_and_what_was_replaced_stays() {
    let mut swarm = web(3, json!({ "Parallelism": 1, "Delay": 60_000_000_000_u64 }));
    set_env(&mut swarm, "A=1").unwrap();
    swarm.tick(seconds(2));
    assert_eq!(running_env(&swarm, "A=1"), 1);
    swarm.edit_service("web", |spec| spec["Labels"]["n"] = "2".into()).unwrap();
    assert_eq!((state(&swarm), running_env(&swarm, "A=1")), (None, 1));
    swarm.settle();
    assert_eq!((state(&swarm), running_env(&swarm, "A=1")), (Some("completed"), 3));
}

#[test]
fn a_health_check_holds_a_task_in_starting_until_its_first_probe() {
    let mut swarm = Swarm::three_nodes();
    let check = json!({ "Test": ["CMD", "true"], "Interval": 6_000_000_000_u64 });
    swarm.service("web").with(|spec| spec["TaskTemplate"]["ContainerSpec"]["Healthcheck"] = check).create();
    swarm.tick(seconds(5));
    assert_eq!(swarm.tasks_of("web")[0].state, TaskState::Starting);
    swarm.tick(seconds(3));
    assert_eq!(swarm.running("web").len(), 1);
    let id = swarm.running("web")[0].meta.id.clone();
    swarm.make_unhealthy(&id, seconds(3));
    swarm.tick(seconds(2));
    assert_eq!(swarm.running("web").len(), 1, "it counts as running through the retries");
    swarm.tick(seconds(2));
    let task = swarm.tasks_of("web").into_iter().find(|t| t.meta.id == id).unwrap();
    assert_eq!((task.state, task.exit_code), (TaskState::Failed, 137));
}

#[test]
fn an_update_of_a_service_that_cannot_be_placed_goes_on_when_it_can() {
    let mut swarm = web(2, Value::Null);
    swarm
        .edit_service("web", |s| s["TaskTemplate"]["Placement"] = json!({ "Constraints": ["node.labels.x==1"] }))
        .unwrap();
    swarm.tick(seconds(60));
    assert_eq!(swarm.running("web").len(), 1);
    swarm.edit_node("node1", |spec| spec["Labels"]["x"] = "1".into());
    swarm.settle();
    assert_eq!((swarm.running("web").len(), state(&swarm)), (2, Some("completed")));
}
