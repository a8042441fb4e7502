//! TLS clients that look at who answers rather than believe it, and applications that speak TLS themselves.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme, StreamOwned};

use super::pki::Pair;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Takes any certificate: what matters is which one is shown.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12_signature(message, &CertificateDer::from(Vec::new()), signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client. It resumes sessions with hosts that it had one with.
pub struct Client {
    config: Arc<ClientConfig>,
    port: u16,
}

impl Client {
    /// For the TLS port of a proxy. `identity`: who the client says it is.
    pub fn new(port: u16, identity: Option<&Pair>) -> Self {
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider())));
        let config = match identity {
            Some(pair) => config.with_client_auth_cert(vec![certificate(pair)], key(pair)).unwrap(),
            None => config.with_no_client_auth(),
        };
        Self { config: Arc::new(config), port }
    }

    /// A client that does not say which host it wants.
    pub fn without_a_name(mut self) -> Self {
        Arc::get_mut(&mut self.config).unwrap().enable_sni = false;
        self
    }

    /// A client that speaks HTTP/2.
    pub fn by_http2(mut self) -> Self {
        Arc::get_mut(&mut self.config).unwrap().alpn_protocols = vec![b"h2".to_vec()];
        self
    }

    /// A handshake that has only just begun, and its first bytes.
    pub fn hello(&self, host: &str) -> (ClientConnection, Vec<u8>) {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut connection = ClientConnection::new(self.config.clone(), name).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        (connection, hello)
    }

    /// A finished handshake.
    pub fn connect(&self, host: &str) -> io::Result<Connection> {
        self.connect_in_pieces(host, |hello| vec![hello])
    }

    /// A finished handshake whose first bytes were sent in these pieces.
    pub fn connect_in_pieces(&self, host: &str, pieces: impl Fn(Vec<u8>) -> Vec<Vec<u8>>) -> io::Result<Connection> {
        let (mut connection, hello) = self.hello(host);
        let mut stream = self.send(pieces(hello))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Connection(StreamOwned::new(connection, stream)))
    }

    /// What kind of record the answer to these bytes is: 21 is an alert, 22 goes on with the handshake, `None` is the end.
    pub fn answer_to(&self, pieces: Vec<Vec<u8>>) -> Option<u8> {
        let mut kind = [0];
        let mut stream = self.send(pieces).ok()?;
        stream.read_exact(&mut kind).ok().map(|()| kind[0])
    }

    fn send(&self, pieces: Vec<Vec<u8>>) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        // Who does not want all of it may close before the end.
        let _ = pieces.iter().try_for_each(|piece| stream.write_all(piece));
        Ok(stream)
    }
}

/// A connection after the handshake.
pub struct Connection(StreamOwned<ClientConnection, TcpStream>);

impl Connection {
    /// Whether this certificate was shown.
    pub fn shows(&self, pair: &Pair) -> bool {
        self.0.conn.peer_certificates().and_then(<[_]>::first) == Some(&certificate(pair))
    }

    /// Whether the session of another connection goes on.
    pub fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// Sends a request for a host and reads up to the end of the connection.
    pub fn get(&mut self, host: &str, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::new();
        // A connection that is ended without a word says as much as an answer.
        let _ = self.0.write_all(request.as_bytes());
        let _ = self.0.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Connection {
    /// Sends one HTTP/2 request of these fields, written out, and returns the fields of the answer as they come; nothing if there is none.
    pub fn exchange_http2(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let frame = |kind: u8, flags: u8, stream: u8, content: &[u8]| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[0, length[0], length[1], kind, flags, 0, 0, 0, stream], content].concat()
        };
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let block: Vec<_> =
            fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
        let sent = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[]), &frame(1, 5, 1, &block)].concat();
        self.0.write_all(&sent).unwrap();
        let mut head = [0; 9];
        while self.0.read_exact(&mut head).is_ok() {
            let mut content = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
            if self.0.read_exact(&mut content).is_err() || matches!(head[3], 3 | 7) {
                break;
            }
            if head[3] == 1 {
                return content;
            }
        }
        Vec::new()
    }
}

fn certificate(pair: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()
}

fn key(pair: &Pair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()
}

/// Starts an application that speaks TLS itself and answers with the request as it came. Returns how many connections it got. It
/// ends with the test process.
pub fn speaks_tls(address: &str, pair: &Pair) -> Arc<AtomicUsize> {
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate(pair)], key(pair)).unwrap());
    let listener = TcpListener::bind(address).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            let config = config.clone();
            std::thread::spawn(move || answer(stream, config));
        }
    });
    connections
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    let mut stream = StreamOwned::new(rustls::ServerConnection::new(config).ok()?, stream);
    let mut head = [0; 4096];
    let read = stream.read(&mut head).ok()?;
    let body = format!("app=itself\n{}", String::from_utf8_lossy(&head[..read]));
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}
