//! What is wrong with an input, told so that its owner can mend it. A problem never stops anything but what it is about.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::units::Cluster;

/// Something wrong in the settings' or a service's view of the world.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// The label's key, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The label's value, shortened and escaped: see [`shown`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is wrong: `is not a port`.
    pub wrong: String,
    /// What would be right: `write a number from 1 to 65535, like 8080`. Empty when the wrong says it all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub right: String,
    /// What interlock does about it.
    pub effect: Effect,
}

impl Problem {
    /// A problem that is not about a label.
    pub(crate) fn new(
        severity: Severity,
        subject: Subject,
        wrong: impl Into<String>,
        right: impl Into<String>,
        effect: Effect,
    ) -> Self {
        Self { severity, subject, label: None, value: None, wrong: wrong.into(), right: right.into(), effect }
    }

    /// The same about a label, with its value where that says more.
    #[must_use]
    pub(crate) fn about(self, label: Option<String>, value: Option<String>) -> Self {
        Self { label, value, ..self }
    }
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something that was asked for is not served.
    Error,
    /// Everything is served, but not all as asked.
    Warning,
}

/// What a problem is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A service, by name.
    Service(String),
    /// A service cluster.
    Cluster(Cluster),
}

/// What follows from a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The service gets no requests.
    LeftOut,
    /// The service is routed as its last good labels say.
    LastGood,
    /// The label is ignored.
    Ignored,
    /// The service is routed, with another one's options where the two disagree.
    Overruled,
    /// What is deployed stays as it is.
    Kept,
    /// Its hosts are served without TLS alone.
    NoTls,
    /// All is served as the labels say, which is hardly what was meant.
    Served,
    /// No task can take requests.
    NoRequests,
    /// Proxies serve what they have, and nothing newer.
    Stale,
}

impl Effect {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeftOut => "left_out",
            Self::LastGood => "last_good",
            Self::Ignored => "ignored",
            Self::Overruled => "overruled",
            Self::Kept => "kept",
            Self::NoTls => "no_tls",
            Self::Served => "served",
            Self::NoRequests => "no_requests",
            Self::Stale => "stale",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeftOut => "it is not published",
            Self::LastGood => "its last good route stays",
            Self::Ignored => "the label is ignored",
            Self::Overruled => "the older service decides",
            Self::Kept => "interlock keeps what is deployed",
            Self::NoTls => "its hosts are not served over TLS",
            Self::Served => "it is published anyway",
            Self::NoRequests => "it gets no requests",
            Self::Stale => "changes are not served",
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "service {}", shown(name)),
            Self::Cluster(cluster) => write!(f, "service cluster {}", cluster.title()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.subject)?;
        match (&self.label, &self.value) {
            (Some(label), Some(value)) => write!(f, "{label}=\"{value}\" ")?,
            (Some(label), None) => write!(f, "{label} ")?,
            _ => {}
        }
        f.write_str(&self.wrong)?;
        if !self.right.is_empty() {
            write!(f, "; {}", self.right)?;
        }
        write!(f, " ({})", self.effect)
    }
}

/// How many problems of one service or service cluster are told one by one.
pub const MOST_PROBLEMS: usize = 16;

/// Problems as they are told: sorted, each once, and of each service or service cluster the worst [`MOST_PROBLEMS`], with the number of the
/// others. Who writes labels writes no more of a log than this.
pub fn limited(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    let mut counts: BTreeMap<Subject, (usize, Option<Problem>)> = BTreeMap::new();
    problems.retain(|problem| {
        let (count, more) = counts.entry(problem.subject.clone()).or_default();
        *count += 1;
        let listed = *count <= MOST_PROBLEMS;
        if !listed && more.is_none() {
            *more = Some(problem.clone());
        }
        listed
    });
    problems.extend(counts.into_values().filter_map(|(count, more)| {
        let more = more?;
        let wrong = format!("{} more problems are not listed", count - MOST_PROBLEMS);
        let right = "solve the listed problems first".to_owned();
        Some(Problem { label: None, value: None, wrong, right, ..more })
    }));
    problems.sort();
    problems
}

/// A text from outside, fit for a terminal and a log: control and invisible characters escaped, at most 60 characters.
pub fn shown(text: &str) -> String {
    shortened(text, 60)
}

/// As [`shown`], for what a program says about a mistake: at most 300 characters.
pub fn said(text: &str) -> String {
    shortened(text, 300)
}

fn shortened(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    let mut length = 0;
    for c in text.chars() {
        let escaped: String =
            if matches!(c, '\'' | '"' | '…') || (c.is_ascii() && !c.is_ascii_control()) || c.is_alphanumeric() {
                c.to_string()
            } else {
                c.escape_default().collect()
            };
        length += escaped.len();
        if length > longest {
            shown.push('…');
            break;
        }
        shown.push_str(&escaped);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_labels_cannot_drive_a_terminal() {
        assert_eq!(shown("shop.example.com"), "shop.example.com");
        assert_eq!(shown("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(shown("\u{202e}x"), "\\u{202e}x");
        assert!(shown(&"x".repeat(10_000)).chars().count() <= 61);
    }

    #[test]
    fn m5_of_many_problems_of_one_service_some_are_listed_and_the_others_counted() {
        let problem = |service: &str, number: usize| Problem {
            severity: Severity::Warning,
            subject: Subject::Service(service.into()),
            label: Some(format!("com.docker.lb.u{number:05}")),
            value: None,
            wrong: "is not a label of interlock".into(),
            right: String::new(),
            effect: Effect::Ignored,
        };
        let many: Vec<_> = (0..40_000).map(|i| problem("noisy", i)).chain([problem("shop", 1)]).collect();
        let told = limited(many);
        assert_eq!(told.len(), MOST_PROBLEMS + 2);
        assert!(told.contains(&problem("shop", 1)) && told.contains(&problem("noisy", 0)));
        assert!(told.iter().any(|it| it.wrong == "39984 more problems are not listed"), "{told:?}");
        assert_eq!(limited(vec![problem("shop", 2), problem("shop", 1)]), [problem("shop", 1), problem("shop", 2)]);
    }

    #[test]
    fn a_problem_reads_as_a_sentence() {
        let problem = Problem {
            severity: Severity::Error,
            subject: Subject::Service("shop".into()),
            label: Some("com.docker.lb.port".into()),
            value: Some("80a".into()),
            wrong: "is not a port".into(),
            right: "write a number from 1 to 65535, like 8080".into(),
            effect: Effect::LeftOut,
        };
        assert_eq!(
            problem.to_string(),
            "service shop: com.docker.lb.port=\"80a\" is not a port; write a number from 1 to 65535, like 8080 (it is not published)"
        );
    }
}
