use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect()
}

fn kinds(pairs: &[(&str, &str)]) -> Vec<FindingKind> {
    read(&labels(pairs)).findings.into_iter().map(|finding| finding.kind).collect()
}

#[test]
fn each_row_reads_its_example_and_refuses_its_counterexample() {
    for label in TABLE {
        let mut route = RouteLabels::default();
        assert_eq!((label.set)(&mut route, label.example), Ok(()), "{}", label.key);
        assert_ne!(route, RouteLabels::default(), "{} sets nothing", label.key);
        assert!((label.set)(&mut route, label.counterexample).is_err(), "{}", label.key);
    }
}

#[test]
fn keys_are_unique_and_have_no_dot() {
    let mut keys: Vec<_> = TABLE.iter().map(|label| label.key).collect();
    assert!(keys.iter().all(|key| !key.contains('.')));
    keys.sort_unstable();
    let count = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

#[test]
fn a_row_reads_fills_and_looks_at_one_field() {
    let of = |label: &Label, value: &str| {
        let mut route = RouteLabels::default();
        (label.set)(&mut route, value).map(|()| route)
    };
    let all = TABLE.iter().fold(RouteLabels::default(), |mut all, label| {
        (label.set)(&mut all, label.example).unwrap();
        all
    });
    for label in TABLE {
        let example = of(label, label.example).unwrap();
        let mut filled = RouteLabels::default();
        (label.fill)(&mut filled, &all);
        assert_eq!(filled, example, "{}", label.key);
        let (mut kept, mut inherits) = (example.clone(), RouteLabels::default());
        (label.fill)(&mut kept, &RouteLabels::default());
        assert_eq!(kept, example, "{} is overwritten", label.key);
        inherits.inherit(&example);
        assert_eq!(inherits == example, label.inherited, "{}", label.key);
        assert!((label.is_on)(&example) && !label.is_off(label.example), "{}", label.key);
        assert!(!(label.is_on)(&RouteLabels::default()), "{}", label.key);
        if let Some(off) = label.off {
            assert!(!(label.is_on)(&of(label, off).unwrap()) && label.is_off(off), "{}", label.key);
        }
    }
}

/// A service that asks for protection must not be published without it.
#[test]
fn a_label_that_protects_is_not_ignored_with_passthrough() {
    let ignored = TABLE.iter().filter(|label| label.guard.protects() && label.passthrough == Passthrough::Ignored);
    let ignored: Vec<_> = ignored.map(|label| label.key).collect();
    // TLS goes to the service as it is, and the authorities protect only together with a label that is refused.
    assert_eq!(ignored, ["ssl_backend", "ssl_backend_ca"]);
}

/// Where paths of a host differ in one of these, ambiguous paths are refused: `raw_paths` is how a service gets them all the same.
#[test]
fn a_wrong_value_of_the_mesh_asks_for_passthrough() {
    let of = |value: &str| Labels::from([("com.docker.ucp.mesh.http.1".to_owned(), value.to_owned())]);
    let open = of("external_route=http://x.example.com,internal_port=80");
    for (value, asks) in [
        ("external_route=http://x.example.com,internal_port=http", false),
        ("external_route=sni://x.example.com,internal_port=443", true),
        ("internal_port=443s, external_route=sni://x.example.com", true),
    ] {
        assert_eq!(!protect_as_much(&open, &of(value)), asks, "{value}");
    }
}

#[test]
fn raw_paths_names_the_labels_about_access() {
    let doc = TABLE.iter().find(|label| label.key == "raw_paths").unwrap().doc;
    let access: Vec<_> = TABLE.iter().filter(|label| label.guard == Guard::Access).map(|label| label.key).collect();
    assert!(access.len() > 1 && access.iter().all(|key| doc.contains(key)), "{access:?}: {doc}");
}

#[test]
fn a_switch_that_is_off_asks_for_no_protection_however_it_is_written() {
    let of = |more: &[(&str, &str)]| labels(&[&[("hosts", "a.example.com"), ("port", "80")], more].concat());
    for label in TABLE.iter().filter(|label| label.guard.protects() && label.is_switch()) {
        for off in ["false", "False", "0"] {
            assert!(protect_as_much(&of(&[]), &of(&[(label.key, off)])), "{}={off}", label.key);
        }
        for on in ["true", "1", "yes", "flase"] {
            assert!(!protect_as_much(&of(&[]), &of(&[(label.key, on)])), "{}={on}", label.key);
        }
    }
}

/// As with today's labels: a value that cannot be read asks for what it does not say right.
#[test]
fn a_wrong_value_of_interlock_1_asks_for_protection() {
    let of = |more: &[(&str, &str)]| -> Labels {
        let all = [&[("hostname", "shop"), ("port", "80")], more].concat();
        all.into_iter().map(|(key, value)| (format!("interlock.{key}"), value.to_owned())).collect()
    };
    for (key, value, asks) in [
        ("ssl_backend_tls_verify", "none", false),
        ("ssl_backend_tls_verify", "required", true),
        ("ssl_backend_tls_verify", "requird", true),
        ("ssl_only", "false", true),
        ("ip_hash", "true", false),
    ] {
        assert_eq!(!protect_as_much(&of(&[]), &of(&[(key, value)])), asks, "{key}={value}");
    }
}

#[test]
fn a_control_character_spoils_every_label() {
    for label in TABLE {
        for hidden in ["\n", "\r", "\r\n", "\u{b}", "\u{85}", "\u{2028}", "\u{202e}", "\u{feff}", "\0"] {
            for value in [format!("{}{hidden}", label.example), format!("{hidden}{}", label.example)] {
                assert_eq!(kinds(&[(label.key, &value)]), [FindingKind::Bad], "{} {value:?}", label.key);
            }
        }
        // Around the items of a list a tab is a blank.
        let is_list = ["separated by", "between them"].iter().any(|words| label.syntax.contains(words));
        let expected = if is_list { vec![] } else { vec![FindingKind::Bad] };
        let hosts = if label.key == "hosts" { &[][..] } else { &[("hosts", "old.example.com")][..] };
        let tabs = format!("\t{}\t", label.example);
        assert_eq!(kinds(&[hosts, &[(label.key, &tabs)]].concat()), expected, "{}", label.key);
    }
}

#[test]
fn an_unknown_key_does_nothing_and_names_the_nearest() {
    let reading = read(&labels(&[("host", "shop.example.com"), ("snippet", "root /;")]));
    assert!(reading.routes.is_empty());
    assert_eq!(reading.findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [FindingKind::Inert; 2]);
    assert!(
        reading.findings[0].invalid.to_string().contains("did you mean com.docker.lb.hosts?"),
        "{:?}",
        reading.findings[0]
    );
}

#[test]
fn a_suffix_names_another_route_that_inherits() {
    let reading = read(&labels(&[
        ("hosts", "shop.example.com"),
        ("port", "8080"),
        ("network", "front"),
        ("hosts.admin", "admin.example.com"),
        ("port.admin", "9090"),
    ]));
    assert_eq!(reading.findings, []);
    assert_eq!(reading.routes.keys().map(RouteName::as_str).collect::<Vec<_>>(), ["", "admin"]);
    let admin = &reading.routes[&"admin".parse::<RouteName>().unwrap()];
    assert_eq!(admin.port.unwrap().get(), 9090);
    assert_eq!(admin.network.as_ref().unwrap().as_str(), "front");
    assert_eq!(kinds(&[("hosts.", "shop.example.com")]), [FindingKind::Bad]);
    assert_eq!(kinds(&[("hosts.a b", "shop.example.com")]), [FindingKind::Bad]);
}

#[test]
fn a_suffix_that_names_no_route_is_told_and_protection_withholds_the_service() {
    let with = |more: &[(&str, &str)]| {
        let admin = [("hosts.admin", "admin.example.com"), ("port.admin", "9090")];
        read(&labels(&[&admin, more].concat())).findings
    };
    assert_eq!(with(&[("compress.admin", "true"), ("allow", "10.0.0.0/8")]), []);
    for label in TABLE.iter().filter(|label| label.scope != Scope::Makes) {
        let told = with(&[(&format!("{}.amdin", label.key), label.example)]);
        let kind = if label.guard.protects() { FindingKind::Bad } else { FindingKind::Inert };
        assert_eq!(told.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [kind], "{}", label.key);
    }
    assert_eq!(kinds(&[("hosts", "a.example.com"), ("allow.Admin", "10.0.0.0/8")]), [FindingKind::Bad]);
    // Who switches a route off does not mean another one.
    assert_eq!(with(&[("default_backend.off", "false"), ("allow.off", "10.0.0.0/8")]), []);
}

#[test]
fn a_network_has_no_bits_behind_its_prefix() {
    let refused = |network: &str| kinds(&[("hosts", "a.example.com"), ("allow", network)]) == [FindingKind::Bad];
    assert!(refused("10.1.2.3/8") && refused("2001:db8::1/32") && refused("192.0.2.7, 10.0.0.1/31"));
    assert!(!refused("10.0.0.0/8, 192.0.2.7, 10.1.2.3/32, ::/0"));
}

#[test]
fn labels_of_predecessors_that_do_not_count_are_told() {
    let mesh =
        ("com.docker.ucp.mesh.http.1".to_owned(), "external_route=http://x.example.com,internal_port=80".to_owned());
    let v1 = ("interlock.hostname".to_owned(), "x".to_owned());
    let yes = ("com.docker.ucp.mesh.http".to_owned(), "true".to_owned());
    let reading = read(&labels(&[("network", "front")]).into_iter().chain([mesh, v1, yes]).collect());
    assert!(reading.routes.is_empty());
    let keys: Vec<_> = reading.findings.iter().map(|finding| (finding.key.as_str(), finding.kind)).collect();
    assert_eq!(keys, [("com.docker.ucp.mesh.http.1", FindingKind::Inert), ("interlock.hostname", FindingKind::Inert)]);
}

#[test]
fn a_label_is_told_as_its_owner_wrote_it() {
    let of = |pairs: &[(&str, &str)], route: &str, key: &str| {
        let labels = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        written(&labels, &route.parse().unwrap(), key)
    };
    let todays = [("com.docker.lb.hosts.a", "x"), ("com.docker.lb.hsts", "1d"), ("com.docker.lb.allow.a", "10.0.0.1")];
    assert_eq!(of(&todays, "", "hsts"), "com.docker.lb.hsts");
    assert_eq!(of(&todays, "a", "hsts"), "com.docker.lb.hsts");
    assert_eq!(of(&todays, "a", "allow"), "com.docker.lb.allow.a");
    assert_eq!(of(&todays, "a", "port"), "com.docker.lb.port.a");
    let mesh = [("com.docker.ucp.mesh.http.Web", "external_route=http://x.example.com,internal_port=80")];
    assert_eq!(of(&mesh, "web", "port"), "com.docker.ucp.mesh.http.Web");
    let v1 = [("interlock.hostname", "x"), ("interlock.websocket_endpoint.0", "/ws")];
    assert_eq!(of(&v1, "", "ssl_key"), "interlock.ssl_cert_key");
    assert_eq!(of(&v1, "", "websocket_endpoints"), "interlock.websocket_endpoint.0");
}

#[test]
fn a_size_of_a_body_has_six_digits_and_is_off_at_zero_in_any_unit() {
    let label = TABLE.iter().find(|label| label.key == "max_body_size").unwrap();
    assert!(["0", "0k", "000M"].iter().all(|off| label.is_off(off)));
    for right in ["1", "100M", "999999g"] {
        assert!(!label.is_off(right) && kinds(&[("hosts", "a.example.com"), (label.key, right)]).is_empty(), "{right}");
    }
    for wrong in ["", "m", "1mm", "1.5m", "1234567", "0000000", "-1", "1m ", "1t"] {
        assert_eq!(kinds(&[("hosts", "a.example.com"), (label.key, wrong)]), [FindingKind::Bad], "{wrong}");
    }
}

#[test]
fn redirect_targets_cannot_break_out() {
    for wrong in [
        "http://old.example.com,https://new.example.com/;}location / {",
        "http://old.example.com,https://new.example.com/$uri",
        "http://old.example.com,https://new.example.com/\"x",
        "http://old.example.com,https://user@new.example.com/",
        "http://old.example.com,ftp://new.example.com/",
        "http://old.example.com,https://new.example.com/?c=%[req.hdr(cookie)]",
        "http://old.example.com,http://old.example.com",
        "http://old.example.com/old,http://old.example.com/new",
        "http://old.example.com?x,https://new.example.com",
        "http://old.example.com:8080,https://new.example.com",
    ] {
        assert_eq!(kinds(&[("redirects", wrong)]), [FindingKind::Bad], "{wrong}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(key in "[ -~]{0,20}|\\PC{0,20}", value in "\\PC{0,80}|.{0,80}") {
        let _ = read(&Labels::from([(format!("{PREFIX}{key}"), value.clone()), (format!("{PREFIX}hosts"), value)]));
    }

    #[test]
    fn what_is_read_has_only_harmless_characters(value in ".{0,40}") {
        for host in values::hosts(&value).into_iter().flatten() {
            proptest::prop_assert!(host.to_string().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.*".contains(&b)));
        }
        for path in values::paths(&value).into_iter().flatten() {
            proptest::prop_assert!(path.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~/".contains(&b)));
        }
    }
}
