//! What clients and applications may send, byte by byte, and what the other side gets of it: the real nginx with what is rendered.
//!
//! Names begin with a threat's class: C, who owns a name; D, paths; E, headers and trust; F, message framing. Where NGINX cannot refuse
//! what is ambiguous, what has to hold is that it is never somebody else's application that gets it, and that the answer is always the same.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../support/mod.rs"]
mod support;

mod framing;
mod headers;
mod hosts;
mod limits;
mod paths;
mod raw_paths;

use support::backend::Site;
use support::routes::status;
use support::{http, nginx};

use interlock_core::names::ProxyVersion;

/// Sends raw bytes: the status of the answer, or `closed`.
fn ask(site: &Site, request: &str) -> String {
    let answer = http::exchange(("127.0.0.1", site.nginx.port()), request);
    answer.map_or_else(|_| "closed".to_owned(), |answer| status(&answer).to_owned())
}

/// Whether this is the oldest nginx that is supported. Newer ones refuse more, and what exactly they take is no concern of ours.
fn is_oldest() -> bool {
    let ProxyVersion { major, minor, .. } = nginx::installed();
    (major, minor) == (1, 22)
}
