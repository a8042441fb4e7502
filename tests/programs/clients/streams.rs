//! Answers that come bit by bit, and requests that are long.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::clients::{HOST, PATIENCE, PORT, Site, soon};
use crate::support::routes::status;

/// What came in: the head of a request, and the connection that it came by.
type Arrived = (String, BufReader<TcpStream>);

/// An application that leaves what it is asked to the test.
fn application(address: &str) -> mpsc::Receiver<Arrived> {
    let listener = TcpListener::bind((address, PORT)).unwrap();
    let (send, arrived) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
            if send.send((head, reader)).is_err() {
                return;
            }
        }
    });
    arrived
}

/// Asks for events, and for each one only after the one before was heard.
async fn events(mut client: impl AsyncRead + AsyncWrite + Unpin, arrived: &mpsc::Receiver<Arrived>) {
    let request = format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let (_, application) = arrived.recv_timeout(PATIENCE).unwrap();
    let mut application = application.into_inner();
    application.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").unwrap();
    let mut lines = tokio::io::BufReader::new(client).lines();
    // The head arrives before there is any event.
    while !soon(lines.next_line()).await.unwrap().unwrap().is_empty() {}
    for number in 0..50 {
        application.write_all(format!("data: {number}\n\n").as_bytes()).unwrap();
        let wanted = format!("data: {number}");
        // Between events there are the sizes of chunks.
        while soon(lines.next_line()).await.unwrap().unwrap() != wanted {}
    }
    // Who goes away is no longer told anything.
    drop(lines);
    let mut rest = Vec::new();
    application.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(application.read_to_end(&mut rest).unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_arrives_before_the_next_is_sent() {
    let arrived = application("127.30.20.1");
    // An application's word about buffering changes nothing, nor does compression hold anything back.
    for labels in [&[][..], &[("compress", "true")]] {
        let site = Site::start(&["127.30.20.1"], labels, "");
        events(site.tcp().await, &arrived).await;
        events(site.tls(&["http/1.1"]).await, &arrived).await;
    }
}

/// curl is the client of HTTP/2 here. Without buffers it writes each event as it comes.
#[tokio::test(flavor = "multi_thread")]
async fn events_come_one_by_one_over_http_2_too() {
    let arrived = application("127.30.21.1");
    let site = Site::start(&["127.30.21.1"], &[], "");
    let port = site.nginx.port() + 1;
    let mut curl = tokio::process::Command::new("curl")
        .args(["--silent", "--no-buffer", "--http2", "--resolve", &format!("{HOST}:{port}:127.0.0.1"), "--cacert"])
        .arg(site.authority.file())
        .arg(format!("https://{HOST}:{port}/events"))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(curl.stdout.take().unwrap()).lines();
    let (_, application) = arrived.recv_timeout(PATIENCE).unwrap();
    let mut application = application.into_inner();
    application.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").unwrap();
    for number in 0..50 {
        application.write_all(format!("data: {number}\n").as_bytes()).unwrap();
        assert_eq!(soon(lines.next_line()).await.unwrap().unwrap(), format!("data: {number}"));
    }
}

/// Nothing of a slow upload occupies an application: it is asked when all of it is there, on disk if need be.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_reaches_the_application_whole_and_at_once() {
    const SIZE: usize = 20 << 20;
    let arrived = application("127.30.22.1");
    let site = Site::start(&["127.30.22.1"], &[], "");
    for tls in [false, true] {
        let mut client: Box<dyn Duplex> =
            if tls { Box::new(site.tls(&["http/1.1"]).await) } else { Box::new(site.tcp().await) };
        let head = format!("POST /up HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let body: Vec<_> = (0..SIZE).map(|at| (at % 251) as u8).collect();
        let (most, last) = body.split_at(SIZE - 1);
        client.write_all(most).await.unwrap();
        client.flush().await.unwrap();
        assert!(arrived.try_recv().is_err(), "the application was asked before all was there");
        client.write_all(last).await.unwrap();
        client.flush().await.unwrap();
        let (head, mut application) = tokio::task::block_in_place(|| arrived.recv_timeout(PATIENCE).unwrap());
        assert!(head.contains(&format!("Content-Length: {SIZE}\r\n")), "{head}");
        let mut got = vec![0; SIZE];
        application.read_exact(&mut got).unwrap();
        assert!(got == body, "something of it is wrong");
        application.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        let mut answer = String::new();
        soon(client.read_to_string(&mut answer)).await.unwrap();
        assert!(status(&answer) == "200" && answer.ends_with("ok"), "{answer}");
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}
