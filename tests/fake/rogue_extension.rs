//! An extension that does what it likes, against a running core: proxies get the bytes that core rendered, or nothing new.

use crate::support::site::{Agent, Extension, HITLESS, REMOTE, Site, admitted, extension};
use interlock_core::grpc::v1::post_request::Result as Posted;
use interlock_core::grpc::{PEER_LIMIT, convert, v1};
use interlock_core::kinds::{self, File, Rendering};
use interlock_core::proxy_config::Generation;
use interlock_core::units::Cluster;
use tonic::Code;

/// What the extension posts in place of what it should.
fn posted(rendered: &(Generation, Rendering), result: Posted) -> v1::PostRequest {
    let (generation, rendering) = rendered;
    v1::PostRequest {
        generation: generation.to_string(),
        revision: rendering.revision.to_string(),
        result: Some(result),
    }
}

fn changed(rendering: &Rendering, from: &str, to: &str) -> Vec<File> {
    let mut files = rendering.result.clone().unwrap();
    assert!(files[0].content.contains(from), "{from:?} is not in the file:\n{}", files[0].content);
    files[0].content = files[0].content.replacen(from, to, 1).into();
    files
}

/// Posts these files in both ways that there are. Core refuses both.
async fn is_refused(rogue: &mut Extension, rendered: &(Generation, Rendering), files: &[File]) {
    for result in [Posted::FilesHash(kinds::hash(files)), Posted::Files(convert::files_to_wire(files))] {
        let refused = rogue.sends(posted(rendered, result)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains("not those that core renders"), "{refused}");
    }
}

/// The next revision is what core itself renders of the model.
async fn hears_own(agent: &mut Agent, text: &str, own: &Rendering) {
    let revision = agent.hears(text, true).await;
    assert_eq!(convert::files_from_wire(revision.files.unwrap()).as_ref(), Ok(own.result.as_ref().unwrap()));
}

/// Text that core and the proxy may read differently, and directives that are nobody's but the extension's.
#[tokio::test]
async fn k1_no_byte_of_an_extension_reaches_a_proxy() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    let core = site.start();
    let mut rogue = Extension::connect(site.channel("extension").await).await.unwrap();
    let rendered = rogue.renders_text("shop.example.com").await;
    let hidden = "upstream u${{\"a { server 127.0.0.1:1; } server { listen 80; server_name evil.example.com; \
                  location / { root /run/secrets; autoindex on; } } # \" z; }\n";
    for (from, to) in [
        ("http {", &*format!("{hidden}http {{")),
        ("http {", "http {\n server { listen 80; server_name evil.example.com; location / { root /run/secrets; } }"),
        ("server_tokens off;", "server_tokens off; # a comment"),
        ("\n", "\n\n"),
    ] {
        is_refused(&mut rogue, &rendered, &changed(&rendered.1, from, to)).await;
    }
    // The honest hash brings what core rendered, also where the content beside it is another.
    let mut files = convert::files_to_wire(rendered.1.result.as_ref().unwrap());
    files.files[0].content = hidden.to_owned();
    rogue.sends(posted(&rendered, Posted::Files(files))).await.unwrap();
    let mut agent = site.agent().await;
    hears_own(&mut agent, "shop.example.com", &rendered.1).await;
    core.stop().await;
}

/// Each of these once passed a comparison of what the files mean.
#[tokio::test]
async fn h5_what_looks_alike_is_refused() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    {
        let mut swarm = site.handle.swarm();
        let sticky = |spec: &mut serde_json::Value| {
            for (label, value) in [("ip_hash", "true"), ("rate_limit", "10,50"), ("allow", "10.1.0.0/16,10.2.0.0/16")] {
                spec["Labels"][format!("com.docker.lb.{label}")] = value.into();
            }
        };
        swarm.edit_service("shop", sticky).unwrap();
    }
    let core = site.start();
    let mut rogue = Extension::connect(site.channel("extension").await).await.unwrap();
    let rendered = rogue.renders_text("ip_hash").await;
    for (from, to) in [
        ("x-proxy-id $hostname", "x-proxy-id \"a\\r\\nSet-Cookie: session=evil; Path=/\""),
        ("x-proxy-id $hostname", "x-proxy-id \"$http_authorization $http_cookie\""),
        ("log_format main '", "log_format main 'AUTH=$http_authorization "),
        ("ip_hash;", "server ip_hash;"),
        ("rate=10r/s", "rate=1000r/s"),
        ("limit_req_zone $binary_remote_addr", "limit_req_zone $request_id"),
        ("server_tokens off;", "server_tokens off; underscores_in_headers on;"),
        ("client_max_body_size 32m;", ""),
        ("proxy_ignore_headers", "# proxy_ignore_headers"),
        ("worker_shutdown_timeout 1h", "worker_shutdown_timeout 1ms"),
    ] {
        is_refused(&mut rogue, &rendered, &changed(&rendered.1, from, to)).await;
    }
    rogue.posts(&rendered).await.unwrap();
    hears_own(&mut site.agent().await, "shop.example.com", &rendered.1).await;
    core.stop().await;
}

/// What is too long is refused by its length, and what is wrong costs core one rendering, however often it is posted.
#[tokio::test]
async fn h4_posts_cost_core_nothing_and_hold_up_nobody() {
    let east = "[Extensions.east]\nServiceCluster = \"east\"\nPublishMode = \"host\"\nPublishedPort = 9080\nPublishedSSLPort = 9443\n";
    let site = Site::new(&format!("{HITLESS}{REMOTE}{east}HitlessServiceUpdate = true\n"));
    in_east(&site, "first");
    let core = site.start();
    let mut rogue = Extension::connect(site.channel("extension.default").await).await.unwrap();
    let rendered = rogue.renders_text("shop.example.com").await;
    let names: String = (0..1000).map(|i| format!("server_name h{i}.example.com;")).collect();
    let locations: String = (0..1000).map(|i| format!("location /{i} {{ return 503 x; }}")).collect();
    let bomb = changed(&rendered.1, "http {", &format!("http {{ server {{ {names} {locations} }}"));
    is_refused(&mut rogue, &rendered, &bomb).await;
    let long = File { content: "x".repeat(PEER_LIMIT).into(), ..bomb[0].clone() };
    let refused = rogue.sends(posted(&rendered, Posted::Files(convert::files_to_wire(&[long])))).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    // While it goes on, the other service cluster's proxies hear of each change.
    let busy = tokio::spawn(async move {
        let wrong = posted(&rendered, Posted::FilesHash("0".repeat(64)));
        loop {
            match rogue.sends(wrong.clone()).await {
                Err(status) if status.code() == Code::InvalidArgument => {}
                other => return other.map(drop),
            }
        }
    });
    let generation = site.generation_of("interlock-proxy-east").await;
    let proxy = site.channel(&format!("proxy.{}", "east".parse::<Cluster>().unwrap().slug())).await;
    let mut agent = admitted(|| Agent::connect(proxy.clone(), &generation)).await.unwrap();
    for name in ["one", "two", "three"] {
        in_east(&site, name);
        agent.hears(&format!("{name}.example.com"), true).await;
    }
    if busy.is_finished() {
        panic!("the rogue did not go on all the time: {:?}", busy.await);
    }
    busy.abort();
    core.stop().await;
}

fn in_east(site: &Site, name: &str) {
    let labels = [("hosts", &*format!("{name}.example.com")), ("port", "8080"), ("service_cluster", "east")];
    let mut swarm = site.handle.swarm();
    let service = labels
        .iter()
        .fold(swarm.service(name), |service, (label, value)| service.label(&format!("com.docker.lb.{label}"), value));
    service.network("demo").create();
}

/// Another version makes other files. What proxies have stays, and the reason names core's version.
#[tokio::test]
async fn an_extension_of_another_version_is_refused_with_the_reason() {
    let site = Site::new(&format!("{HITLESS}{REMOTE}"));
    let core = site.start();
    let older = |files: &mut Vec<File>| {
        files[0].content = files[0].content.replace("x-server-info interlock/", "x-server-info interlock/0.0.").into();
    };
    let refused = extension(site.channel("extension").await, older).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains(&format!("this core is interlock {}", env!("CARGO_PKG_VERSION"))), "{refused}");
    core.stop().await;
}
