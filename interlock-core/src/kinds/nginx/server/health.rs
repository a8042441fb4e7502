//! What nginx itself says about what it serves: the server for health checks in each rendered configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kinds::nginx::HEALTH_PORT;

/// Where a proxy answers its own container's health check: `127.0.0.1:18989`.
pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), HEALTH_PORT);

/// How long an answer may take while a reload is watched.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for Docker's health check, which has 10 s. An nginx without processor time answers late, as it does to clients.
const PATIENCE_OF_DOCKER: Duration = Duration::from_secs(8);
/// How much of an answer is read.
const LONGEST: u64 = 4096;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// Nobody listens, or the connection broke.
    #[error("nginx does not answer on {0}: {1}")]
    Silent(SocketAddr, #[source] std::io::Error),
    /// It took too long.
    #[error("nginx did not answer on {0} within {1:?}")]
    Slow(SocketAddr, Duration),
    /// Somebody answered something else.
    #[error("nginx answers \"{1}\" on {0}")]
    Strange(SocketAddr, String),
}

/// Asks nginx over a new connection. Answers the revision that it serves.
///
/// # Errors
///
/// When there is no answer within 2 s, or one with another status than 200.
pub async fn ask(address: SocketAddr) -> Result<String, Unwell> {
    ask_within(address, PATIENCE).await
}

/// The same with the patience of Docker's health check: 8 s.
///
/// # Errors
///
/// As [`ask`].
pub async fn ask_for_docker(address: SocketAddr) -> Result<String, Unwell> {
    ask_within(address, PATIENCE_OF_DOCKER).await
}

async fn ask_within(address: SocketAddr, patience: Duration) -> Result<String, Unwell> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let answer = tokio::time::timeout(patience, answer).await.map_err(|_| Unwell::Slow(address, patience))?;
    let answer = answer.map_err(|error| Unwell::Silent(address, error))?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim());
    match body {
        Some(body) if status.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(Unwell::Strange(address, crate::problem::shown(status))),
    }
}
