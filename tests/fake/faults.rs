//! The running controller while calls fail, answers get lost and events go missing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::settings;
use crate::support::world::route;
use interlock_core::docker::{Deadlines, Endpoint};
use interlock_core::reconcile::{Inputs, Memo, Outcome, reconcile_with};
use interlock_core::runtime::{self, Options};
use interlock_testkit::script::{EventFaults, Fault, Rule};
use interlock_testkit::{ApiError, Swarm, server};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const PROXY: &str = "interlock-proxy";
/// Virtual seconds a real one.
const SPEED: f64 = 30.0;

struct Running {
    handle: server::Handle,
    _folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    controller: JoinHandle<Result<(), runtime::Error>>,
    options: Options,
}

impl Running {
    /// A Swarm with one service, and the controller at work on it.
    fn start(arrange: impl FnOnce(&mut Swarm)) -> Self {
        Self::start_deciding(arrange, reconcile_with)
    }

    /// The same with another decision.
    fn start_deciding(arrange: impl FnOnce(&mut Swarm), reconcile: fn(&Inputs, &mut Memo) -> Outcome) -> Self {
        let mut swarm = Swarm::three_nodes().overlay("demo");
        route(&mut swarm, "shop", "demo");
        swarm.settle();
        arrange(&mut swarm);
        let folder = tempfile::tempdir().unwrap();
        let handle = server::serve(Arc::new(Mutex::new(swarm)), folder.path()).unwrap().with_clock(SPEED);
        let short = Duration::from_millis(500);
        let deadlines = Deadlines { list: short, inspect: short, write: short };
        let options = Options { deadlines, reconcile, ..Options::new(Endpoint::at(handle.url())) };
        let (stop, stopped) = oneshot::channel();
        let quick = settings("PollInterval = \"200ms\"\n[Extensions.default]\n");
        let controller = tokio::spawn(runtime::run(quick, options.clone(), async {
            let _ = stopped.await;
        }));
        Self { handle, _folder: folder, stop, controller, options }
    }

    /// Waits until proxies run whose configuration has this text.
    async fn served(&self, text: &str) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !self.serves(text) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "no proxy serves {text}: {:#?}",
                self.handle.swarm().calls().last()
            );
            assert!(!self.controller.is_finished(), "the controller ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a few seconds at most.
    async fn until(&self, what: &str, is_so: impl Fn(&Swarm) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
        while !is_so(&self.handle.swarm()) {
            assert!(tokio::time::Instant::now() < deadline, "{what}: {:?}", ours(&self.handle.swarm()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn serves(&self, text: &str) -> bool {
        let swarm = self.handle.swarm();
        if swarm.find_service(PROXY).is_none() {
            return false;
        }
        let json = swarm.service_json(PROXY);
        let config =
            json["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"][0]["ConfigName"].as_str().map(str::to_owned);
        let data = config.and_then(|name| swarm.config_bytes(&name)).unwrap_or_default();
        String::from_utf8_lossy(&data).contains(text) && swarm.running(PROXY).len() == 2
    }

    /// Stops the controller, and sees that it left nothing to do.
    async fn ends_with_nothing_to_do(self) {
        self.stop.send(()).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.controller).await;
        ended.expect("a controller that was told to stop does").unwrap().unwrap();
        self.handle.swarm().script.forget_rules();
        // What is under way ends first; then a fresh process finds nothing.
        let quiet = Options { deadlines: Deadlines::default(), ..self.options };
        let _ = runtime::run_once(settings("[Extensions.default]\n"), &quiet, Duration::from_secs(60), |_| ())
            .await
            .unwrap();
        let again = runtime::run_once(settings("[Extensions.default]\n"), &quiet, Duration::from_secs(60), |_| ())
            .await
            .unwrap();
        assert_eq!(again.done, 0);
        let swarm = self.handle.swarm();
        let ours = swarm.configs().filter(|config| config.name().starts_with("com.docker.interlock"));
        assert_eq!(ours.count(), referred(&swarm), "config objects that nothing refers to");
    }
}

/// How many config objects the proxy service refers to, now and before.
fn referred(swarm: &Swarm) -> usize {
    let json = swarm.service_json(PROXY);
    let names = |spec: &str| {
        json[spec]["TaskTemplate"]["ContainerSpec"]["Configs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|c| c["ConfigName"].to_string())
            .collect::<Vec<_>>()
    };
    let mut all = [names("Spec"), names("PreviousSpec")].concat();
    all.sort();
    all.dedup();
    all.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_served_and_stopping_is_clean() {
    let running = Running::start(|_| ());
    running.served("shop.example.com").await;
    route(&mut running.handle.swarm(), "late", "demo");
    running.served("late.example.com").await;
    running.ends_with_nothing_to_do().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_write_may_fail_in_any_way() {
    let mut cases = tokio::task::JoinSet::new();
    for nth in 1..=2 {
        for fault in [
            Fault::Drop,
            Fault::Hang,
            Fault::CommitThenDrop,
            Fault::CommitThenHang,
            Fault::Refuse(ApiError::deadline_exceeded()),
            Fault::CommitThen(ApiError::deadline_exceeded()),
        ] {
            cases.spawn(async move {
                let running = Running::start(|swarm| swarm.script.rule(Rule::write("", fault.clone()).only_nth(nth)));
                running.served("shop.example.com").await;
                running.ends_with_nothing_to_do().await;
            });
        }
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_may_fail_for_a_while() {
    let running = Running::start(|_| ());
    running.served("shop.example.com").await;
    let before = running.handle.swarm().writes();
    for path in ["/tasks", "/services", "/networks"] {
        running.handle.swarm().script.rule(Rule::method("GET", path, Fault::Drop).times(1));
    }
    route(&mut running.handle.swarm(), "late", "demo");
    running.served("late.example.com").await;
    assert!(running.serves("shop.example.com"), "a failed read took a route away");
    assert!(running.handle.swarm().writes() > before);
    running.ends_with_nothing_to_do().await;
}

/// Config objects of ours that there are.
fn ours(swarm: &Swarm) -> Vec<String> {
    let names = swarm.configs().map(|config| config.name().to_owned());
    names.filter(|name| name.starts_with("com.docker.interlock")).collect()
}

/// How often it was tried to remove a config object.
fn removals(swarm: &Swarm) -> usize {
    swarm.calls().iter().filter(|call| call.method == "DELETE" && call.path.contains("/configs/")).count()
}

/// Whoever may create a service may mount what is ours. Nothing is tried that Swarm would refuse, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_elses_service_mounts_is_left_alone_while_it_does() {
    let running = Running::start(|_| ());
    running.served("shop.example.com").await;
    let taken = ours(&running.handle.swarm());
    running.handle.swarm().service("tenant").config(&taken[0], "/mine").create();
    for name in ["one", "two", "three"] {
        route(&mut running.handle.swarm(), name, "demo");
        running.served(&format!("{name}.example.com")).await;
    }
    running
        .until("all but the mounted one are gone", |swarm| ours(swarm).len() == 3 && ours(swarm).contains(&taken[0]))
        .await;
    running.handle.swarm().forget_calls();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(removals(&running.handle.swarm()), 0);
    running.handle.swarm().remove_service("tenant").unwrap();
    running.until("it goes with the service", |swarm| !ours(swarm).contains(&taken[0])).await;
    running.ends_with_nothing_to_do().await;
}

/// A Swarm that finds each config object in use.
fn in_use() -> Rule {
    let says = "rpc error: code = InvalidArgument desc = config 'a' is in use by the following service: b";
    Rule::method("DELETE", "/configs/", Fault::Refuse(ApiError::new(400, says)))
}

/// What Swarm says is in use, for a reason that is not in any service, is tried again with pauses, and goes soon after that is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_in_use_is_removed_later() {
    let running = Running::start(|swarm| swarm.script.rule(in_use()));
    running.served("shop.example.com").await;
    for name in ["one", "two", "three"] {
        route(&mut running.handle.swarm(), name, "demo");
        running.served(&format!("{name}.example.com")).await;
    }
    running.until("it is tried", |swarm| removals(swarm) > 0).await;
    running.handle.swarm().forget_calls();
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Two objects are in use.
    let tried = removals(&running.handle.swarm());
    assert!((1..=10).contains(&tried), "{tried}");
    // That holds up nothing else.
    route(&mut running.handle.swarm(), "four", "demo");
    running.served("four.example.com").await;
    running.handle.swarm().script.forget_rules();
    running.until("they are gone", |swarm| ours(swarm).len() == 2).await;
    running.ends_with_nothing_to_do().await;
}

/// Who runs once does not wait for ever for what does no harm.
#[tokio::test(flavor = "multi_thread")]
async fn one_run_ends_beside_what_is_in_use() {
    let mut swarm = Swarm::three_nodes().overlay("demo");
    swarm.settle();
    let folder = tempfile::tempdir().unwrap();
    let handle = server::serve(Arc::new(Mutex::new(swarm)), folder.path()).unwrap().with_clock(SPEED);
    let options = Options::new(Endpoint::at(handle.url()));
    for name in ["one", "two", "three"] {
        route(&mut handle.swarm(), name, "demo");
        handle.swarm().settle();
        handle.swarm().script.rule(in_use());
        let run = runtime::run_once(settings("[Extensions.default]\n"), &options, Duration::from_secs(60), |_| ());
        assert!(run.await.unwrap().converged());
    }
    assert_eq!(ours(&handle.swarm()).len(), 3);
    handle.swarm().script.forget_rules();
    let run = runtime::run_once(settings("[Extensions.default]\n"), &options, Duration::from_secs(60), |_| ());
    assert_eq!(run.await.unwrap().done, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_may_get_lost_or_never_come() {
    for faults in [
        EventFaults { deaf: true, ..EventFaults::default() },
        EventFaults { seed: 7, drop: 50, duplicate: 20, swap: 20, deaf: false },
    ] {
        let running = Running::start(|swarm| swarm.script.events = faults);
        running.served("shop.example.com").await;
        route(&mut running.handle.swarm(), "late", "demo");
        running.served("late.example.com").await;
        running.ends_with_nothing_to_do().await;
    }
}

fn has(inputs: &Inputs, name: &str) -> bool {
    inputs.snapshot.services().any(|service| service.spec.name == name)
}

/// A decision that panics: what was decided stays in force, core goes on, and decides again when that is possible.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_panics_changes_nothing_and_ends_nobody() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    fn decide(inputs: &Inputs, memo: &mut Memo) -> Outcome {
        if has(inputs, "evil") {
            // The search for the service has fewer.
            PANICS.fetch_add(usize::from(inputs.snapshot.services.len() == 3), Ordering::SeqCst);
            panic!("an input that nobody thought of");
        }
        reconcile_with(inputs, memo)
    }
    let running = Running::start_deciding(|_| (), decide);
    running.served("shop.example.com").await;
    route(&mut running.handle.swarm(), "evil", "demo");
    running.until("it is tried again", |_| PANICS.load(Ordering::SeqCst) > 1).await;
    assert!(running.serves("shop.example.com") && !running.serves("evil.example.com"));
    running.handle.swarm().remove_service("evil").unwrap();
    route(&mut running.handle.swarm(), "late", "demo");
    running.served("late.example.com").await;
    running.ends_with_nothing_to_do().await;
}

/// While a decision is made core stops when it is told to, and so it hears all else.
#[tokio::test(flavor = "multi_thread")]
async fn the_loop_goes_on_while_it_decides() {
    static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    static WAITING: AtomicUsize = AtomicUsize::new(0);
    fn decide(inputs: &Inputs, memo: &mut Memo) -> Outcome {
        if has(inputs, "large") {
            WAITING.fetch_add(1, Ordering::SeqCst);
            drop(GATE.1.wait_while(GATE.0.lock().unwrap(), |is_open| !*is_open).unwrap());
        }
        reconcile_with(inputs, memo)
    }
    let running = Running::start_deciding(|_| (), decide);
    running.served("shop.example.com").await;
    route(&mut running.handle.swarm(), "large", "demo");
    running.until("a decision is being made", |_| WAITING.load(Ordering::SeqCst) > 0).await;
    running.stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), running.controller).await;
    *GATE.0.lock().unwrap() = true;
    GATE.1.notify_all();
    ended.expect("a controller that was told to stop does").unwrap().unwrap();
}
