//! Label sets of at most 1 MB that are made to cost as much as they can, one for each thing that multiplies.

/// A label set, and which secrets it names.
pub struct Bomb {
    pub name: &'static str,
    labels: fn(usize) -> Vec<(String, String)>,
}

/// The secrets that bombs name.
pub const SECRETS: [&str; 3] = ["cert", "users", "ca"];

/// No label set is larger.
const MOST: usize = 1_000_000;

impl Bomb {
    /// All of it.
    pub fn labels(&self) -> Vec<(String, String)> {
        self.of(100)
    }

    /// So many percent of what it multiplies by; without the labels that would make it larger than 1 MB.
    pub fn of(&self, percent: usize) -> Vec<(String, String)> {
        let mut size = 0;
        let within = |(key, value): &(String, String)| {
            size += key.len() + value.len();
            size <= MOST
        };
        (self.labels)(percent).into_iter().take_while(within).collect()
    }
}

/// All of them.
pub const BOMBS: &[Bomb] = &[
    Bomb { name: "hosts", labels: |n| routes(2 * n, |route| hosts(route, 256)) },
    Bomb { name: "routes", labels: |n| routes(150 * n, |route| vec![one_host(route)]) },
    Bomb { name: "routes with headers", labels: |n| beside(headers(), routes(10 * n, |route| vec![one_host(route)])) },
    Bomb { name: "endpoints with headers", labels: |n| one(n, 5, beside(headers(), vec![endpoints(1000)])) },
    Bomb { name: "endpoints, headers and hosts", labels: |n| one(n, 256, beside(headers(), vec![endpoints(1000)])) },
    Bomb {
        name: "the same with a certificate",
        labels: |n| one(n, 256, beside(headers(), vec![endpoints(1000), label("ssl_cert", "cert")])),
    },
    Bomb { name: "paths", labels: |n| routes(10 * n, |route| vec![hosts(route, 1)[0].clone(), path(route)]) },
    Bomb { name: "one host with many paths", labels: |n| routes(90 * n, |route| vec![same_host(route), path(route)]) },
    Bomb { name: "redirects", labels: |n| routes(2 * n, redirects) },
    Bomb { name: "canaries", labels: |n| routes(2 * n, |route| [hosts(route, 256), canary(route)].concat()) },
    Bomb { name: "rate limits", labels: |n| routes(12 * n, |route| vec![one_host(route), rate(route)]) },
    Bomb { name: "allow", labels: |n| one(n, 256, vec![allow()]) },
    Bomb { name: "users", labels: |n| beside(vec![label("basic_auth", "users")], routes(2 * n, |r| hosts(r, 256))) },
    Bomb {
        name: "certificates",
        labels: |n| beside(vec![label("ssl_cert", "cert")], routes(2 * n, |r| hosts(r, 256))),
    },
    Bomb {
        name: "passed through",
        labels: |n| beside(vec![label("ssl_passthrough", "true")], routes(2 * n, |route| hosts(route, 256))),
    },
    Bomb {
        name: "grpc",
        labels: |n| beside(vec![label("backend_protocol", "grpc")], routes(2 * n, |r| hosts(r, 256))),
    },
    Bomb { name: "pooled with itself", labels: |n| routes(90 * n, |route| vec![same_host(route), timeout(route)]) },
    Bomb { name: "unknown labels", labels: |n| (0..400 * n).map(|i| label(&format!("u{i:05}"), "x")).collect() },
    Bomb { name: "a long unknown label", labels: |n| vec![label(&"host".repeat(2400 * n), "x")] },
    Bomb { name: "a long value", labels: |n| vec![label("hosts", &"a".repeat(9_900 * n))] },
    Bomb { name: "a long unknown value", labels: |n| vec![label("host", &"a".repeat(9_900 * n))] },
    Bomb { name: "labels of no route", labels: |n| (0..300 * n).map(|i| label(&format!("port.r{i}"), "80")).collect() },
    Bomb { name: "wrong labels", labels: |n| (0..300 * n).map(|i| label(&format!("hosts.r{i}"), "!")).collect() },
    Bomb {
        name: "the routing mesh",
        labels: |n| {
            let value = |i| format!("external_route=http://h{i}.example.com,internal_port=80");
            (0..110 * n).map(|i| (format!("com.docker.ucp.mesh.http.{i}"), value(i))).collect()
        },
    },
    Bomb {
        name: "Interlock 1",
        labels: |n| {
            let first = ["hostname", "port"].map(|key| (format!("interlock.{key}"), "80".to_owned())).to_vec();
            let alias = |i| (format!("interlock.alias_domain.{i}"), format!("h{i}.example.com"));
            beside(first, (0..250 * n).map(alias).collect())
        },
    },
];

fn label(key: &str, value: &str) -> (String, String) {
    (format!("com.docker.lb.{key}"), value.to_owned())
}

fn beside(mut some: Vec<(String, String)>, others: Vec<(String, String)>) -> Vec<(String, String)> {
    some.extend(others);
    some
}

/// So many routes, each with a port and labels of its own.
fn routes(count: usize, of: impl Fn(usize) -> Vec<(String, String)>) -> Vec<(String, String)> {
    (0..count.max(1)).flat_map(|route| beside(vec![label(&format!("port.r{route}"), "80")], of(route))).collect()
}

/// One route with this share of so many hosts.
fn one(percent: usize, most: usize, more: Vec<(String, String)>) -> Vec<(String, String)> {
    let names: Vec<_> = (0..(most * percent).div_ceil(100)).map(|i| format!("h{i}.example.com")).collect();
    beside(vec![label("hosts", &names.join(",")), label("port", "80")], more)
}

fn hosts(route: usize, count: usize) -> Vec<(String, String)> {
    let names: Vec<_> = (0..count).map(|i| format!("h{i}.r{route}.example.com")).collect();
    vec![label(&format!("hosts.r{route}"), &names.join(","))]
}

fn one_host(route: usize) -> (String, String) {
    label(&format!("hosts.r{route}"), &format!("r{route}.example.com"))
}

fn same_host(route: usize) -> (String, String) {
    label(&format!("hosts.r{route}"), "bomb.example.com")
}

fn path(route: usize) -> (String, String) {
    label(&format!("context_root.r{route}"), &format!("/p{route}"))
}

fn rate(route: usize) -> (String, String) {
    label(&format!("rate_limit.r{route}"), "9")
}

fn timeout(route: usize) -> (String, String) {
    label(&format!("read_timeout.r{route}"), &format!("{}s", route + 1))
}

fn canary(route: usize) -> Vec<(String, String)> {
    vec![label(&format!("canary_header.r{route}"), &format!("X-Canary: r{route}"))]
}

/// 64 paths of so many bytes.
fn endpoints(length: usize) -> (String, String) {
    let paths: Vec<_> = (0..64).map(|i| format!("/{i:02}{}", "e".repeat(length))).collect();
    label("websocket_endpoints", &paths.join(","))
}

/// 32 headers of 1000 bytes in each direction.
fn headers() -> Vec<(String, String)> {
    let edits: Vec<_> = (0..32).map(|i| format!("X-H{i:02}: {}", "v".repeat(1000))).collect();
    ["request_headers", "response_headers"].map(|key| label(key, &edits.join(";"))).to_vec()
}

/// Hosts whose redirects lead along all of them and round in a circle that does not come back to the first.
fn redirects(route: usize) -> Vec<(String, String)> {
    let host = |i: usize| format!("h{i}.r{route}.example.com");
    let to = |i: usize| if i < 63 { i + 1 } else { 62 };
    let pairs: Vec<_> = (0..64).map(|i| format!("http://{},http://{}", host(i), host(to(i)))).collect();
    beside(hosts(route, 64), vec![label(&format!("redirects.r{route}"), &pairs.join(";"))])
}

fn allow() -> (String, String) {
    let networks: Vec<_> = (0..256).map(|i| format!("2001:db8:ffff:ffff:{i:x}::/80")).collect();
    label("allow", &networks.join(","))
}
