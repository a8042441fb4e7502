//! The contract of labels, point by point: what is taken, what is refused, and that a service is taken or refused as a whole.

use std::sync::Arc;

use crate::support::tenant::{beside, neighbour, of_tenant, refused, taken, told};
use interlock_core::labels::TABLE;
use interlock_core::problem::Effect;

/// Labels that are on or off.
const SWITCHES: &[&str] = &["context_root_rewrite", "default_backend", "ip_hash", "compress", "ssl_backend"];

#[test]
fn an_unknown_key_of_ours_is_told_and_does_nothing_and_other_keys_are_not_read() {
    let told = beside(&[("speed", "fast"), ("COM.docker.lb.hosts", "evil.example.com"), ("com.docker.lbx", "\n")]);
    assert!(told.serves("127.30.0.66:8080") && !told.serves("fast") && !told.serves("evil"));
    assert_eq!(told.problems.iter().map(|problem| problem.effect).collect::<Vec<_>>(), [Effect::Ignored]);
    assert_eq!(told.problems[0].label.as_deref(), Some("com.docker.lb.speed"));
}

#[test]
fn a_switch_is_on_or_off_and_never_off_by_a_mistake() {
    for switch in SWITCHES {
        for (value, other) in [("true", "TRUE"), ("true", "1"), ("false", "False"), ("false", "0")] {
            // Without a path there is nothing for context_root_rewrite to remove.
            let text = |value| taken(&[("context_root", "/app"), (switch, value)]).text();
            assert_eq!(text(value), text(other), "{switch}={other}");
        }
        for wrong in ["", "yes", "on", "no", "off", "t", " true", "true ", "2", "truetrue", "tru"] {
            refused(switch, wrong);
        }
    }
}

#[test]
fn hosts_are_a_list_of_names_in_one_spelling() {
    let plain = taken(&[("hosts", "a.example.com,b.example.com")]).text();
    for same in [
        "b.example.com , A.Example.COM.",
        "\tb.example.com\t,\ta.example.com ",
        ",a.example.com,,b.example.com,a.example.com,",
    ] {
        assert_eq!(taken(&[("hosts", same)]).text(), plain, "{same}");
    }
    for right in ["10.0.0.1", "_dmarc.example.com", "*.example.com", "a.b.c.d.e.example.com", "wiki", "localhost"] {
        taken(&[("hosts", right)]);
    }
    let many = |count: usize| (0..count).map(|i| format!("h{i}.example.com")).collect::<Vec<_>>().join(",");
    taken(&[("hosts", &many(256))]);
    refused("hosts", &many(257));
    let longest = |labels: usize| format!("{}example.com", format!("{}.", "a".repeat(47)).repeat(labels));
    taken(&[("hosts", &format!("{}.example.com", "a".repeat(63)))]);
    refused("hosts", &format!("{}.example.com", "a".repeat(64)));
    taken(&[("hosts", &longest(5))]);
    refused("hosts", &longest(6));
    for wrong in [
        "",
        " , ",
        "default",
        "_",
        "*",
        "*.com",
        "a.example.com:80",
        "http://a.example.com",
        "a.example.com/x",
        "a..com",
        "-a.example.com",
        "[::1]",
    ] {
        refused("hosts", wrong);
    }
}

/// The problem shows only where a long list begins. So it names the item, and what its owner may have meant.
#[test]
fn the_item_that_is_wrong_is_named_with_what_is_wrong_in_it() {
    let many: String = (0..40).map(|host| format!("h{host}.example.com,")).collect();
    for (label, value, wrong, right) in [
        (
            "hosts",
            format!("{many}bad..example.com"),
            "has the item bad..example.com, which has an empty part",
            "write names",
        ),
        ("hosts", format!("{many}a_b.example.com;"), "which has the character `;`", "write names"),
        ("hosts", "https://a.example.com".to_owned(), "has a scheme", "write the host alone"),
        ("hosts", ":8080".to_owned(), "has a port", "com.docker.lb.port"),
        ("hosts", "a.example.com:8080".to_owned(), "has a port", "com.docker.lb.port"),
        ("hosts", "/app".to_owned(), "has a path", "com.docker.lb.context_root"),
        ("hosts", "*".to_owned(), "stands for all hosts", "com.docker.lb.default_backend=true"),
        ("hosts", "*.com".to_owned(), "has fewer than two parts behind `*.`", "write names"),
        ("hosts", "[::1]".to_owned(), "is an IPv6 address", "write a name"),
        ("hosts", "$hostname".to_owned(), "has the character `$`", "write names"),
        ("allow", format!("{}10.0.0.300", "10.0.0.1,".repeat(20)), "has the item 10.0.0.300, which", "write networks"),
        ("websocket_endpoints", "/a,b".to_owned(), "has the item b, which", "/"),
    ] {
        let told = beside(&[(label, &value)]);
        let problem = told.problems.iter().find(|problem| problem.effect == Effect::LeftOut).unwrap();
        assert!(problem.wrong.contains(wrong) && problem.right.contains(right), "{value}: {problem}");
    }
}

#[test]
fn a_port_is_a_plain_number() {
    for right in ["1", "80", "65535"] {
        assert!(beside(&[("port", right)]).serves(&format!("127.30.0.66:{right}")), "{right}");
    }
    for wrong in ["", "0", "080", "65536", "+80", "80 ", "8080/tcp", "80-81", "http", "８０"] {
        refused("port", wrong);
    }
}

#[test]
fn paths_have_segments_of_harmless_characters() {
    for right in ["/", "/app", "/a.b/c_d/~e-f/G9", &format!("/{}", "a".repeat(1023))] {
        taken(&[("context_root", right)]);
        taken(&[("websocket_endpoints", right)]);
    }
    let wrong = [
        "", "app", "//", "/a//b", "/./a", "/../a", "/a/..", "/a%2f", "/a b", "/a?b", "/a#b", "/a;b", "/é", "/*", "/$a",
        "/a{2}",
    ];
    for wrong in wrong.into_iter().chain([format!("/{}", "a".repeat(1024)).as_str()]) {
        refused("context_root", wrong);
        refused("websocket_endpoints", &format!("/ws,{wrong},").replace(",,", ",app,"));
    }
    let many = |count: usize| (0..count).map(|i| format!("/w{i}")).collect::<Vec<_>>().join(",");
    taken(&[("websocket_endpoints", &many(64))]);
    refused("websocket_endpoints", &many(65));
}

#[test]
fn a_redirect_leads_from_a_host_of_its_own_to_another_url() {
    let own = "http://tenant.example.com";
    for right in [
        "https://tenant.example.com",
        "http://new.example.com:8080/x?y=z&a=%20#f;",
        "https://new.example.com/ ;",
        "http://new",
    ] {
        let text = beside(&[("redirects", &format!("{own},{right}"))]);
        assert_eq!(text.problems, [], "{right}");
        assert!(text.serves("return 302"), "{right}");
    }
    for wrong in [
        "",
        "new.example.com",
        "ftp://new.example.com",
        "https://a@new.example.com",
        "https://new.example.com/100%",
        "https://new.example.com/%zz",
        "https://new.example.com/'",
        "https://new.example.com/$uri",
        "https://new.example.com/\"",
        "https://new.example.com/{a}",
        own,
        &format!("{own}/x"),
        &format!("{own}:80/"),
    ] {
        refused("redirects", &format!("{own},{wrong}"));
    }
    refused("redirects", "http://shop.example.com,https://new.example.com");
    refused("redirects", "http://tenant.example.com/x,https://new.example.com");
    let many = |count: usize| format!("{own},https://new.example.com;").repeat(count);
    assert_eq!(beside(&[("redirects", &many(64))]).problems, []);
    refused("redirects", &many(65));
}

#[test]
fn a_cookie_has_a_name_that_a_header_can_hold() {
    for name in ["SESSION_id9", "connect.sid", "laravel-session"] {
        taken(&[("sticky_session_cookie", name)]);
    }
    for wrong in ["", "a b", "a$b", "a\\x2e", "a=b", "a;b", "é", &"a".repeat(65)] {
        refused("sticky_session_cookie", wrong);
    }
}

#[test]
fn secrets_networks_clusters_and_modes_are_those_that_there_are() {
    let served = told(&of_tenant(&[("ssl_cert", "both.pem")], &["both.pem"], ""));
    assert!(served.problems.is_empty() && served.serves("ssl_certificate_key $secrets/both.pem"));
    for (label, wrong) in [
        ("ssl_key", "both.pem"),
        ("ssl_cert", "missing.pem"),
        ("ssl_cert", "../both.pem"),
        ("ssl_cert", ""),
        ("network", "ingress"),
        ("network", "host"),
        ("network", "none"),
        ("network", "elsewhere"),
        ("service_cluster", "us-east"),
        ("service_cluster", " "),
        ("backend_mode", "VIP"),
        ("backend_mode", "dnsrr"),
        ("max_fails", "100000"),
        ("max_fails", "-1"),
        ("fail_timeout", "1.5s"),
        ("fail_timeout", "500ms"),
        ("fail_timeout", "1w"),
        ("weight", "1001"),
    ] {
        refused(label, wrong);
    }
    for (label, right) in [("network", "n"), ("backend_mode", "task"), ("max_fails", "99999"), ("fail_timeout", "2m")] {
        taken(&[(label, right)]);
    }
}

#[test]
fn nothing_longer_than_64_kib_is_looked_at() {
    for label in TABLE {
        refused(label.key, &format!("{}{}", label.example, ",".repeat(64 * 1024)));
    }
}

/// With one route wrong, the others of the service do not count either.
#[test]
fn a_service_is_taken_as_a_whole() {
    for label in TABLE {
        let named = format!("{}.b", label.key);
        let told = beside(&[("hosts.a", "a.example.com"), ("port.a", "8081"), (&named, label.counterexample)]);
        assert!(told.files == neighbour().files, "{named}");
        assert!(told.problems.iter().any(|problem| problem.effect == Effect::LeftOut), "{named}: {:?}", told.problems);
    }
}

#[test]
fn protection_by_a_suffix_of_no_route_withholds_a_service_that_was_open() {
    let good = of_tenant(&[], &[], "");
    for (label, effect) in [("allow.amdin", Effect::LeftOut), ("compress.amdin", Effect::Ignored)] {
        let value = if effect == Effect::LeftOut { "10.0.0.0/8" } else { "true" };
        let mut mistyped = of_tenant(&[(label, value)], &[], "");
        let id = mistyped.snapshot.services[1].id.clone();
        Arc::make_mut(&mut mistyped.memory.last_good)
            .insert(id, Arc::new(good.snapshot.services[1].spec.labels.clone()));
        let told = told(&mistyped);
        assert_eq!(told.serves("127.30.0.66:8080"), effect == Effect::Ignored, "{label}");
        assert_eq!(told.problems.iter().map(|problem| problem.effect).collect::<Vec<_>>(), [effect], "{label}");
    }
}
