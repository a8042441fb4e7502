//! Documents that follow from tables. A document that is out of date is rewritten, and the test fails once: read the change and
//! commit it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fmt::Write;
use std::path::PathBuf;

use interlock_core::labels::{PREFIX, TABLE};
use interlock_core::settings::{Shape, Status, reference};

fn is_current(name: &str, wanted: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::fs::read_to_string(&path).unwrap_or_default() != wanted {
        std::fs::write(&path, wanted).unwrap();
        panic!("docs/{name} was out of date and has been rewritten: read the change and commit it");
    }
}

#[test]
fn the_list_of_labels_is_current() {
    let mut text = String::from(
        "# Labels\n\nLabels go on the service (`docker service create --label`, in a stack file `deploy.labels`). This list follows from the\n\
         table that reads them; `interlock labels` prints it, too.\n\n\
         A service is taken as a whole: one label that breaks its contract, and none of its labels count. The service then keeps its\n\
         last good route, or is left out, and the log says what would be right. Keys that begin with `com.docker.lb.` and are not in\n\
         this list do nothing and are reported.\n\n\
         Labels marked *protects* keep somebody or something away, and a service that asks for that is never published without it. Where it\n\
         cannot be given, because the value is wrong, a secret is missing, or an older service with the same host and path lacks it, the\n\
         service is left out. Its last good route comes back only if that gives at least the same protection.\n\n\
         A route name behind a label (`com.docker.lb.hosts.admin`, `com.docker.lb.port.admin`) gives the service another route; it\n\
         has lower-case letters, digits, `-` and `_`. A named route has the labels without a suffix as defaults, except for those marked\n\
         *own*. What it has from them it cannot be without: write such labels with the suffixes of the routes that shall have them. A\n\
         suffix that no `hosts` or `default_backend` has names no route: its labels are reported, and a service with one that protects\n\
         is not published.\n\n\
         ## When labels meet\n\n\
         - Services that disagree about a host and path: the oldest one decides, by creation time, and the others are told. One that asks\n  \
           for protection which the oldest does not give, or speaks another protocol, is left out there.\n\
         - Hosts: one that is written in full comes before a wildcard, a longer wildcard before a shorter one, all of them before the\n  \
           default backend. Within a host the longest path decides.\n\
         - Any service may add itself to any host (`HostPolicy = \"shared\"`). With `stack` a host, and all names under a wildcard, belong to\n  \
           the stack that named it first, and the default backend to the stack that had it first.\n\
         - `ssl_passthrough` leaves requests unread. With `ssl_cert`, `context_root`, `default_backend`, `basic_auth`, `allow`, `rate_limit`,\n  \
           `ssl_backend_tls_verify` or a canary it is refused; other labels about requests do nothing beside it, and that is told.\n\
         - `context_root_rewrite` goes neither with canaries nor with gRPC.\n\
         - `sticky_session_cookie` goes neither with `ip_hash` nor with `backend_mode=vip`.\n\
         - The label of a stack's name (`com.docker.stack.namespace`) is anyone's to write who may create services. `HostPolicy` and\n  \
           `SecretPolicy` go by it: they keep apart those who deploy by `docker stack deploy` under names of their own, and nobody else.\n\n\
         ## Budgets\n\n\
         Core limits what the labels of one service may cost. It compares before it renders anything. A service that exceeds a\n\
         budget is not published; if it was published before, it keeps its last good route. The problem names the budget.\n\n\
         | budget | limit | setting |\n|---|---|---|\n\
         | routes of a service | 256 | |\n\
         | hosts of all routes of a service | 1024 | `ServiceHosts` |\n\
         | locations: each path and endpoint, for each host and port | 8192 | `ServiceLocations` |\n\
         | bytes of header labels, for each host, path and port | 1 MiB | `ServiceHeaderBytes` |\n\
         | routes of a service with `rate_limit` | 32 | `ServiceRateLimits` |\n\
         | bytes of configuration of a service, without its tasks | 2 MiB | `ServiceBytes` |\n\
         | `rate_limit` of all services of a service cluster | 512 | `RateLimits` |\n\
         | bytes of configuration for one host | a quarter of a config object | |\n\
         | bytes of configuration of a service cluster | 15 config objects | |\n\
         | problems that core lists for a service | 16 | |\n\n\
         - The byte counts are estimates. The real files are never larger.\n\
         - When all services together are too large, the oldest services are published. The newest are not, until they fit.\n\
         - Beyond 16 problems of a service core reports only their number. Solve those that it lists first.\n\n",
    );
    for label in TABLE {
        let own = if label.inherited { "" } else { " *own*" };
        let protects = if label.protects.is_some() { " *protects*" } else { "" };
        writeln!(text, "## `{PREFIX}{}`{own}{protects}\n\n{}\n", label.key, label.doc).unwrap();
        writeln!(text, "- Value: {}\n- Example: `{}`\n- Without it: {}\n", label.syntax, label.example, label.default)
            .unwrap();
    }
    is_current("labels.md", text.trim_end());
}

/// What the proxies answer stands there as they answer it, and each section that is linked is there.
#[test]
fn the_troubleshooting_page_says_what_proxies_say() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap();
    let source = std::fs::read_to_string(root.join("interlock-core/src/render/nginx/servers.rs")).unwrap();
    let bodies: Vec<_> =
        source.split("503 Service Unavailable: ").skip(1).filter_map(|it| it.split('"').next()).collect();
    assert_eq!(bodies.len(), 4);
    for body in bodies {
        assert!(page.contains(&format!("| `{body}` |")), "{body} is missing");
    }
    let titles: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let anchors: Vec<_> = titles.iter().map(|title| title.to_lowercase().replace(' ', "-")).collect();
    for link in page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.iter().any(|anchor| anchor == link), "#{link} leads nowhere");
    }
}

#[test]
fn the_list_of_settings_is_current() {
    let mut text = String::from(
        "# Settings\n\nThe settings file is Interlock's: TOML, keys matched without regard to case. An unknown key, a wrong type or a\n\
         contradiction is an error that names the key and its line, before anything is touched. This list follows from the table that\n\
         reads the file; `interlock init` prints it as a file with comments, `interlock schema` as a JSON schema.\n",
    );
    let mut section = None;
    for key in reference() {
        if section != Some(key.section) {
            section = Some(key.section);
            let title =
                if key.section.is_empty() { "Top of the file".to_owned() } else { format!("`[{}]`", key.section) };
            writeln!(text, "\n## {title}\n\n| key | value | default | meaning |\n|---|---|---|---|").unwrap();
        }
        let shape = match key.shape {
            Shape::Text => "string".to_owned(),
            Shape::Boolean => "boolean".to_owned(),
            Shape::Integer => "integer".to_owned(),
            Shape::Seconds => "seconds".to_owned(),
            Shape::IntegerOrText => "integer or string".to_owned(),
            Shape::List => "list of strings".to_owned(),
            Shape::Map => "table of strings".to_owned(),
            Shape::OneOf(words) => words.join(", "),
        };
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        let status = match key.status {
            Status::Works => String::new(),
            Status::Nothing(why) => format!(" *It {why}.*"),
        };
        writeln!(text, "| `{}` | {shape} | {default} | {}{status} |", key.name, key.doc).unwrap();
    }
    is_current("settings.md", &text);
}
