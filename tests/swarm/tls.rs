//! Certificates in Docker secrets, on the real Swarm.

use std::process::Command;

use crate::site::Site;
use crate::support::pki::Authority;

/// Makes a Docker secret of this.
fn secret(site: &Site, name: &str, content: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, content).unwrap();
    site.docker(&["secret", "create", name, file.to_str().unwrap()]);
}

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

/// G1, G2, G3, G4: termination and passthrough on one port, and a certificate that is replaced while requests come.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn g1_g4_certificates_come_and_are_replaced() {
    let authority = Authority::new();
    let site = Site::new("").await;
    site.settings("interlock-proxy-nginx", "HitlessServiceUpdate = true\n");
    site.network("demo").await;
    site.install();
    secret(&site, "shop.1", &both(&authority, "shop.local.test", 1));
    site.service("shop", &["demo"], 2, &["hosts=shop.local.test", "port=8080", "ssl_cert=shop.1"]);
    served(&site, &authority, "shop.local.test", "01").await;
    let (_, answer) = get(&authority, site.workers(), "shop.local.test", &[]).unwrap();
    assert!(answer.contains("HTTP/2 200") && answer.contains("\"instance\""), "G1: {answer}");
    assert_eq!(site.ask("shop.local.test", "/ping").status, 200, "G1: plain HTTP is served as well");
    get(&authority, site.workers(), "other.local.test", &["--insecure"]).expect_err("G3: an unknown name is closed");

    // G4: the next certificate. A client that tries the other node notices nothing.
    secret(&site, "shop.2", &both(&authority, "shop.local.test", 2));
    let label = "com.docker.lb.ssl_cert=shop.2";
    site.docker(&["service", "update", "--detach", "--quiet", "--label-add", label, "shop"]);
    site.until("G4: both proxies show the next certificate", |site| {
        let got = get(&authority, site.workers(), "shop.local.test", &[]);
        assert!(got.is_ok(), "G4: a request failed: {got:?}");
        let number = |node: &String| get(&authority, std::slice::from_ref(node), "shop.local.test", &[]);
        site.workers().iter().all(|node| number(node).is_ok_and(|(number, _)| number.ends_with("02")))
    })
    .await;
    site.at_rest().await;
    site.docker(&["secret", "rm", "shop.1"]);

    // What is no certificate costs this host its TLS, and the proxies say so.
    secret(&site, "words", "no certificate at all");
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

async fn served(site: &Site, authority: &Authority, host: &str, serial: &str) {
    site.until(&format!("both proxies show certificate {serial} for {host}"), |site| {
        let number = |node: &String| get(authority, std::slice::from_ref(node), host, &[]);
        site.workers().iter().all(|node| number(node).is_ok_and(|(number, _)| number.ends_with(serial)))
    })
    .await;
}
