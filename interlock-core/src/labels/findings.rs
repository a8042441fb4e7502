//! What is said of the labels of one service, bounded: the first of each kind with its label, the others as a number.

use std::collections::BTreeMap;

use super::{Finding, FindingKind};
use crate::units::Invalid;

/// How many findings of one kind are listed. Their owner can mend these first.
pub const MOST_FINDINGS: usize = 8;

/// Findings while they are gathered.
#[derive(Default)]
pub(super) struct Findings {
    listed: Vec<Finding>,
    more: BTreeMap<FindingKind, usize>,
}

impl Findings {
    /// Adds one. What is wrong is only worked out for those that are listed.
    pub(super) fn add(&mut self, key: &str, value: &str, kind: FindingKind, invalid: impl FnOnce() -> Invalid) {
        if self.listed.iter().filter(|finding| finding.kind == kind).count() < MOST_FINDINGS {
            self.listed.push(Finding { key: key.to_owned(), value: value.to_owned(), kind, invalid: invalid() });
        } else {
            *self.more.entry(kind).or_default() += 1;
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Those that are listed, in the keys' order, and how many more of each kind there are.
    pub(super) fn into_parts(mut self) -> (Vec<Finding>, BTreeMap<FindingKind, usize>) {
        self.listed.sort_by(|a, b| a.key.cmp(&b.key));
        (self.listed, self.more)
    }
}
