//! Waiting until something is so.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::{Answer, Site};

/// The longest that anything may take of which nothing else is said.
const PATIENCE: Duration = Duration::from_secs(150);

impl Site {
    /// Waits until every proxy's answer is like this.
    pub(crate) async fn eventually(&self, host: &str, path: &str, right: impl Fn(&Answer) -> bool) {
        self.until(&format!("{host}{path} is answered as it should on both nodes"), |site| {
            site.workers().iter().all(|node| site.get(node, host, path).is_ok_and(|answer| right(&answer)))
        })
        .await;
    }

    /// Waits until so many instances of a service answer through each proxy.
    pub(crate) async fn all_serve(&self, name: &str, instances: usize) {
        self.all_answer(&format!("{name}.local.test"), instances).await;
    }

    /// The same for a host.
    pub(crate) async fn all_answer(&self, host: &str, instances: usize) {
        self.until(&format!("{instances} instances answer for {host}"), |site| {
            site.workers().iter().all(|node| {
                let answers = (0..4 * instances).filter_map(|_| site.get(node, host, "/ping").ok());
                let found: std::collections::BTreeSet<_> = answers.map(|answer| answer.json("instance")).collect();
                found.len() == instances
            })
        })
        .await;
    }

    /// Waits until the tasks that a service lost are gone, and so many instances answer.
    pub(crate) async fn only_answers(&self, name: &str, instances: usize) {
        self.run(name, instances).await;
        self.all_serve(name, instances).await;
    }

    /// Waits until exactly so many tasks of a service run.
    pub(crate) async fn run(&self, name: &str, instances: usize) {
        self.until(&format!("{instances} tasks of {name} run"), |site| {
            let states = site.docker(&["service", "ps", "--format", "{{.CurrentState}}", name]);
            states.lines().filter(|state| state.starts_with("Running")).count() == instances
        })
        .await;
    }

    /// Waits until a service's update is over.
    pub(crate) async fn updated(&self, name: &str) {
        self.until(&format!("{name} is updated"), |site| site.update_of(name).contains("completed")).await;
    }

    /// Waits until no update of the proxies is under way: seen a few times, as Swarm may have one that it says nothing of yet.
    pub(crate) async fn at_rest(&self) {
        let seen = Cell::new(0);
        self.until("the proxies are at rest", |site| {
            let state = site.proxies("{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}");
            let replicas =
                site.docker(&["service", "ls", "--filter", "name=interlock-proxy", "--format", "{{.Replicas}}"]);
            let rests = state.is_some_and(|state| state != "updating") && replicas.trim() == "2/2";
            seen.set(if rests { seen.get() + 1 } else { 0 });
            seen.get() == 3
        })
        .await;
    }

    pub(crate) async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        self.within(PATIENCE, what, done).await;
    }

    pub(crate) async fn within(&self, limit: Duration, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + limit;
        loop {
            let began = Instant::now();
            if done(self) {
                return;
            }
            assert!(Instant::now() < deadline, "not so after {limit:?}: {what}\n{}", self.look());
            // Where a look takes long, looking shall not be all that the machine does.
            tokio::time::sleep(Duration::from_millis(150).max(3 * began.elapsed())).await;
        }
    }

    /// Waits until every proxy serves a host, which has to be soon.
    pub(crate) async fn served_within(&self, limit: Duration, host: &str) {
        self.within(limit, &format!("{host} is served by both nodes"), |site| {
            site.workers().iter().all(|node| site.get(node, host, "/ping").is_ok_and(|answer| answer.status == 200))
        })
        .await;
    }

    /// What there is to see when something is wrong.
    pub(crate) fn look(&self) -> String {
        let ours = self.try_docker(&["service", "ls", "--quiet", "--filter", "name=interlock"]).unwrap_or_default();
        let tasks: Vec<_> = ["service", "ps", "--no-trunc"].into_iter().chain(ours.lines()).collect();
        let commands: [&[&str]; 3] = [&["service", "ls"], &tasks, &["config", "ls"]];
        let seen: Vec<_> = commands.iter().map(|args| self.try_docker(args).unwrap_or_else(|error| error)).collect();
        let log = self.log();
        let tail: Vec<_> = log.lines().rev().take(25).collect();
        format!("{}\n{}", seen.join("\n"), tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}
