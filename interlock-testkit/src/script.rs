//! What goes wrong, and when: a test writes the script, the fake follows it.
//!
//! Three parts, independent of each other: the fates of tasks, faults of API calls, and the unreliability of events.

use crate::error::ApiError;
use serde_json::Value;
use std::time::Duration;

/// How unreliable the events are, in percent, decided by a seed: a real engine drops what a slow client does not take, without a gap marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventFaults {
    /// Picks which events are hit.
    pub seed: u64,
    /// Never delivered.
    pub drop: u8,
    /// Delivered twice.
    pub duplicate: u8,
    /// Delivered after the next one.
    pub swap: u8,
    /// Nothing is delivered at all, while the stream looks healthy.
    pub deaf: bool,
}

/// The script of one [`Swarm`](crate::Swarm).
#[derive(Default)]
pub struct Script {
    /// How unreliable events are.
    pub events: EventFaults,
    fates: Vec<FateRule>,
    rules: Vec<Rule>,
    crash: Option<Crash>,
    crashed: bool,
    writes: usize,
}

struct FateRule {
    service: String,
    when: Box<dyn Fn(&TaskView<'_>) -> bool + Send>,
    fate: Fate,
}

/// What becomes of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its process ends right after its start: it goes from *starting* to *failed*.
    FailOnStart {
        /// Exit code.
        exit: i64,
    },
    /// It runs for a while and then fails.
    FailAfter {
        /// Time in *running*.
        delay: Duration,
        /// Exit code.
        exit: i64,
    },
    /// It takes this long from *starting* to *running*.
    StartAfter(Duration),
    /// It stays in *starting*: Swarm has no time limit for that.
    NeverStart,
    /// It is *rejected* while being prepared, as with an image that cannot be pulled.
    Reject {
        /// The task's `Err`.
        why: String,
    },
}

/// What a rule about fates may look at.
#[derive(Debug)]
pub struct TaskView<'s> {
    /// Name of its service.
    pub service: &'s str,
    /// The service spec that it was made from.
    pub spec: &'s Value,
    /// The bytes of its configs, in the order of the spec. One that is gone is missing here.
    pub configs: Vec<Vec<u8>>,
    /// Host name of its node.
    pub node: &'s str,
    /// Its slot.
    pub slot: u64,
}

impl TaskView<'_> {
    /// Whether any of its configs contains this text.
    pub fn has_config_with(&self, text: &str) -> bool {
        self.configs.iter().any(|config| String::from_utf8_lossy(config).contains(text))
    }
}

/// What happens to an API call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers this and does nothing.
    Refuse(ApiError),
    /// **Does it**, then answers this: a write whose outcome the client cannot know.
    CommitThen(ApiError),
    /// Closes the connection without an answer; nothing is done.
    Drop,
    /// Does it, then closes the connection without an answer.
    CommitThenDrop,
    /// Does nothing and never answers.
    Hang,
    /// Does it, and never answers.
    CommitThenHang,
    /// Does it, and answers this much later, in real time.
    Delay(Duration),
}

/// Which calls a fault hits.
#[derive(Debug, Clone)]
pub struct Rule {
    method: Option<String>,
    path: String,
    writes_only: bool,
    skip: usize,
    times: Option<usize>,
    fault: Fault,
}

impl Rule {
    /// Any call whose path, without the version, contains this text.
    pub fn any(path: &str, fault: Fault) -> Self {
        Self { method: None, path: path.to_owned(), writes_only: false, skip: 0, times: None, fault }
    }

    /// Calls with this method, too.
    pub fn method(method: &str, path: &str, fault: Fault) -> Self {
        Self { method: Some(method.to_owned()), ..Self::any(path, fault) }
    }

    /// Calls that change something (POST and DELETE).
    pub fn write(path: &str, fault: Fault) -> Self {
        Self { writes_only: true, ..Self::any(path, fault) }
    }

    /// Not the first matching calls, but the nth one (from 1) and, unless limited, those after it.
    #[must_use]
    pub fn from_nth(mut self, nth: usize) -> Self {
        self.skip = nth.saturating_sub(1);
        self
    }

    /// At most so many times.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// Just the nth matching call.
    #[must_use]
    pub fn only_nth(self, nth: usize) -> Self {
        self.from_nth(nth).times(1)
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        let method_fits = self.method.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(method));
        method_fits && (!self.writes_only || is_write(method)) && path.contains(&self.path)
    }
}

/// Whether a call with this method changes something.
pub fn is_write(method: &str) -> bool {
    matches!(method, "POST" | "DELETE" | "PUT")
}

#[derive(Debug, Clone, Copy)]
struct Crash {
    after: usize,
    commits: bool,
}

/// Debug shows what is left to go wrong.
impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { events, fates, rules, crash, crashed, writes } = self;
        f.debug_struct("Script")
            .field("events", events)
            .field("fates", &fates.len())
            .field("rules", rules)
            .field("crash", crash)
            .field("crashed", crashed)
            .field("writes", writes)
            .finish()
    }
}

impl Script {
    /// Every task of the service meets this fate.
    pub fn fate_of(&mut self, service: &str, fate: Fate) {
        self.fate_when(service, |_| true, fate);
    }

    /// A task of the service meets this fate if the predicate holds. It is asked at each step of the task.
    pub fn fate_when(&mut self, service: &str, when: impl Fn(&TaskView<'_>) -> bool + Send + 'static, fate: Fate) {
        self.fates.push(FateRule { service: service.to_owned(), when: Box::new(when), fate });
    }

    /// A task fails on start while any of its configs contains this text: a proxy that refuses a config.
    pub fn refuse_configs_with(&mut self, service: &str, text: &str) {
        let text = text.to_owned();
        self.fate_when(service, move |task| task.has_config_with(&text), Fate::FailOnStart { exit: 1 });
    }

    /// Tasks live from now on.
    pub fn forget_fates(&mut self) {
        self.fates.clear();
    }

    /// Adds a fault. Rules are tried in order; the first that matches and is not used up acts.
    pub fn rule(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Calls work from now on.
    pub fn forget_rules(&mut self) {
        self.rules.clear();
    }

    /// The client dies at its kth write (from 1): that call commits or not, is not answered, and nothing is answered after it until
    /// [`Script::revive`].
    pub fn crash_at_write(&mut self, k: usize, commits: bool) {
        self.crash = Some(Crash { after: k.max(1), commits });
        self.writes = 0;
        self.crashed = false;
    }

    /// Whether the crash point was reached.
    pub fn crashed(&self) -> bool {
        self.crashed
    }

    /// Answers again: the client has been restarted.
    pub fn revive(&mut self) {
        self.crash = None;
        self.crashed = false;
    }

    pub(crate) fn has_no_fates(&self) -> bool {
        self.fates.is_empty()
    }

    pub(crate) fn fate(&self, task: &TaskView<'_>) -> Option<Fate> {
        self.fates.iter().find(|rule| rule.service == task.service && (rule.when)(task)).map(|rule| rule.fate.clone())
    }

    /// What happens to this call.
    pub(crate) fn judge(&mut self, method: &str, path: &str) -> Option<Fault> {
        if self.crashed {
            return Some(Fault::Drop);
        }
        if let Some(Crash { after, commits }) = self.crash.filter(|_| is_write(method)) {
            self.writes += 1;
            if self.writes >= after {
                self.crashed = true;
                return Some(if commits { Fault::CommitThenDrop } else { Fault::Drop });
            }
        }
        for rule in &mut self.rules {
            if !rule.matches(method, path) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            match &mut rule.times {
                Some(0) => continue,
                Some(times) => *times -= 1,
                None => {}
            }
            return Some(rule.fault.clone());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_write_and_only_that_one_is_hit() {
        let mut script = Script::default();
        script.rule(Rule::write("/services", Fault::Hang).only_nth(2));
        let judged: Vec<_> = (0..4).map(|_| script.judge("POST", "/services/x/update")).collect();
        assert_eq!(judged, [None, Some(Fault::Hang), None, None]);
        assert_eq!(script.judge("GET", "/services"), None);
    }

    #[test]
    fn after_the_crash_point_nothing_is_answered_until_revival() {
        let mut script = Script::default();
        script.crash_at_write(2, true);
        assert_eq!(script.judge("POST", "/configs/create"), None);
        assert_eq!(script.judge("GET", "/services"), None);
        assert_eq!(script.judge("DELETE", "/configs/x"), Some(Fault::CommitThenDrop));
        assert!(script.crashed());
        assert_eq!(script.judge("GET", "/services"), Some(Fault::Drop));
        script.revive();
        assert_eq!(script.judge("POST", "/configs/create"), None);
    }
}
