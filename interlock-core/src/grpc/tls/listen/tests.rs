use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;

/// Counts what is logged in this thread.
struct Counted(Arc<AtomicUsize>);

impl Subscriber for Counted {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("interlock_core")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn m5_connections_that_are_refused_again_and_again_do_not_fill_the_log() {
    let lines = Arc::new(AtomicUsize::new(0));
    let _logs = tracing::subscriber::set_default(Counted(lines.clone()));
    let authority = Authority::generate().expect("an authority");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let address = listener.local_addr().expect("an address");
    let (_admitted, to_admit) = watch::channel(Arc::default());
    let _connections = incoming(listener, &authority, to_admit, Limits::default()).expect("it listens");
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address).await.expect("it connects");
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"no handshake").await.expect("it is read");
        // Until core has closed it, and so has refused it.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    assert_eq!(lines.load(Ordering::Relaxed), 1);
}
