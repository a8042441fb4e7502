//! What gRPC needs besides what HTTP has: its module has settings of its own, and its clients read no pages.

use super::block::{Block, Location};
use super::directives::time;
use crate::labels::options::TimeSpan;
use crate::settings::nginx::Options;

/// The location that says in gRPC's own form why a request failed. A label cannot name it: paths begin with a slash.
pub(crate) const FAILURE: &str = "@grpc_failure";

/// Lines for the http context: what the settings and this proxy say for HTTP.
pub(super) fn http(options: &Options) -> Vec<String> {
    vec![
        // What an application says about a failure can be long, and comes in headers.
        "grpc_buffer_size 16k;".to_owned(),
        format!("grpc_connect_timeout {};", time(options.connect_timeout)),
        format!("grpc_send_timeout {};", time(options.send_timeout)),
        format!("grpc_read_timeout {};", time(options.read_timeout)),
        "grpc_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;"
            .to_owned(),
        "grpc_next_upstream error timeout;".to_owned(),
        "grpc_next_upstream_tries 3;".to_owned(),
        "grpc_next_upstream_timeout 5s;".to_owned(),
    ]
}

/// Blocks for the http context: gRPC's codes for HTTP's, as its specification has them; too large a message exhausts a resource.
pub(super) fn codes() -> Block {
    let codes = ["default 14;", "400 13;", "401 16;", "403 7;", "413 8;", "500 13;"];
    Block::new("map $status $grpc_status", codes.map(str::to_owned).to_vec())
}

/// Lines for a location. The client of a stream may be silent for as long as the application, since a stream is the body of a request.
pub(super) fn location(options: &Options, read_timeout: Option<TimeSpan>) -> [String; 2] {
    let silent = read_timeout.map_or_else(|| time(options.read_timeout), |time| time.to_string());
    [format!("client_body_timeout {silent}"), failures()]
}

/// Says where failures are told.
pub(super) fn failures() -> String {
    format!("error_page 400 401 403 413 429 500 502 503 504 {FAILURE}")
}

/// Where failures are told: a client that gets a page instead of a message would call it a broken message. The HTTP status stays, for
/// clients that look at it first and for people.
pub(super) fn failure() -> Location {
    let lines = [
        "add_header content-type application/grpc always",
        "add_header grpc-status $grpc_status always",
        "add_header grpc-message \"the proxy answers: HTTP status $status\" always",
        // Nothing but headers. The status is the error's all the same.
        "return 204",
    ];
    Location::new(FAILURE, lines.map(str::to_owned).to_vec())
}
