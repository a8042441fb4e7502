//! K6: a template of the operator's own.

use crate::site::{Answer, Site};

const OWN: &str = include_str!("../../docs/own-template.conf.hbs");
const PATH: &str = "/etc/docker/extension-template.conf";

/// Mounted in the extension, as Interlock's documentation has it: it is followed without a new proxy task, one that is wrong changes nothing,
/// and without one the built-in template is back.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn k6_a_template_that_is_mounted_in_the_extension() {
    let site = Site::new("").await;
    site.settings("interlock-proxy-nginx", "HitlessServiceUpdate = true\nImage = \"REGISTRY/interlock:lab\"\n");
    site.network("demo").await;
    site.install();
    site.service("shop", &["demo"], 1, &["hosts=shop.local.test", "port=8080"]);
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;
    let before = site.proxy_tasks();

    site.store("config", "own", OWN);
    site.store("config", "broken", "{{Nothing}}\n");
    let update = |change: &[&str]| {
        site.docker(&[&["service", "update", "--detach", "--quiet"], change, &["interlock-extension"]].concat());
    };
    let mount = |name: &str| format!("source={name},target={PATH}");
    let by_own =
        |own: bool| move |answer: &Answer| answer.status == 200 && answer.header("x-served-by").is_empty() != own;
    update(&["--config-add", &mount("own")]);
    site.eventually("shop.local.test", "/ping", by_own(true)).await;

    update(&["--config-rm", "own", "--config-add", &mount("broken")]);
    site.until("K6: what is wrong with it is told", |site| {
        site.logs("interlock-core").contains("the template failed: line 1, column 1: there is no Nothing")
    })
    .await;
    assert!(by_own(true)(&site.ask("shop.local.test", "/ping")), "K6: what runs stays");

    update(&["--config-rm", "broken"]);
    site.eventually("shop.local.test", "/ping", by_own(false)).await;
    assert_eq!(site.proxy_tasks(), before, "K6: no proxy was replaced");
    site.uninstall();
    site.end().await;
}
