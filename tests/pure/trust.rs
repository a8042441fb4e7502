//! Who gets in: the real listener with real sockets, and everybody who must not.

use std::sync::Arc;
use std::time::Duration;

use interlock_core::grpc::server::{Hub, Said};
use interlock_core::grpc::tls::{Admitted, Limits, channel, incoming};
use interlock_core::grpc::{self, v1};
use interlock_core::grpc::{Published, v1::extensions_client::ExtensionsClient};
use interlock_core::trust::{Authority, Identity};
use interlock_core::units::{Cluster, Role};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::client::TlsStream;
use tonic::Status;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const GENERATION: &str = "00000000000000aa";

struct Core {
    address: String,
    authority: Authority,
    admitted: watch::Sender<Arc<Admitted>>,
    _published: watch::Sender<Arc<Published>>,
    _said: mpsc::Receiver<Said>,
}

impl Core {
    async fn start(limits: Limits) -> Self {
        let authority = Authority::generate().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (admitted, to_admit) = watch::channel(Arc::default());
        let secrets = [((Cluster::default(), GENERATION.parse().unwrap()), ["ca.pem".parse().unwrap()].into())].into();
        let (published, to_publish) = watch::channel(Arc::new(Published { secrets, ..Published::default() }));
        let (sender, said) = mpsc::channel(64);
        let connections = incoming(listener, &authority, to_admit, limits).unwrap();
        tokio::spawn(grpc::serve(connections, Hub::new(to_publish, sender)));
        Self { address, authority, admitted, _published: published, _said: said }
    }

    /// An identity whose secret exists.
    fn peer(&self, role: Role, cluster: &str) -> Identity {
        let cluster: Cluster = cluster.parse().unwrap();
        let identity = issued(&self.authority, role, &cluster);
        self.admit(&identity, role, cluster);
        identity
    }

    /// An extension's identity that ends so many days from now, and is right in all else.
    fn ending_in(&self, days: i64) -> Identity {
        let pem = self.authority.to_pem();
        let (authority_pem, authority_key) = pem.split_at(pem.find("-----BEGIN PRIVATE KEY").unwrap());
        let authority_key = rcgen::KeyPair::from_pem(authority_key).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_der(self.authority.certificate(), &authority_key).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::URI("interlock://extension/".try_into().unwrap())];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        params.not_before = params.not_after - time::Duration::days(30);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        let identity = Identity::from_pem(&format!("{certificate}{}{authority_pem}", key.serialize_pem())).unwrap();
        self.admit(&identity, Role::Extension, Cluster::default());
        identity
    }

    fn admit(&self, identity: &Identity, role: Role, cluster: Cluster) {
        self.admitted.send_modify(|admitted| {
            Arc::make_mut(admitted).insert(identity.peer().fingerprint.clone(), (role, cluster));
        });
    }

    async fn watch(&self, identity: &Identity) -> Result<tonic::Streaming<v1::WatchResponse>, Status> {
        let mut client = ExtensionsClient::new(channel(&self.address, identity).unwrap());
        let request = v1::WatchRequest { agent: "test/1".to_owned(), checker_version: String::new() };
        let watching = tokio::time::timeout(Duration::from_secs(20), client.watch(request)).await;
        Ok(watching.expect("an answer in time")?.into_inner())
    }

    /// As somebody who shows this certificate, or none, and speaks these versions of TLS.
    async fn shakes_hands(
        &self,
        identity: Option<&Identity>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<()> {
        self.connects([127, 0, 0, 1], identity, versions).await.map(drop)
    }

    /// As somebody at this address.
    async fn connects_from(&self, from: [u8; 4], identity: &Identity) -> std::io::Result<TlsStream<TcpStream>> {
        self.connects(from, Some(identity), TLS13).await
    }

    async fn connects(
        &self,
        from: [u8; 4],
        identity: Option<&Identity>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.certificate().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                builder.with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect(self.address.parse().unwrap()).await?;
        let name = ServerName::try_from("core.interlock.internal").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        // In TLS 1.3 the server looks at the client's certificate after the client thinks that all is done.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
        let mut byte = [0];
        match stream.read(&mut byte).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(stream),
        }
    }
}

fn issued(authority: &Authority, role: Role, cluster: &Cluster) -> Identity {
    Identity::from_pem(&authority.issue(role, cluster).unwrap().pem).unwrap()
}

const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[tokio::test]
async fn only_certificates_whose_secrets_exist_get_in() {
    let core = Core::start(Limits::default()).await;
    let good = core.peer(Role::Extension, "");
    core.watch(&good).await.unwrap();
    core.shakes_hands(Some(&good), TLS13).await.unwrap();

    core.shakes_hands(None, TLS13).await.expect_err("no certificate");
    core.shakes_hands(Some(&good), TLS12).await.expect_err("TLS 1.2");
    core.shakes_hands(Some(&core.ending_in(1)), TLS13).await.unwrap();
    core.shakes_hands(Some(&core.ending_in(-1)), TLS13).await.expect_err("a certificate that ended yesterday");
    let stranger = issued(&Authority::generate().unwrap(), Role::Extension, &Cluster::default());
    core.admit(&stranger, Role::Extension, Cluster::default());
    core.shakes_hands(Some(&stranger), TLS13).await.expect_err("another authority's");
    let unknown = issued(&core.authority, Role::Extension, &Cluster::default());
    core.watch(&unknown).await.expect_err("no secret has its fingerprint");
    let promoted = issued(&core.authority, Role::Proxy, &Cluster::default());
    core.admit(&promoted, Role::Extension, Cluster::default());
    core.watch(&promoted).await.expect_err("its secret says another role");
    let moved = issued(&core.authority, Role::Extension, &Cluster::default());
    core.admit(&moved, Role::Extension, "b".parse().unwrap());
    core.watch(&moved).await.expect_err("its secret says another service cluster");
    let proxy = core.peer(Role::Proxy, "");
    assert_eq!(core.watch(&proxy).await.unwrap_err().code(), tonic::Code::PermissionDenied);
    core.watch(&good).await.unwrap();
}

/// Core may start, and issue identities, before its node knows the time; who looks at a certificate does so by another clock, years later.
#[test]
fn the_clock_by_which_a_certificate_was_made_does_not_matter() {
    let authority = Authority::generate().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let (roots, provider) = (Arc::new(roots), Arc::new(rustls::crypto::ring::default_provider()));
    let of_core = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone()).build().unwrap();
    let of_peers = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
    let name = ServerName::try_from("core.interlock.internal").unwrap();
    let [core, extension, proxy] = [Role::Core, Role::Extension, Role::Proxy]
        .map(|role| issued(&authority, role, &Cluster::default()).certificate);
    for (years, valid) in [(-30, true), (-1, true), (0, true), (1, true), (19, true), (21, false)] {
        let seconds = UnixTime::now().as_secs().saturating_add_signed(years * 365 * 24 * 3600);
        let then = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let seen = of_core.verify_server_cert(&core, &[], &name, &[], then);
        assert_eq!(seen.is_ok(), valid, "core's after {years} years: {seen:?}");
        for identity in [&extension, &proxy] {
            let seen = of_peers.verify_client_cert(identity, &[], then);
            assert_eq!(seen.is_ok(), valid, "an identity after {years} years: {seen:?}");
        }
    }
}

/// gRPC's own health service: whoever has a certificate may ask, and nobody else.
#[tokio::test]
async fn core_says_that_it_is_healthy_to_those_whom_it_knows() {
    let core = Core::start(Limits::default()).await;
    let asked = |identity: Identity, service: &'static str| {
        let mut client = HealthClient::new(channel(&core.address, &identity).unwrap());
        async move {
            let request = HealthCheckRequest { service: service.to_owned() };
            client.check(request).await.map(|answer| answer.into_inner().status())
        }
    };
    for (role, service) in
        [(Role::Proxy, "interlock.v1.Proxies"), (Role::Extension, "interlock.v1.Extensions"), (Role::Proxy, "")]
    {
        let answer = asked(core.peer(role, ""), service).await;
        assert_eq!(answer.unwrap(), ServingStatus::Serving, "{service}");
    }
    let unheard_of = asked(core.peer(Role::Proxy, ""), "interlock.v1.Nothing").await;
    assert_eq!(unheard_of.unwrap_err().code(), tonic::Code::NotFound);
    let unknown = issued(&core.authority, Role::Proxy, &Cluster::default());
    asked(unknown, "").await.expect_err("no secret has its fingerprint");
    let stranger = issued(&Authority::generate().unwrap(), Role::Proxy, &Cluster::default());
    core.admit(&stranger, Role::Proxy, Cluster::default());
    asked(stranger, "").await.expect_err("another authority's");
    // Who shows none is not even heard.
    core.shakes_hands(None, TLS13).await.expect_err("no certificate");
}

#[tokio::test]
async fn plain_text_gets_no_answer() {
    let core = Core::start(Limits::default()).await;
    let mut stream = TcpStream::connect(&core.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    // A TLS alert at most: 21, the version, a length, and two bytes.
    assert!(answer.is_empty() || (answer[0] == 21 && answer.len() == 7), "{answer:?}");
}

#[tokio::test]
async fn a_peer_does_not_take_another_holder_of_a_certificate_for_core() {
    let authority = Authority::generate().unwrap();
    let (extension, proxy) = (
        issued(&authority, Role::Extension, &Cluster::default()),
        issued(&authority, Role::Proxy, &Cluster::default()),
    );
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(TLS13).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![proxy.certificate], proxy.key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = tokio::spawn(async move { acceptor.accept(listener.accept().await.unwrap().0).await.map(drop) });
    let mut client = ExtensionsClient::new(channel(&address, &extension).unwrap());
    client.watch(v1::WatchRequest::default()).await.expect_err("it is a proxy's certificate");
    served.await.unwrap().expect_err("the client ended the handshake");
}

#[tokio::test]
async fn a_certificate_whose_secret_goes_is_cut_off() {
    let core = Core::start(Limits::default()).await;
    let (goes, stays) = (core.peer(Role::Extension, "a"), core.peer(Role::Extension, "b"));
    let mut cut = core.watch(&goes).await.unwrap();
    let _kept = core.watch(&stays).await.unwrap();
    core.admitted.send_modify(|admitted| {
        Arc::make_mut(admitted).remove(&goes.peer().fingerprint);
    });
    let ended = tokio::time::timeout(Duration::from_secs(20), cut.message()).await.expect("it is cut off");
    ended.expect_err("the connection is gone");
    core.watch(&goes).await.expect_err("and it does not come back");
    core.watch(&stays).await.unwrap();
}

/// An extension follows all cores that there are; a proxy that stayed would not look for another.
#[tokio::test]
async fn proxies_that_are_sent_away_are_cut_off_and_may_come_back() {
    let core = Core::start(Limits::default()).await;
    let (proxy, extension) = (core.peer(Role::Proxy, ""), core.peer(Role::Extension, ""));
    let mut sent_away = core.connects_from([127, 0, 0, 1], &proxy).await.unwrap();
    let mut stays = core.watch(&extension).await.unwrap();
    core.admitted.send_modify(|admitted| Arc::make_mut(admitted).send_proxies_away());
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), sent_away.read_to_end(&mut rest)).await;
    let _ = ended.expect("it is cut off");
    core.connects_from([127, 0, 0, 1], &proxy).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_millis(200), stays.message()).await;
    heard.expect_err("it neither hears something nor is it cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_silent_connections_are_bounded_and_keep_nobody_out() {
    let limits = Limits { handshake: Duration::from_secs(2), ..Limits::default() };
    let core = Core::start(limits).await;
    let good = core.peer(Role::Extension, "");
    let mut idle = Vec::new();
    for number in 0..1000 {
        let mut stream = TcpStream::connect(&core.address).await.unwrap();
        if number % 2 == 0 {
            // The beginning of a handshake that never goes on.
            let _ = stream.write_all(&[22, 3, 1, 2, 0]).await;
        }
        idle.push(stream);
    }
    // Those of one address that are too many are closed at once, the others when their time is over.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(refused) = core.watch(&good).await {
        assert!(tokio::time::Instant::now() < deadline, "kept out: {refused}");
    }
    core.watch(&good).await.unwrap();
    drop(idle);
}

/// All proxies of a service cluster show the same certificate: what one of them does must not keep the others out.
#[tokio::test]
async fn the_holders_of_a_certificate_have_places_of_their_own_by_address() {
    let core = Core::start(Limits { connections: 4, connections_of_one: 2, ..Limits::default() }).await;
    let good = core.peer(Role::Proxy, "");
    let mut open = Vec::new();
    for (last, count) in [(1, 2), (2, 2)] {
        for _ in 0..count {
            open.push(core.connects_from([127, 0, 0, last], &good).await.unwrap());
        }
        core.connects_from([127, 0, 0, last], &good).await.expect_err("one more of this address");
    }
    core.connects_from([127, 0, 0, 3], &good).await.expect_err("one more of this certificate");
    drop(open);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while core.connects_from([127, 0, 0, 3], &good).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "places are given back");
    }
}

#[tokio::test]
async fn one_certificate_has_a_bounded_number_of_connections() {
    let core = Core::start(Limits { connections_of_one: 3, ..Limits::default() }).await;
    let good = core.peer(Role::Extension, "");
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(core.watch(&good).await.unwrap());
    }
    core.watch(&good).await.expect_err("a fourth");
    let other = core.peer(Role::Extension, "b");
    core.watch(&other).await.unwrap();
    drop(open);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while core.watch(&good).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "places are given back");
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let core = Core::start(Limits::default()).await;
    let good = core.peer(Role::Extension, "");
    let mut client = ExtensionsClient::new(channel(&core.address, &good).unwrap());
    let content = "x".repeat(grpc::PEER_LIMIT);
    let files =
        v1::Files { hash: String::new(), files: vec![v1::File { path: String::new(), part: String::new(), content }] };
    let posted = v1::PostRequest { result: Some(v1::post_request::Result::Files(files)), ..v1::PostRequest::default() };
    let refused = client.post(posted).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused}");
    core.watch(&good).await.unwrap();
}
