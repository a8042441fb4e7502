use super::*;

const GOOD: &str = r#"
PollInterval = "1m30s"

[Extensions.default]
proxyimage = "nginx:1.30"
ProxyReplicas = 3
PublishMode = "HOST"
ProxyConstraints = ["node.role==worker"]

[Extensions.default.Config]
MaxConnections = 2048
RlimitNoFile = 1024
ConnectTimeout = 5
"#;

fn wrong(toml: &str) -> Vec<String> {
    Settings::parse(toml).unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn a_file_is_read_without_regard_to_case() {
    let (settings, notices) = Settings::parse(GOOD).unwrap();
    assert_eq!(notices, []);
    assert_eq!(settings.poll_interval, Duration::from_secs(90));
    let extension = settings.extension("").unwrap();
    assert_eq!(
        (extension.proxy_image.as_str(), extension.proxy_replicas, extension.publish_mode),
        ("nginx:1.30", 3, PublishMode::Host)
    );
    let ProxyKind::Nginx(options) = &extension.kind else { panic!("{:?}", extension.kind) };
    assert_eq!(
        (options.max_connections(), options.rlimit_nofile, options.connect_timeout),
        (2048, 1024, Duration::from_secs(5))
    );
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (from, to, expected) in [
        (
            "proxyimage",
            "ProxyImagee",
            "line 5, column 1: Extensions.default.ProxyImagee is no known key; did you mean ProxyImage?",
        ),
        (
            "ProxyReplicas = 3",
            "ProxyReplicas = \"3\"",
            "line 6, column 17: Extensions.default.ProxyReplicas is a string, expected a whole number",
        ),
        (
            "ProxyReplicas = 3",
            "ProxyReplicas = -1",
            "line 6, column 17: Extensions.default.ProxyReplicas is -1, expected 0 to 10000",
        ),
        (
            "\"1m30s\"",
            "\"soon\"",
            "line 2, column 16: PollInterval is \"soon\", expected a duration like \"3s\", \"1m30s\" or \"500ms\"",
        ),
        ("\"1m30s\"", "3", "line 2, column 16: PollInterval is an integer, expected a duration like \"3s\""),
        (
            "\"HOST\"",
            "\"mesh\"",
            "line 7, column 15: Extensions.default.PublishMode is \"mesh\", expected one of: ingress, host",
        ),
        (
            "ProxyReplicas = 3",
            "PublishedPort = 70000",
            "line 6, column 17: Extensions.default.PublishedPort is 70000, expected 1 to 65535",
        ),
        (
            "ProxyReplicas = 3",
            "proxyIMAGE = \"x\"",
            "line 6, column 1: Extensions.default.proxyIMAGE is there twice, first in line 5; keys are matched without regard to case",
        ),
        (
            "ProxyReplicas = 3",
            "ProxyConfigPath = \"/etc/x;y\"",
            "line 6, column 19: Extensions.default.ProxyConfigPath holds ';', which would break the proxy's configuration",
        ),
        (
            "ProxyReplicas = 3",
            "Kind = \"haproxy\"",
            "line 4, column 13: Extensions.default.Kind is haproxy, which this version does not support; write nginx",
        ),
        (
            "ProxyReplicas = 3",
            "TrustedProxies = [\"10.0.0.0/33\"]",
            "line 6, column 18: Extensions.default.TrustedProxies has \"10.0.0.0/33\", expected networks like \"192.0.2.0/24\", without bits behind the prefix, or addresses",
        ),
        (
            "ProxyReplicas = 3",
            "ProxyServiceName = \"a.b\"",
            "line 6, column 20: Extensions.default.ProxyServiceName is \"a.b\", expected a service's name: at most 63 letters, digits, `-` and `_`",
        ),
        (
            "PollInterval = \"1m30s\"",
            "HostPolicy = \"own\"",
            "line 2, column 14: HostPolicy is \"own\", expected one of: shared, stack",
        ),
        (
            "[\"node.role==worker\"]",
            "false",
            "line 8, column 20: Extensions.default.ProxyConstraints is a boolean, expected a list of strings",
        ),
        (
            "[Extensions.default]\n",
            "[[Extensions]]\n",
            "line 4, column 3: Extensions is a list, as in Interlock 1; write [Extensions.default] instead of [[Extensions]]",
        ),
    ] {
        let toml = GOOD.replacen(from, to, 1);
        assert_ne!(toml, GOOD, "{from}");
        let toml = if to.starts_with("[[") {
            toml.split("[Extensions.default.Config]").next().unwrap().to_owned()
        } else {
            toml
        };
        assert_eq!(wrong(&toml).first().map(String::as_str), Some(expected), "{to}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_order() {
    let toml = GOOD.replace("PollInterval", "PolInterval").replace("MaxConnections", "MaxConnection");
    let wrong = wrong(&toml);
    assert_eq!(wrong.len(), 2);
    assert!(wrong[0].starts_with("line 2") && wrong[1].starts_with("line 11"), "{wrong:?}");
}

#[test]
fn extensions_cannot_claim_the_same() {
    let good = &GOOD.replace("PublishMode = \"HOST\"", "PublishMode = \"ingress\"");
    let second = "[Extensions.second]\nServiceCluster = \"second\"\nPublishedPort = 9080\nPublishedSSLPort = 9443\n";
    assert!(Settings::parse(&format!("{good}\n{second}")).is_ok());
    for (from, to, expected) in [
        (
            "ServiceCluster = \"second\"\n",
            "ProxyServiceName = \"p\"\nServiceName = \"e\"\n",
            "claims service cluster (the default one), as Extensions.default in line 4 does",
        ),
        ("9080", "8080", "claims published port 8080, as Extensions.default in line 4 does"),
        ("9080", "9443", "claims published port 9443 twice"),
        (
            "[Extensions.second]\n",
            "[Extensions.second]\nProxyServiceName = \"interlock-proxy\"\n",
            "claims service name interlock-proxy, as Extensions.default in line 4 does",
        ),
    ] {
        let wrong = wrong(&format!("{good}\n{}", second.replace(from, to)));
        assert_eq!(wrong, [format!("line 15, column 13: Extensions.second {expected}")], "{to}");
    }
}

#[test]
fn proxies_have_the_same_host_ports_only_where_constraints_keep_them_apart() {
    let two = |first: &str, second: &str| {
        let of = |name: &str, constraints: &str| {
            let place =
                if constraints.is_empty() { String::new() } else { format!("ProxyConstraints = [{constraints}]\n") };
            format!("[Extensions.{name}]\nServiceCluster = \"{name}\"\nPublishMode = \"host\"\n{place}")
        };
        Settings::parse(&format!("{}{}", of("east", first), of("west", second)))
            .map(drop)
            .map_err(|error| error.to_string())
    };
    for (first, second) in [
        (r#""node.labels.region==east""#, r#""node.labels.region==west""#),
        (r#""node.role==worker", "node.labels.region == east""#, r#""node.labels.region!=EAST""#),
    ] {
        assert_eq!(two(first, second), Ok(()), "{first} and {second}");
    }
    for (first, second) in [
        ("", ""),
        (r#""node.labels.region==east""#, ""),
        (r#""node.labels.region==east""#, r#""node.labels.region==East""#),
        (r#""node.labels.region==east""#, r#""node.labels.zone==west""#),
        (r#""node.labels.region!=east""#, r#""node.labels.region!=west""#),
        (r#""node.ip==10.0.0.0/8""#, r#""node.ip==10.1.0.0/16""#),
    ] {
        let wrong = two(first, second).unwrap_err();
        assert!(wrong.contains("claims published port 8080, as Extensions.east in line 1 does, and a node"), "{wrong}");
    }
}

#[test]
fn files_that_mke_wrote_are_read() {
    let written = r#"
ListenAddr = ":8080"
DockerURL = "unix:///var/run/docker.sock"
AllowInsecure = false
PollInterval = "3s"
[Extensions]
  [Extensions.default]
    Image = "docker/ucp-interlock-extension:3.2.3"
    ServiceName = "ucp-interlock-extension"
    Args = []
    Constraints = ["node.labels.com.docker.ucp.orchestrator.swarm==true", "node.platform.os==linux"]
    ProxyImage = "docker/ucp-interlock-proxy:3.2.3"
    ProxyServiceName = "ucp-interlock-proxy"
    ProxyConfigPath = "/etc/nginx/nginx.conf"
    ProxyReplicas = 2
    ProxyStopSignal = "SIGQUIT"
    ProxyStopGracePeriod = "5s"
    ProxyConstraints = ["node.labels.com.docker.ucp.orchestrator.swarm==true"]
    PublishMode = "ingress"
    PublishedPort = 8080
    TargetPort = 80
    PublishedSSLPort = 8443
    TargetSSLPort = 443
    ServiceCluster = ""
    ProxyUpdateDelay = ""
    [Extensions.default.Labels]
      "com.docker.ucp.InstanceID" = "x"
    [Extensions.default.ProxyLabels]
      "com.docker.ucp.InstanceID" = "x"
    [Extensions.default.Config]
      Version = ""
      User = "nginx"
      PidPath = "/var/run/proxy.pid"
      MaxConnections = 1024
      ConnectTimeout = 600
      SendTimeout = 600
      ReadTimeout = 600
      IPHash = false
      AdminUser = ""
      AdminPass = ""
      SSLOpts = ""
      SSLDefaultDHParam = 1024
      SSLDefaultDHParamPath = ""
      SSLVerify = "required"
      WorkerProcesses = 1
      RLimitNoFile = 65535
      SSLCiphers = "HIGH:!aNULL:!MD5"
      SSLProtocols = "TLSv1.2"
      AccessLogPath = "/dev/stdout"
      ErrorLogPath = "/dev/stdout"
      MainLogFormat = "'$remote_addr - $remote_user [$time_local] \"$request\" '\n'$status $body_bytes_sent \"$http_referer\" '\n'\"$http_user_agent\" \"$http_x_forwarded_for\"';"
      TraceLogFormat = "'$remote_addr $reqid';"
      KeepaliveTimeout = "75s"
      ClientMaxBodySize = "32m"
      ClientBodyBufferSize = "8k"
      ClientHeaderBufferSize = "1k"
      LargeClientHeaderBuffers = "4 8k"
      ClientBodyTimeout = "60s"
      UnderscoresInHeaders = false
      HideInfoHeaders = false
"#;
    let (settings, _) = Settings::parse(written).unwrap_or_else(|error| panic!("{error}"));
    let ProxyKind::Nginx(options) = &settings.extension("").unwrap().kind else { panic!("not nginx") };
    let format = &options.main_log_format.as_ref().unwrap().text;
    assert!(
        format.starts_with("$remote_addr - ")
            && format.ends_with("\"$http_x_forwarded_for\"")
            && !format.contains('\n'),
        "{format}"
    );
    assert_eq!(options.trace_log_format.as_ref().unwrap().to_string(), "'$remote_addr $request_id'");
}

#[test]
fn what_has_no_effect_is_said() {
    let (_, notices) = Settings::parse(&format!("{GOOD}UpstreamZoneSize = 64\nSSLVerify = \"required\"\n")).unwrap();
    let said: Vec<_> = notices.iter().map(|notice| (notice.line, notice.key.as_str())).collect();
    assert_eq!(said, [(14, "Extensions.default.Config.UpstreamZoneSize"), (15, "Extensions.default.Config.SSLVerify")]);
}

#[test]
fn no_extension_is_an_error() {
    assert_eq!(
        wrong("PollInterval = \"3s\""),
        ["line 1, column 1: Extensions is missing; write a table like [Extensions.default]"]
    );
    assert!(wrong("PollInterval = ")[0].starts_with("line 1, column"), "{:?}", wrong("PollInterval = "));
}

#[test]
fn raw_lines_leave_what_is_around_them_whole() {
    for right in ["a b;", "map $x $y { default '}'; }", r#"a "};";"#, "# a comment with { and '\na;", "", "a b;\n"] {
        let options = of_nginx(&format!("HTTPOptions = [{right:?}]"));
        assert!(options.is_ok(), "{right}: {options:?}");
    }
    for (wrong, said) in [
        ("}", "has a } without a {"),
        ("a { b;", "has a { without a }"),
        ("a 'b;", "has a ' without another"),
        ("a b", "does not end in ;"),
        ("a; b", "does not end in ;"),
    ] {
        for key in ["GlobalOptions", "HTTPOptions", "TCPOptions"] {
            let errors = format!("{:?}", of_nginx(&format!("{key} = [{wrong:?}]")).unwrap_err());
            assert!(errors.contains(said), "{wrong}: {errors}");
        }
    }
    let errors = format!("{:?}", of_nginx(r#"HTTPOptions = ["a \u0001;"]"#).unwrap_err());
    assert!(errors.contains("has a control character"), "{errors}");
}

/// Keys without a default stand in the template empty, which for these is no value.
const WITHOUT_VALUE: [&str; 6] =
    ["ProxyConstraints", "Networks", "SSLCiphers", "ClientPort", "ClientSSLPort", "HealthPath"];

#[test]
fn the_template_is_a_settings_file_with_every_default() {
    let (settings, notices) = Settings::parse(&template()).unwrap();
    assert!(settings.extension("").unwrap().hitless_service_update);
    assert_eq!(notices, []);
    let uncommented = template()
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n");
    // The two that the file sets.
    let image = concat!("interlock-proxy-nginx:", env!("CARGO_PKG_VERSION"));
    let on = uncommented
        .replace("HitlessServiceUpdate = true", "HitlessServiceUpdate = false")
        .replace(&format!("ProxyImage = \"{image}\""), "ProxyImage = \"nginx:stable\"");
    let on: String = on
        .lines()
        .filter(|line| !WITHOUT_VALUE.iter().any(|key| line.starts_with(key)))
        .fold(String::new(), |text, line| text + line + "\n");
    let (with_all, _) = Settings::parse(&on).unwrap_or_else(|error| panic!("{error}\n{on}"));
    assert_eq!(with_all, Settings::default());
}

#[test]
fn the_schema_has_every_key() {
    let schema = json_schema();
    for key in reference() {
        let properties = match key.section {
            "" => &schema["properties"],
            "Extensions.<name>" => &schema["properties"]["Extensions"]["additionalProperties"]["properties"],
            _ => &schema["properties"]["Extensions"]["additionalProperties"]["properties"]["Config"]["properties"],
        };
        assert_eq!(properties[key.name]["description"], key.doc, "{}", key.name);
    }
}

#[test]
fn what_nginx_or_docker_would_refuse_is_refused_here() {
    for (key, value) in [
        ("KeepaliveTimeout", "\"2years\""),
        ("KeepaliveTimeout", "\"1us\""),
        ("ReadTimeout", "\"1us\""),
        ("ClientBodyBufferSize", "\"999999999g\""),
        ("ClientHeaderBufferSize", "\"0\""),
        ("LargeClientHeaderBuffers", "\"0 8k\""),
        ("LargeClientHeaderBuffers", "\"+4 8k\""),
        ("LargeClientHeaderBuffers", "\"4 100\""),
        ("LargeClientHeaderBuffers", "\"4 9g\""),
        ("SSLProtocols", "\"TLSv1.2 TLSv9\""),
    ] {
        let said = wrong(&format!("[Extensions.default.Config]\n{key} = {value}"));
        assert!(said.len() == 1 && said[0].contains(key), "{key} = {value}: {said:?}");
    }
    assert_eq!(wrong("[Extensions.default]\nProxyStopGracePeriod = \"300years\"").len(), 1);
}

#[test]
fn b2_service_clusters_never_share_the_names_of_objects() {
    let slug = |number: usize| format!("production-{number}").parse::<crate::units::Cluster>().unwrap().slug();
    let mut seen = BTreeMap::new();
    // Sixteen bits of a hash are in a slug, so some two of a few hundred names have the same.
    let (one, two) = (0..100_000).find_map(|number| Some((seen.insert(slug(number), number)?, number))).unwrap();
    let toml = format!(
        "[Extensions.a]\nServiceCluster = \"production-{one}\"\n[Extensions.b]\nServiceCluster = \"production-{two}\"\n\
         PublishedPort = 1\nPublishedSSLPort = 2"
    );
    assert!(wrong(&toml)[0].contains("claims object names with production-"), "{:?}", wrong(&toml));
}

fn of_nginx(line: &str) -> Result<nginx::Options, String> {
    let file = format!("[Extensions.default]\n[Extensions.default.Config]\n{line}\n");
    let (settings, _) = Settings::parse(&file).map_err(|error| error.to_string())?;
    match &settings.extension("").unwrap().kind {
        ProxyKind::Nginx(options) => Ok(options.as_ref().clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_files_of_others_plausibly_hold_is_read() {
    assert!(of_nginx("SSLOpts = 0").is_ok() && of_nginx("SSLOpts = \"x\"").is_ok());
    assert_eq!(of_nginx("WorkerProcesses = \"2\"").unwrap().worker_processes, nginx::WorkerProcesses::Count(2));
    assert!(of_nginx("WorkerProcesses = \"0\"").is_err() && of_nginx("WorkerProcesses = \"two\"").is_err());
    assert_eq!(of_nginx("KeepaliveTimeout = \"75\"").unwrap().keepalive_timeout, Duration::from_secs(75));
    for log in ["off", "syslog:server=10.0.0.1,tag=web"] {
        assert_eq!(of_nginx(&format!("AccessLogPath = \"{log}\"")).unwrap().access_log_path, log);
    }
    for wrong in ["on", "relative", "syslog:server=a main", "syslog:a;b"] {
        assert!(of_nginx(&format!("AccessLogPath = \"{wrong}\"")).is_err(), "{wrong}");
    }
    assert!(of_nginx("ErrorLogPath = \"stderr\"").is_ok() && of_nginx("ErrorLogPath = \"off\"").is_err());
    for written in ["escape=json '{\\\"a\\\":\\\"$status\\\"}'", "escape=json {\\\"a\\\":\\\"$status\\\"}"] {
        let options = of_nginx(&format!("MainLogFormat = \"{written}\"")).unwrap();
        assert_eq!(options.main_log_format.unwrap().to_string(), "escape=json '{\"a\":\"$status\"}'");
    }
}

#[test]
fn nginx_has_no_buffers_in_gigabytes() {
    for key in ["ClientBodyBufferSize", "ClientHeaderBufferSize"] {
        assert!(of_nginx(&format!("{key} = \"1g\"")).is_err() && of_nginx(&format!("{key} = \"1m\"")).is_ok());
    }
    for wrong in ["0 8k", "4 1g", "4 0"] {
        assert!(of_nginx(&format!("LargeClientHeaderBuffers = \"{wrong}\"")).is_err(), "{wrong}");
    }
    assert!(of_nginx("ClientMaxBodySize = \"1g\"").is_ok());
}

#[test]
fn a_trusted_proxy_is_a_network_or_an_address() {
    let read = |item: &str| Settings::parse(&format!("[Extensions.default]\nTrustedProxies = [\"{item}\"]\n"));
    let (settings, _) = read("10.0.0.5").unwrap();
    assert_eq!(settings.extension("").unwrap().trusted_proxies[0].to_string(), "10.0.0.5/32");
    assert!(read("10.0.0.0/8").is_ok() && read("10.1.2.3/8").is_err());
}

#[test]
fn m1_limits_follow_from_others_unless_they_are_said() {
    let limits = |config: &str, sees_addresses| {
        let (settings, _) = Settings::parse(&format!("[Extensions.default.Config]\n{config}")).unwrap();
        let ProxyKind::Nginx(options) = settings.extension("").unwrap().kind.clone() else { panic!("no NGINX") };
        let options = options.settled(sees_addresses);
        (options.max_connections(), options.connections_per_address())
    };
    assert_eq!(limits("", true), (32_767, 4095));
    // Where all clients have the addresses of nodes, those are not counted.
    assert_eq!(limits("", false), (32_767, 0));
    assert_eq!(limits("RLimitNoFile = 1048576", true), (65_536, 8192));
    assert_eq!(limits("RLimitNoFile = 16", true), (16, 2));
    assert_eq!(limits("MaxConnections = 1024", true), (1024, 128));
    assert_eq!(limits("MaxConnections = 10000000", true), (10_000_000, 65_535));
    assert_eq!(limits("MaxConnections = \"AUTO\"\nConnectionsPerAddress = 0", true), (32_767, 0));
    assert_eq!(limits("ConnectionsPerAddress = \"20\"", false), (32_767, 20));
    for (config, expected) in [
        ("MaxConnections = \"many\"", "is \"many\", expected \"auto\" or a whole number from 16 to 10000000"),
        ("ConnectionsPerAddress = 65536", "is 65536, expected 0 to 65535"),
        ("ClientHeaderTimeout = \"0s\"", "is zero"),
    ] {
        let said = wrong(&format!("[Extensions.default.Config]\n{config}"));
        assert!(said[0].ends_with(expected), "{said:?}");
    }
}
