//! Blocks: what a context and a server have inside.

use serde::Serialize;

use crate::units::PathPrefix;

pub(super) const NO_TASK: &str = "503 Service Unavailable: no task of the service is running";

/// A block of the http context.
#[derive(Serialize)]
pub(super) struct Block {
    pub(super) head: String,
    pub(super) lines: Vec<String>,
}

impl Block {
    pub(super) fn new(head: &str, lines: Vec<String>) -> Self {
        Self { head: head.to_owned(), lines }
    }
}

/// What a refusal of targets comes to at most, in bytes.
pub(super) const REFUSAL: usize = 110;

#[derive(Serialize)]
pub(super) struct Location {
    pub(super) r#match: String,
    /// As that of a server.
    pub(super) refused: Option<&'static str>,
    pub(super) directives: Vec<String>,
    /// Endpoints below it. They have its directives, but for those that they have of their own.
    pub(super) endpoints: Vec<Location>,
}

impl Location {
    pub(super) fn new(r#match: impl Into<String>, directives: Vec<String>) -> Self {
        Self { r#match: r#match.into(), refused: None, directives, endpoints: Vec::new() }
    }

    /// Where balancers in front of the proxies see that these serve. Nobody needs a line in a log for that.
    pub(super) fn health(path: &PathPrefix) -> Self {
        Self::new(format!("= {path}"), vec!["access_log off".to_owned(), "return 200 \"ok\\n\"".to_owned()])
    }

    pub(super) fn all(directive: String) -> Vec<Self> {
        vec![Self::new("/", vec![directive])]
    }

    /// How many bytes `location.hbs` makes of it at most: whether it refuses targets depends on the host's other locations, too.
    pub(super) fn size(&self) -> usize {
        let lines = |lines: &[String], around: usize| lines.iter().map(|line| line.len() + around).sum::<usize>();
        let endpoint = |it: &Self| 39 + REFUSAL + it.r#match.len() + lines(&it.directives, 18);
        let endpoints = self.endpoints.iter().map(endpoint).sum::<usize>();
        31 + REFUSAL + self.r#match.len() + lines(&self.directives, 14) + endpoints
    }
}
