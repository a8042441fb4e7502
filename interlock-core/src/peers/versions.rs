//! Which version of the proxy program files are made for. It follows what proxies say, and none of them can have it go
//! to and fro: each time all files change, and every proxy reloads.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Reports;
use crate::units::{Cluster, ProxyVersion};

/// The version in use, by service cluster.
pub type Versions = BTreeMap<Cluster, VersionInUse>;

/// The version that files are made for, and what speaks for an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionInUse {
    /// The version.
    pub(crate) version: ProxyVersion,
    /// Since when all proxies have said that they are older.
    older_since: Option<Timestamp>,
    /// When it last became an older one.
    lowered: Option<Timestamp>,
}

/// For so long all have to say that they are older, and so long it stays once it is an older one.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

impl VersionInUse {
    /// What follows from what is reported at this time. A proxy that is older than it says nothing of refuses what it
    /// does not know and keeps what it has. While proxies are replaced (`rolling`) one that says so counts at once: new
    /// tasks of an older image have nothing to keep.
    pub(crate) fn renewed(
        before: Option<Self>,
        remembered: Option<ProxyVersion>,
        reports: &Reports,
        cluster: &Cluster,
        rolling: bool,
        now: Timestamp,
    ) -> Option<Self> {
        let new = |version| Self { version, older_since: None, lowered: None };
        let before = before.or(remembered.map(new));
        let (Some(oldest), Some(newest)) = (reports.proxy_version(cluster), reports.newest_version(cluster)) else {
            return before.map(|before| Self { older_since: None, ..before });
        };
        let Some(before) = before else { return Some(new(oldest)) };
        let is_long = |since: Timestamp| now.duration_since(since) >= PATIENCE;
        let older_since = (newest < before.version).then(|| before.older_since.map_or(now, |since| since.min(now)));
        Some(if oldest < before.version && (rolling || older_since.is_some_and(is_long)) {
            Self { version: oldest, older_since: None, lowered: Some(now) }
        } else if oldest > before.version && before.lowered.is_none_or(is_long) {
            new(oldest)
        } else {
            Self { older_since, ..before }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{agent, reports};
    use super::*;
    use crate::peers::AgentReport;

    fn version(text: &str) -> Option<ProxyVersion> {
        text.parse().ok()
    }

    /// What is in use after each second of a story in which proxies say one thing after another, each for so many
    /// seconds.
    fn story(start: &str, rolling: bool, said: &[(&[&str], i64)]) -> Vec<String> {
        let mut now = Timestamp::UNIX_EPOCH;
        let (cluster, mut held, mut used) = (Cluster::default(), None, Vec::new());
        for (versions, seconds) in said {
            let agents = versions.iter().map(|said| AgentReport { version: version(said), ..agent() });
            let reports = reports(agents);
            for _ in 0..*seconds {
                held = VersionInUse::renewed(held, version(start), &reports, &cluster, rolling, now);
                used.extend(held.map(|held| held.version.to_string()));
                now += SignedDuration::from_secs(1);
            }
        }
        used.dedup();
        used
    }

    #[test]
    fn h8_a_version_goes_down_when_all_say_so_for_a_minute() {
        let (old, new) = ("1.22.1", "1.30.7");
        // One that says so now and then, or all the time, and one that comes and goes.
        let (both, one) = ([new, new], [new, old]);
        let flaps = [(&both[..], 1), (&one[..], 1)].repeat(100);
        assert_eq!(story(new, false, &flaps), [new]);
        assert_eq!(story(new, false, &[(&[new, old], 600)]), [new]);
        assert_eq!(story(new, false, &[(&[old, old], 59), (&[old, new], 1), (&[old, old], 59)]), [new]);
        assert_eq!(story(new, false, &[(&[old, ""], 600), (&[], 600)]), [new], "one that says nothing says nothing");
        assert_eq!(story(new, false, &[(&[old, old], 62)]), [new, old]);
        // Up it goes with the oldest, but not to and fro.
        assert_eq!(story("", false, &[(&[], 5), (&[old, new], 100), (&[new, new], 1)]), [old, new]);
        assert_eq!(story(new, false, &[(&[old], 62), (&[new], 50)]), [new, old]);
        assert_eq!(story(new, false, &[(&[old], 62), (&[new], 70)]), [new, old, new]);
    }

    #[test]
    fn h8_new_tasks_of_an_older_image_get_what_they_know() {
        let (old, new) = ("1.22.1", "1.30.7");
        assert_eq!(story(new, true, &[(&[new, new], 5), (&[new, old], 5)]), [new, old]);
        let (both, one) = ([new, new], [new, old]);
        let flaps = [(&both[..], 1), (&one[..], 1)].repeat(15);
        assert_eq!(story(new, true, &flaps), [new, old], "once a minute");
    }
}
