//! The pure part, as a whole and step by step, for Swarms of three sizes with three tasks a service.
//!
//! `cold` is what a fresh process does: everything is rendered. `change` has one task less than what was rendered before, as after
//! an event. `same` is a full pass that finds nothing new. `given` is `reconcile`, with the files rendered elsewhere.
//! All times are processor time.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use interlock_core::deployment::generations::Attachments;
use interlock_core::deployment::{self, Control, Desired, Objects};
use interlock_core::kinds;
use interlock_core::kinds::nginx::parse_back;
use interlock_core::labels::options::RateLimit;
use interlock_core::plan::{self, Attempts};
use interlock_core::proxy_config;
use interlock_core::proxy_config::{ProxyConfig, ProxySettings, Tls, VirtualHost};
use interlock_core::reconcile::{Inputs, Memo, reconcile, reconcile_embedded, reconcile_embedded_with, reconcile_with};
use interlock_core::routes;
use interlock_core::routes::model;
use interlock_core::routes::model::{Certificate, Known};
use interlock_core::swarm::SwarmIndex;
use interlock_core::swarm::index::Directory;

#[path = "support/cpu.rs"]
mod cpu;
mod support;

use cpu::CpuTime;

const SIZES: [u32; 3] = [100, 1_000, 10_000];

fn whole(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("reconcile");
    for size in SIZES {
        let cold = support::inputs(size, 3);
        let (outcome, renderings) = reconcile_embedded(&cold);
        let same = Inputs { renderings, memory: outcome.memory, ..cold.clone() };
        let mut change = same.clone();
        change.snapshot.tasks.pop();
        for (name, inputs) in [("cold", &cold), ("change", &change), ("same", &same)] {
            group.bench_function(BenchmarkId::new(name, size), |b| b.iter(|| reconcile_embedded(black_box(inputs))));
        }
        group.bench_function(BenchmarkId::new("given", size), |b| b.iter(|| reconcile(black_box(&same))));
        // A task comes and goes, as events have it.
        let mut memo = Memo::default();
        let (outcome, renderings) = reconcile_embedded_with(&change, &mut memo);
        let change = Inputs { renderings, memory: outcome.memory, ..change };
        let (outcome, renderings) = reconcile_embedded_with(&same, &mut memo);
        let same = Inputs { renderings, memory: outcome.memory, ..same };
        // Each has the files of the other, so that some have to be made.
        let (change, same) = (
            Inputs { renderings: same.renderings.clone(), ..change.clone() },
            Inputs { renderings: change.renderings, ..same },
        );
        group.bench_function(BenchmarkId::new("next", size), |b| {
            let mut turns = [&change, &same].into_iter().cycle();
            b.iter(|| reconcile_embedded_with(black_box(turns.next().expect("no end")), &mut memo));
        });
        group.bench_function(BenchmarkId::new("next, given", size), |b| {
            let mut turns = [&change, &same].into_iter().cycle();
            b.iter(|| reconcile_with(black_box(turns.next().expect("no end")), &mut memo));
        });
    }
}

fn steps(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("step");
    for size in SIZES {
        let Inputs { snapshot, settings, memory, .. } = support::inputs(size, 3);
        let directory = Directory::of(&snapshot);
        let index = SwarmIndex::new(&snapshot, &directory);
        let limit = snapshot.engine.config_limit();
        let known =
            Known { last_good: Some(&memory.last_good), refused: Some(&memory.refused), paces: Some(&memory.paces) };
        let (model, _) = model::read(&snapshot, &settings, kinds::prices, known);
        let (routes, _) = routes::resolve(&model.routes, settings.host_policy);
        let (cluster, extension) = settings.clusters().next().expect("the default service cluster");
        let config = proxy_config::build(&cluster, ProxySettings::of(extension, None, None), &routes[&cluster]);
        let rendering = kinds::render(&config, limit);
        let files = rendering.result.as_deref().expect("the files");
        let parsed = parse_back::parse(files).expect("a structure");
        let attached = Attachments { networks: model.networks(&cluster), ..Attachments::default() };
        let control = Control::default();
        let proxy =
            || deployment::proxy(&index, &control, (&cluster, extension), &attached, Ok((&config, files)), None, false);
        let names = BTreeSet::from([extension.proxy_service_name.clone()]);
        let objects = Objects { names, extension: None, proxy: proxy() };
        let clusters = BTreeMap::from([(cluster.clone(), objects)]);
        let wanted = Desired { clusters, ..Desired::default() };

        let mut step = |name: &str, run: &mut dyn FnMut()| {
            group.bench_function(BenchmarkId::new(name, size), |b| b.iter(&mut *run));
        };
        step("read", &mut || drop(model::read(&snapshot, &settings, kinds::prices, known)));
        step("resolve", &mut || drop(black_box(routes::resolve(&model.routes, settings.host_policy))));
        step("build", &mut || {
            drop(proxy_config::build(&cluster, ProxySettings::of(extension, None, None), &routes[&cluster]))
        });
        step("render", &mut || drop(kinds::render(&config, limit)));
        // Hosts with servers of their own, without and with rules in their locations.
        let mut own = ProxyConfig::clone(&config);
        let changed = |own: &mut ProxyConfig, change: &dyn Fn(&mut VirtualHost)| {
            for host in own.virtual_hosts.values_mut() {
                let mut changed = VirtualHost::clone(host);
                change(&mut changed);
                *host = changed.into();
            }
        };
        changed(&mut own, &|host| host.tls = certificate());
        step("render: TLS", &mut || drop(kinds::render(&own, usize::MAX)));
        changed(&mut own, &|host| {
            for forward in host.locations.values_mut() {
                forward.options.rate_limit = Some(RateLimit { per_second: 10, burst: 20 });
                forward.options.hsts = Some(3600);
                forward.options.compress = true;
            }
        });
        step("render: TLS and labels", &mut || drop(kinds::render(&own, usize::MAX)));
        step("render: parse back", &mut || drop(parse_back::parse(files)));
        step("render: compare", &mut || drop(black_box(parse_back::difference(&parsed, &parsed, "the file"))));
        step("desired", &mut || drop(black_box(proxy())));
        step("diff", &mut || drop(plan::diff(&index, &wanted, &Attempts::new())));
    }
}

fn certificate() -> Tls {
    let [certificate, key] = ["c", "k"].map(|name| name.parse().expect("a secret's name"));
    Tls::Terminated(Certificate { certificate, key })
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime).sample_size(10).warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = whole, steps
}
criterion_main!(benches);
