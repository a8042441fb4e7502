//! WebSocket: tungstenite on both sides.

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{accept_hdr_async, client_async};

use crate::clients::{HOST, PORT, Site, soon};
use crate::support::routes::{labelled, rendered};

/// An application that first tells the path that it was asked for, then sends back what it gets.
async fn application(address: &str) {
    let listener = TcpListener::bind((address, PORT)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut told = String::new();
                #[expect(clippy::result_large_err, reason = "the library's own")]
                let look = |request: &Request, response: Response| {
                    told = request.uri().to_string();
                    Ok(response)
                };
                let mut socket = accept_hdr_async(stream, look).await.unwrap();
                socket.send(Message::text(told)).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, scheme: &str, path: &str) {
    let (mut socket, response) = soon(client_async(format!("{scheme}://{HOST}{path}"), stream)).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Message::text(path));
    for message in [Message::text("größer"), Message::binary(vec![7; 100_000]), Message::text("")] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(soon(socket.next()).await.unwrap().unwrap(), message);
    }
    // Both say goodbye, and the connection ends.
    socket.close(None).await.unwrap();
    while let Some(Ok(message)) = soon(socket.next()).await {
        assert!(message.is_close(), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h1_messages_go_both_ways_on_every_path() {
    application("127.30.30.1").await;
    for labels in [&[][..], &[("websocket_endpoints", "/ws,/live/events")], &[("compress", "true")]] {
        let site = Site::start(&["127.30.30.1"], labels, "");
        for path in ["/", "/any?x=1", "/ws", "/ws/room", "/live/events"] {
            talk(site.tcp().await, "ws", path).await;
            talk(site.tls(&["http/1.1"]).await, "wss", path).await;
        }
    }
}

#[test]
fn the_paths_that_are_named_may_be_silent_for_long() {
    let labels = [("hosts", HOST), ("websocket_endpoints", "/ws"), ("read_timeout", "5s")];
    let files = rendered(&labelled("shop", PORT, &labels), &[("shop", "127.30.31.1")]);
    let location = |line: &str| {
        let (_, rest) = files[0].content.split_once(&format!("location {line} {{")).unwrap();
        rest.split_once('}').unwrap().0.to_owned()
    };
    for place in ["= /ws", "/ws/"] {
        let text = location(place);
        assert!(text.contains("proxy_read_timeout 1d;") && text.contains("proxy_send_timeout 1d;"), "{text}");
    }
    // Not the health check's, which comes first in the file.
    let (_, own) = files[0].content.split_once(&format!("server_name {HOST};")).unwrap();
    assert!(own.split_once("location / {").unwrap().1.contains("proxy_read_timeout 5s;"), "{own}");
}
