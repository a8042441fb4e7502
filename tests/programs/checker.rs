//! The real nginx as a checker of rendered files, and programs that misbehave in its place.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::Scenario;
use crate::support::checker::{REFUSE, program};
use futures::{StreamExt, stream};
use interlock_core::extension::{Event, Kept, Model, render_and_check, serve};
use interlock_core::kinds::{CheckError, Checker, CheckerError, File, RenderError};
use interlock_core::proxy_config::{ProxyConfig, VirtualHost};
use interlock_core::reconcile::{reconcile, reconcile_embedded};
use interlock_core::routes::model::Suspect;

async fn nginx() -> Checker {
    Checker::find("nginx").await.unwrap()
}

fn file(content: &str) -> Vec<File> {
    vec![File { path: "/etc/nginx/nginx.conf".into(), part: String::new(), content: content.into() }]
}

async fn fixtures_pass(checker: &Checker) {
    for scenario in Scenario::for_nginx() {
        for rendering in reconcile_embedded(&scenario.inputs()).1.values() {
            let files = rendering.result.as_ref().unwrap();
            checker.check(files).await.unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
        }
    }
}

#[tokio::test]
async fn nginx_takes_every_fixture() {
    let nginx = nginx().await;
    assert!(nginx.version() >= "1.18".parse().unwrap());
    fixtures_pass(&nginx).await;
}

/// As a user who may neither listen on port 80 nor write anywhere but into the copy.
#[tokio::test]
async fn it_needs_no_rights() {
    let folder = tempfile::tempdir().unwrap();
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let as_nobody = if is_root {
        "/bin/chown -R 65534:65534 \"$PWD\"; exec /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs "
    } else {
        "exec "
    };
    let checker = program(folder.path(), &format!("{as_nobody} /usr/sbin/nginx \"$@\"")).await;
    fixtures_pass(&checker).await;
    checker.check(&file("events {} http { server { listen 80 bad; } }")).await.unwrap();
    checker.check(&file("events {} http { server { bad 80; } }")).await.unwrap_err();
}

#[tokio::test]
async fn what_it_refuses_is_told_with_the_place_in_the_real_file() {
    let nginx = nginx().await;
    for (content, expected) in [
        (
            "events {}\nhttp {\n  server {\n    bogus\n      x;\n  }\n}\n",
            "unknown directive \"bogus\" in /etc/nginx/nginx.conf:5",
        ),
        (
            "events {}\nhttp {\n server { listen 80\n default_server; }\n server { listen *:80 default_server; } }",
            "a duplicate default server for 80 in /etc/nginx/nginx.conf:5",
        ),
        ("events {} http {", "the copy cannot be"),
        ("events {} http { upstream empty {} }", "no servers are inside upstream in /etc/nginx/nginx.conf:1"),
    ] {
        let told = nginx.check(&file(content)).await.unwrap_err().to_string();
        let expected = if expected == "the copy cannot be" { "unexpected end of file" } else { expected };
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn what_nginx_would_open_or_bind_is_none_of_a_checks_business() {
    let nginx = nginx().await;
    let content = "user nobody-here;\npid /nowhere/pid;\nerror_log /nowhere/error.log debug;\nevents {}\n\
        stream { server { listen 53 udp; proxy_pass 127.0.0.1:53; } }\n\
        http { log_format main x; access_log /nowhere/$host.log main buffer=8k; client_body_temp_path /nowhere/body;\n\
        proxy_cache_path /nowhere/cache keys_zone=a:1m; include mime.types;\n\
        map $host $x { default x; listen y; pid z; access_log w; }\n\
        server { listen 192.0.2.1:443 ssl reuseport default_server; ssl_certificate /run/secrets/shop.crt; \
        ssl_certificate_key \"/run/secrets/shop.key\"; ssl_dhparam /run/secrets/dh; } }";
    nginx.check(&file(content)).await.unwrap();
    let unreadable = content.replace("/run/secrets/shop.key", "/nowhere/shop.key");
    let told = nginx.check(&file(&unreadable)).await.unwrap_err().to_string();
    assert!(told.contains("cannot load certificate key \"/nowhere/shop.key\""), "{told}");
}

#[tokio::test]
async fn nothing_is_quoted_from_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hunter2 \"and more\" ; {").unwrap();
    let refused = nginx().await.check(&file(&format!("events {{}}\ninclude {};", secret.display()))).await.unwrap_err();
    let told = refused.to_string();
    assert!(told.starts_with("unknown directive \"…\" in "), "{told}");
    assert!(!told.contains("hunter2") && !told.contains("more"), "{told}");
}

#[tokio::test]
async fn a_checker_that_hangs_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let (child, own) = (folder.path().join("child"), folder.path().join("own"));
    let hang = format!(
        "/bin/sleep 1000 & echo $! >{}; echo $$ >{}; trap '' TERM; /bin/sleep 1000",
        child.display(),
        own.display()
    );
    let checker = program(folder.path(), &hang).await.with_time_limit(Duration::from_millis(500));
    let begun = Instant::now();
    let failed = checker.check(&file("events {}")).await.unwrap_err();
    assert!(matches!(&failed, CheckError::Exhausted(why) if why.contains("did not end within")), "{failed}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    for id in [child, own] {
        let id = std::fs::read_to_string(id).unwrap();
        ended(id.trim()).await;
    }
    // And one that is not waited for.
    let failed = tokio::time::timeout(Duration::from_millis(100), checker.check(&file("events {}"))).await;
    assert!(failed.is_err());
    ended(std::fs::read_to_string(folder.path().join("own")).unwrap().trim()).await;
}

/// Waits until a process is gone, or is nothing but an entry that nobody has collected.
async fn ended(id: &str) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let status = std::fs::read_to_string(Path::new("/proc").join(id).join("stat")).unwrap_or_default();
        if status.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')) {
            return;
        }
        assert!(Instant::now() < end, "process {id} lives on: {status}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_checker_that_talks_crashes_or_eats_memory_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    for (lines, expected) in [
        ("while :; do echo x >&2; done", "the checker came to no result"),
        (
            "echo '1970/01/01 00:00:00 [emerg] 7#7: posix_memalign(16, 16384) failed (12: Cannot allocate memory)' >&2; exit 1",
            "the checker came to no result: posix_memalign(16, 16384) failed (12: Cannot allocate memory)",
        ),
        ("kill -SEGV $$", "the checker came to no result: it was ended by"),
        ("ulimit -v >&2; ulimit -t >&2; exec 2>&1; exit 1", "gave no reason"),
        ("[ -z \"$PATH$HOME\" ] && [ \"$(ulimit -v)\" != unlimited ] && exit 0; exit 1", ""),
    ] {
        let checker = program(folder.path(), lines).await.with_time_limit(Duration::from_secs(2));
        let told = checker.check(&file("events {}")).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.starts_with(expected) || told.contains(expected) && !expected.is_empty(), "{lines}: {told}");
    }
}

#[tokio::test]
async fn a_program_that_is_missing_or_no_nginx_is_no_checker() {
    let missing = Checker::find("no-such-nginx").await.unwrap_err();
    assert_eq!(missing, CheckerError::Missing("no-such-nginx".into()));
    let other = Checker::find("true").await.unwrap_err();
    assert!(other.to_string().contains("is no nginx"), "{other}");
}

/// A config with 200 hosts more, some of them with a path.
fn many_hosts() -> Arc<ProxyConfig> {
    let scenario = Scenario::all().into_iter().find(|scenario| scenario.name == "default-backend").unwrap();
    let config = reconcile(&scenario.inputs()).proxy_configs.into_values().next().unwrap();
    let mut config = Arc::unwrap_or_clone(config);
    let forward = config.default.as_ref().unwrap().locations.values().next().unwrap().clone();
    for i in 0..200 {
        let path = if i % 10 == 0 { "/app" } else { "/" };
        let host = format!("h{i}.example.com").parse().unwrap();
        let locations = [(path.parse().unwrap(), forward.clone())].into();
        config.virtual_hosts.insert(host, VirtualHost { locations, ..VirtualHost::default() }.into());
    }
    config.into()
}

fn suspect(host: &str, path: &str) -> Suspect {
    Suspect { host: (!host.is_empty()).then(|| host.parse().unwrap()), path: path.parse().unwrap() }
}

#[tokio::test]
async fn routes_that_are_to_blame_are_found() {
    let config = many_hosts();
    let folder = tempfile::tempdir().unwrap();
    let grep = |marker: &str| format!("/bin/grep -q -r '{marker}' files");
    for (refuses, expected) in [
        (grep(r"h77\.example\.com"), vec![suspect("h77.example.com", "/")]),
        (grep(r"h70\.example\.com"), vec![suspect("h70.example.com", "/app")]),
        (grep(r"h\(3\|150\)\.example\.com"), vec![suspect("h150.example.com", "/app"), suspect("h3.example.com", "/")]),
        // They only clash with each other: one of them is enough.
        (
            format!("{} && {}", grep(r"h5\.example\.com"), grep(r"h8\.example\.com")),
            vec![suspect("h8.example.com", "/")],
        ),
        // The default host: without it, its server says 503.
        ("! /bin/grep -q 'no service answers for this host' files/nginx.conf".to_owned(), vec![suspect("", "/")]),
        // Whatever is asked: the settings are to blame.
        ("true".to_owned(), Vec::new()),
    ] {
        let checker = program(folder.path(), &format!("if {refuses}; then {REFUSE}; fi")).await;
        let rendering = render_and_check(&config, 1_000_000, Some(&checker)).await;
        assert_eq!(rendering.revision, config.revision);
        let message = "no good in /etc/nginx/nginx.conf:7".to_owned();
        let error = match expected.is_empty() {
            true => RenderError::RefusedSettings(message),
            false => RenderError::Refused { message, suspects: expected },
        };
        assert_eq!(rendering.result, Err(error), "{refuses}");
    }
}

#[tokio::test]
async fn a_search_is_bounded_and_tells_what_it_found() {
    let config = many_hosts();
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let lines = format!(
        "echo x >>{}; if /bin/grep -q -r 'h[0-9]*[05]\\.example\\.com' files; then {REFUSE}; fi",
        count.display()
    );
    let checker = program(folder.path(), &lines).await;
    let result = render_and_check(&config, 1_000_000, Some(&checker)).await.result;
    let Err(RenderError::Refused { suspects, .. }) = result else { panic!("{result:?}") };
    let bad = |suspect: &Suspect| suspect.host.as_ref().is_some_and(|host| host.host().as_str().contains(['0', '5']));
    assert!(suspects.len() > 3 && suspects.iter().all(bad), "{suspects:?}");
    assert_eq!(std::fs::read_to_string(count).unwrap().lines().count(), 1 + 64);
}

/// Says what nginx says when it gets no more memory.
const NO_MEMORY: &str =
    "{ echo 'nginx: [emerg] mmap(MAP_ANON|MAP_SHARED, 1048576) failed (12: Cannot allocate memory)' >&2; exit 1; }";

#[tokio::test]
async fn a_checker_that_has_no_result_for_the_settings_alone_blames_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    for ends in ["kill -KILL $$", NO_MEMORY] {
        std::fs::write(&count, "").unwrap();
        let checker = program(folder.path(), &format!("echo x >>{}; {ends}", count.display())).await;
        let result = render_and_check(&many_hosts(), 1_000_000, Some(&checker)).await.result;
        assert!(matches!(result, Err(RenderError::Failed(_))), "{result:?}");
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\nx\n", "it is asked once more, without a route");
    }
}

#[tokio::test]
async fn h3_routes_over_which_a_checker_runs_out_of_memory_or_time_are_found() {
    let config = many_hosts();
    let folder = tempfile::tempdir().unwrap();
    for ends in [NO_MEMORY, "kill -SEGV $$", "exec /bin/sleep 100"] {
        let lines = format!("if /bin/grep -q -r 'h77\\.example\\.com' files; then {ends}; fi");
        let checker = program(folder.path(), &lines).await.with_time_limit(Duration::from_secs(2));
        let result = render_and_check(&config, 1_000_000, Some(&checker)).await.result;
        let Err(RenderError::Refused { message, suspects }) = result else { panic!("{ends}: {result:?}") };
        assert_eq!(suspects, [suspect("h77.example.com", "/")], "{ends}");
        assert!(message.starts_with("the checker came to no result: "), "{message}");
    }
}

/// Of routes that are only too much together, what is new is to blame, whatever its name is.
#[tokio::test]
async fn h3_what_is_new_is_blamed_before_what_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let count = "$(/bin/cat files/*.conf | /bin/grep -c 'server_name [ah]')";
    let checker = program(folder.path(), &format!("if [ {count} -gt 200 ]; then {NO_MEMORY}; fi")).await;
    let mut config = Arc::unwrap_or_clone(many_hosts());
    config.virtual_hosts.retain(|host, _| host.host().as_str().starts_with('h'));
    let mut more = config.clone();
    let (_, serves) = config.virtual_hosts.first_key_value().unwrap();
    more.virtual_hosts.insert("a.example.com".parse().unwrap(), serves.clone());
    more.revision = "00000000000000aa".parse().unwrap();
    let mut kept = Kept::default();
    let mut made = Vec::new();
    for config in [config, more] {
        let generation = "0123456789abcdef".parse().unwrap();
        let model = Model { config: config.into(), generation, file_limit: 1_000_000 };
        let events = stream::iter([Ok(Event::Model(Box::new(model)))]).chain(stream::pending());
        let ended = serve(events, Some(&checker), &mut kept, |_, rendering| {
            made.push(rendering.result);
            std::future::ready(Err(()))
        });
        assert_eq!(ended.await, Err(()));
    }
    assert!(made[0].is_ok(), "{:?}", made[0]);
    let Err(RenderError::Refused { suspects, .. }) = &made[1] else { panic!("{:?}", made[1]) };
    assert_eq!(*suspects, [suspect("a.example.com", "/app")]);
}
