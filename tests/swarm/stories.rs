//! What happens over time: load during changes, hands of other people, a controller that dies.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::site::Site;

struct Leaves<'a>(&'a AtomicBool);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks again and again while something is done, as a client that tries the other node. Returns how many requests were answered,
/// and what went wrong.
async fn under_load(site: &Site, host: &str, work: impl Future<Output = ()>) -> (usize, Vec<String>) {
    let stop = AtomicBool::new(false);
    let asked = AtomicUsize::new(0);
    let mut wrong = Vec::new();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut wrong = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match site.try_ask(host, "/ping") {
                    Ok(answer) if answer.status == 200 => {
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                    other => wrong.push(format!("{other:?}")),
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            wrong
        });
        {
            // Also when the work fails: this scope waits for the client.
            let _leaves = Leaves(&stop);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
        }
        wrong = client.join().unwrap();
    });
    (asked.into_inner(), wrong)
}

/// C2, K3, and a scale-down: under load nothing fails for a client that tries the other node.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn changes_under_load_fail_no_request() {
    let site = Site::new("").await;
    site.network("demo").await;
    site.service("v1", &["demo"], 3, &["hosts=shop.local.test", "port=8080"]);
    site.controller();
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;

    let (asked, wrong) = under_load(&site, "shop.local.test", async {
        // K3: a neighbour with labels that would break a configuration.
        site.service("bad", &["demo"], 1, &["hosts=shop.local.test; return 500", "port=8080"]);
        // C2: all requests move to the new version, and the old one goes.
        site.service_with("v2", &["demo"], 2, &["hosts=shop.local.test", "port=8080"], &["--env", "VERSION=0.2"]);
        site.until("v2 answers, too", |site| {
            (0..10).any(|_| site.ask("shop.local.test", "/ping").json("version") == "0.2")
        })
        .await;
        site.at_rest().await;
        site.docker(&["service", "scale", "--detach", "v1=0"]);
        site.until("only v2 answers", |site| {
            (0..10).all(|_| site.ask("shop.local.test", "/ping").json("version") == "0.2")
        })
        .await;
        site.at_rest().await;
    })
    .await;
    assert!(wrong.is_empty(), "{} of {asked} requests failed: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(asked > 200, "only {asked} requests were sent");
    site.end().await;
}

/// A controller that is killed at any moment leaves nothing that the next one does not use or remove; hand edits stay.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Swarm: scripts/test brings one up"]
async fn a_killed_controller_and_hands_of_other_people() {
    let site = Site::new("").await;
    site.network("demo").await;
    site.service("shop", &["demo"], 1, &["hosts=shop.local.test", "port=8080"]);
    site.controller();
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;

    let configs = |site: &Site| site.docker(&["config", "ls", "--quiet"]);
    for (round, moment) in ["another config exists", "the update began", "right away"].iter().enumerate() {
        let host = format!("late-{round}.local.test");
        let before = configs(&site);
        site.service(&format!("late-{round}"), &["demo"], 1, &[&format!("hosts={host}"), "port=8080"]);
        match round {
            0 => site.until(moment, |site| configs(site) != before).await,
            1 => {
                site.until(moment, |site| site.update_of("interlock-proxy").contains("updating")).await;
            }
            _ => {}
        }
        site.kill_controller();
        site.controller();
        site.eventually(&host, "/ping", |answer| answer.status == 200).await;
        site.at_rest().await;
    }

    // Somebody's own changes survive a change of routes.
    site.docker(&[
        "service",
        "update",
        "--detach",
        "--quiet",
        "--env-add",
        "X=1",
        "--label-add",
        "mine=yes",
        "interlock-proxy",
    ]);
    site.at_rest().await;
    site.docker(&["service", "rm", "late-0"]);
    site.eventually("late-0.local.test", "/", |answer| answer.status == 503).await;
    site.at_rest().await;
    let spec = site.docker(&["service", "inspect", "interlock-proxy", "--format", "{{json .Spec}}"]);
    assert!(spec.contains("\"X=1\"") && spec.contains("\"mine\":\"yes\""), "{spec}");

    // A proxy service that somebody removed comes back.
    let before = site.proxies("{{.ID}}");
    site.docker(&["service", "rm", "interlock-proxy"]);
    site.until("there is another proxy service", |site| site.proxies("{{.ID}}").is_some_and(|id| Some(id) != before))
        .await;
    site.eventually("shop.local.test", "/ping", |answer| answer.status == 200).await;
    site.at_rest().await;
    site.kill_controller();
    let _ = site.once();
    assert_eq!(site.once(), "nothing to do\n");
    // What it serves, and at most what it served before.
    assert!(configs(&site).lines().count() <= 2, "{}", site.docker(&["config", "ls"]));
    site.end().await;
}
