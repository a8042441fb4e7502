//! What is served: what core wants, while it is there and while it is not, and what reloads leave.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use interlock_core::agent::health;
use interlock_core::grpc::v1::follow_request::Event;

use crate::agent::SOON;
use crate::support::agent::{Core, GENERATION, Node, SlowApplication, eventually, free, revision, to_wire};
use crate::support::processes::{accepting_workers, kill, old_workers};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_thing_served_is_what_core_wants() {
    let (node, mut core) = (Node::new(), Core::start());
    node.mount(1);
    std::fs::write(node.path("version"), "1.2.3\nNGINX 1.2.3 lacks security fixes\n").unwrap();
    let agent = node.start(core.address, GENERATION);
    let hello = core.hello().await;
    assert_eq!(hello.version_warning, "NGINX 1.2.3 lacks security fixes");
    assert_eq!((hello.generation.as_str(), hello.revision.as_str(), hello.hash.as_str()), (GENERATION, "", ""));
    assert!(hello.agent.starts_with("interlock/") && hello.proxy_version.starts_with("1."), "{hello:?}");
    assert!(!node.listens(), "nobody is served what may be outdated");
    core.send(node.revision(2));
    core.accepted(&node.revision(2)).await;
    assert_eq!(node.served(), Some(2));
    assert_eq!(health::ask(node.health).await.unwrap(), revision(2));
    agent.stop().await;
    assert!(!node.listens() && health::ask(node.health).await.is_err());
}

/// nginx reads a certificate at the handshake: a bad one ends it, and says nothing to anybody.
#[tokio::test(flavor = "multi_thread")]
async fn core_hears_which_certificates_nginx_cannot_use() {
    let (node, mut core) = (Node::new(), Core::start());
    node.mount(1);
    let authority = crate::support::pki::Authority::new();
    let (good, other) = (authority.pair("good.example.com"), authority.pair("other.example.com"));
    let joined = |first: &str, second: &str| format!("{}{second}", first.trim_end());
    std::fs::create_dir_all(node.path("secrets")).unwrap();
    for (name, content) in [
        ("good.cert", good.certificate.clone()),
        ("good.key", good.key.clone()),
        ("whole", format!("{}{}", good.certificate, good.key)),
        ("key-first", format!("{}{}", good.key, good.certificate)),
        ("windows", format!("{}{}", good.certificate, good.key).replace('\n', "\r\n")),
        ("authorities", format!("{}{}", good.certificate, other.certificate)),
        ("joined-authorities", joined(&good.certificate, &other.certificate)),
        ("joined", joined(&good.certificate, &good.key)),
        ("joined-chain", joined(&other.certificate, &good.certificate)),
        ("other.key", other.key.clone()),
        ("words", "no PEM at all".to_owned()),
    ] {
        std::fs::write(node.path("secrets").join(name), content).unwrap();
    }
    let agent = node.start_with(core.address, GENERATION, SOON);
    let hello = core.hello().await;
    let bad: Vec<_> = hello.secrets.iter().filter(|secret| !secret.unusable.is_empty()).collect();
    let names: Vec<_> = bad.iter().map(|secret| secret.name.as_str()).collect();
    assert_eq!(names, ["joined", "joined-authorities", "joined-chain"], "{bad:?}");
    assert!(bad.iter().all(|secret| secret.unusable.contains("bad end line")), "{bad:?}");
    agent.stop().await;
}

/// Where core is away, or has no name or address, each new proxy would refuse connections for as long as it waits.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_core_that_answers_is_waited_for() {
    let (node, mut core) = (Node::new(), Core::start());
    core.kill();
    node.mount(1);
    let (reaches, reached) = tokio::sync::watch::channel(false);
    let wait = Duration::from_secs(600);
    let start = || node.start_reaching(core.address, GENERATION, wait, "nginx", reached.clone());
    let agent = start();
    node.serves(1);
    agent.stop().await;

    // One that answers may have a newer one.
    reaches.send_replace(true);
    let agent = start();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!node.listens());
    core.resume();
    core.send(node.revision(2));
    node.serves(2);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_core_the_mounted_copy_is_served() {
    let (node, mut core) = (Node::new(), Core::start());
    core.kill();
    node.mount(1);
    let agent = node.start_with(core.address, GENERATION, SOON);
    node.serves(1);
    // nginx itself says which revision it is, once it serves.
    let revision_told = loop {
        core.resume();
        let hello = core.hello().await;
        if !hello.revision.is_empty() {
            break hello.revision;
        }
        core.kill();
    };
    assert_eq!(revision_told, revision(1));
    // Core wants the same: nothing has to be done for that.
    let master = node.master();
    core.send(node.revision(1));
    core.accepted(&node.revision(1)).await;
    assert_eq!(node.master(), master);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revision_drops_no_open_request() {
    let (node, mut core) = (Node::new(), Core::start());
    let application = SlowApplication::start(node.application);
    let agent = node.serving(&mut core).await;
    let open = application.begin(node.port);
    core.send(node.revision(2));
    core.accepted(&node.revision(2)).await;
    assert_eq!(node.served(), Some(2), "what was acknowledged is served");
    assert_eq!(open.finish(), "end");
    agent.stop().await;
}

/// nginx's master sleeps for 100 ms before it tells its old workers. Here it does not wake up at all.
#[tokio::test(flavor = "multi_thread")]
async fn old_workers_do_not_wait_for_nginx_to_be_told() {
    let (node, mut core) = (Node::new(), Core::start());
    let agent = node.serving(&mut core).await;
    let master = node.master();
    let before = accepting_workers(master);
    let stopped = std::thread::spawn(move || {
        let new = || accepting_workers(master).into_iter().any(|worker| !before.contains(&worker));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !new() {
            assert!(Instant::now() < deadline, "no new worker");
        }
        kill("-STOP", master);
    });
    core.send(node.revision(2));
    core.accepted(&node.revision(2)).await;
    assert_eq!(node.served(), Some(2));
    stopped.join().unwrap();
    let new = accepting_workers(master);
    kill("-CONT", master);
    // When it wakes up, it does not take their end for a crash, and goes on.
    core.send(node.revision(3));
    core.accepted(&node.revision(3)).await;
    assert_eq!((node.served(), node.master()), (Some(3), master));
    assert_eq!(accepting_workers(master).len(), 1, "instead of {new:?}");
    agent.stop().await;
}

/// Several workers do not come at once, nor do they go at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_served_by_all_workers() {
    let (node, mut core) = (Node::new(), Core::start());
    let with_workers = |n: u64| {
        let mut files = node.files(n);
        // Fewer, more, and as many as before.
        let workers = [8, 8, 2, 6][usize::try_from(n % 4).unwrap()];
        files[0].content =
            files[0].content.replace("worker_processes 1", &format!("worker_processes {workers}")).into();
        to_wire(n, &files)
    };
    core.send(with_workers(1));
    let agent = node.start(core.address, GENERATION);
    core.accepted(&with_workers(1)).await;
    for n in 2..=12 {
        core.send(with_workers(n));
        core.accepted(&with_workers(n)).await;
        let served: BTreeSet<_> = (0..40).map(|_| node.served()).collect();
        assert_eq!(served, BTreeSet::from([Some(n)]));
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nginx_refuses_changes_nothing() {
    let (node, mut core) = (Node::new(), Core::start());
    let agent = node.serving(&mut core).await;
    let master = node.master();
    let mut files = node.files(2);
    files[1].content = (files[1].content.to_string() + "foo bar;\n").into();
    let wrong = to_wire(2, &files);
    core.send(wrong.clone());
    let Event::Refused(refused) = core.hears().await else { panic!("not refused") };
    assert_eq!(refused.message, "interlock.d/servers-01.conf:6: unknown directive \"foo\"");
    assert_eq!((refused.revision, refused.running_revision), (revision(2), revision(1)));
    assert_eq!(refused.hash, wrong.files.unwrap().hash);
    assert_eq!((node.served(), node.master()), (Some(1), master));

    // nginx's check takes this one, its new workers say something else.
    let mut files = node.files(3);
    files[0].content = files[0].content.replace(&revision(3), &revision(4)).into();
    core.send(to_wire(3, &files));
    let Event::Refused(refused) = core.hears().await else { panic!("not refused") };
    assert!(refused.message.contains("it serves 0000000000000004"), "{}", refused.message);
    assert_eq!((node.served(), node.master()), (Some(1), master));

    core.send(node.revision(5));
    core.accepted(&node.revision(5)).await;
    assert_eq!(node.served(), Some(5));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_revision_may_be_the_first_with_streams() {
    let (node, mut core) = (Node::new(), Core::start());
    let agent = node.serving(&mut core).await;
    let address = free();
    let mut files = node.files(2);
    files[0].content = (files[0].content.to_string()
        + &format!("stream {{\n  server {{ listen {address}; proxy_pass {}; }}\n}}\n", node.port))
        .into();
    let streams = to_wire(2, &files);
    core.send(streams.clone());
    core.accepted(&streams).await;
    assert!(std::net::TcpStream::connect(address).is_ok());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_do_not_have_their_hash_are_refused() {
    let (node, mut core) = (Node::new(), Core::start());
    let agent = node.serving(&mut core).await;
    let mut wrong = node.revision(2);
    wrong.files.as_mut().unwrap().files[0].content.push('\n');
    core.send(wrong);
    let Event::Refused(refused) = core.hears().await else { panic!("not refused") };
    assert_eq!(refused.message, "files.hash: is not that of the files");
    assert_eq!(node.served(), Some(1));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_burst_the_newest_is_taken() {
    let (node, mut core) = (Node::new(), Core::start());
    let agent = node.serving(&mut core).await;
    for n in 2..=60 {
        core.send(node.revision(n));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let mut taken = 0;
    loop {
        let Event::Accepted(accepted) = core.hears().await else { panic!("not accepted") };
        taken += 1;
        if accepted.revision == revision(60) {
            break;
        }
    }
    assert!(taken < 20, "{taken} were applied one after the other");
    assert_eq!(node.served(), Some(60));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_core_it_goes_on_and_catches_up_later() {
    let (node, mut core) = (Node::new(), Core::start());
    let agent = node.serving(&mut core).await;
    core.kill();
    assert_eq!(node.served(), Some(1));
    core.send(node.revision(2));
    kill("-KILL", node.master());
    node.serves(1);
    core.resume();
    let hello = loop {
        if let Event::Hello(hello) = core.hears().await {
            break hello;
        }
    };
    assert_eq!((hello.revision, hello.hash), (revision(1), node.revision(1).files.unwrap().hash));
    // That nginx serves the first again after its crash may be told before.
    core.accepts_in_the_end(&node.revision(2)).await;
    assert_eq!(node.served(), Some(2));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_workers_do_not_pile_up() {
    let (mut node, mut core) = (Node::new(), Core::start());
    node.old_workers = (0, Duration::from_millis(20));
    let application = SlowApplication::start(node.application);
    let agent = node.serving(&mut core).await;
    let mut open = Vec::new();
    // The first workers take connections for much longer than those of the burst.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for n in 2..=10 {
        open.push(application.begin(node.port));
        core.send(node.revision(n));
        core.accepted(&node.revision(n)).await;
    }
    eventually("at most eight old workers", || old_workers(node.master()) <= 8);
    assert_eq!(old_workers(node.master()), 8);
    let finished: Vec<_> = open.into_iter().map(|open| open.finish()).collect();
    assert_eq!(finished[0], "end", "h8: who was connected before a burst notices nothing");
    assert_eq!(finished.iter().filter(|end| end.is_empty()).count(), 1, "{finished:?}");
    eventually("no old worker", || old_workers(node.master()) == 0);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_change_ends_no_connection() {
    let (node, mut core) = (Node::new(), Core::start());
    let application = SlowApplication::start(node.application);
    let agent = node.serving(&mut core).await;
    let mut open = Vec::new();
    for n in 2..=30 {
        open.push(application.begin(node.port));
        core.send(node.revision(n));
        core.accepted(&node.revision(n)).await;
    }
    assert_eq!(old_workers(node.master()), open.len());
    assert!(open.into_iter().all(|open| open.finish() == "end"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_waits_for_short_connections_and_spares_the_long_ones() {
    let (mut node, mut core) = (Node::new(), Core::start());
    node.old_workers.0 = 0;
    let application = SlowApplication::start(node.application);
    let agent = node.serving(&mut core).await;
    let mut open = Vec::new();
    for n in 2..=9 {
        open.push(application.begin(node.port));
        core.send(node.revision(n));
        core.accepted(&node.revision(n)).await;
    }
    open.push(application.begin(node.port));
    for n in 10..=20 {
        core.send(node.revision(n));
    }
    // All of them have arrived by then, and the first waits for a worker to end.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(open.remove(4).finish(), "end");
    core.accepts_in_the_end(&node.revision(20)).await;
    let finished: Vec<_> = open.into_iter().map(|open| open.finish()).collect();
    assert_eq!(finished, ["end"; 8]);
    agent.stop().await;
}
