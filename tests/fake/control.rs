//! Core with peers: what reaches them, and what a core that dies leaves to the next one.

use std::sync::Arc;
use std::time::Duration;

use crate::support::site::{Agent, Extension, HITLESS, PROXY, REMOTE, Site, admitted, extension};
use crate::support::world::route;
use interlock_core::grpc::convert;
use interlock_core::kinds;
use interlock_testkit::ApiError;
use interlock_testkit::script::{Fault, Rule};
use tonic::Code;

#[tokio::test]
async fn an_agent_gets_what_changes_and_nothing_is_written_for_it() {
    let site = Site::new(HITLESS);
    let core = site.start();
    let mut agent = site.agent().await;
    agent.accepts("shop.example.com").await;
    // The version that agents report is noted once, and used.
    agent.hears("keepalive_min_timeout", true).await;
    assert_eq!(site.noted_version().await, "1.30.7");
    let writes = site.handle.swarm().writes();
    for name in ["one", "two", "three"] {
        route(&mut site.handle.swarm(), name, "demo");
        agent.hears(&format!("{name}.example.com"), true).await;
    }
    site.handle.swarm().remove_service("two").unwrap();
    agent.hears("two.example.com", false).await;
    assert_eq!(site.handle.swarm().writes(), writes);
    core.stop().await;
}

/// What the oldest lacks is left out from the beginning. One that says later that it is older changes nothing for the others.
#[tokio::test]
async fn h8_a_proxy_that_says_now_this_and_now_that_costs_the_others_nothing() {
    let site = Site::new(HITLESS);
    let core = site.start();
    let generation = site.generation().await;
    let channel = site.channel("proxy").await;
    let mut old = admitted(|| Agent::connect_as(channel.clone(), &generation, "1.22.1")).await.unwrap();
    old.hears("shop.example.com", true).await;
    let mut agent = site.agent().await;
    agent.hears("keepalive_min_timeout", false).await;
    drop((old, channel));
    agent.hears("keepalive_min_timeout", true).await;
    for name in ["one", "two", "three"] {
        let channel = site.channel("proxy").await;
        let mut liar = admitted(|| Agent::connect_as(channel.clone(), &generation, "1.22.1")).await.unwrap();
        route(&mut site.handle.swarm(), name, "demo");
        liar.hears(&format!("{name}.example.com"), true).await;
        let sent = agent.hears(&format!("{name}.example.com"), true).await;
        let files = convert::files_from_wire(sent.files.unwrap()).unwrap();
        assert!(files[0].content.contains("keepalive_min_timeout"), "{name}");
    }
    core.stop().await;
}

/// Core's own image may have an older NGINX than the proxies'. It would refuse what it does not know.
#[tokio::test]
async fn what_core_renders_by_itself_its_own_checker_knows() {
    let folder = tempfile::tempdir().unwrap();
    let checker =
        crate::support::checker::program(folder.path(), "! grep -q keepalive_min_timeout files/nginx.conf").await;
    let site = Site::new(HITLESS);
    let core = site.start_with(|options| options.checker = Some(Arc::new(checker)));
    let mut agent = site.agent().await;
    agent.accepts("shop.example.com").await;
    assert_eq!(site.noted_version().await, "1.30.7");
    route(&mut site.handle.swarm(), "late", "demo");
    agent.hears("late.example.com", true).await;
    core.stop().await;
}

#[tokio::test]
async fn an_extension_of_its_own_renders_and_proxies_start_with_it() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    let core = site.start();
    let renders = tokio::spawn(extension(site.channel("extension").await, |_| ()));
    let mut agent = site.agent().await;
    agent.hears("shop.example.com", true).await;
    route(&mut site.handle.swarm(), "blog", "demo");
    agent.hears("blog.example.com", true).await;
    // Without the extension what runs stays, and the next one goes on.
    renders.abort();
    let _ = renders.await;
    route(&mut site.handle.swarm(), "late", "demo");
    let _renders = tokio::spawn(extension(site.channel("extension").await, |_| ()));
    agent.hears("late.example.com", true).await;
    core.stop().await;
}

#[tokio::test]
async fn files_that_core_would_not_render_are_refused() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    let core = site.start();
    let drop_shop = |files: &mut Vec<kinds::File>| {
        files[0].content = files[0].content.replace("shop.example.com", "x.example.com").into()
    };
    let refused = extension(site.channel("extension").await, drop_shop).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let load_module = |files: &mut Vec<kinds::File>| {
        files[0].content = format!("load_module x.so;\n{}", files[0].content).into();
    };
    let refused = extension(site.channel("extension").await, load_module).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(site.handle.swarm().find_service(PROXY).is_none(), "nothing was made of it");
    let _honest = tokio::spawn(extension(site.channel("extension").await, |_| ()));
    site.agent().await.hears("shop.example.com", true).await;
    core.stop().await;
}

/// Its manager was cut off, and Swarm may have started another core: proxies that stay would hear of no change. Where there is no other, they come
/// back and have what there is, also those that are new.
#[tokio::test]
async fn proxies_leave_a_core_that_can_read_nothing_and_come_back_if_there_is_no_other() {
    let site = Site::new(HITLESS);
    let core = site.start_with(|options| options.blind_after = Duration::from_secs(1));
    let mut agent = site.agent().await;
    agent.accepts("shop.example.com").await;
    // The last that is written before all is at rest.
    site.noted_version().await;
    for (host, fault) in [("first", Fault::Refuse(ApiError::no_leader())), ("second", Fault::Drop)] {
        site.handle.swarm().script.rule(Rule::any("", fault));
        let writes = site.handle.swarm().writes();
        for _ in 0..2 {
            assert_eq!(agent.hears_or_ends("nothing", true).await, None, "{host}");
            agent = site.agent().await;
            agent.hears("shop.example.com", true).await;
        }
        assert_eq!(site.handle.swarm().writes(), writes, "{host}");
        site.handle.swarm().script.forget_rules();
        route(&mut site.handle.swarm(), host, "demo");
        // Until it can read again it may be on its way to say so once more.
        while agent.hears_or_ends(&format!("{host}.example.com"), true).await.is_none() {
            agent = site.agent().await;
        }
    }
    core.stop().await;
}

/// Core hears peers also while there is no engine: however many came and went, the next one gets what there is.
#[tokio::test]
async fn proxies_come_and_go_while_there_is_no_engine() {
    let site = Site::new(HITLESS);
    let core = site.start_with(|options| options.blind_after = Duration::from_secs(1));
    let mut agent = site.agent().await;
    agent.accepts("shop.example.com").await;
    let (socket, aside) = (site.handle.socket().to_owned(), site.handle.socket().with_extension("aside"));
    std::fs::rename(&socket, &aside).unwrap();
    site.handle.swarm().script.rule(Rule::any("", Fault::Drop));
    // Core has noticed once it sends proxies away.
    assert_eq!(agent.hears_or_ends("nothing", true).await, None);
    for _ in 0..300 {
        drop(site.agent().await);
    }
    site.agent().await.hears("shop.example.com", true).await;
    site.handle.swarm().script.forget_rules();
    std::fs::rename(&aside, &socket).unwrap();
    core.stop().await;
}

/// What they reported is missing meanwhile, and what is known of the Swarm is old.
#[tokio::test]
async fn nothing_is_decided_while_proxies_are_sent_away() {
    let site = Site::new(HITLESS);
    let core = site.start_with(|options| options.blind_after = Duration::from_secs(1));
    let generation = site.generation().await;
    let channel = site.channel("proxy").await;
    let mut old = admitted(|| Agent::connect_as(channel.clone(), &generation, "1.22.1")).await.unwrap();
    old.hears("shop.example.com", true).await;
    let mut agent = site.agent().await;
    agent.hears("keepalive_min_timeout", false).await;
    site.handle.swarm().script.rule(Rule::any("", Fault::Refuse(ApiError::no_leader())));
    assert_eq!(agent.hears_or_ends("nothing", true).await, None);
    drop((old, channel));
    agent = site.agent().await;
    assert_eq!(agent.hears_or_ends("keepalive_min_timeout", true).await, None, "up to when it is sent away again");
    site.handle.swarm().script.forget_rules();
    agent = site.agent().await;
    while agent.hears_or_ends("keepalive_min_timeout", true).await.is_none() {
        agent = site.agent().await;
    }
    core.stop().await;
}

#[tokio::test]
async fn a_certificate_decides_what_a_peer_may_do() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    let core = site.start();
    let _honest = tokio::spawn(extension(site.channel("extension").await, |_| ()));
    let as_extension = extension(site.channel("proxy").await, |_| ()).await.unwrap_err();
    assert_eq!(as_extension.code(), Code::PermissionDenied, "{as_extension}");
    let generation = site.generation().await;
    let channel = site.channel("extension").await;
    let as_proxy = admitted(|| Agent::connect(channel.clone(), &generation)).await.err().unwrap();
    assert_eq!(as_proxy.code(), Code::PermissionDenied, "{as_proxy}");
    core.stop().await;
}

/// Core dies after each step of a delivery. The next one ends it, and writes nothing for it.
#[tokio::test]
async fn core_may_die_at_every_step_of_a_delivery() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    let mut core = site.start();
    let renders = tokio::spawn(extension(site.channel("extension").await, |_| ()));
    let mut agent = site.agent().await;
    agent.accepts("shop.example.com").await;
    site.noted_version().await;
    renders.abort();
    let writes = site.handle.swarm().writes();
    for step in ["changed", "modelled", "posted", "heard", "accepted"] {
        let host = format!("{step}.example.com");
        let mut extension = Extension::connect(site.channel("extension").await).await.unwrap();
        let mut agent = site.agent().await;
        route(&mut site.handle.swarm(), step, "demo");
        let steps = async {
            if step == "changed" {
                return;
            }
            let rendered = extension.renders_text(&host).await;
            if step == "modelled" {
                return;
            }
            extension.posts(&rendered).await.unwrap();
            match step {
                "heard" => drop(agent.hears(&host, true).await),
                "accepted" => agent.accepts(&host).await,
                _ => {}
            }
        };
        steps.await;
        core.kill(&site.core).await;
        core = site.start();
        let renders = tokio::spawn(crate::support::site::extension(site.channel("extension").await, |_| ()));
        site.agent().await.accepts(&host).await;
        renders.abort();
        assert_eq!(site.handle.swarm().writes(), writes, "{step}");
    }
    core.stop().await;
}
