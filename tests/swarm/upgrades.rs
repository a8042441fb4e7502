//! Everything of interlock's own is replaced, and routes and requests do not notice: other images, other settings, another delivery,
//! identities that are revoked, another way to deploy core.

use crate::site::{CONVERGES, Site};
use crate::support::load::{Load, Outcome};

const HOST: &str = "shop.local.test";
const HITLESS: &str = "HitlessServiceUpdate = true\nImage = \"REGISTRY/interlock:lab\"\n";

/// A6, A7, K2 and revocation: what `interlock install` with other images and settings does while requests come at a constant rate, of
/// clients that try the other node when one refuses the connection.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn a6_a7_everything_of_interlocks_own_is_replaced_under_load() {
    let site = Site::new("").await;
    site.settings("interlock-proxy-nginx", HITLESS);
    site.network("demo").await;
    site.install();
    route(&site, "shop").await;
    site.at_rest().await;
    a7_other_images(&site).await;
    a6_other_settings_and_revoked_identities(&site).await;
    to_classic_and_back(&site).await;
    site.uninstall();
    site.end().await;
}

/// Another service, until both proxies serve it.
async fn route(site: &Site, name: &str) {
    let host = format!("{name}.local.test");
    site.service(name, &["demo"], 2, &[&format!("hosts={host}"), "port=8080"]);
    site.eventually(&host, "/ping", |answer| answer.status == 200).await;
}

fn none_failed(what: &str, outcome: &Outcome) {
    let failed = &outcome.failed;
    assert!(failed.is_empty(), "{what}: {} of {}: {:#?}", failed.len(), outcome.answered, failed.first());
    assert!(outcome.answered > 500, "{what}: {outcome:?}");
}

const OURS: [&str; 3] = ["interlock-core", "interlock-extension", "interlock-proxy"];

fn images(site: &Site) -> Vec<String> {
    let image = |name: &&str| {
        let spec = site.docker(&["service", "ps", "--filter", "desired-state=running", "--format", "{{.Image}}", name]);
        spec.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    OURS.iter().flat_map(image).collect()
}

/// New tags in the settings and for core: all is replaced one by one.
async fn a7_other_images(site: &Site) {
    let core = site.tag("interlock", "next");
    site.tag("interlock-proxy-nginx", "next");
    let text = site.settings_text("interlock-proxy-nginx", HITLESS).replace(":lab", ":next");
    let load = Load::elsewhere(&site.addresses(), HOST, 200);
    site.whole_settings(&text);
    site.install_from(&core);
    site.until("A7: all tasks have the new images", |site| {
        let images = images(site);
        images.len() == 4 && images.iter().all(|image| image.contains(":next"))
    })
    .await;
    site.at_rest().await;
    // What the new ones do is what the old ones did.
    route(site, "after-the-upgrade").await;
    none_failed("A7", &load.stop());
}

/// The name of the secret by which a service is known to core.
fn identity(site: &Site, service: &str) -> String {
    let format = "{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}{{println .SecretName}}{{end}}";
    let names = site.docker(&["service", "inspect", service, "--format", format]);
    names.lines().find(|name| !name.is_empty()).unwrap_or_default().to_owned()
}

/// What an extension with this identity logs within some seconds, in the place of the one that runs.
fn extension_with(site: &Site, pem: &str) -> String {
    let script = "echo \"$0\" >/tmp/other.pem; unset INTERLOCK_HEALTH_SOCKET; timeout 4 interlock extension nginx \
                  --core tasks.interlock-core:8080 --identity /tmp/other.pem 2>&1; rm /tmp/other.pem";
    site.in_container(site.node_of("interlock-extension"), "interlock-extension", &["sh", "-c", script, pem])
}

/// As docs/operating.md has it: a container label, a roll, and the old secret can go.
async fn a6_other_settings_and_revoked_identities(site: &Site) {
    let services = ["interlock-extension", "interlock-proxy"];
    let (secrets, tasks) = (services.map(|name| identity(site, name)), services.map(|name| site.tasks_of(name)));
    let read = ["cat", "/run/secrets/interlock-identity"];
    let pem = site.in_container(site.node_of("interlock-extension"), "interlock-extension", &read);
    let load = Load::elsewhere(&site.addresses(), HOST, 200);
    let labels = "ContainerLabels = { turn = \"2\" }\nProxyContainerLabels = { turn = \"2\" }\n";
    site.settings("interlock-proxy-nginx", &format!("{HITLESS}{labels}"));
    site.install();
    site.until("A6: no application changed, and yet all tasks have the new settings", |site| {
        services.iter().zip(&tasks).all(|(name, before)| {
            let label = "{{index .Spec.TaskTemplate.ContainerSpec.Labels \"turn\"}}";
            let now = site.tasks_of(name);
            site.docker(&["service", "inspect", name, "--format", label]).trim() == "2"
                && now.len() == before.len()
                && now.iter().all(|task| !before.contains(task))
        })
    })
    .await;
    site.at_rest().await;
    site.run("interlock-extension", 1).await;
    none_failed("A6", &load.stop());
    site.until("until its secret goes the old identity is good", |site| {
        extension_with(site, &pem).contains("following core")
    })
    .await;
    for (name, secret) in services.iter().zip(&secrets) {
        assert_ne!(identity(site, name), *secret, "{name} has another identity");
        site.docker(&["secret", "rm", secret]);
    }
    site.until("the old identity is refused", |site| {
        let said = extension_with(site, &pem);
        said.contains("no connection to core") && !said.contains("following core")
    })
    .await;
    // The new ones go on.
    route(site, "after-the-revocation").await;
}

/// The other delivery and back, which is one roll each; routes change in both.
async fn to_classic_and_back(site: &Site) {
    let load = Load::elsewhere(&site.addresses(), HOST, 200);
    for (text, what) in [("Image = \"REGISTRY/interlock:lab\"\n", "classic"), (HITLESS, "hitless")] {
        let before = site.proxy_tasks();
        site.settings("interlock-proxy-nginx", text);
        site.install();
        site.until(&format!("both proxies are {what}"), |site| {
            let now = site.proxy_tasks();
            now.len() == 2 && now.iter().all(|task| !before.contains(task))
        })
        .await;
        site.at_rest().await;
        let tasks = site.proxy_tasks();
        route(site, &format!("while-{what}")).await;
        assert_eq!(site.proxy_tasks() == tasks, what == "hitless", "{what}");
        site.at_rest().await;
    }
    none_failed("another delivery", &load.stop());
}

/// Core as a stack, as `deploy/stack.yml` has it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn a1_core_as_a_stack() {
    let site = Site::new("").await;
    site.settings("interlock-proxy-nginx", HITLESS);
    site.network("demo").await;
    site.core_as_stack();
    route(&site, "shop").await;
    for core in ["hangs", "is gone"] {
        let before = site.tasks_of("interlock_core");
        if core == "hangs" {
            // Nobody but its health check notices.
            site.signal("interlock_core", "STOP");
        } else {
            site.signal("interlock_core", "KILL");
        }
        let name = format!("while-core-{}", core.replace(' ', "-"));
        site.service(&name, &["demo"], 1, &[&format!("hosts={name}.local.test"), "port=8080"]);
        site.until("core is replaced", |site| {
            assert_eq!(site.ask(HOST, "/ping").status, 200, "core {core}");
            let now = site.tasks_of("interlock_core");
            !now.is_empty() && now.iter().all(|task| !before.contains(task))
        })
        .await;
        site.run("interlock_core", 1).await;
        site.run(&name, 1).await;
        site.served_within(CONVERGES, &format!("{name}.local.test")).await;
    }
    site.docker(&["stack", "rm", "interlock"]);
    site.uninstall();
    site.end().await;
}
