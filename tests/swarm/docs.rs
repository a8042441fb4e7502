//! What README.md and docs/operating.md say to type, typed: each block of commands is run, or stands in the list of those that are not, with the
//! reason. Images are the lab's, and what needs IPVS in the kernel is said in another way; nothing else is changed.

use crate::site::Site;

const README: &str = include_str!("../../README.md");
const OPERATING: &str = include_str!("../../docs/operating.md");
const HOST: &str = "shop.example.com";

/// The blocks by their first lines.
const RUN: [&str; 4] = [
    // Without its first two lines: `scripts/lab images` builds these targets.
    "docker build -f deploy/Dockerfile --target interlock   -t interlock:0.1.0 .",
    // Without its last line, which goes on until it is stopped.
    "interlock reconcile --dry-run",
    "docker service create --name interlock --constraint node.role==manager --network interlock",
    "docker service update --log-driver json-file",
];
const NOT_RUN: [&str; 3] = [
    // scripts/test runs both.
    "scripts/demo",
    // It needs no Swarm: interlock-cli/tests/docs.rs runs it.
    "cargo run -- reconcile --once --state",
    // `scripts/lab images` builds these targets.
    "docker build -f deploy/Dockerfile --target interlock   -t registry.example.com/interlock .",
];

/// The blocks of this kind in a document.
fn blocks<'t>(text: &'t str, kind: &str) -> Vec<&'t str> {
    text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix(kind)?.strip_prefix('\n')).collect()
}

/// The lines of the block that begins like this, without comments, continued ones put together.
fn lines(first: &str) -> Vec<String> {
    let all = [blocks(README, "sh"), blocks(OPERATING, "sh")].concat();
    let found: Vec<_> = all.iter().filter(|block| block.starts_with(first)).collect();
    assert_eq!(found.len(), 1, "one block begins with: {first}");
    let text = found[0].replace("\\\n", " ");
    text.lines().map(|line| line.split(" # ").next().unwrap().trim().to_owned()).collect()
}

#[test]
fn each_block_of_commands_is_run_or_is_known_not_to_be() {
    for block in [blocks(README, "sh"), blocks(OPERATING, "sh")].concat() {
        let known = RUN.iter().chain(&NOT_RUN).filter(|first| block.starts_with(**first)).count();
        assert_eq!(known, 1, "run this, or say why not:\n{block}");
    }
    RUN.iter().chain(&NOT_RUN).for_each(|first| assert!(!lines(first).is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn what_the_documents_say_to_type_does_what_they_say() {
    let site = Site::new("").await;
    site.preload("interlock", "interlock:0.1.0");
    site.preload("interlock-proxy-nginx", "interlock-proxy-nginx:0.1.0");
    the_readme_installs(&site);
    the_readmes_stack_is_served(&site).await;
    single_runs_beside_core(&site);
    logs_are_limited_by_hand(&site).await;
    site.paste("interlock uninstall --yes");
    core_by_hand(&site).await;
    // As a core by hand without the authority is not known.
    site.paste("docker service rm interlock && interlock uninstall --yes && docker stack rm shop");
    site.end().await;
}

fn the_readme_installs(site: &Site) {
    site.paste("rm interlock.toml");
    for line in lines(RUN[0]).iter().filter(|line| !line.starts_with("docker build")) {
        site.paste(line);
        if line.starts_with("interlock init") {
            // The routing mesh needs IPVS.
            site.paste("sed -i 's/^#PublishMode = \"ingress\"$/PublishMode = \"host\"/' interlock.toml");
            site.paste("grep -q '^PublishMode = \"host\"$' interlock.toml");
        }
    }
}

/// The commands for the stack stand in its comments.
async fn the_readmes_stack_is_served(site: &Site) {
    let file = blocks(README, "yaml")[0];
    let network = "docker network create --driver overlay web";
    let deploy = "docker stack deploy -c stack.yml shop";
    assert!(file.contains(network) && file.starts_with(&format!("# stack.yml: {deploy}\n")), "{file}");
    let image = format!("image: {}", site.image("demo"));
    // A virtual IP needs IPVS.
    let text =
        file.replace("image: example/shop", &image).replace("deploy:\n", "deploy:\n      endpoint_mode: dnsrr\n");
    assert!(text.contains(&image) && text.contains("dnsrr"), "{text}");
    site.write("stack.yml", &text);
    site.paste(network);
    site.paste(deploy);
    site.eventually(HOST, "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;

    // "Scale, update or remove `shop`, and the running proxies follow: no new task".
    let before = site.proxy_tasks();
    site.paste("docker service scale --detach shop_shop=3");
    site.all_answer(HOST, 3).await;
    site.paste("docker stack rm shop");
    site.eventually(HOST, "/ping", |answer| answer.status == 503).await;
    site.paste(deploy);
    site.eventually(HOST, "/ping", |answer| answer.status == 200).await;
    assert_eq!(site.proxy_tasks(), before);
}

/// They take core's own settings.
fn single_runs_beside_core(site: &Site) {
    let lines = lines(RUN[1]);
    assert_eq!(lines.last().map(String::as_str), Some("interlock reconcile"));
    for line in &lines[..lines.len() - 1] {
        let said = site.paste(line);
        assert!(said.contains("nothing to do"), "{line}: {said}");
    }
}

/// "By hand, which interlock leaves as it is."
async fn logs_are_limited_by_hand(site: &Site) {
    lines(RUN[3]).iter().for_each(|line| drop(site.paste(line)));
    site.eventually(HOST, "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;
    let said = site.paste("interlock reconcile --once");
    assert!(said.contains("nothing to do"), "{said}");
    let driver = site.proxies("{{json .Spec.TaskTemplate.LogDriver}}").unwrap();
    assert!(driver.contains("json-file") && driver.contains("100m"), "{driver}");
}

/// What comes before it in a reader's mind: the network, and settings as a config object. A core without the authority delivers by rolls.
async fn core_by_hand(site: &Site) {
    site.settings("nginx", "");
    site.paste("docker network create --driver overlay interlock && docker config create interlock interlock.toml");
    let [line] = &lines(RUN[2])[..] else { panic!("one command") };
    assert!(line.contains("registry.example.com/interlock"), "{line}");
    site.paste(&line.replace("registry.example.com/interlock", &site.image("interlock")));
    site.eventually(HOST, "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;
}
