//! What the rendered configuration is compared with.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use interlock_core::kinds::File;

/// The service of a number, and the host's first label.
pub(crate) fn name(number: usize) -> String {
    format!("s{number}")
}

/// Every second one, with HTTP as well.
pub(crate) fn has_tls(number: usize) -> bool {
    number % 2 == 1
}

/// A main file.
pub(crate) fn files(text: &str) -> Vec<File> {
    vec![File { path: "/etc/nginx/nginx.conf".into(), part: String::new(), content: text.into() }]
}

/// Applications that answer at once.
pub(crate) fn applications(addresses: &[&str], port: u16, body: usize) -> Vec<File> {
    let listen: String = addresses.iter().map(|address| format!("listen {address}:{port} backlog=4096;\n")).collect();
    files(&format!(
        "worker_processes 1;\npid /var/run/proxy.pid;\nerror_log /dev/stdout;\nevents {{ worker_connections 8192; }}\nhttp {{\naccess_log off;\n\
         keepalive_requests 100000000;\nserver {{\nlisten 80;\n{listen}location / {{ return 200 \"{}\"; }}\n}}\n}}\n",
        "x".repeat(body)
    ))
}

/// As somebody would write it who knows NGINX: a server for each host, connections to applications that stay open, files of certificates
/// named as they are. With the same log and the same headers as interlock's, and answers passed on as they come (no buffering); or with no log,
/// the headers that applications need, and buffering as it is without a word.
pub(crate) fn by_hand(hosts: usize, applications: &[&str], port: u16, same: bool) -> String {
    let mut text = "worker_processes 1;\nworker_rlimit_nofile 65535;\npid /var/run/proxy.pid;\nerror_log /dev/stdout;\n\
         events { worker_connections 4096; }\nhttp {\n\
         server_tokens off;\nsendfile on;\ntcp_nopush on;\nkeepalive_timeout 75s;\n\
         proxy_http_version 1.1;\nproxy_set_header Host $host;\nproxy_set_header Connection \"\";\n\
         proxy_set_header X-Real-IP $remote_addr;\nproxy_set_header X-Forwarded-For $remote_addr;\n\
         proxy_set_header X-Forwarded-Proto $scheme;\n\
         ssl_protocols TLSv1.2 TLSv1.3;\nssl_session_cache shared:tls:10m;\nssl_session_timeout 1d;\nssl_session_tickets off;\n\
         ssl_ecdh_curve X25519:prime256v1:secp384r1;\n"
        .to_owned();
    text += if same {
        "log_format main '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\" \"$http_x_forwarded_for\"';\n\
         access_log /dev/stdout main;\nproxy_buffering off;\n\
         proxy_set_header X-Forwarded-Host $host;\nproxy_set_header X-Forwarded-Port $server_port;\nproxy_set_header X-Request-ID $request_id;\n\
         add_header x-request-id $request_id;\nadd_header x-proxy-id $hostname;\nadd_header x-server-info by-hand;\n\
         add_header x-upstream-addr $upstream_addr;\nadd_header x-upstream-response-time $upstream_header_time;\n"
    } else {
        "access_log off;\n"
    };
    for number in 0..hosts {
        let name = name(number);
        let servers: String = applications.iter().map(|address| format!("server {address}:{port}; ")).collect();
        let location = format!("server_name {name}.example.com;\nlocation / {{ proxy_pass http://{name}; }}\n}}");
        let _ = writeln!(text, "upstream {name} {{ {servers}keepalive 64; }}\nserver {{\nlisten 80;\n{location}");
        if has_tls(number) {
            let files = "ssl_certificate /run/secrets/shop.cert;\nssl_certificate_key /run/secrets/shop.key;\n";
            let _ = writeln!(text, "server {{\nlisten 443 ssl http2;\n{files}{location}");
        }
    }
    text + "}\n"
}

/// A running Traefik with its file provider, as much of a processor as one worker of NGINX, and no access log, as is its default.
pub(crate) struct Traefik {
    process: Child,
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
}

impl Traefik {
    /// Nothing when there is no program.
    pub(crate) fn start(hosts: usize, applications: &[&str], port: u16, secrets: &[(&str, &str)]) -> Option<Self> {
        let program = std::env::var_os("INTERLOCK_TRAEFIK")?;
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for (name, content) in secrets {
            std::fs::write(file(name), content).unwrap();
        }
        let (mut routers, mut services) = (String::new(), String::new());
        for number in 0..hosts {
            let name = name(number);
            let rule = format!("rule: 'Host(`{name}.example.com`)', service: {name}");
            let _ = writeln!(routers, "    {name}: {{ {rule}, entryPoints: [web] }}");
            if has_tls(number) {
                let _ = writeln!(routers, "    {name}-tls: {{ {rule}, entryPoints: [websecure], tls: {{}} }}");
            }
            let servers: Vec<_> =
                applications.iter().map(|address| format!("{{ url: 'http://{address}:{port}' }}")).collect();
            let _ = writeln!(services, "    {name}: {{ loadBalancer: {{ servers: [{}] }} }}", servers.join(", "));
        }
        let certificate = format!("{{ certFile: {}, keyFile: {} }}", file("shop.cert"), file("shop.key"));
        let routes =
            format!("http:\n  routers:\n{routers}  services:\n{services}tls:\n  certificates: [{certificate}]\n");
        std::fs::write(file("routes.yaml"), routes).unwrap();
        let first = crate::support::nginx::two_ports();
        let process = Command::new(program)
            .args(["--log.level=ERROR", "--global.checknewversion=false", "--global.sendanonymoususage=false"])
            .arg(format!("--providers.file.filename={}", file("routes.yaml")))
            .arg(format!("--entrypoints.web.address=127.0.0.1:{first}"))
            .arg(format!("--entrypoints.websecure.address=127.0.0.1:{}", first + 1))
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let traefik = Self { process, port: first, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        let answers = |_: &TcpStream| {
            let request = "GET / HTTP/1.1\r\nHost: s0.example.com\r\nConnection: close\r\n\r\n";
            crate::support::http::exchange(("127.0.0.1", first), request).is_ok_and(|it| it.contains(" 200 "))
        };
        while !TcpStream::connect(("127.0.0.1", first)).is_ok_and(|stream| answers(&stream)) {
            assert!(Instant::now() < deadline, "Traefik does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(traefik)
    }

    pub(crate) fn id(&self) -> i32 {
        self.process.id().try_into().unwrap()
    }
}

impl Drop for Traefik {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
