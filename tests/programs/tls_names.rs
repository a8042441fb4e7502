//! Who answers a TLS connection: by the name in its handshake, and by the names in the requests inside it.

mod handshakes;
mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::backend::{PORT, Service, Site, address};
use crate::support::pki::{Authority, Pair};
use crate::support::tls::{Client, speaks_tls};

/// The pair as one secret.
fn pem(pair: &Pair) -> String {
    pair.certificate.clone() + &pair.key
}

fn client(site: &Site) -> Client {
    Client::new(site.nginx.port() + 1, None)
}

/// An application that TLS is passed through to, as the task of the service of this number, and its connections.
fn passed(net: &str, number: usize, pair: &Pair) -> Arc<AtomicUsize> {
    speaks_tls(&format!("{}:{PORT}", address(net, number)), pair)
}

fn count(connections: &AtomicUsize) -> usize {
    connections.load(Ordering::SeqCst)
}

const PASSES: (&str, &str) = ("ssl_passthrough", "true");

/// One site without and one with a host that is passed through, which puts a stream server in front. The connections of who is passed through.
fn both_layouts(
    nets: [&str; 2],
    authority: &Authority,
    services: &[Service<'_>],
    secrets: &[(&str, &str)],
) -> [(Site, Arc<AtomicUsize>); 2] {
    let own = authority.pair("through.example.com");
    let with = [services, &[("through", &[("hosts", "through.example.com"), PASSES])]].concat();
    let connections = passed(nets[1], services.len(), &own);
    let alone = Site::start_with(nets[0], services, secrets, "");
    [(alone, Arc::default()), (Site::start_with(nets[1], &with, secrets, ""), connections)]
}

/// A host whose TLS ends at the proxy.
const SHOP: [(&str, &str); 2] = [("hosts", "shop.example.com"), ("ssl_cert", "shop.pem")];
