//! URLs of http and https.

use super::{Host, HostPattern, Port};

/// An http or https URL, taken apart. It names one host, and no user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    /// The scheme.
    pub(crate) scheme: &'static str,
    /// The host, in canonical form.
    pub(crate) host: Host,
    /// The port, if one is written.
    pub(crate) port: Option<Port>,
    /// What stands behind the host: the port, the path, the query and the fragment.
    pub(crate) rest: &'a str,
}

impl<'a> Url<'a> {
    /// Takes a URL apart. `None` when it is none of these.
    pub(crate) fn of(url: &'a str) -> Option<Self> {
        let (scheme, url) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(url), _) => ("http", url),
            (_, Some(url)) => ("https", url),
            (None, None) => return None,
        };
        let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (authority, None),
        };
        match host.parse() {
            Ok(HostPattern::Exact(name)) => Some(Self { scheme, host: name, port, rest: &url[host.len()..] }),
            _ => None,
        }
    }

    /// Whether it is https.
    pub(crate) fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// Whether requests for it come in at the port that its scheme means.
    pub(crate) fn has_usual_port(&self) -> bool {
        let usual = if self.is_https() { 443 } else { 80 };
        self.port.is_none_or(|port| port.get() == usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = Url::of("https://Shop.Example.com:8443/a?b#c").unwrap();
        assert_eq!((url.scheme, url.host.as_str(), url.rest), ("https", "shop.example.com", ":8443/a?b#c"));
        assert_eq!((url.port.map(Port::get), url.has_usual_port()), (Some(8443), false));
        for usual in ["http://a.example.com", "http://a.example.com:80/", "https://a.example.com:443?x"] {
            assert!(Url::of(usual).unwrap().has_usual_port(), "{usual}");
        }
        for wrong in ["", "ftp://a.example.com", "//a.example.com", "http://u@a.example.com", "http://a.example.com:x"]
        {
            assert_eq!(Url::of(wrong), None, "{wrong}");
        }
        assert_eq!(Url::of("http://*.example.com"), None);
    }
}
