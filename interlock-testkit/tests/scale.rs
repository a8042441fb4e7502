//! Ten thousand services are served fast enough to test with.

use interlock_testkit::Swarm;
use std::time::Instant;

/// Prints what building and listing cost; run it with `--release --run-ignored all --no-capture`.
#[test]
#[ignore = "takes seconds: a measurement, not a rule"]
fn ten_thousand_services_of_three_tasks() {
    let begin = Instant::now();
    let mut swarm = Swarm::with_many(10_000, 3);
    println!("built in {:?}", begin.elapsed());
    for round in ["first", "second"] {
        for path in ["/services", "/tasks"] {
            let begin = Instant::now();
            let answer = swarm.answer("GET", path, b"");
            println!("{round} {path}: {} bytes in {:?}", answer.body.len(), begin.elapsed());
        }
    }
}
