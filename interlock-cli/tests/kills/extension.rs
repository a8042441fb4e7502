//! `interlock extension` is killed at each step, beside a real core on a fake Swarm.

use std::path::PathBuf;

use tokio::time::timeout;

use crate::CONVERGED;
use crate::container::Container;
use crate::support::gate::{Gate, Moment};
use crate::support::processes::stop;
use crate::support::site::{Agent, Extension, HITLESS, REMOTE, Site};
use crate::support::world::route;

/// How far the extension is with a model.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Core sent it, and the extension has not read it.
    Sent,
    /// Files are made of it, and nginx's check has begun.
    Heard,
    /// nginx's check is done, and the extension does not know it yet.
    Checked,
    /// Core has the files, and the agent got them.
    Posted,
}

async fn start(site: &Site, folder: &tempfile::TempDir, gate: &Gate) -> Container {
    let identity: PathBuf = folder.path().join("identity");
    std::fs::write(&identity, site.identity("extension").await).unwrap();
    let (identity, program) = (identity.display().to_string(), gate.program().display().to_string());
    let arguments = ["extension", "nginx", "--core", &site.core, "--identity", &identity, "--checker", &program];
    Container::start(&arguments, folder.path())
}

async fn survives(step: Step) {
    let (site, folder) = (Site::new(&format!("{HITLESS}{REMOTE}")), tempfile::tempdir().unwrap());
    let gate = Gate::new(folder.path());
    let core = site.start();
    let extension = start(&site, &folder, &gate).await;
    let mut agent = site.agent().await;
    agent.accepts("shop.example.com").await;
    site.noted_version().await;
    let writes = site.handle.swarm().writes();

    reach(step, &site, &gate, &extension, &mut agent).await;
    drop(extension);
    gate.open();
    let _extension = start(&site, &folder, &gate).await;
    if !matches!(step, Step::Posted) {
        accepts_soon(&mut agent, "new.example.com").await;
    }
    route(&mut site.handle.swarm(), "newer", "demo");
    accepts_soon(&mut agent, "newer.example.com").await;
    assert_eq!(site.handle.swarm().writes(), writes, "{step:?}");
    core.stop().await;
}

/// Has a host's model made, and waits until the extension is so far with it.
async fn reach(step: Step, site: &Site, gate: &Gate, extension: &Container, agent: &mut Agent) {
    let add = || route(&mut site.handle.swarm(), "new", "demo");
    match step {
        Step::Sent => {
            let mut beside = Extension::connect(site.channel("extension").await).await.unwrap();
            stop(extension.pid());
            add();
            // Core sends it to all extensions at the same time.
            beside.renders_text("new.example.com").await;
        }
        Step::Heard | Step::Checked => {
            let moment = if matches!(step, Step::Heard) { Moment::Before } else { Moment::After };
            gate.close(moment);
            add();
            gate.reached(moment);
        }
        Step::Posted => {
            add();
            agent.accepts("new.example.com").await;
        }
    }
}

async fn accepts_soon(agent: &mut Agent, text: &str) {
    timeout(CONVERGED, agent.accepts(text)).await.unwrap_or_else(|_| panic!("no {text} within {CONVERGED:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_model_is_sent() {
    survives(Step::Sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_model_is_heard() {
    survives(Step::Heard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_files_are_checked() {
    survives(Step::Checked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_files_are_posted() {
    survives(Step::Posted).await;
}
