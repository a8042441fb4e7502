//! What a service owner can try with labels, by the codes of the catalogue of threats: A is injection, B names that collide, C who owns
//! a name, G exhaustion.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::Scenario;
use crate::support::nginx::{Nginx, accepts};
use crate::support::routes::{HOST_MODE, inputs, labelled, rendered};
use crate::support::tenant::{beside, neighbour, of_tenant, refused, taken, told};
use interlock_core::kinds::nginx::parse_back::{self, Directive};
use interlock_core::labels::TABLE;
use interlock_core::problem::Effect;
use interlock_core::reconcile::{Inputs, reconcile_embedded};

/// Every directive of every fixture, with its words.
fn directives() -> Vec<Vec<String>> {
    fn gather(directives: &[Directive<'_>], all: &mut Vec<Vec<String>>) {
        for directive in directives {
            all.push(directive.words.iter().map(ToString::to_string).collect());
            gather(directive.block.as_deref().unwrap_or_default(), all);
        }
    }
    let mut all = Vec::new();
    for scenario in Scenario::all() {
        for rendering in reconcile_embedded(&scenario.inputs()).1.values() {
            gather(&parse_back::parse(rendering.result.as_ref().unwrap()).unwrap(), &mut all);
        }
    }
    all
}

#[test]
fn a1_there_are_no_snippets() {
    let told =
        beside(&[("snippet", "root /zq;"), ("server_snippet", "root /zq;"), ("configuration-snippet", "root /zq;")]);
    assert!(told.serves("127.30.0.66") && !told.serves("zq"));
    assert!(told.problems.len() == 3 && told.problems.iter().all(|problem| problem.effect == Effect::Ignored));
}

#[test]
fn a2_a_path_is_a_path_whatever_it_looks_like() {
    refused("context_root", "/var/run/secrets/x{ alias /; }");
    assert!(taken(&[("context_root", "/var/run/secrets")]).serves("location = /var/run/secrets {"));
}

#[test]
fn a3_no_label_has_a_line_break_of_any_kind() {
    for label in TABLE {
        for end in ["\n", "\r", "\r\n", "\u{b}", "\u{85}", "\u{2028}"] {
            refused(label.key, &format!("{}{end}", label.example));
        }
        refused(label.key, &format!("\n{}", label.example));
    }
}

#[test]
fn a4_nothing_is_refused_for_its_looks() {
    taken(&[("hosts", "content-by-lua.example.com, load-module.example.com")]);
    refused("hosts", "x.example.com; log_format x y");
}

#[test]
fn a5_a_redirect_does_not_break_out() {
    refused(
        "redirects",
        "http://tenant.example.com,https://new.example.com/;}location ~* \"^/x\" {content_by_lua \"x\";}",
    );
}

#[test]
fn a6_what_went_through_other_proxies_is_refused() {
    for payload in [
        "http://a.example.com/#;load_module /tmp/x.so;\n",
        "CN=abc #(\n){}\n }}\nssl_engine /proc/self/fd/9;\n#",
        "a.example.com;}}}\nssl_engine /x;\n#",
        "a.example.com;include /etc/passwd;#",
    ] {
        TABLE.iter().for_each(|label| refused(label.key, payload));
    }
    for label in ["ssl_cert", "ssl_key", "basic_auth", "ssl_backend_ca"] {
        refused(label, "../../etc/x");
    }
    // What could do harm is in no file, whatever the labels are.
    for words in directives() {
        let banned = [
            "ssl_engine",
            "load_module",
            "include",
            "rewrite",
            "set",
            "resolver",
            "alias",
            "root",
            "perl",
            "js_content",
        ];
        // The one that the agent writes.
        let by_agent = words == ["include", "/run/interlock/not-clients*.conf"];
        assert!(by_agent || !banned.contains(&words[0].as_str()), "{words:?}");
        // The regular expressions are our own: what they find is refused, counted, or the value of a cookie.
        let own = ["~#", "~*#|^[^?]*(?:[;\\x5c]|%3b|%5c|%2f)"].contains(&&*words[0]) && words[1..] == ["1"]
            || words[0].starts_with("~^(?<client_prefix>") && words[1..] == ["$client_prefix"]
            || words[0].starts_with("~(?:^|;) *connect[.]sid=(?<cookie_");
        assert!(own || !words.iter().any(|word| word.starts_with('~')), "a regular expression: {words:?}");
        let refuses = [["if", "($bad_target)"], ["if", "($ambiguous_target)"]].iter().any(|own| words == *own);
        assert!(words[0] != "if" || refuses, "{words:?}");
    }
}

#[test]
fn a7_a_value_ends_where_it_ends() {
    for (label, wrong) in
        [("port", "8080\n"), ("ssl_passthrough", "true\n"), ("backend_mode", "task\n"), ("hosts", "a.example.com\n")]
    {
        refused(label, wrong);
    }
}

#[test]
fn a8_quotes_and_backslashes_have_no_place() {
    for wrong in ["/app\\", "/app\" { root /; }", "/app'", "/app`"] {
        refused("context_root", wrong);
    }
    refused("hosts", "a.example.com\\");
    // In a header's value they stand for themselves.
    let told = beside(&[("response_headers", "X-A: say \"x\" {y} #z 'w'")]);
    assert!(told.problems.is_empty() && told.serves(r##"add_header X-A "say \"x\" {y} #z 'w'" always;"##));
    accepts(&told.files).unwrap();
}

#[test]
fn a9_no_comment_has_a_word_of_a_label() {
    let labels = [
        ("hosts", "zq.example.com"),
        ("context_root", "/zq"),
        ("redirects", "http://zq.example.com,https://zq.example.org"),
        ("request_headers", "X-Zq: zq"),
        ("sticky_session_cookie", "zq"),
    ];
    let mut inputs = of_tenant(&labels, &[], "");
    Arc::make_mut(&mut inputs.snapshot.services[1]).spec.name = "zq".to_owned();
    let text = told(&inputs).text();
    assert!(text.contains("zq.example.com"), "{text}");
    let comments: Vec<_> = text.lines().filter(|line| line.trim_start().starts_with('#')).collect();
    assert!(comments.len() > 5 && !comments.iter().any(|line| line.to_lowercase().contains("zq")), "{comments:?}");
}

#[test]
fn a10_names_of_services_networks_and_secrets_are_no_way_in_either() {
    for name in ["", "a;b", "a{", "a b", "a\nb", "a.b", "a+b", "$host", "é", &"a".repeat(64)] {
        let mut inputs = of_tenant(&[], &[], "");
        Arc::make_mut(&mut inputs.snapshot.services[1]).spec.name = name.to_owned();
        assert!(told(&inputs).files == neighbour().files, "{name:?}");
    }
    let mut inputs = of_tenant(&[], &["x; zq"], "");
    inputs.snapshot.networks[0].name = "n; zq {".to_owned();
    let told = told(&inputs);
    assert!(told.serves("127.30.0.66") && !told.serves("zq"));
}

#[test]
fn a11_a_host_is_no_rule() {
    for wrong in [
        "a.example.com`) || Host(`b.example.com",
        "a.example.com`",
        "a.example.com && b",
        "(a.example.com)",
        "a.example.com|b.example.com",
    ] {
        refused("hosts", wrong);
    }
}

#[test]
fn a12_what_means_something_to_another_proxy_is_refused_and_an_honest_percent_sign_arrives() {
    refused("redirects", "http://tenant.example.com,https://new.example.com?c=%[req.hdr(cookie)]");
    for wrong in ["-m reg .*", "${HOME}.x", "-f /etc/passwd", "unix@/var/run/docker.sock", "%[req.hdr(cookie)]"] {
        refused("hosts", wrong);
    }
    let services = labelled(
        "shop",
        19_401,
        &[
            ("hosts", "shop.example.com"),
            ("redirects", "http://shop.example.com,https://new.example.com/a%20b?c=%2f&d=#e"),
        ],
    );
    let answer = Nginx::start(&rendered(&services, &[("shop", "127.10.31.1")])).get("shop.example.com", "/x?y=%20");
    assert!(answer.contains("Location: https://new.example.com/a%20b?c=%2f&d=#e/x?y=%20\r\n"), "{answer}");
}

#[test]
fn a13_no_template_is_run_twice() {
    for label in
        ["hosts", "context_root", "sticky_session_cookie", "ssl_cert", "network", "service_cluster", "redirects"]
    {
        refused(label, "{{ secret \"tls.key\" }}");
    }
    // Swarm expands templates in specs.
    for scenario in Scenario::all() {
        let plan = serde_json::to_string(&reconcile_embedded(&scenario.inputs()).0.plan).unwrap();
        assert!(!plan.contains("{{") && !plan.contains("Templating"), "{}", scenario.name);
    }
}

#[test]
fn b1_names_that_look_alike_are_different_upstreams() {
    let hosts = ["a-b.example.com", "a.b-example.com", "a_b.example.com"];
    let names = ["a-b", "a_b", "a"];
    let services: String = names
        .iter()
        .zip(hosts)
        .map(|(name, host)| labelled(name, 80, &[("hosts", host), ("hosts.b", &format!("b.{host}")), ("port.b", "80")]))
        .collect();
    let tasks = [("a-b", "127.30.1.1"), ("a_b", "127.30.1.2"), ("a", "127.30.1.3")];
    let config = reconcile_embedded(&inputs(&services, &tasks, &[], "")).0.proxy_configs.into_values().next().unwrap();
    // nginx knows no difference between upper and lower case here.
    let names: BTreeSet<_> = config.upstreams.keys().map(|name| name.as_str().to_lowercase()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    accepts(&rendered(&services, &tasks)).unwrap();
    // What would be one name to nginx is refused.
    refused("hosts.B", "b.example.com");
}

#[test]
fn b2_names_of_objects_have_64_characters_at_most() {
    let long = "x".repeat(63);
    let toml = format!("[Extensions.a]\nServiceCluster = \"{long}\"\nHitlessServiceUpdate = true");
    let mut scenarios: Vec<_> = Scenario::all().iter().map(Scenario::inputs).collect();
    let hitless = Scenario::all().into_iter().find(|scenario| scenario.name == "setting-HitlessServiceUpdate").unwrap();
    scenarios.push(Inputs { settings: crate::support::settings(&toml), ..hitless.inputs() });
    for inputs in &scenarios {
        for step in &reconcile_embedded(inputs).0.plan.steps {
            let object = step.action.object();
            let name = object.split_once(' ').unwrap().1;
            assert!(name.len() <= 64 || object.starts_with("service "), "{object}");
        }
    }
}

#[test]
fn c1_the_oldest_has_a_host_in_whatever_order_services_come() {
    let tenants: String = ["red", "blue", "green"]
        .iter()
        .map(|name| {
            labelled(name, 80, &[("hosts", "one.example.com")])
                .replace("labels: {", &format!("labels: {{ com.docker.stack.namespace: {name},"))
        })
        .collect();
    let tasks = [("red", "127.30.2.1"), ("blue", "127.30.2.2"), ("green", "127.30.2.3")];
    let mut inputs = inputs(&tenants, &tasks, &[], "HostPolicy = \"stack\"\n[Extensions.default]");
    // Two were created in the same moment, and then ids decide; one later, whose id comes first.
    Arc::make_mut(&mut inputs.snapshot.services[1]).created_at = "2026-01-02T00:00:00Z".parse().unwrap();
    let first = reconcile_embedded(&inputs);
    assert!(first.1.values().all(|rendering| {
        let text = &rendering.result.as_ref().unwrap()[0].content;
        text.contains("127.30.2.3") && !text.contains("127.30.2.1:") && !text.contains("127.30.2.2:")
    }));
    for round in 0_usize..1000 {
        let (services, tasks) = (&mut inputs.snapshot.services, &mut inputs.snapshot.tasks);
        services.swap(round % 3, (round / 3) % 3);
        tasks.swap((round / 2) % 3, (round / 5) % 3);
        let again = reconcile_embedded(&inputs);
        assert!(again.1 == first.1 && again.0.problems == first.0.problems && again.0.plan == first.0.plan, "{round}");
    }
}

/// Two services of two stacks; the one that is named first is the older one.
fn of_two_stacks(elder: (&str, &str, &str), younger: (&str, &str, &str), policy: &str) -> Inputs {
    let service = |(name, label, value): (&str, &str, &str)| {
        let stack = format!("labels: {{ com.docker.stack.namespace: {name},");
        labelled(name, 80, &[(label, value)]).replace("labels: {", &stack)
    };
    let text = service(elder) + &service(younger);
    let toml = format!("HostPolicy = \"{policy}\"\n[Extensions.default]");
    let mut inputs = inputs(&text, &[(elder.0, "127.30.5.1"), (younger.0, "127.30.5.2")], &[], &toml);
    Arc::make_mut(&mut inputs.snapshot.services[1]).created_at = "2026-01-02T00:00:00Z".parse().unwrap();
    inputs
}

#[test]
fn h7_with_the_stack_policy_an_older_wildcard_has_the_names_under_it() {
    for (wildcard, name, is_under) in [
        ("*.corp.example", "pay.corp.example", true),
        ("*.corp.example", "a.b.corp.example", true),
        ("*.corp.example", "*.team.corp.example", true),
        ("*.corp.example", "corp.example", false),
        ("*.corp.example", "paycorp.example", false),
        ("*.team.corp.example", "*.corp.example", false),
    ] {
        let told = told(&of_two_stacks(("red", "hosts", wildcard), ("blue", "hosts", name), "stack"));
        assert_eq!(told.serves("127.30.5.2"), !is_under, "{name} under {wildcard}");
        assert!(told.serves("127.30.5.1"));
        // The younger one comes first and keeps its name; the wildcard has the rest.
        let inputs = of_two_stacks(("blue", "hosts", name), ("red", "hosts", wildcard), "stack");
        let serves = |what: &str| told_text(&inputs).contains(what);
        assert!(serves("127.30.5.1"), "{name} was there before {wildcard}");
        let shared = of_two_stacks(("red", "hosts", wildcard), ("blue", "hosts", name), "shared");
        assert!(told_text(&shared).contains("127.30.5.2"), "{name} beside {wildcard}");
    }
    let (outcome, _) = reconcile_embedded(&of_two_stacks(
        ("red", "hosts", "*.corp.example"),
        ("blue", "hosts", "pay.corp.example"),
        "stack",
    ));
    let [problem] = &outcome.problems[..] else { panic!("{:?}", outcome.problems) };
    assert_eq!((problem.effect, problem.label.as_deref()), (Effect::LeftOut, Some("com.docker.lb.hosts")));
    assert_eq!(problem.wrong, "names pay.corp.example, which is under *.corp.example of service red of another stack");
    // Its own stack may have it, and then nobody of another one.
    let mut inputs = of_two_stacks(("red", "hosts", "*.corp.example"), ("blue", "hosts", "pay.corp.example"), "stack");
    Arc::make_mut(&mut inputs.snapshot.services[1]).spec.labels.insert(STACK.to_owned(), "red".to_owned());
    assert!(told_text(&inputs).contains("127.30.5.2"));
}

#[test]
fn h7_with_the_stack_policy_the_default_backend_stays_with_its_stack() {
    let all = ("default_backend", "true");
    for (policy, effect) in [("stack", Effect::LeftOut), ("shared", Effect::Overruled)] {
        let inputs = of_two_stacks(("red", all.0, all.1), ("blue", all.0, all.1), policy);
        let (outcome, _) = reconcile_embedded(&inputs);
        assert_eq!(outcome.problems.iter().map(|problem| problem.effect).collect::<Vec<_>>(), [effect], "{policy}");
        let text = told_text(&inputs);
        assert!(text.contains("proxy_pass http://red.80") && !text.contains("proxy_pass http://blue.80"), "{text}");
    }
}

const STACK: &str = "com.docker.stack.namespace";

fn told_text(inputs: &Inputs) -> String {
    told(inputs).text()
}

#[test]
fn c3_no_host_stands_for_all() {
    for wrong in
        ["_", "", "*", ".example.com", "www.*", "~^.*$", "$hostname", "default", "*.*.example.com", "*.com", "\"\""]
    {
        refused("hosts", wrong);
    }
    // The default is one service's, the oldest's.
    let both = labelled("a", 80, &[("default_backend", "true")]) + &labelled("b", 80, &[("default_backend", "true")]);
    let (outcome, renderings) =
        reconcile_embedded(&inputs(&both, &[("a", "127.30.3.1"), ("b", "127.30.3.2")], &[], ""));
    let text = &renderings.values().next().unwrap().result.as_ref().unwrap()[0].content;
    assert!(text.contains("127.30.3.1") && !text.contains("proxy_pass http://b.80"));
    assert_eq!(outcome.problems.len(), 1, "{:?}", outcome.problems);
}

#[test]
fn c9_a_host_ends_tls_here_or_at_its_services() {
    let ends = labelled("a", 80, &[("hosts", "one.example.com"), ("ssl_cert", "a.pem")]);
    let passes = labelled("b", 443, &[("hosts", "one.example.com"), ("ssl_passthrough", "true")]);
    for (services, elder, younger) in [
        (ends.clone() + &passes, "127.30.4.1", "127.30.4.2"),
        // The ids decide, as both were created in one moment.
        (ends.replace(" a,", " z,") + &passes, "127.30.4.2", "127.30.4.1"),
    ] {
        let first = if services.contains(" z,") { "z" } else { "a" };
        let tasks = [(first, "127.30.4.1"), ("b", "127.30.4.2")];
        let (outcome, renderings) = reconcile_embedded(&inputs(&services, &tasks, &["a.pem"], ""));
        let text = &renderings.values().next().unwrap().result.as_ref().unwrap()[0].content;
        assert!(text.contains(elder) && !text.contains(younger), "{text}");
        assert_eq!(outcome.problems.len(), 1);
        assert_eq!(outcome.problems[0].label.as_deref(), Some("com.docker.lb.ssl_passthrough"));
        assert_eq!(outcome.problems[0].effect, Effect::LeftOut);
    }
}

#[test]
fn c10_one_host_is_one_host_however_it_is_written() {
    let policy = &format!("HostPolicy = \"stack\"\n{HOST_MODE}");
    let alone = told(&of_tenant(&[("hosts", "other.example.com")], &[], policy));
    assert!(alone.problems.is_empty());
    for same in ["SHOP.example.com.", "ｓｈｏｐ.example.com", "sh\u{ad}op.example.com", "shop。example。com"] {
        let labels = [("hosts", same), ("com.docker.stack.namespace", "evil")];
        let told = told(&of_tenant(&labels, &[], policy));
        assert!(told.files == neighbour().files, "{same}");
        assert!(
            told.problems.iter().any(|problem| problem.wrong.contains("shop.example.com, which service shop")),
            "{same}"
        );
    }
    // With Cyrillic letters it is another one.
    let labels = [("hosts", "shоp.example.com"), ("com.docker.stack.namespace", "evil")];
    let told = told(&of_tenant(&labels, &[], policy));
    assert!(told.problems.is_empty() && told.serves("127.30.0.66:8080") && told.serves("xn--"));
    for fake in ["xn--example-.com", "xn--a.example.com", "xn--.example.com"] {
        refused("hosts", fake);
    }
}

#[test]
fn c11_a_secret_is_for_those_whom_its_owner_allows() {
    let toml = "SecretPolicy = \"opt-in\"\n[Extensions.default]";
    let labels = [("ssl_cert", "a.pem"), ("com.docker.stack.namespace", "red")];
    for (allow, allowed) in [
        (None, false),
        (Some(""), false),
        (Some("blue"), false),
        (Some("red, blue"), false),
        (Some("red"), true),
        (Some("*"), true),
    ] {
        let mut inputs = of_tenant(&labels, &["a.pem"], toml);
        let owner = allow.map(|allow| ("com.docker.lb.allow".to_owned(), allow.to_owned()));
        inputs.snapshot.secrets[0].labels = owner.into_iter().collect();
        let told = told(&inputs);
        assert_eq!(told.serves("a.pem"), allowed, "{allow:?}");
        assert_eq!(told.problems.is_empty(), allowed, "{allow:?}");
    }
    // Interlock's own are nobody's, whatever the policy is.
    let mut inputs = of_tenant(&labels, &["a.pem"], "");
    inputs.snapshot.secrets[0].labels = [("com.docker.interlock.owner".to_owned(), "interlock".to_owned())].into();
    assert!(!told(&inputs).serves("a.pem"));
}

#[test]
fn g2_nginx_takes_many_long_names() {
    let long = |i: usize| format!("h{i}.{}example.com", format!("{}.", "a".repeat(58)).repeat(4));
    assert_eq!(long(1000).len(), 253);
    let services: String = (0..10)
        .map(|n| {
            let hosts: Vec<_> = (0..200).map(|i| long(1000 + 200 * n + i)).collect();
            labelled(&format!("s{n}"), 80, &[("hosts", &hosts.join(","))])
        })
        .collect();
    let names: Vec<_> = (0..10).map(|n| format!("s{n}")).collect();
    let tasks: Vec<_> = names.iter().map(|name| (name.as_str(), "127.30.5.1")).collect();
    accepts(&rendered(&services, &tasks)).unwrap();
}

#[test]
fn g5_a_proxy_is_no_backend() {
    for owner in ["com.docker.interlock.core.proxy", "com.docker.interlock.core"] {
        let labels = [
            ("com.docker.interlock.owner", "interlock"),
            ("com.docker.interlock.cluster", ""),
            ("com.docker.interlock.type", owner),
        ];
        let told = told(&of_tenant(&labels, &[], ""));
        assert!(told.files == neighbour().files && told.problems.len() == 1, "{:?}", told.problems);
    }
}
