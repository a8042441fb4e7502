//! The agent of a proxy and its node's volume: copies for the next container, and whatever a volume may do.

use std::process::Command;
use std::time::Duration;

use crate::support::agent::{Core, GENERATION, Node, eventually, manifest, revision, to_wire};
use crate::support::http;
use crate::support::processes::kill;
use crate::support::world::AUTHORITY;
use interlock_core::grpc::v1::Revision;
use interlock_core::grpc::v1::follow_request::Event;
use interlock_core::kinds::{File, Manifest};
use interlock_core::trust::{Authority, Statement};

const SOON: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn the_next_container_has_the_copy_on_the_volume() {
    let (node, mut core) = (Node::new(), Core::start());
    node.mount(1);
    for n in [2, 3] {
        core.send(node.revision(n));
        let agent = node.start(core.address, GENERATION);
        core.accepted(&node.revision(n)).await;
        eventually("a copy", || is_copied(&node, n));
        agent.stop().await;
    }
    core.kill();
    let agent = node.start_with(core.address, GENERATION, SOON);
    node.serves(3);
    agent.stop().await;

    // Also when core wants what nginx does not take.
    let mut files = node.files(4);
    files[0].content = (files[0].content.to_string() + "foo bar;\n").into();
    core.send(to_wire(4, &files));
    core.resume();
    let agent = node.start(core.address, GENERATION);
    core.hello().await;
    let Event::Refused(refused) = core.hears().await else { panic!("not refused") };
    assert_eq!((refused.revision, refused.running_revision), (revision(4), revision(3)));
    assert_eq!(node.served(), Some(3));
    agent.stop().await;
    core.kill();

    // Another generation has other networks and secrets.
    node.mount_for(1, "00000000000000bb");
    let agent = node.start_with(core.address, "00000000000000bb", SOON);
    node.serves(1);
    agent.stop().await;

    // A copy that nginx does not take any more is passed over.
    let generation = node.path("state/copies").join(GENERATION);
    for copy in std::fs::read_dir(&generation).unwrap().flatten() {
        let text = std::fs::read_to_string(copy.path()).unwrap();
        if text.contains(&revision(3)) {
            std::fs::write(copy.path(), text.replace("worker_connections 64", "worker_connections 0")).unwrap();
        }
    }
    let agent = node.start_with(core.address, GENERATION, SOON);
    node.serves(2);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_cannot_be_written_does_not_matter() {
    let (node, mut core) = (Node::new(), Core::start());
    std::fs::write(node.path("state"), "no folder").unwrap();
    let agent = node.serving(&mut core).await;
    core.send(node.revision(2));
    core.accepted(&node.revision(2)).await;
    agent.stop().await;
}

/// What a compromised proxy, or whoever else shares the volume, leaves there would outlive it.
#[tokio::test(flavor = "multi_thread")]
async fn m4_only_what_core_signed_for_this_proxy_is_served_from_the_volume() {
    let (node, mut core) = (Node::new(), Core::start());
    node.mount(1);
    core.send(node.revision(2));
    let agent = node.start(core.address, GENERATION);
    core.accepted(&node.revision(2)).await;
    eventually("a copy", || is_copied(&node, 2));
    agent.stop().await;
    core.kill();
    let planted = manifest(9, &node.files(9));
    let signed =
        |manifest: &Manifest, authority: &Authority| authority.sign(&Statement::Files(manifest)).unwrap().to_string();
    let tenant = Authority::generate().unwrap();
    let elsewhere = Manifest { generation: "00000000000000bb".parse().unwrap(), ..planted.clone() };
    let older = Manifest { revision: revision(2).parse().unwrap(), ..planted.clone() };
    for signature in
        [String::new(), signed(&planted, &tenant), signed(&elsewhere, &AUTHORITY), signed(&older, &AUTHORITY)]
    {
        plant(&node, &planted, &signature);
        let agent = node.start_with(core.address, GENERATION, SOON);
        node.serves(2);
        agent.stop().await;
    }
    plant(&node, &planted, &signed(&planted, &AUTHORITY));
    let agent = node.start_with(core.address, GENERATION, SOON);
    node.serves(9);
    agent.stop().await;
}

/// The newest copy on the volume, with a hash that fits it.
fn plant(node: &Node, manifest: &Manifest, signature: &str) {
    let files: Vec<_> = node
        .files(9)
        .into_iter()
        .map(|File { path, part, content }| serde_json::json!({ "path": path, "part": part, "content": content }))
        .collect();
    let copy = serde_json::json!({
        "revision": manifest.revision, "hash": manifest.hash, "signature": signature, "files": files,
    });
    let name = format!("9999999999-{}-{}.json", manifest.revision, &manifest.hash[..8]);
    std::fs::write(node.path("state/copies").join(GENERATION).join(name), copy.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_only_what_core_signed_for_this_proxy_is_served_from_core_or_docker() {
    let (node, mut core) = (Node::new(), Core::start());
    node.mount(1);
    let unsigned = Revision { signature: String::new(), ..node.revision(2) };
    let agent = node.start(core.address, GENERATION);
    core.hello().await;
    core.send(unsigned);
    let Event::Refused(refused) = core.hears().await else { panic!("not refused") };
    assert!(refused.message.contains("core did not sign it"), "{}", refused.message);
    core.send(Revision { signature: node.revision(2).signature, ..node.revision(3) });
    let Event::Refused(refused) = core.hears().await else { panic!("not refused") };
    assert_eq!(refused.revision, revision(3));
    core.send(node.revision(4));
    core.accepted(&node.revision(4)).await;
    agent.stop().await;
    core.kill();
    std::fs::remove_dir_all(node.path("state")).unwrap();
    for spoil in [
        |node: &Node| std::fs::remove_file(node.path("manifest.toml")).unwrap(),
        |node: &Node| node.mount_for(1, "00000000000000bb"),
        |node: &Node| drop(std::fs::write(node.path("mounted/nginx.conf"), &*node.files(7)[0].content)),
    ] {
        node.mount(1);
        spoil(&node);
        let ended = node.start_with(core.address, GENERATION, SOON).ended().await.unwrap_err();
        assert!(ended.to_string().contains("core did not sign it"), "{ended}");
    }
}

fn is_copied(node: &Node, n: u64) -> bool {
    let copies = std::fs::read_dir(node.path("state/copies").join(GENERATION));
    copies.into_iter().flatten().flatten().any(|copy| copy.file_name().to_string_lossy().contains(&revision(n)))
}

/// NGINX has the bodies of requests on the same volume, in a folder that it makes when it starts and never again.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_have_their_folder_after_many_revisions() {
    let (node, mut core) = (Node::new(), Core::start());
    let state = node.path("state");
    std::fs::create_dir(&state).unwrap();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let files = |n: u64| {
        let mut files = node.files(n);
        let path = |kind: &str| format!("{kind}_temp_path {}/{kind};", state.display());
        let paths = kinds.map(path).join(" ");
        let bodies = format!("http {{\n  client_body_buffer_size 1k; {paths}\n");
        files[0].content = files[0].content.replacen("http {\n", &bodies, 1).into();
        let store = format!("server {{\n  location /store {{ proxy_pass http://{}/healthz; }}\n", node.health);
        files[1].content = files[1].content.replacen("server {\n", &store, 1).into();
        to_wire(n, &files)
    };
    core.send(files(1));
    let agent = node.start(core.address, GENERATION);
    core.accepted(&files(1)).await;
    for n in 2..6 {
        core.send(files(n));
        core.accepted(&files(n)).await;
        // What is too much on the volume has gone by then.
        eventually("a copy", || is_copied(&node, n));
        kinds.iter().for_each(|kind| assert!(state.join(kind).is_dir(), "{kind} is gone after revision {n}"));
        let body = "x".repeat(100_000);
        let request =
            format!("POST /store HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n{body}");
        let answer = http::exchange(node.port, &request).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&revision(n)), "after revision {n}: {answer}");
    }
    agent.stop().await;
}

/// Whoever opens a pipe without a writer waits for ever, as for a file on a server that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_hangs_holds_up_nobody() {
    let (node, mut core) = (Node::new(), Core::start());
    node.mount(1);
    let folder = node.path("state/copies").join(GENERATION);
    std::fs::create_dir_all(&folder).unwrap();
    let pipe = folder.join("0000000009-hangs.json");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // It comes up without a copy.
    core.kill();
    let agent = node.start_with(core.address, GENERATION, SOON);
    node.serves(1);
    // It hears of core, whose name has to be looked up, and serves what core wants.
    core.send(node.revision(2));
    core.resume();
    core.accepts_in_the_end(&node.revision(2)).await;
    let master = node.master();
    kill("-KILL", master);
    eventually("another nginx", || node.served() == Some(2) && node.master() != master);
    core.send(node.revision(3));
    core.accepts_in_the_end(&node.revision(3)).await;
    let copied = || std::fs::read_dir(&folder).unwrap().flatten().count() > 1;
    assert!(!copied(), "nothing else is begun while the volume hangs");
    // The volume is there again.
    drop(std::fs::File::options().write(true).open(&pipe).unwrap());
    std::fs::remove_file(&pipe).unwrap();
    eventually("a copy", || std::fs::read_dir(&folder).unwrap().flatten().count() > 0);
    agent.stop().await;
}
