//! What can be asked about all labels of a route, or about all its options.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::options::is_default;
use super::row::Guard;
use super::table::{OPTIONS, RouteLabels, RouteOptions, TABLE};
use crate::units::SecretName;

impl RouteLabels {
    /// Whether anything asks for requests. Labels without one of these do nothing.
    pub fn asks_for_requests(&self) -> bool {
        self.hosts.is_some() || self.default_backend == Some(true)
    }

    /// Takes what it lacks from the labels without a suffix, but for those that say what a route is.
    pub(super) fn inherit(&mut self, base: &Self) {
        TABLE.iter().filter(|label| label.inherited).for_each(|label| (label.fill)(self, base));
    }
}

impl RouteOptions {
    /// Whether the route asks for nothing.
    pub fn is_plain(&self) -> bool {
        is_default(self)
    }

    /// Whether requests for the route need nothing said about them: how a task is chosen is said elsewhere.
    pub(crate) fn is_plain_but_balance(&self) -> bool {
        static PLAIN: LazyLock<RouteOptions> = LazyLock::new(RouteOptions::default);
        OPTIONS.iter().all(|option| option.name == "balance" || (option.is_same)(self, &PLAIN))
    }

    /// The options that differ, by their names.
    pub(crate) fn differences(&self, other: &Self) -> BTreeSet<&'static str> {
        OPTIONS.iter().filter(|option| !(option.is_same)(self, other)).map(|option| option.name).collect()
    }

    /// Whether both let the same clients in, and let them ask for as much.
    pub(crate) fn gives_the_same_access(&self, other: &Self) -> bool {
        OPTIONS.iter().filter(|option| option.guard == Guard::Access).all(|option| (option.is_same)(self, other))
    }

    /// The secrets that proxies need for it.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.ssl_backend_ca.iter().chain(self.own_secrets().map(|(_, name)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_by_the_labels_names() {
        let one = RouteOptions { compress: true, rate_limit: "10".parse().ok(), ..RouteOptions::default() };
        let other = RouteOptions { rate_limit: "10,20".parse().ok(), ..RouteOptions::default() };
        let names: Vec<_> = one.differences(&other).into_iter().collect();
        assert_eq!(names, ["compress", "rate_limit"]);
        assert!(one.differences(&one).is_empty() && RouteOptions::default().is_plain() && !one.is_plain());
    }

    #[test]
    fn options_survive_the_way_to_an_extension() {
        let mut labels = RouteLabels::default();
        for label in TABLE {
            (label.set)(&mut labels, label.example).expect("an example");
        }
        let options = RouteOptions::said_by(&labels);
        assert_eq!(options.differences(&RouteOptions::default()).len(), OPTIONS.len(), "each says something");
        let json = serde_json::to_string(&options).expect("JSON");
        assert_eq!(serde_json::from_str::<RouteOptions>(&json).expect("options"), options, "{json}");
        assert_eq!(serde_json::to_string(&RouteOptions::default()).expect("JSON"), "{}");
        assert!(serde_json::from_str::<RouteOptions>(r#"{"unheard_of":1}"#).is_err());
        assert!(serde_json::from_str::<RouteOptions>(r#"{"max_body_size":"1m; x"}"#).is_err());
    }
}
