//! Reading a whole Swarm through the Docker adapter, from a socket that serves bytes made beforehand.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use interlock_core::docker::{Client, Endpoint};
use jiff::Timestamp;

#[path = "support/canned.rs"]
mod canned;

fn observe(c: &mut Criterion) {
    let mut group = c.benchmark_group("observe");
    let folder = tempfile::tempdir().expect("a folder");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    for size in [100, 1_000, 10_000] {
        let socket = folder.path().join(format!("{size}.sock"));
        let bytes = canned::serve(&socket, size, 3);
        let endpoint = Endpoint::at(format!("unix://{}", socket.display()));
        let client = runtime.block_on(Client::connect(&endpoint)).expect("a client");
        let observation = runtime.block_on(client.observe(Timestamp::UNIX_EPOCH)).expect("an observation");
        let snapshot = observation.snapshot;
        assert_eq!((snapshot.services.len(), snapshot.tasks.len()), (size, 3 * size));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| runtime.block_on(client.observe(Timestamp::UNIX_EPOCH)));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(3));
    targets = observe
}
criterion_main!(benches);
