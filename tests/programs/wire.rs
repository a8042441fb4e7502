//! What clients and applications may send, byte by byte, and what the other side gets of it: the real nginx with what is rendered.
//!
//! Names begin with a threat's class: C, who owns a name; D, paths; E, headers and trust; F, message framing. Where NGINX cannot refuse
//! what is ambiguous, what has to hold is that it is never somebody else's application that gets it, and that the answer is always the same.

mod framing;
mod headers;
mod hosts;
mod limits;
mod paths;
mod raw_paths;

use crate::support::backend::Site;
use crate::support::routes::status;
use crate::support::{http, nginx};

use interlock_core::units::ProxyVersion;

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
