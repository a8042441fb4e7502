//! Certificates in Docker secrets, on the real Swarm.

use std::process::Command;

use crate::site::Site;
use crate::support::load::Load;
use crate::support::pki::Authority;

/// A certificate for a host that says this number, and its key.
fn both(authority: &Authority, host: &str, number: u64) -> String {
    let pair = authority.numbered(host, number);
    pair.certificate + &pair.key
}

/// What curl gets from one of the nodes, trying one after the other when a connection is refused; and the certificate's number.
fn get(authority: &Authority, nodes: &[String], host: &str, more: &[&str]) -> Result<(String, String), String> {
    let addresses = nodes.join(",");
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "10", "--write-out", "\n%{certs}", "--cacert"])
        .arg(authority.file())
        .args(["--resolve", &format!("{host}:8443:{addresses}")])
        .args(more)
        .arg(format!("https://{host}:8443/ping"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let number = text.lines().find_map(|line| line.strip_prefix("Serial Number:")).unwrap_or_default();
    Ok((number.to_owned(), text))
}

/// An application that ends TLS itself, on one network that no label names.
fn speaks_tls(site: &Site, authority: &Authority, host: &str) {
    const SERVER: &str = "events {} http { server { listen 8443 ssl; ssl_certificate /run/secrets/itself; \
                          ssl_certificate_key /run/secrets/itself; return 200 itself; } }";
    site.store("secret", "itself", &both(authority, host, 9));
    site.make_config("itself", SERVER);
    let create = ["service", "create", "--detach", "--quiet", "--name", "itself", "--network", "demo"];
    let files =
        ["--endpoint-mode", "dnsrr", "--secret", "itself", "--config", "source=itself,target=/etc/nginx/nginx.conf"];
    let host = format!("com.docker.lb.hosts={host}");
    let labels =
        ["--label", &host, "--label", "com.docker.lb.port=8443", "--label", "com.docker.lb.ssl_passthrough=true"];
    site.docker(&[&create[..], &files, &labels, &[&site.image("nginx")]].concat());
}

/// F2, G1 to G5: termination and passthrough on one port, and a certificate that is replaced while requests come.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn g1_g4_certificates_come_and_are_replaced() {
    let authority = Authority::new();
    let site = Site::new("").await;
    // Longer than the slow answers below.
    let text = site.settings_text("interlock-proxy-nginx", "HitlessServiceUpdate = true\n");
    site.whole_settings(&text.replace("ProxyStopGracePeriod = \"2s\"", "ProxyStopGracePeriod = \"5s\""));
    site.network("demo").await;
    speaks_tls(&site, &authority, "itself.local.test");
    site.store("secret", "pay", &both(&authority, "pay.local.test", 5));
    let labels = [
        "hosts=pay.local.test",
        "port=8080",
        "ssl_cert=pay",
        "redirects=http://pay.local.test,https://pay.local.test:8443",
    ];
    site.service("pay", &["demo"], 1, &labels);
    site.install();
    site.store("secret", "shop.1", &both(&authority, "shop.local.test", 1));
    site.service("shop", &["demo"], 2, &["hosts=shop.local.test", "port=8080", "ssl_cert=shop.1"]);
    served(&site, &authority, "shop.local.test", "01").await;
    let (_, answer) = get(&authority, site.workers(), "shop.local.test", &[]).unwrap();
    assert!(answer.contains("HTTP/2 200") && answer.contains("\"instance\""), "G1: {answer}");
    assert_eq!(site.ask("shop.local.test", "/ping").status, 200, "G1: plain HTTP is served as well");
    get(&authority, site.workers(), "other.local.test", &["--insecure"]).expect_err("G3: an unknown name is closed");

    g2_g5_passthrough(&site, &authority).await;
    f2_redirect_to_https(&site, &authority).await;

    // G4: the next certificate. What is shorter than the grace is finished, and a client that tries the other node notices nothing.
    site.store("secret", "shop.2", &both(&authority, "shop.local.test", 2));
    let load = Load::slow(&site.addresses(), "shop.local.test");
    let label = "com.docker.lb.ssl_cert=shop.2";
    site.docker(&["service", "update", "--detach", "--quiet", "--label-add", label, "shop"]);
    site.until("G4: both proxies show the next certificate", |site| {
        let number = |node: &String| get(&authority, std::slice::from_ref(node), "shop.local.test", &[]);
        // Also a node that ends a connection before it answers is left for the other one.
        assert!(site.workers().iter().any(|node| number(node).is_ok()), "G4: a request failed");
        site.workers().iter().all(|node| number(node).is_ok_and(|(number, _)| number.ends_with("02")))
    })
    .await;
    site.at_rest().await;
    let outcome = load.stop();
    assert!(outcome.failed.is_empty() && outcome.answered > 2, "G4: requests of 3 s are finished: {outcome:#?}");
    site.docker(&["secret", "rm", "shop.1"]);

    // What is no certificate costs this host its TLS, and the proxies say so.
    site.store("secret", "words", "no certificate at all");
    site.service("blog", &["demo"], 1, &["hosts=blog.local.test", "port=8080", "ssl_cert=words"]);
    site.until("the owner of what is no certificate is told", |site| {
        let told = "service blog: com.docker.lb.ssl_cert=\"words\" holds no certificate";
        site.logs("interlock-core").contains(told)
    })
    .await;
    site.eventually("blog.local.test", "/ping", |answer| answer.status == 200).await;
    served(&site, &authority, "shop.local.test", "02").await;
    site.uninstall();
    site.end().await;
}

async fn g2_g5_passthrough(site: &Site, authority: &Authority) {
    served(site, authority, "itself.local.test", "09").await;
    let (_, answer) = get(authority, site.workers(), "itself.local.test", &[]).unwrap();
    assert!(answer.contains("itself") && !answer.contains("x-request-id"), "G2: {answer}");
    assert_eq!(site.ask("itself.local.test", "/").status, 503, "G2: nobody answers without TLS");
    // What is passed through goes by sockets in the container, which a killed nginx leaves behind.
    let master = |site: &Site| site.in_container(1, "interlock-proxy", &["cat", "/var/run/proxy.pid"]);
    let before = master(site);
    site.kill_nginx(1);
    site.until("there is another nginx", |site| master(site) != before).await;
    served(site, authority, "itself.local.test", "09").await;
}

async fn f2_redirect_to_https(site: &Site, authority: &Authority) {
    served(site, authority, "pay.local.test", "05").await;
    let answer = site.ask("pay.local.test", "/ping");
    assert_eq!((answer.status, answer.header("location").as_str()), (302, "https://pay.local.test:8443/ping"), "F2");
    let (_, answer) = get(authority, site.workers(), "pay.local.test", &[]).unwrap();
    assert!(answer.contains("HTTP/2 200"), "F2: no loop: {answer}");
}

async fn served(site: &Site, authority: &Authority, host: &str, serial: &str) {
    site.until(&format!("both proxies show certificate {serial} for {host}"), |site| {
        let number = |node: &String| get(authority, std::slice::from_ref(node), host, &[]);
        site.workers().iter().all(|node| number(node).is_ok_and(|(number, _)| number.ends_with(serial)))
    })
    .await;
}
