//! What needs a newer NGINX than the oldest supported one. `scripts/test` names it by `INTERLOCK_NGINX`.

use interlock_core::grpc::v1;
use interlock_core::grpc::v1::extensions_client::ExtensionsClient;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::clients::grpc::{application, fails};
use crate::clients::{HOST, PORT, soon};
use crate::support::nginx::{Nginx, installed};
use crate::support::routes::{labelled, rendered_with};

/// NGINX with what is rendered for its version: a service `shop` with these labels, and this task.
fn site(address: &str, labels: &[(&str, &str)]) -> Nginx {
    let version = installed();
    assert!(version >= "1.30.0".parse().unwrap(), "INTERLOCK_NGINX is {version}");
    let toml = format!("[Extensions.default]\nPublishMode = \"host\"\nProxyVersion = \"{version}\"\n");
    let services = labelled("shop", PORT, &[&[("hosts", HOST)], labels].concat())
        + &labelled("other", PORT, &[("hosts", "other.example.com")]);
    Nginx::start(&rendered_with(&services, &[("shop", address), ("other", "127.30.0.1")], &[], &toml))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a newer nginx: scripts/test has one"]
async fn grpc_is_served_without_a_certificate() {
    let _streams = application("127.30.60.1", None).await;
    let nginx = site("127.30.60.1", &[("backend_protocol", "grpc")]);
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", nginx.port())).unwrap();
    let channel = endpoint.origin(format!("http://{HOST}").parse().unwrap()).connect().await.unwrap();
    let mut client = ExtensionsClient::new(channel);
    soon(client.post(v1::PostRequest::default())).await.unwrap();
    let status = soon(client.post(fails("as it was said"))).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DataLoss, "as it was said"));
    // HTTP/1 goes on beside it, at other hosts' servers as well.
    assert!(nginx.get("nobody.example.com", "/").starts_with("HTTP/1.1 503"));
    assert!(nginx.get("other.example.com", "/").starts_with("HTTP/1.1 502"));
}
