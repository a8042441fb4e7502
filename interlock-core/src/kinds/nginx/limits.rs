//! What clients may not do: too much at once from one address, and targets that applications read in more than one way.
//!
//! The regular expressions of `targets.hbs` and `counted.hbs` are all that a rendering has, but for those that find cookies. They are constants,
//! look at the request alone, and have no way to a label's text. NGINX has nothing else that looks inside of a value.

use ipnet::IpNet;
use serde::Serialize;

use crate::proxy_config::{ProxySettings, VirtualHost};
use crate::settings::nginx::Options;

/// Not empty for a target with a `#`, which no client may send (RFC 9112, 3.2), and which applications read in different ways.
const BAD: &str = "$bad_target";
/// The same, and not empty for a path with a character by which an application may find another path in it than NGINX: `;` and what
/// follows it is a parameter to some, `\` is a slash to others, and `%2F` one for those who decode once more. Not in queries.
const AMBIGUOUS: &str = "$ambiguous_target";

/// Which targets the servers and locations of a host refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// By the variable that is not empty for them.
    pub(super) server: &'static str,
    /// In locations whose service does not ask for raw paths.
    pub(super) locations: Option<&'static str>,
}

impl Refused {
    pub(super) const BAD: Self = Self { server: BAD, locations: None };

    /// Where access differs from path to path, an application of one path must not find another path in a request.
    pub(super) fn of(host: &VirtualHost) -> Self {
        let options = || host.locations.values().map(|forward| &forward.options);
        let first = options().next();
        let is_alike = options().all(|other| first.is_none_or(|first| first.gives_the_same_access(other)));
        match (is_alike, options().any(|options| options.raw_paths)) {
            (true, _) => Self::BAD,
            (false, false) => Self { server: AMBIGUOUS, locations: None },
            (false, true) => Self { server: BAD, locations: Some(AMBIGUOUS) },
        }
    }
}

/// The maps that say who is counted as one, for the http or the stream context.
#[derive(Serialize)]
pub(super) struct Counted<'a> {
    /// The variable for a client's address or network: all that counts, unless balancers stand for many clients.
    network: &'static str,
    balancers: &'a [IpNet],
}

impl<'a> Counted<'a> {
    /// `None` where nobody is counted.
    pub(super) fn of(options: &Options, proxy: &'a ProxySettings) -> Option<Self> {
        let balancers = proxy.trusted_proxies.as_slice();
        let network = if balancers.is_empty() { "$counted_client" } else { "$client_network" };
        (options.connections_per_address() > 0).then_some(Self { network, balancers })
    }
}
