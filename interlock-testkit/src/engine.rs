//! Which Docker Engine the fake imitates.

use crate::error::ApiError;

/// Version numbers and what depends on them (docker-facts, section 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// As `/version` reports it: `20.10.24`.
    pub version: String,
    /// Newest API version served; unversioned paths mean this one.
    pub api: ApiVersion,
    /// Oldest API version served.
    pub min_api: ApiVersion,
}

/// `1.41` and the like, ordered as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u32, pub u32);

impl ApiVersion {
    /// Reads `1.41`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Engine {
    /// Any engine.
    pub fn new(version: &str, min_api: ApiVersion, api: ApiVersion) -> Self {
        Self { version: version.to_owned(), api, min_api }
    }

    /// Debian 12's engine: API 1.12 to 1.41.
    pub fn v20_10() -> Self {
        Self::new("20.10.24", ApiVersion(1, 12), ApiVersion(1, 41))
    }

    /// API 1.24 to 1.43; the first with the `Swarm` header on `/_ping`.
    pub fn v24() -> Self {
        Self::new("24.0.9", ApiVersion(1, 12), ApiVersion(1, 43))
    }

    /// API 1.24 to 1.47.
    pub fn v27() -> Self {
        Self::new("27.5.1", ApiVersion(1, 24), ApiVersion(1, 47))
    }

    /// API 1.44 to 1.52: a client pinned to 1.41 is refused.
    pub fn v29() -> Self {
        Self::new("29.0.0", ApiVersion(1, 44), ApiVersion(1, 52))
    }

    /// Whether `/_ping` carries `Swarm: active/manager`.
    pub fn ping_tells_swarm(&self) -> bool {
        self.api >= ApiVersion(1, 42)
    }

    /// Takes the `/v1.41` off a path, refusing versions out of range.
    pub fn strip_version<'p>(&self, path: &'p str) -> Result<(ApiVersion, &'p str), ApiError> {
        let Some((asked, rest)) = versioned(path) else { return Ok((self.api, path)) };
        if asked < self.min_api {
            return Err(ApiError::new(
                400,
                format!(
                    "client version {asked} is too old. Minimum supported API version is {}, please upgrade your \
                     client to a newer version",
                    self.min_api
                ),
            ));
        }
        if asked > self.api {
            return Err(ApiError::new(
                400,
                format!("client version {asked} is too new. Maximum supported API version is {}", self.api),
            ));
        }
        Ok((asked, rest))
    }
}

fn versioned(path: &str) -> Option<(ApiVersion, &str)> {
    let after = path.strip_prefix("/v")?;
    let slash = after.find('/')?;
    Some((ApiVersion::parse(&after[..slash])?, &after[slash..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_version_means_the_newest() {
        assert_eq!(Engine::v20_10().strip_version("/volumes"), Ok((ApiVersion(1, 41), "/volumes")));
        assert_eq!(Engine::v29().strip_version("/v1.44/info"), Ok((ApiVersion(1, 44), "/info")));
    }

    #[test]
    fn a_client_pinned_to_the_other_end_is_refused() {
        let old = Engine::v29().strip_version("/v1.41/info").unwrap_err();
        assert_eq!(old.status, 400);
        assert!(old.message.contains("client version 1.41 is too old. Minimum supported API version is 1.44"));
        let new = Engine::v20_10().strip_version("/v1.44/info").unwrap_err();
        assert_eq!(new.message, "client version 1.44 is too new. Maximum supported API version is 1.41");
    }
}
