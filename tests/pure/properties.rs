//! Claims about whatever comes in, on drawn inputs: thousands of each kind. `fuzz/` has the same claims on inputs that it finds.

use interlock_core::labels::{PREFIX, TABLE};
use interlock_core::swarm::Labels;
use proptest::prelude::*;

/// What is done to a value that is right.
#[derive(Debug, Clone)]
enum Change {
    None,
    Insert(usize, String),
    Cut(usize),
    Instead(String),
}

fn change() -> impl Strategy<Value = Change> {
    // What means something to nginx, to templates, to terminals; and anything.
    let evil = "[;{}\"'\\\\$#\n\r\t \\[\\]*~^|&<>%\\x00\u{2028}\u{202e}]{1,3}";
    prop_oneof![
        3 => Just(Change::None),
        3 => (0..40_usize, prop_oneof![evil, ".{1,4}"]).prop_map(|(at, text)| Change::Insert(at, text)),
        1 => (0..40_usize).prop_map(Change::Cut),
        1 => prop_oneof![".{0,40}", "\\PC{0,40}"].prop_map(Change::Instead),
    ]
}

fn changed(value: &str, change: &Change) -> String {
    let at = |at: usize| value.char_indices().map(|(i, _)| i).chain([value.len()]).nth(at).unwrap_or(value.len());
    match change {
        Change::None => value.to_owned(),
        Change::Insert(place, text) => {
            let (before, after) = value.split_at(at(*place));
            format!("{before}{text}{after}")
        }
        Change::Cut(place) => value[..at(*place)].to_owned(),
        Change::Instead(text) => text.clone(),
    }
}

/// One of these texts, changed.
fn near(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    (prop::sample::select(texts), change()).prop_map(|(text, change)| changed(text, &change))
}

/// A label of the table, with a route's name or without, and a value near its example.
fn label() -> impl Strategy<Value = (String, String)> {
    let suffix = prop_oneof![3 => Just(String::new()), 1 => Just(".a".to_owned()), 1 => "\\.[aA.]{0,2}"];
    (prop::sample::select(TABLE), suffix, change())
        .prop_map(|(label, suffix, change)| (format!("{PREFIX}{}{suffix}", label.key), changed(label.example, &change)))
}

/// Labels of a service that asks for something.
fn labels() -> impl Strategy<Value = Labels> {
    let some = ["hosts", "port", "hosts.a", "port.a"].map(|key| format!("{PREFIX}{key}"));
    prop::collection::btree_map(".{0,12}", ".{0,12}", 0..2).prop_flat_map(move |others| {
        let [hosts, port, hosts_a, port_a] = some.clone();
        prop::collection::vec(label(), 0..5).prop_map(move |labels| {
            let mut all = others.clone();
            all.extend([(hosts.clone(), "other.example.com".to_owned()), (port.clone(), "8080".to_owned())]);
            all.extend([(hosts_a.clone(), "a.example.com".to_owned()), (port_a.clone(), "8081".to_owned())]);
            all.extend(labels);
            all
        })
    })
}

/// Labels of interlock's predecessors.
fn old_labels() -> impl Strategy<Value = Labels> {
    const MESH: &[&str] = &[
        "external_route=http://x.example.com,internal_port=80,sticky_sessions=sid",
        "external_route=sni://y.example.com,internal_port=443",
        "external_route=http://,internal_port=81",
        "external_route=http://a.example.com,internal_port=80,redirect=https://b.example.com",
    ];
    const V1: &[&str] = &["test", "local", "www.example.com", "8080", "/app", "true", "shop.cert", "required"];
    const KEYS: &[&str] = &[
        "hostname",
        "domain",
        "alias_domain.0",
        "network",
        "port",
        "context_root",
        "context_root_rewrite",
        "ssl_cert",
        "websocket_endpoint.1",
        "ssl_cert_key",
        "ssl_only",
        "ssl_backend",
        "ssl_backend_tls_verify",
        "ip_hash",
        "other",
    ];
    let mesh = ("(\\.[0-9aA.]{0,2})?", near(MESH));
    let mesh = mesh.prop_map(|(suffix, value)| (format!("com.docker.ucp.mesh.http{suffix}"), value));
    let first = (prop::sample::select(KEYS), near(V1)).prop_map(|(key, value)| (format!("interlock.{key}"), value));
    prop_oneof![
        prop::collection::btree_map("(\\.[0-9aA.]{0,2})?", near(MESH), 1..4).prop_map(|labels| labels
            .into_iter()
            .map(|(key, value)| (format!("com.docker.ucp.mesh.http{key}"), value))
            .collect()),
        prop::collection::vec(prop_oneof![1 => mesh, 4 => first], 1..6).prop_map(|labels| labels.into_iter().collect()),
    ]
}

const SETTINGS: &[&str] = &[
    "[Extensions.default]\n",
    "[Extensions.east]\nServiceCluster = \"us-east\"\nPublishedPort = 8090\nPublishedSSLPort = 8453\n",
    "HostPolicy = \"stack\"\nPollInterval = \"1m30s\"\n[Extensions.default]\nNetworks = [\"demo\"]\n",
    "[Extensions.default]\nTrustedProxies = [\"10.0.0.0/8\", \"::1/128\"]\nProxyProtocol = true\nProxyVersion = \"1.30.7\"\n",
    "[Extensions.default]\nProxyConstraints = [\"node.role==worker\"]\nProxyLabels = { team = \"edge\" }\nProxyConfigPath = \"/srv/x\"\n",
    "[Extensions.default.Config]\nConnectTimeout = 5\nKeepaliveTimeout = \"1m30s\"\nUser = \"www-data\"\nPidPath = \"/run/x.pid\"\n",
    "[Extensions.default.Config]\nMainLogFormat = '$remote_addr \"$request\"'\nLargeClientHeaderBuffers = \"4 8k\"\nClientMaxBodySize = \"0\"\n",
    "[Extensions.default.Config]\nSSLProtocols = \"TLSv1.2 TLSv1.3\"\nSSLCiphers = \"A:B\"\nUnderscoresInHeaders = true\nIPHash = true\n",
    "[Extensions.default.Config]\nAccessLogPath = \"/var/log/a\"\nErrorLogPath = \"/var/log/e\"\nWorkerProcesses = 2\nHTTPVersion = \"1.0\"\n",
];

const FILES: &[&str] = &[
    "http { map $host $u { hostnames; default \"\"; a.b c; } server { listen 80; server_name a.b; } }",
    "a 'b;c' \"d\\\"e\" f\\ g ${h}i; # j\nk { l; }",
    "events { }\nhttp {\n    return 200 \"x\\n\";\n}\n",
];

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn a_value_is_printed_as_it_is_read(value in label().prop_map(|(_, value)| value)) {
        crate::claims::values::any_text(&value);
    }

    #[test]
    fn any_text_is_a_value_or_refused(text in prop_oneof![".{0,20}", "[0-9a-zA-Z.*/_-]{1,12}", "[0-9]{1,7}(ms|s|m|h|d|k|g)?"]) {
        crate::claims::values::any_text(&text);
    }

    #[test]
    fn a7_a_right_value_with_one_more_character_is_another_value_or_refused(
        label in prop::sample::select(TABLE),
        place in 0..60_usize,
        more in prop_oneof![proptest::char::range('\0', '\u{7f}'), any::<char>()],
    ) {
        crate::claims::labels::one_more_character(&label, place, more);
    }

    #[test]
    fn labels_are_read_or_told(labels in labels()) {
        crate::claims::labels::any(&labels);
    }

    #[test]
    fn labels_of_predecessors_are_read_or_told(labels in old_labels()) {
        crate::claims::labels::any(&labels);
    }

    #[test]
    fn a10_any_labels_give_a_rendering_that_says_what_the_model_says(labels in labels()) {
        crate::claims::pipeline::any_labels(&labels);
    }

    #[test]
    fn a_file_is_read_as_it_would_be_printed(text in near(FILES)) {
        crate::claims::files::any_text(&text);
    }
}

// Each of these renders.
proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn labels_of_predecessors_count_as_a_whole(labels in old_labels()) {
        crate::claims::pipeline::any_labels(&labels);
    }

    #[test]
    fn settings_are_right_or_refused_with_a_place(text in near(SETTINGS)) {
        crate::claims::settings::any_text(&text);
    }

    #[test]
    fn a_message_is_read_as_it_was_sent_or_refused(
        kind in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = crate::claims::wire::RIGHT[kind].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        crate::claims::wire::any_bytes(&bytes);
    }
}

/// There are few enough of them to try all.
#[test]
fn a7_no_ascii_character_at_any_place_is_overlooked() {
    for label in TABLE {
        for place in 0..=label.example.chars().count() {
            (0..128).for_each(|more: u8| crate::claims::labels::one_more_character(label, place, char::from(more)));
        }
    }
}
