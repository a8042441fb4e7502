//! A tenant who may create secrets, networks and services, and would like to be core for the proxies.

use interlock_core::ownership;
use interlock_core::trust::{Authority, Statement};
use interlock_core::units::{Cluster, Role};

use super::names::both_serve;
use super::site::Site;

const PROXY: &str = "interlock-proxy";

/// The name of the default proxies' identity of this number.
fn numbered(number: usize) -> String {
    format!("{}proxy.{}.{number}", ownership::IDENTITY_PREFIX, Cluster::default().slug())
}

/// Secrets with the names that come after that of the genuine one, with the labels of the genuine one, and with the tenant's own certificates in them. Besides, the
/// proxies' fingerprint stands on secrets of other roles and service clusters.
fn plant(site: &Site, genuine: usize) {
    let (cluster, tenant) = (Cluster::default(), Authority::generate().unwrap());
    let [fingerprint, authority] =
        [ownership::FINGERPRINT, ownership::AUTHORITY].map(|label| label_of(site, &numbered(genuine), label));
    for number in genuine + 1..genuine + 8 {
        let (name, made) = (numbered(number), tenant.issue(Role::Proxy, &cluster).unwrap());
        let says =
            Statement::Identity { name: &name, role: Role::Proxy, cluster: &cluster, fingerprint: &made.fingerprint };
        let signature = tenant.sign(&says).unwrap().to_string();
        let labels = [
            (ownership::ROLE, "proxy"),
            (ownership::CLUSTER, ""),
            (ownership::FINGERPRINT, &made.fingerprint.to_string()),
            (ownership::AUTHORITY, &authority),
            (ownership::SIGNATURE, &signature),
        ];
        store(site, &name, &labels, &made.pem);
    }
    for (number, (role, cluster)) in [("proxy", "zzz"), ("extension", ""), ("proxy", "")].into_iter().enumerate() {
        let labels =
            [(ownership::ROLE, role), (ownership::CLUSTER, cluster), (ownership::FINGERPRINT, fingerprint.as_str())];
        store(site, &format!("copy{number}"), &labels, "-");
    }
}

fn label_of(site: &Site, secret: &str, label: &str) -> String {
    let format = format!("{{{{index .Spec.Labels {label:?}}}}}");
    site.docker(&["secret", "inspect", secret, "--format", &format]).trim().to_owned()
}

fn store(site: &Site, name: &str, labels: &[(&str, &str)], content: &str) {
    let owner = format!("{}={}", ownership::OWNER, ownership::OWNER_VALUE);
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).chain([owner]).collect();
    let mut arguments = vec!["secret", "create"];
    for label in &labels {
        arguments.extend(["--label", label.as_str()]);
    }
    site.store_with(&arguments, name, content);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn k2_h1_planted_secrets_make_nobody_core_and_cut_nobody_off() {
    let site = Site::new("").await;
    site.settings("interlock-proxy-nginx", "HitlessServiceUpdate = true\n");
    for network in ["aaa", "demo", "late"] {
        site.network(network).await;
    }
    site.install();
    let route = |name: &str, network: &str| {
        site.service(name, &[network], 1, &[&format!("hosts={name}.local.test"), "port=8080"]);
    };
    route("shop", "demo");
    both_serve(&site, "shop").await;
    site.at_rest().await;
    let first = mounted(&site);
    plant(&site, first);

    // Core's streams go on: a change of routes arrives.
    route("beside", "demo");
    both_serve(&site, "beside").await;

    // The next roll gives the proxies another identity, a genuine one, while the tenant has core's name on a network of theirs.
    let before = site.proxy_tasks();
    route("evil", "name=aaa,alias=interlock-core");
    route("late", "late");
    both_serve(&site, "late").await;
    site.at_rest().await;
    assert_ne!(site.proxy_tasks(), before);
    let second = mounted(&site);
    assert!(second >= first + 8, "K2: {second} was planted or is the one from before: {first}");

    // Not only the tasks that were there follow core: so does one that starts now.
    site.signal_on(1, PROXY, "KILL");
    route("last", "demo");
    both_serve(&site, "last").await;
    let told = site.logs("interlock-core");
    assert!(told.contains("its authority did not sign"), "{told}");
    let evil = site.get(&site.workers()[0], "evil.local.test", "/ping").unwrap();
    assert_eq!(evil.status, 503, "H2: a service with core's name is not routed");
    let names = site.docker(&["secret", "ls", "--format", "{{.Name}}"]);
    assert!(names.lines().any(|name| name == numbered(first + 1)), "what is not interlock's is left alone: {names}");
    site.uninstall();
    site.end().await;
}

/// The number of the identity that new tasks of the proxies mount.
fn mounted(site: &Site) -> usize {
    let format = "{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}{{.SecretName}}\n{{end}}";
    let names = site.docker(&["service", "inspect", PROXY, "--format", format]);
    let identity = names.lines().find(|name| name.starts_with(ownership::IDENTITY_PREFIX));
    identity.and_then(|name| name.rsplit('.').next()?.parse().ok()).unwrap_or_else(|| panic!("no identity: {names}"))
}
