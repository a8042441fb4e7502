//! Where nginx listens.
//!
//! Without passthrough, http servers have the TLS port. With it, a stream server has it, looks at the name that the client asks for
//! (SNI) and passes the connection on: to the http servers or, by one more hop that takes the PROXY protocol off again, to tasks.
//! The PROXY protocol between them carries the client's address.

use serde::Serialize;

use super::settings;
use crate::proxy_config::{ProxyConfig, ProxySettings, Tls};
use crate::units::HostPattern;

/// Where nginx listens.
pub(super) struct Listen {
    published_ssl_port: u16,
    /// Whether clients or what is in front of us say who the client is.
    proxy_protocol: bool,
    http2_directive: bool,
    /// Whether a stream server is in front.
    pub(super) behind_stream: bool,
    /// The folder of sockets.
    folder: String,
    /// The address of http servers' TLS.
    tls: String,
}

/// Where an http server takes TLS connections.
#[derive(Serialize)]
pub(super) struct TlsListener {
    pub(super) address: String,
    /// Whether HTTP/2 is a parameter here.
    http2: bool,
    proxy_protocol: bool,
    /// Whether the stream server says who the client is.
    behind_stream: bool,
    /// Whether connections for unknown names come here.
    is_default: bool,
}

impl Listen {
    pub(super) fn of(config: &ProxyConfig, pid_path: &str) -> Self {
        let passes = config.virtual_hosts.values().any(|host| matches!(host.tls, Tls::Passthrough(_)));
        Self::with(&config.proxy, passes, pid_path)
    }

    /// `behind_stream`: whether a stream server is in front.
    pub(super) fn with(proxy: &ProxySettings, behind_stream: bool, pid_path: &str) -> Self {
        let folder = pid_path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        Self {
            published_ssl_port: proxy.published_ssl_port,
            proxy_protocol: proxy.proxy_protocol,
            http2_directive: settings::knows(proxy.version, settings::HTTP2_DIRECTIVE),
            behind_stream,
            tls: if behind_stream { terminating(&folder) } else { proxy.ssl_port.to_string() },
            folder,
        }
    }

    /// For the http servers' TLS. `is_default`: whether connections for unknown names come there.
    pub(super) fn https(&self, is_default: bool) -> TlsListener {
        TlsListener {
            address: self.tls.clone(),
            http2: !self.http2_directive,
            proxy_protocol: self.behind_stream || self.proxy_protocol,
            behind_stream: self.behind_stream,
            is_default,
        }
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
        terminating(&self.folder)
    }

    /// The socket of the hop that takes the PROXY protocol off.
    pub(super) fn passing(&self) -> String {
        format!("unix:{}/interlock-passthrough.sock", self.folder)
    }
}

fn terminating(folder: &str) -> String {
    format!("unix:{folder}/interlock-tls.sock")
}
