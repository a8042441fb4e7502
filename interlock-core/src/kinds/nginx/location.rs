//! Locations: what is done with a request.

use std::rc::Rc;

use serde::Serialize;

use super::rules::Rules;
use super::section::{Printed, Section};
use crate::units::PathPrefix;

pub(super) const NO_TASK: &str = "503 Service Unavailable: no task of the service is running";

/// The location that says in gRPC's own form why a request failed.
const GRPC_FAILURE: &str = "@grpc_failure";

/// What a refusal of targets comes to at most, in bytes.
pub(super) const REFUSAL: usize = 110;

/// What stands around a location's name, and around the two lines that each has at most besides its rules.
const FRAME: usize = 160;

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Location<'a> {
    /// Requests go on.
    Forward(Forward<'a>),
    /// The proxy answers by itself.
    Answer(Answer),
    /// Where failures of gRPC are told.
    GrpcFailure,
}

/// A location whose requests go to tasks.
#[derive(Serialize)]
pub(super) struct Forward<'a> {
    pub(super) r#match: String,
    /// The variable that is not empty for requests that are refused.
    pub(super) refused: Option<&'static str>,
    /// NGINX's module, by which the names of its directives begin: `proxy` or `grpc`.
    pub(super) module: &'static str,
    pub(super) scheme: &'static str,
    /// The name of an upstream, or a variable that has one.
    pub(super) upstream: Rc<str>,
    /// What takes the place of the location's path, where that is cut.
    pub(super) below: String,
    /// The locations of one path have the same.
    pub(super) rules: Rc<Section<Rules<'a>>>,
    /// Endpoints below it. They have its rules, but for what they say themselves.
    pub(super) endpoints: Vec<Endpoint>,
}

/// A WebSocket endpoint inside of a location.
#[derive(Serialize)]
pub(super) struct Endpoint {
    pub(super) r#match: String,
    pub(super) below: String,
}

/// A location whose requests the proxy answers. One of the last three is set at most.
#[derive(Serialize, Default)]
pub(super) struct Answer {
    r#match: String,
    refused: Option<&'static str>,
    /// Whether clients of gRPC are told of the failure.
    grpc: bool,
    /// Whether nobody needs a line in a log for that.
    unlogged: bool,
    status: u16,
    /// A text for people.
    text: Option<&'static str>,
    /// The site that has the same path.
    site: Option<String>,
    /// The path that is meant without its last slash.
    folder: Option<String>,
}

impl Answer {
    /// A page that says in words why there is no other.
    pub(super) fn page(text: &'static str) -> Self {
        Self { status: 503, text: Some(text), ..Self::default() }
    }

    /// The same for clients of gRPC.
    pub(super) fn grpc_failure() -> Self {
        Self { status: 503, grpc: true, ..Self::default() }
    }

    /// A redirect to the same path of another site.
    pub(super) fn site(status: u16, site: String) -> Self {
        Self { status, site: Some(site), ..Self::default() }
    }

    /// A redirect to the path with a slash at its end.
    pub(super) fn folder(path: &PathPrefix, refused: Option<&'static str>) -> Self {
        Self { status: 308, folder: Some(path.to_string()), refused, ..Self::default() }
    }

    pub(super) fn at<'a>(self, place: impl Into<String>) -> Location<'a> {
        Location::Answer(Self { r#match: place.into(), ..self })
    }
}

impl Location<'_> {
    /// Where balancers in front of the proxies see that these serve.
    pub(super) fn health(path: &PathPrefix) -> Self {
        Answer { status: 200, text: Some("ok"), unlogged: true, ..Answer::default() }.at(format!("= {path}"))
    }

    pub(super) fn r#match(&self) -> &str {
        match self {
            Self::Forward(Forward { r#match, .. }) | Self::Answer(Answer { r#match, .. }) => r#match,
            Self::GrpcFailure => GRPC_FAILURE,
        }
    }

    /// How many locations it is, those inside of it included.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Forward(forward) => 1 + forward.endpoints.len(),
            Self::Answer(_) | Self::GrpcFailure => 1,
        }
    }

    /// How many bytes its template makes of it at most: whether it refuses targets depends on the host's other locations, too.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Forward(Forward { r#match, upstream, below, rules, endpoints, .. }) => {
                let endpoint = |it: &Endpoint| FRAME + REFUSAL + it.r#match.len() + upstream.len() + it.below.len();
                let rules = rules.items().iter().map(Rules::size).sum::<usize>();
                let inside = endpoints.iter().map(endpoint).sum::<usize>();
                31 + REFUSAL + r#match.len() + 34 + upstream.len() + below.len() + rules + inside
            }
            Self::Answer(Answer { r#match, grpc, text, site, folder, .. }) => {
                let to = site.iter().chain(folder).map(String::len).sum::<usize>();
                let page = if *grpc { 75 } else { 0 };
                FRAME + REFUSAL + r#match.len() + page + text.map_or(0, str::len) + to
            }
            Self::GrpcFailure => include_str!("../../../templates/nginx/grpc_failure.hbs").len(),
        }
    }
}

impl Printed for Location<'_> {
    const INCLUDE: &'static str = "include_deeper";

    fn template(&self) -> &'static str {
        match self {
            Self::Forward(_) => "location",
            Self::Answer(_) => "answer",
            Self::GrpcFailure => "grpc_failure",
        }
    }
}
