//! nginx that dies, that cannot start, and that is told to end.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use interlock_core::agent::{Error, Order, health};
use interlock_core::grpc::v1::{self, follow_request::Event};

use crate::agent::SOON;
use crate::support::agent::{Core, GENERATION, Node, SlowApplication, eventually, free, revision, to_wire};
use crate::support::checker::executable;
use crate::support::gate::{Gate, Moment};
use crate::support::processes::{kill, old_workers};

/// Each attempt ends nginx, so that core is told of each, and pauses grow.
#[tokio::test(flavor = "multi_thread")]
async fn what_nginx_dies_of_when_it_reads_it_is_refused_each_time() {
    let (node, mut core) = (Node::new(), Core::start());
    let agent = node.serving(&mut core).await;
    let (current, pid) = (agent.run.path().join("current"), node.path("nginx.pid"));
    let over = Arc::new(AtomicBool::new(false));
    let stop = over.clone();
    let killer = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let is_read = std::fs::read_link(&current).is_ok_and(|at| at.to_string_lossy().contains(&revision(2)));
            if let (true, Ok(pid)) = (is_read, std::fs::read_to_string(&pid)) {
                // It may be gone already.
                let _ = Command::new("kill").args(["-KILL", pid.trim()]).stderr(Stdio::null()).status();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    // nginx never says that it serves this, so that it dies before it could.
    let mut files = node.files(2);
    files[0].content = files[0].content.replace(&revision(2), &revision(4)).into();
    core.send(to_wire(2, &files));
    let mut attempts = 0;
    while attempts < 2 {
        // The one from before can be hit as well: what was killed may still have its ports.
        let is_of_this = |refused: &v1::Refused| refused.revision == revision(2);
        attempts += usize::from(matches!(core.hears().await, Event::Refused(refused) if is_of_this(&refused)));
    }
    node.serves(1);
    over.store(true, Ordering::Relaxed);
    killer.join().unwrap();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nginx_is_started_again_and_its_requests_are_finished() {
    let (node, mut core) = (Node::new(), Core::start());
    let application = SlowApplication::start(node.application);
    let agent = node.serving(&mut core).await;
    let open = application.begin(node.port);
    for _ in 0..2 {
        let master = node.master();
        kill("-KILL", master);
        eventually("another master", || {
            std::fs::read_to_string(node.path("nginx.pid")).is_ok_and(|pid| pid.trim() != master.to_string())
        });
        node.serves(1);
        core.accepted(&node.revision(1)).await;
    }
    assert_eq!(open.finish(), "end");
    core.send(node.revision(2));
    core.accepted(&node.revision(2)).await;
    agent.stop().await;
    assert!(!node.listens());
}

/// As for TLS that is passed through: nginx does not remove what a killed one left. Neither what is started next nor a later reload finds it.
#[tokio::test(flavor = "multi_thread")]
async fn the_sockets_of_a_killed_nginx_are_no_obstacle() {
    let (node, mut core) = (Node::new(), Core::start());
    let socket = node.path("tls.sock");
    let files = |n: u64| {
        let mut files = node.files(n);
        let line = format!("server {{\n  listen unix:{} proxy_protocol;\n", socket.display());
        files[1].content = files[1].content.replacen("server {\n", &line, 1).into();
        to_wire(n, &files)
    };
    node.mount(1);
    core.send(files(2));
    let agent = node.start(core.address, GENERATION);
    core.accepted(&files(2)).await;
    // After some early ends something else is served; how many depends on when they come.
    for time in 1.. {
        assert!(time < 20, "the mounted configuration is never served");
        let master = node.master();
        kill("-KILL", master);
        eventually("another nginx", || node.served().is_some() && node.master() != master);
        if node.served() == Some(1) {
            break;
        }
    }
    // Others may be to blame for its ends, so it is tried again.
    node.serves(2);
    core.send(files(3));
    core.accepts_in_the_end(&files(3)).await;
    agent.stop().await;
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_of_a_killed_nginx_serve_until_another_one_starts() {
    let (node, mut core) = (Node::new(), Core::start());
    let gate = Gate::new(node.folder.path());
    core.send(node.revision(1));
    let agent = node.start_program(core.address, GENERATION, 30 * SOON, gate.program().to_str().unwrap());
    core.accepted(&node.revision(1)).await;
    gate.close(Moment::Before);
    kill("-KILL", node.master());
    gate.reached(Moment::Before);
    assert_eq!(node.served(), Some(1));
    gate.open();
    core.accepted(&node.revision(1)).await;
    assert_eq!(node.served(), Some(1));
    // Also when there will be none.
    gate.close(Moment::Before);
    kill("-KILL", node.master());
    gate.reached(Moment::Before);
    agent.stop().await;
    assert!(!node.listens());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nginx_dies_of_is_left_for_what_worked() {
    let (node, mut core) = (Node::new(), Core::start());
    // An nginx that cannot live long with a certain directive.
    let fragile = node.path("fragile");
    let script = "if [ \"$1\" = -c ] && [ \"$5\" != -t ] && grep -q 'connections 63' \"$2\"; then\n  (sleep 2; kill -KILL $$) &\nfi\nexec nginx \"$@\"\n";
    executable(&fragile, script);
    core.send(node.revision(1));
    let agent = node.start_program(core.address, GENERATION, 30 * SOON, fragile.to_str().unwrap());
    core.accepted(&node.revision(1)).await;
    agent.stop().await;
    let mut files = node.files(2);
    files[0].content = files[0].content.replace("connections 64", "connections 63").into();
    core.send(to_wire(2, &files));
    let agent = node.start_program(core.address, GENERATION, 30 * SOON, fragile.to_str().unwrap());
    let refused = loop {
        if let Event::Refused(refused) = core.hears().await {
            break refused;
        }
    };
    assert_eq!(refused.message, "nginx ended by itself 3 times soon after it was started");
    assert_eq!(refused.running_revision, revision(1));
    node.serves(1);
    core.send(node.revision(3));
    core.accepts_in_the_end(&node.revision(3)).await;
    assert_eq!(node.served(), Some(3));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_serve_is_an_error_with_the_words_of_nginx() {
    let (node, mut core) = (Node::new(), Core::start());
    let mut files = node.files(1);
    files[0].content = (files[0].content.to_string() + "foo bar;\n").into();
    core.send(to_wire(1, &files));
    let agent = node.start(core.address, GENERATION);
    let Err(Error::NothingServes(said)) = agent.ended().await else { panic!("something is served") };
    assert!(said.ends_with("unknown directive \"foo\""), "{said}");
    core.hello().await;
}

/// An nginx that cannot be checked once is checked again, though core sends nothing new.
#[tokio::test(flavor = "multi_thread")]
async fn what_failed_for_a_reason_that_passes_is_tried_again() {
    let (node, mut core) = (Node::new(), Core::start());
    let (fragile, failed) = (node.path("fragile"), node.path("failed"));
    let script = format!(
        "#!/bin/sh\nif [ \"$5\" = -t ] && grep -q 'connections 63' \"$2\" && [ ! -e {0} ]; then : >{0}; kill -KILL $$; fi\nexec nginx \"$@\"\n",
        failed.display()
    );
    std::fs::write(&fragile, script).unwrap();
    std::fs::set_permissions(&fragile, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    core.send(node.revision(1));
    let agent = node.start_program(core.address, GENERATION, 30 * SOON, fragile.to_str().unwrap());
    core.accepted(&node.revision(1)).await;
    let mut files = node.files(2);
    files[0].content = files[0].content.replace("connections 64", "connections 63").into();
    let wanted = to_wire(2, &files);
    core.send(wanted.clone());
    let Event::Refused(refused) = core.hears().await else { panic!("not refused") };
    assert!(refused.message.contains("the checker was ended: signal: 9"), "{}", refused.message);
    assert_eq!((refused.running_revision, node.served()), (revision(1), Some(1)));
    core.accepted(&wanted).await;
    assert_eq!(node.served(), Some(2));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_open_answers_and_ends_well() {
    let (node, mut core) = (Node::new(), Core::start());
    let application = SlowApplication::start(node.application);
    let agent = node.serving(&mut core).await;
    let open = application.begin(node.port);
    agent.orders.send(Order::Drain).unwrap();
    eventually("no new connections", || !node.listens());
    assert!(!agent.task.is_finished());
    assert_eq!(open.finish(), "end");
    agent.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_stop_does_not_wait_for_anybody() {
    let (node, mut core) = (Node::new(), Core::start());
    let application = SlowApplication::start(node.application);
    // While core is waited for.
    let agent = node.start(core.address, GENERATION);
    core.hello().await;
    agent.stop().await;
    // While a revision is taken, with an open answer.
    let agent = node.serving(&mut core).await;
    let open = application.begin(node.port);
    core.send(node.revision(2));
    agent.stop().await;
    assert_eq!(open.finish(), "");
    assert!(!node.listens());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_by_hand_reads_the_files_again() {
    let (node, mut core) = (Node::new(), Core::start());
    let application = SlowApplication::start(node.application);
    let agent = node.serving(&mut core).await;
    let open = application.begin(node.port);
    agent.orders.send(Order::Reload).unwrap();
    eventually("the worker of before finishes", || old_workers(node.master()) == 1);
    std::fs::rename(node.path("error.log"), node.path("error.log.1")).unwrap();
    agent.orders.send(Order::Reopen).unwrap();
    eventually("another log file", || node.path("error.log").exists());
    assert_eq!(open.finish(), "end");
    agent.stop().await;
}

/// The mesh sends new connections until every node knows that the task ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_behind_the_mesh_keeps_its_port_open_for_a_while() {
    const LINGER: Duration = Duration::from_millis(700);
    let (node, mut core) = (Node { linger: LINGER, ..Node::new() }, Core::start());
    let agent = node.serving(&mut core).await;
    let (began, orders) = (Instant::now(), agent.orders.clone());
    orders.send(Order::Drain).unwrap();
    tokio::task::block_in_place(|| eventually("the port is closed", || !node.listens()));
    assert!(began.elapsed() >= LINGER, "closed after {:?}", began.elapsed());
    agent.ended().await.unwrap();

    // An order to stop is not kept waiting.
    let node = Node { linger: Duration::from_secs(3600), ..node };
    let agent = node.serving(&mut core).await;
    agent.orders.send(Order::Drain).unwrap();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers_where_no_nginx_is() {
    let address = free();
    let unwell = health::ask(address).await.unwrap_err().to_string();
    assert!(unwell.starts_with(&format!("nginx does not answer on {address}: ")), "{unwell}");
}
