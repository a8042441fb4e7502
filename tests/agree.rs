//! What core accepts of an extension of its own: what says the same as the model, and nothing else.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use interlock_core::proxy_config::ProxyConfig;
use interlock_core::reconcile::reconcile_embedded;
use interlock_core::render::agree::agree;
use interlock_core::render::{self, File};
use support::Scenario;

const LIMIT: usize = 1_000_000;

/// The configs of a fixture with what is rendered of them.
fn rendered(scenario: &Scenario) -> Vec<(ProxyConfig, Vec<File>)> {
    let (outcome, renderings) = reconcile_embedded(&scenario.inputs());
    let configs = outcome.proxy_configs.into_iter();
    configs.map(|(key, config)| (config, renderings[&key].result.clone().unwrap())).collect()
}

fn fixture(name: &str) -> (ProxyConfig, Vec<File>) {
    let scenario = Scenario::all().into_iter().find(|scenario| scenario.name == name).unwrap();
    rendered(&scenario).into_iter().next().unwrap()
}

#[test]
fn our_own_renderings_agree() {
    for scenario in Scenario::all() {
        for (config, files) in rendered(&scenario) {
            agree(&config, &files, LIMIT).unwrap_or_else(|wrong| panic!("{}: {wrong}", scenario.name));
        }
    }
    let (config, files) = split();
    agree(&config, &files, LIMIT).unwrap();
}

/// So many hosts that they share a server.
fn shared(limit: usize) -> (ProxyConfig, Vec<File>) {
    let (mut config, _) = fixture("several-hosts-and-wildcards");
    let paths = config.virtual_hosts.values().next().unwrap().clone();
    for i in 0..1000 {
        config.virtual_hosts.insert(format!("h{i}.example.com").parse().unwrap(), paths.clone());
    }
    let files = render::render(&config, limit).result.unwrap();
    (config, files)
}

/// The same in several files.
fn split() -> (ProxyConfig, Vec<File>) {
    let (config, files) = shared(10_000);
    assert!(files.len() > 2);
    (config, files)
}

/// Changes one thing in the main file and expects these words in the refusal.
fn refused(fixture: &(ProxyConfig, Vec<File>), from: &str, to: &str, expected: &str) {
    let (config, files) = fixture;
    let mut files = files.clone();
    assert!(files[0].content.contains(from), "{from:?} is not in the file:\n{}", files[0].content);
    files[0].content = files[0].content.replacen(from, to, 1);
    let wrong = agree(config, &files, LIMIT).err().unwrap_or_else(|| panic!("{from:?} became {to:?}, and it agrees"));
    assert!(wrong.contains(expected), "{from:?} became {to:?}: {wrong}");
}

#[test]
fn any_other_answer_is_refused() {
    let plain = shared(LIMIT);
    let content = &plain.1[0].content;
    let server = content.lines().find(|line| line.starts_with("        server 10.")).unwrap();
    let name = content.lines().rfind(|line| line.starts_with("        server_name ")).unwrap();
    let host = name.trim().trim_start_matches("server_name ").trim_end_matches(';');
    let entry = content.lines().find(|line| line.starts_with(&format!("        {host} "))).unwrap();
    let in_block = |line: &str| format!("{line}\n{line}");
    for (from, to, expected) in [
        (server, "        server 10.9.9.9:80;", "instead of"),
        (server, &*format!("{server}\n        server 10.9.9.9:80;"), "instead of"),
        (server, &server.replace(';', " backup;"), "instead of"),
        (server, "        server unix:/run/x;", "instead of"),
        (server, "", "instead of"),
        (name, "", "in no server that uses it"),
        (name, &*in_block(name), "two servers answer"),
        (name, &name.replace(host, "evil.example.org"), "not in the map"),
        (name, &*format!("{name}\n        server_name .example.org;"), "is no host"),
        (name, &*format!("{name}\n        server_name ~^evil;"), "is no host"),
        (name, &name.replace(host, &host.to_uppercase()), "is no host"),
        (entry, "", "not in the map"),
        (entry, &*in_block(entry), "twice"),
        (entry, &*format!("{entry}\n        evil.example.org nowhere;"), "in no server"),
        (entry, &*format!("        {host} nowhere;"), "no upstream"),
        ("hostnames;\n        default \"\";", "hostnames;\n        default x;", "is no host"),
        ("hostnames;", "hostnames;\n        volatile;", "is no entry"),
        ("hostnames;", "", "begins otherwise"),
        ("listen 80 default_server;", "listen 80;", "_ is no host"),
        ("listen 80 default_server;", "listen 81 default_server;", "is no host of the model"),
        ("proxy_pass http://$upstream;", "return 503 x;", "in no server that uses it"),
        ("proxy_pass http://$upstream;", "proxy_pass http://$http_x;", "there is no map"),
        ("proxy_pass http://$upstream;", "proxy_pass https://$upstream;", "instead of"),
        ("location / {\n            proxy_pass", "location ~ / {\n            proxy_pass", "no location by prefix"),
        (
            "location / {\n            proxy_pass",
            "location /x {} location / { proxy_pass",
            "which the model does not have",
        ),
    ] {
        refused(&plain, from, to, expected);
    }
    let extra = "\n    server {\n        listen 80;\n        server_name evil.example.org;\n        location / {\n            return 503 x;\n        }\n    }\n}\n";
    let end = content.rfind('}').unwrap();
    refused(&plain, &content[end - 8..], &format!("{}{extra}", &content[end - 8..end]), "is no host of the model");
}

#[test]
fn paths_redirects_and_missing_tasks_are_compared() {
    let paths = fixture("paths-of-several-services");
    let content = &paths.1[0].content;
    let forwards = |exact: &str| content.contains(&format!("{exact}\n            proxy_pass"));
    let exact = content.lines().find(|line| line.contains("location = ") && forwards(line)).unwrap();
    let answer = content.lines().skip_while(|line| *line != exact).nth(1).unwrap();
    refused(&paths, &format!("{exact}\n{answer}"), &format!("{exact}\n            return 503 x;"), "instead of");
    refused(&paths, exact, &exact.replace("= ", "= /other"), "which the model does not have");
    refused(&paths, exact, &exact.replace("= ", "^~ "), "no location by prefix");
    let cut = fixture("context-root-rewrite");
    refused(&cut, "$is_args$args", "", "instead of");
    let forward = cut.1[0].content.lines().find(|line| line.contains("proxy_pass http://") && line.ends_with("/;"));
    refused(&cut, forward.unwrap(), &forward.unwrap().replace("/;", ";"), "instead of");
    let default = fixture("default-backend");
    let (before, after) = default.1[0].content.split_once("default_server;").unwrap();
    let forward = after.lines().find(|line| line.contains("proxy_pass")).unwrap();
    assert!(!before.contains(forward));
    refused(
        &default,
        forward,
        "            return 503 x;",
        "the default host on 80, location /: `return 503` instead of",
    );
}

#[test]
fn where_tls_connections_go_is_compared() {
    let wild = fixture("wildcard-beside-hosts-of-their-own");
    let (ended, passed) = ("unix:/var/run/interlock-tls.sock", "unix:/var/run/interlock-passthrough.sock");
    for (from, to, expected) in [
        (format!("        bank.example.com {ended};\n"), String::new(), "bank.example.com on stream is missing"),
        (format!("        bank.example.com {ended};"), format!("        bank.example.com {passed};"), "instead of"),
        (format!("        *.example.com {passed};\n"), String::new(), "half the way"),
        (format!("        *.example.com {passed};"), format!("        *.example.com {ended};"), "instead of"),
        ("        *.example.com through.8443;\n".to_owned(), String::new(), "instead of"),
        (
            "        server_name plain.bank.example.com;\n        server_name *.".to_owned(),
            "        server_name *.".to_owned(),
            "is missing",
        ),
    ] {
        refused(&wild, &from, &to, expected);
    }
}

#[test]
fn what_a_rendering_does_not_hold_is_refused() {
    let plain = fixture("one-host");
    for line in [
        "load_module modules/evil.so;",
        "include /etc/passwd;",
        "daemon off;",
        "env PATH;",
        "stream { server { listen 81; } }",
        "http { }",
        "user root;",
        "worker_processes 99;",
        "error_log /run/secrets/x;",
    ] {
        refused(&plain, "events {", &format!("{line}\nevents {{"), "");
    }
    for line in [
        "include /run/secrets/key;",
        "include interlock.d/hosts-01.conf;",
        "init_by_lua_block { os.execute('x') }",
        "access_log /var/lib/x main;",
        "root /;",
        "resolver 10.0.0.1;",
        "keepalive_min_timeout 5s;",
        "proxy_set_header X-Real-IP $http_x_real_ip;",
        "proxy_set_header X-New evil;",
        "proxy_set_header x-real-ip \"\";",
        "proxy_set_header x-real-ip $remote_addr;",
        "add_header Set-Cookie evil;",
        "default_type text/html;",
        "map $host $upstream_host { default evil; }",
        "map $host $http_host { default evil; }",
        "map $host $other { default evil; }",
        "split_clients $host $x { * y; }",
        "client_max_body_size 0;",
        "server { listen 80; server_name a.example; root /; }",
        "server { listen 80; server_name a.example; location / { alias /; } }",
        "server { listen 127.0.0.2:80; server_name a.example; location / { return 503 x; } }",
        "server { listen 127.0.0.1:18989; server_name _; location / { proxy_pass http://10.0.0.1; } if ($x) { } }",
    ] {
        refused(&plain, "server_tokens off;", &format!("server_tokens off;\n    {line}"), "");
    }
    refused(&plain, "proxy_set_header X-Real-IP $remote_addr;", "", "is missing");
    refused(&plain, "proxy_set_header X-Original-URL \"\";", "", "is missing");
    refused(&plain, "default $http_host;", "default evil;", "not as it has to be");
    refused(&plain, "websocket upgrade;", "websocket upgrade; h2c upgrade;", "not");
    // Harmless: one more header that clients cannot set, and another version of interlock.
    let (config, mut files) = plain;
    files[0].content =
        files[0].content.replace("server_tokens off;", "server_tokens off; proxy_set_header X-Evil \"\";");
    files[0].content = files[0].content.replace("x-server-info interlock/", "x-server-info interlock/99.");
    agree(&config, &files, LIMIT).unwrap();
}

#[test]
fn the_operators_own_lines_may_say_anything_and_must_be_there() {
    let own = fixture("settings-of-the-proxy");
    let options = match &own.0.proxy.options {
        interlock_core::settings::ProxyOptions::Nginx(options) => options.clone(),
        interlock_core::settings::ProxyOptions::Other => panic!("no options of nginx"),
    };
    let lines: Vec<_> = options.global_options.iter().chain(&options.http_options).collect();
    assert!(!lines.is_empty());
    for line in lines {
        refused(&own, line, "", "is missing");
        refused(&own, line, &format!("{line} {line}"), "");
    }
}

#[test]
fn files_have_the_right_names_and_sizes() {
    let (config, split) = split();
    let wrong = |change: &dyn Fn(&mut Vec<File>), expected: &str| {
        let mut changed = split.clone();
        change(&mut changed);
        let wrong = agree(&config, &changed, LIMIT).unwrap_err();
        assert!(wrong.contains(expected), "{wrong}");
    };
    wrong(&|files| files.clear(), "no file");
    wrong(&|files| files[0].path = "/etc/nginx/other.conf".into(), "instead of /etc/nginx/nginx.conf");
    wrong(&|files| files[1].part = String::new(), "no name");
    wrong(&|files| files[1].part = "../x".into(), "no name");
    wrong(&|files| files[0].part = "x".into(), "no name");
    wrong(&|files| files[1].content += "\u{c}", "control character");
    wrong(&|files| files.truncate(1), "is no host");
    wrong(&|files| files.push(File { part: "other".into(), ..files[1].clone() }), "two files have the path");
    wrong(&|files| files.push(files[1].clone()), "as another file is");
    wrong(
        &|files| files.push(File { path: "/etc/nginx/x".into(), part: "x".into(), content: String::new() }),
        "included nowhere",
    );
    let many = |files: &mut Vec<File>| {
        let file = |i| File { path: format!("/etc/nginx/{i}"), part: format!("p{i}"), content: String::new() };
        files.extend((0..32).map(file));
    };
    wrong(&many, "are more than 32");
    let too_small = split[0].content.len() - 1;
    assert!(agree(&config, &split, too_small).unwrap_err().contains("is the most"));
}
