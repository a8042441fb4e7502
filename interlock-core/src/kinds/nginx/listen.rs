//! Where nginx listens.
//!
//! Without passthrough, http servers have the TLS port. With it, a stream server has it, looks at the name that the client asks for
//! (SNI) and passes the connection on: to the http servers or, by one more hop that takes the PROXY protocol off again, to tasks.
//! The PROXY protocol between them carries the client's address.

use super::SECRETS;
use crate::proxy_config::{ProxyConfig, ProxySettings, Tls};
use crate::routes::model::Certificate;
use crate::units::{HostPattern, ProxyVersion};

/// The first version in which HTTP/2 is a directive of its own. Older versions have it as a parameter of TLS listeners.
pub(super) const HTTP2_DIRECTIVE: ProxyVersion = ProxyVersion { major: 1, minor: 25, patch: 1 };

/// Where nginx listens.
pub(super) struct Listen {
    port: u16,
    ssl_port: u16,
    published_ssl_port: u16,
    /// Whether clients or what is in front of us say who the client is.
    proxy_protocol: bool,
    http2_directive: bool,
    /// Whether a stream server is in front.
    pub(super) behind_stream: bool,
    /// The folder of sockets.
    folder: String,
}

impl Listen {
    pub(super) fn of(config: &ProxyConfig, pid_path: &str) -> Self {
        let passes = config.virtual_hosts.values().any(|host| matches!(host.tls, Tls::Passthrough(_)));
        Self::with(&config.proxy, passes, pid_path)
    }

    /// `behind_stream`: whether a stream server is in front.
    pub(super) fn with(proxy: &ProxySettings, behind_stream: bool, pid_path: &str) -> Self {
        Self {
            port: proxy.port,
            ssl_port: proxy.ssl_port,
            published_ssl_port: proxy.published_ssl_port,
            proxy_protocol: proxy.proxy_protocol,
            http2_directive: proxy.version.is_some_and(|version| version >= HTTP2_DIRECTIVE),
            behind_stream,
            folder: pid_path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned(),
        }
    }

    pub(super) fn http(&self, more: &str) -> String {
        format!("listen {}{}{more}", self.port, if self.proxy_protocol { " proxy_protocol" } else { "" })
    }

    /// The lines for the http servers' TLS.
    pub(super) fn https(&self, more: &str) -> Vec<String> {
        let address = if self.behind_stream { self.terminating() } else { self.ssl_port.to_string() };
        let proxy_protocol = if self.behind_stream || self.proxy_protocol { " proxy_protocol" } else { "" };
        let http2 = if self.http2_directive { "" } else { " http2" };
        let mut lines = vec![format!("listen {address} ssl{http2}{proxy_protocol}{more}")];
        if self.behind_stream {
            lines.push("set_real_ip_from unix:".to_owned());
            lines.push("real_ip_header proxy_protocol".to_owned());
        }
        lines
    }

    /// A certificate is read when a client asks for its host, since its file's path has a variable in it: one that is wrong costs
    /// that host alone, and nginx starts all the same.
    pub(super) fn certificate(&self, certificate: &Certificate) -> Vec<String> {
        let Certificate { certificate, key } = certificate;
        vec![format!("ssl_certificate $secrets/{certificate}"), format!("ssl_certificate_key $secrets/{key}")]
    }

    /// The beginning of a host's URLs over TLS.
    pub(super) fn https_url(&self, pattern: Option<&HostPattern>) -> String {
        let host = match pattern {
            Some(HostPattern::Exact(host)) => host.as_str(),
            _ => "$host",
        };
        match self.published_ssl_port {
            443 => format!("https://{host}"),
            port => format!("https://{host}:{port}"),
        }
    }

    /// The socket of http servers behind the stream server.
    pub(super) fn terminating(&self) -> String {
        format!("unix:{}/interlock-tls.sock", self.folder)
    }

    /// The socket of the hop that takes the PROXY protocol off.
    pub(super) fn passing(&self) -> String {
        format!("unix:{}/interlock-passthrough.sock", self.folder)
    }

    /// What the stream server listens on.
    pub(super) fn stream(&self) -> String {
        format!("listen {}{}", self.ssl_port, if self.proxy_protocol { " proxy_protocol" } else { "" })
    }
}

/// The line that `$secrets` comes from. It could be any variable.
pub(super) fn secrets() -> [String; 3] {
    ["geo $secrets {".to_owned(), format!("    default {SECRETS};"), "}".to_owned()]
}
