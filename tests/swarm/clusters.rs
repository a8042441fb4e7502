//! A service cluster that comes and goes beside another one, by `interlock install` with other settings.

use crate::site::Site;
use crate::support::load::Load;
use crate::support::pki::Authority;

const HOST: &str = "shop.local.test";
const FIRST: &str = "HitlessServiceUpdate = true\nImage = \"REGISTRY/interlock:lab\"\n";
const SECOND: &str = "
[Extensions.second]
ServiceCluster = \"second\"
Image = \"REGISTRY/interlock:lab\"
ProxyImage = \"REGISTRY/interlock-proxy-nginx:lab\"
HitlessServiceUpdate = true
PublishMode = \"host\"
PublishedPort = 9080
PublishedSSLPort = 9443
ProxyStopGracePeriod = \"2s\"
";
/// Where the second one's proxies listen.
const PORT: u16 = 9080;

/// J2, A6: it comes, goes and comes again. No request for the first service cluster fails, of clients that try nothing again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn a_second_service_cluster_comes_and_goes() {
    let site = Site::new("").await;
    site.settings("interlock-proxy-nginx", FIRST);
    for network in ["demo", "other"] {
        site.network(network).await;
    }
    site.service("shop", &["demo"], 2, &["hosts=shop.local.test", "port=8080"]);
    site.install_and_wait();
    site.eventually(HOST, "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;
    let before = site.proxy_tasks();

    let load = Load::start(&site.addresses(), HOST, 100);
    comes(&site, "pair").await;
    goes(&site).await;
    // With core's next update what core's service had before goes, too.
    site.whole_settings(&format!("LogLevel = \"debug\"\n{}", site.settings_text("interlock-proxy-nginx", FIRST)));
    install(&site, "other settings");
    site.until("the network is gone", |site| ours(site, "second").is_empty()).await;
    for thing in [["service", "other"], ["secret", "pair"], ["network", "other"]] {
        site.until("its owner can remove it", |site| site.try_docker(&[thing[0], "rm", thing[1]]).is_ok()).await;
    }
    site.network("other").await;
    comes(&site, "another-pair").await;
    let outcome = load.stop();
    let failed = &outcome.failed;
    assert!(failed.is_empty(), "{} of {}: {:#?}", failed.len(), outcome.answered, failed.first());
    assert!(outcome.answered > 2_000, "{outcome:?}");
    assert_eq!(site.proxy_tasks(), before, "no proxy of the first one was replaced");
    // Rolls of the second one, in which new proxies wait for the ports of old ones, are nothing to complain about.
    let log = site.logs("interlock-core");
    assert!(!log.contains("not all tasks of service") && !log.contains("no task of service"), "{log}");
    // A change still arrives there.
    site.service("later", &["demo"], 1, &["hosts=later.local.test", "port=8080"]);
    site.eventually("later.local.test", "/ping", |answer| answer.status == 200).await;
    site.uninstall();
    site.end().await;
}

/// What of interlock's own has this in its name, a line each.
fn ours(site: &Site, part: &str) -> Vec<String> {
    let list = |kind: &str| {
        let filter = ["--filter", "label=com.docker.interlock.owner", "--format", "{{.Name}}"];
        let names = site.docker(&[&[kind, "ls"][..], &filter].concat());
        names.lines().filter(|name| name.contains(part)).map(|name| format!("{kind} {name}")).collect::<Vec<_>>()
    };
    ["service", "network", "secret", "config"].into_iter().flat_map(list).collect()
}

fn install(site: &Site, what: &str) {
    let (code, said) = site.try_install();
    assert_eq!(code, Some(0), "{what}: {said}\n{}", site.look());
    for wrong in ["error", "warning", "404", "not found"] {
        assert!(!said.to_lowercase().contains(wrong), "{what}: {said}");
    }
}

fn statuses(site: &Site, port: u16, host: &str) -> Vec<Option<u16>> {
    let get = |node: &String| site.get_at((node, port), host, "/ping").ok().map(|answer| answer.status);
    site.workers().iter().map(get).collect()
}

/// It is installed, and serves what names it and nothing else: with a network and a certificate of its own.
async fn comes(site: &Site, secret: &str) {
    site.settings("interlock-proxy-nginx", &format!("{FIRST}{SECOND}"));
    install(site, "it comes");
    let pair = Authority::new().pair("other.local.test");
    site.store("secret", secret, &(pair.certificate + &pair.key));
    let certificate = format!("ssl_cert={secret}");
    let labels = ["hosts=other.local.test", "port=8080", "service_cluster=second", &certificate];
    site.service("other", &["other"], 2, &labels);
    site.until("each serves its own and nothing else", |site| {
        statuses(site, PORT, "other.local.test") == [Some(200); 2]
            && statuses(site, PORT, HOST) == [Some(503); 2]
            && statuses(site, 8080, "other.local.test") == [Some(503); 2]
    })
    .await;
    let names = ours(site, "second");
    for kind in ["service", "network", "secret", "config"] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "{kind}: {names:?}");
    }
}

/// The settings have it no more, while its service is there all the same.
async fn goes(site: &Site) {
    site.settings("interlock-proxy-nginx", FIRST);
    install(site, "it goes");
    site.until("nothing of its own is left but what core's service had before, to which Swarm may go back", |site| {
        ours(site, "second").iter().all(|name| name.starts_with("network"))
    })
    .await;
    assert_eq!(statuses(site, PORT, "other.local.test"), [None; 2], "nobody listens any more");
    assert_eq!(statuses(site, 8080, "other.local.test"), [Some(503); 2], "the first one does not take its place");
}
