//! Where one request ends and the next one begins: no reading of it makes more requests than the client sent.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{ask, is_oldest};
use crate::support::backend::Site;
use crate::support::routes::status;

/// What is sent in front of a last request that is as it should be, on one connection. `/first` and `/second` are requests; `/smuggled` stands in
/// a body or where no request can begin. A line ends with CRLF, `^` is a bare LF, and `@` is the variant's own folder.
const VARIANTS: &[(&str, &str)] = &[
    // As it should be.
    ("a length", "POST @/first HTTP/1.1\nContent-Length: 5\n\nhello"),
    ("no body", "POST @/first HTTP/1.1\nContent-Length: 0\n\n"),
    ("chunks", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n"),
    (
        "a request in a body",
        "POST @/first HTTP/1.1\nContent-Length: 54\n\nGET @/smuggled HTTP/1.1\nHost: shop.example.com\n\n",
    ),
    (
        "a request in a chunk",
        "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n36\nGET @/smuggled HTTP/1.1\nHost: shop.example.com\n\n\n0\n\n",
    ),
    ("a body with GET", "GET @/first HTTP/1.1\nContent-Length: 5\n\nhello"),
    ("chunks with GET", "GET @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n"),
    // Two ways to say where it ends.
    (
        "CL and TE",
        "POST @/first HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\nGET @/smuggled HTTP/1.1\nX: ",
    ),
    (
        "TE and CL",
        "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 4\n\n1f\nGET @/smuggled HTTP/1.1\nX: 1\n\n0\n\n",
    ),
    ("CL 0 and TE", "POST @/first HTTP/1.1\nContent-Length: 0\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n"),
    ("two CL alike", "POST @/first HTTP/1.1\nContent-Length: 5\nContent-Length: 5\n\nhello"),
    ("two CL apart", "POST @/first HTTP/1.1\nContent-Length: 5\nContent-Length: 0\n\nhello"),
    ("CL list", "POST @/first HTTP/1.1\nContent-Length: 5, 5\n\nhello"),
    ("two TE", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\n\n"),
    (
        "two TE, identity last",
        "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\n\n",
    ),
    (
        "CL underscored",
        "POST @/first HTTP/1.1\nContent_Length: 50\n\nGET @/second HTTP/1.1\nHost: shop.example.com\n\n",
    ),
    // Odd lengths.
    ("CL plus", "POST @/first HTTP/1.1\nContent-Length: +5\n\nhello"),
    ("CL minus", "POST @/first HTTP/1.1\nContent-Length: -5\n\nhello"),
    ("CL hex", "POST @/first HTTP/1.1\nContent-Length: 0x5\n\nhello"),
    ("CL fraction", "POST @/first HTTP/1.1\nContent-Length: 5.0\n\nhello"),
    ("CL words", "POST @/first HTTP/1.1\nContent-Length: 5 5\n\nhello"),
    ("CL empty", "POST @/first HTTP/1.1\nContent-Length:\n\nhello"),
    ("CL zeroes", "POST @/first HTTP/1.1\nContent-Length: 0005\n\nhello"),
    ("CL beyond 64 bits", "POST @/first HTTP/1.1\nContent-Length: 18446744073709551621\n\nhello"),
    ("CL beyond 63 bits", "POST @/first HTTP/1.1\nContent-Length: 9223372036854775813\n\nhello"),
    ("CL tab", "POST @/first HTTP/1.1\nContent-Length:\t5\n\nhello"),
    ("CL vertical tab", "POST @/first HTTP/1.1\nContent-Length: \u{b}5\n\nhello"),
    ("CL NUL", "POST @/first HTTP/1.1\nContent-Length: 5\0\n\nhello"),
    ("CL folded", "POST @/first HTTP/1.1\nContent-Length:\n 5\n\nhello"),
    ("CL space before colon", "POST @/first HTTP/1.1\nContent-Length : 5\n\nhello"),
    ("CL too short", "POST @/first HTTP/1.1\nContent-Length: 3\n\nhello"),
    // Odd encodings.
    ("TE xchunked", "POST @/first HTTP/1.1\nTransfer-Encoding: xchunked\n\n0\n\n"),
    ("TE chunkedx", "POST @/first HTTP/1.1\nTransfer-Encoding: chunkedx\n\n0\n\n"),
    ("TE upper case", "POST @/first HTTP/1.1\nTRANSFER-ENCODING: CHUNKED\n\n5\nhello\n0\n\n"),
    ("TE identity", "POST @/first HTTP/1.1\nTransfer-Encoding: identity\n\n0\n\n"),
    ("TE identity and CL", "POST @/first HTTP/1.1\nTransfer-Encoding: identity\nContent-Length: 5\n\nhello"),
    ("TE gzip, chunked", "POST @/first HTTP/1.1\nTransfer-Encoding: gzip, chunked\n\n0\n\n"),
    ("TE chunked, identity", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked, identity\n\n0\n\n"),
    ("TE chunked, chunked", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked, chunked\n\n0\n\n"),
    ("TE comma", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked,\n\n0\n\n"),
    ("TE parameter", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked;x=1\n\n0\n\n"),
    ("TE quoted", "POST @/first HTTP/1.1\nTransfer-Encoding: \"chunked\"\n\n0\n\n"),
    ("TE empty", "POST @/first HTTP/1.1\nTransfer-Encoding:\n\n0\n\n"),
    ("TE tab", "POST @/first HTTP/1.1\nTransfer-Encoding:\tchunked\n\n0\n\n"),
    ("TE vertical tab", "POST @/first HTTP/1.1\nTransfer-Encoding: \u{b}chunked\n\n0\n\n"),
    ("TE NUL", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\0\n\n0\n\n"),
    ("TE space before colon", "POST @/first HTTP/1.1\nTransfer-Encoding : chunked\n\n0\n\n"),
    ("TE space in front", "POST @/first HTTP/1.1\n Transfer-Encoding: chunked\n\n0\n\n"),
    ("TE folded", "POST @/first HTTP/1.1\nX: x\n Transfer-Encoding: chunked\n\n0\n\n"),
    ("TE value folded", "POST @/first HTTP/1.1\nTransfer-Encoding:\n chunked\n\n0\n\n"),
    ("TE underscored", "POST @/first HTTP/1.1\nTransfer_Encoding: chunked\nContent-Length: 5\n\nhello"),
    (
        "TE and CL underscored",
        "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\nContent_Length: 4\n\n5\nhello\n0\n\n",
    ),
    ("TE behind a bare CR", "POST @/first HTTP/1.1\nX: x\rTransfer-Encoding: chunked\nContent-Length: 5\n\nhello"),
    (
        "TE named in Connection",
        "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\nConnection: Transfer-Encoding\n\n5\nhello\n0\n\n",
    ),
    ("CL named in Connection", "POST @/first HTTP/1.1\nContent-Length: 5\nConnection: Content-Length\n\nhello"),
    ("TE in HTTP/1.0", "POST @/first HTTP/1.0\nConnection: keep-alive\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n"),
    (
        "TE and CL in HTTP/1.0",
        "POST @/first HTTP/1.0\nConnection: keep-alive\nTransfer-Encoding: chunked\nContent-Length: 5\n\n0\n\n",
    ),
    // Odd chunks.
    ("chunk size upper case", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\nA\n0123456789\n0\n\n"),
    ("chunk size zeroes", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n0005\nhello\n000\n\n"),
    ("chunk size 0x", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n0x5\nhello\n0\n\n"),
    ("chunk size minus", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n-5\nhello\n0\n\n"),
    ("chunk size plus", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n+5\nhello\n0\n\n"),
    ("chunk size empty", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n\nhello\n0\n\n"),
    ("chunk size underscored", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n0_5\nhello\n0\n\n"),
    (
        "chunk size beyond 64 bits",
        "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n10000000000000005\nhello\n0\n\n",
    ),
    (
        "chunk size beyond 63 bits",
        "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\nffffffffffffffff\nhello\n0\n\n",
    ),
    ("chunk extension", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n5;x=\"y\"\nhello\n0;z\n\n"),
    ("chunk extension with a bare CR", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n5;x\ry\nhello\n0\n\n"),
    ("chunk too long", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n3\nhello\n0\n\n"),
    ("chunk without an end", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n5\nhello0\n\n"),
    ("chunk ended by bare LF", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n5^hello^0^^"),
    ("chunk ended by bare CR", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n5\rhello\r0\r\r"),
    ("chunk ended by two others", "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n5\nhelloXX0\n\n"),
    (
        "trailer with a length",
        "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n5\nhello\n0\nContent-Length: 50\n\n",
    ),
    (
        "trailer like a request",
        "POST @/first HTTP/1.1\nTransfer-Encoding: chunked\n\n0\nGET @/smuggled HTTP/1.1\nX: x\n\n",
    ),
    // Odd lines.
    ("bare LF", "POST @/first HTTP/1.1^Host: shop.example.com^Content-Length: 5^^hello"),
    ("header ended by bare CR", "GET @/first HTTP/1.1\nX: x\r\rGET @/smuggled HTTP/1.1\nX: x\n\n"),
    ("space in the target", "GET @/first HTTP/1.1 x HTTP/1.1\n\n"),
    ("request line folded", "GET @/first\n HTTP/1.1\n\n"),
    ("tab in the request line", "GET\t@/first\tHTTP/1.1\n\n"),
    ("empty lines in front", "\n\nGET @/first HTTP/1.1\n\n"),
    ("header without a name", "GET @/first HTTP/1.1\n: x\n\n"),
    ("header without a colon", "GET @/first HTTP/1.1\nX\n\n"),
    ("header with a NUL", "GET @/first HTTP/1.1\nX: \0\n\n"),
    ("CRLF encoded in the target", "GET @/first%20HTTP/1.1%0d%0aX:%20/smuggled HTTP/1.1\n\n"),
    ("HTTP/0.9", "GET @/first\n"),
    ("HTTP/2.0", "GET @/first HTTP/2.0\n\n"),
    ("HTTP/1.2", "GET @/first HTTP/1.2\n\n"),
    ("HTTP/1.10", "GET @/first HTTP/1.10\n\n"),
    ("HTTP/2 at once", "PRI * HTTP/2.0\n\nSM\n\n"),
    ("CONNECT", "CONNECT shop.example.com:80 HTTP/1.1\n\nGET @/smuggled HTTP/1.1\n\n"),
    ("CONNECT by path", "CONNECT @/first HTTP/1.1\n\n"),
    ("TRACE", "TRACE @/first HTTP/1.1\n\n"),
    ("unknown method", "FOO @/first HTTP/1.1\nContent-Length: 5\n\nhello"),
    ("method in lower case", "post @/first HTTP/1.1\nContent-Length: 5\n\nhello"),
    ("expectation", "POST @/first HTTP/1.1\nExpect: 100-continue\nContent-Length: 5\n\nhello"),
    (
        "expectation and TE",
        "POST @/first HTTP/1.1\nExpect: 100-continue\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
    ),
    ("unknown expectation", "POST @/first HTTP/1.1\nExpect: x\nContent-Length: 5\n\nhello"),
];

/// All that is sent. The first request has its host, unless its version is none.
fn bytes(number: usize, text: &str) -> String {
    let mut text = text.to_owned();
    for version in ["HTTP/1.1\n", "HTTP/1.0\n"] {
        text = text.replacen(version, &format!("{version}Host: shop.example.com\n"), 1);
    }
    let sent = text.replace('\n', "\r\n").replace('^', "\n").replace('@', &format!("/{number:03}"));
    let last = format!("GET /{number:03}/last HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n");
    sent + &last
}

/// Sends all of it and reads up to the end. Who waits for more is told that there is none.
fn statuses(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stream.write_all(request.as_bytes());
    let (mut answers, mut chunk) = (Vec::new(), [0; 4096]);
    let mut patient = true;
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => answers.extend_from_slice(&chunk[..read]),
            Err(_) if patient => {
                patient = false;
                let _ = stream.shutdown(std::net::Shutdown::Write);
            }
            Err(_) => break,
        }
    }
    let answers = String::from_utf8_lossy(&answers);
    let codes: Vec<_> = answers.match_indices("HTTP/1.1 ").map(|(at, _)| status(&answers[at..])).collect();
    if codes.is_empty() { "closed".to_owned() } else { codes.join(" ") }
}

/// The table says for each variant what the client got and which requests the application saw. Whatever NGINX makes of a variant, it tells the
/// application in one way only: one length, no chunks, no folded line. That is why it does not matter what the application would have made of it.
#[test]
fn f1_nobody_gets_more_requests_than_were_sent() {
    assert!(VARIANTS.len() >= 60);
    let site = Site::start("127.22.30", &[("shop", &[("hosts", "shop.example.com")])]);
    let port = site.nginx.port();
    let got: Vec<_> = std::thread::scope(|scope| {
        let one = |(number, (_, text)): (usize, &(&str, &str))| {
            let request = bytes(number, text);
            scope.spawn(move || statuses(port, &request))
        };
        let threads: Vec<_> = VARIANTS.iter().enumerate().map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let seen = site.seen("shop");
    for request in &seen {
        let head = &request.head;
        let lengths = request.values("Content-Length");
        assert!(lengths.len() <= 1 && request.values("Transfer-Encoding").is_empty(), "{head}");
        assert!(lengths.first().map_or(0, |length| length.parse().unwrap()) == request.body.len(), "{head}");
        let plain = head.replace("\r\n", "");
        assert!(!plain.contains(['\r', '\n', '\0']) && !head.contains("\r\n ") && !head.contains("\r\n\t"), "{head:?}");
    }
    let mut table = String::new();
    for (number, ((name, _), got)) in VARIANTS.iter().zip(got).enumerate() {
        let folder = format!("/{number:03}/");
        let own: Vec<_> = seen.iter().filter_map(|seen| seen.target().strip_prefix(&folder)).collect();
        assert!(own.iter().all(|path| !path.starts_with("smuggled")), "{name}: {own:?}");
        assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), own.len(), "{name}: {own:?}");
        let line = format!("{name:30} {got:11} {}", own.join(" "));
        writeln!(table, "{}", line.trim_end()).unwrap();
    }
    // Newer ones refuse more.
    if is_oldest() {
        insta::assert_snapshot!(table, @r"
    a length                       200 200     first last
    no body                        200 200     first last
    chunks                         200 200     first last
    a request in a body            200 200     first last
    a request in a chunk           200 200     first last
    a body with GET                200 200     first last
    chunks with GET                200 200     first last
    CL and TE                      400
    TE and CL                      400
    CL 0 and TE                    400
    two CL alike                   400
    two CL apart                   400
    CL list                        400
    two TE                         400
    two TE, identity last          400
    CL underscored                 200 200 200 first second last
    CL plus                        400
    CL minus                       400
    CL hex                         400
    CL fraction                    400
    CL words                       400
    CL empty                       400
    CL zeroes                      200 200     first last
    CL beyond 64 bits              400
    CL beyond 63 bits              400
    CL tab                         400
    CL vertical tab                400
    CL NUL                         400
    CL folded                      400
    CL space before colon          400
    CL too short                   200 400     first
    TE xchunked                    501
    TE chunkedx                    501
    TE upper case                  200 200     first last
    TE identity                    501
    TE identity and CL             501
    TE gzip, chunked               501
    TE chunked, identity           501
    TE chunked, chunked            501
    TE comma                       501
    TE parameter                   501
    TE quoted                      501
    TE empty                       501
    TE tab                         501
    TE vertical tab                501
    TE NUL                         400
    TE space before colon          400
    TE space in front              400
    TE folded                      400
    TE value folded                400
    TE underscored                 200 200     first last
    TE and CL underscored          200 200     first last
    TE behind a bare CR            400
    TE named in Connection         200 200     first last
    CL named in Connection         200 200     first last
    TE in HTTP/1.0                 400
    TE and CL in HTTP/1.0          400
    chunk size upper case          200 200     first last
    chunk size zeroes              200 200     first last
    chunk size 0x                  400
    chunk size minus               400
    chunk size plus                400
    chunk size empty               400
    chunk size underscored         400
    chunk size beyond 64 bits      400
    chunk size beyond 63 bits      400
    chunk extension                200 200     first last
    chunk extension with a bare CR 400
    chunk too long                 400
    chunk without an end           400
    chunk ended by bare LF         200 200     first last
    chunk ended by bare CR         400
    chunk ended by two others      400
    trailer with a length          200 200     first last
    trailer like a request         200 200     first last
    bare LF                        200 200     first last
    header ended by bare CR        400
    space in the target            400
    request line folded            closed
    tab in the request line        400
    empty lines in front           200 200     first last
    header without a name          400
    header without a colon         200 200     first last
    header with a NUL              400
    CRLF encoded in the target     200 200     first%20HTTP/1.1%0d%0aX:%20/smuggled last
    HTTP/0.9                       closed
    HTTP/2.0                       505
    HTTP/1.2                       400
    HTTP/1.10                      400
    HTTP/2 at once                 400
    CONNECT                        400
    CONNECT by path                405
    TRACE                          405
    unknown method                 200 200     first last
    method in lower case           400
    expectation                    100 200 200 first last
    expectation and TE             100 200 200 first last
    unknown expectation            200 200     first last
    ");
    }
}

#[test]
fn f2_only_websocket_is_upgraded_on_its_endpoints_and_elsewhere() {
    let labels = [("hosts", "shop.example.com"), ("websocket_endpoints", "/ws")];
    let site = Site::start("127.22.31", &[("shop", &labels)]);
    for (upgrade, forwarded) in [
        ("websocket", Some("websocket")),
        ("WebSocket", Some("websocket")),
        ("h2c", None),
        ("H2C", None),
        ("h2c, websocket", None),
        ("websocket, h2c", None),
        ("websocket/13", None),
        ("TLS/1.2", None),
        ("h2", None),
        ("", None),
        ("h2c\r\nUpgrade: websocket", None),
    ] {
        for path in ["/ws", "/ws/x", "/x"] {
            for connection in ["Upgrade, HTTP2-Settings", "upgrade", "keep-alive, Upgrade"] {
                let request = format!(
                    "GET {path} HTTP/1.1\r\nHost: shop.example.com\r\nConnection: {connection}\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: {upgrade}\r\n\r\n"
                );
                // The application answers without a change of protocol.
                assert_eq!(ask(&site, &request), "200", "{upgrade}");
                let seen = site.seen("shop").pop().unwrap();
                assert_eq!(seen.values("Upgrade"), Vec::from_iter(forwarded), "{upgrade}: {}", seen.head);
                assert_eq!(seen.values("Connection"), Vec::from_iter(forwarded.map(|_| "upgrade")), "{}", seen.head);
            }
        }
    }
    let before = site.requests();
    assert_eq!(ask(&site, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "400");
    assert_eq!(site.requests(), before, "nor is it spoken without asking");
}
