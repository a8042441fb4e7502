//! URL paths: what `com.docker.lb.context_root` and `com.docker.lb.websocket_endpoints` hold.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Invalid, text_type};

const RIGHT: &str = "write a path like /app: a slash, then segments of letters, digits, `.`, `_`, `~` and `-`";

/// A path prefix in canonical form: `/`, or segments with a slash in front of each and none at the end. At most 1024 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(Arc<str>);
text_type!(PathPrefix);

impl PathPrefix {
    /// The prefix of every path.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Whether it is `/`.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// Whether a path is this one or below it.
    pub fn covers(&self, other: &Self) -> bool {
        let rest = other.0.strip_prefix(&*self.0);
        self.is_root() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for PathPrefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(Invalid::new("does not begin with a slash", RIGHT));
        };
        if text.len() > 1024 {
            return Err(Invalid::new("is longer than 1024 bytes", RIGHT));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() {
            return if text == "/" { Ok(Self::root()) } else { Err(Invalid::new("has an empty segment", RIGHT)) };
        }
        rest.split('/').try_for_each(check_segment)?;
        Ok(Self(format!("/{rest}").into()))
    }
}

fn check_segment(segment: &str) -> Result<(), Invalid> {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
    match segment {
        "" => Err(Invalid::new("has an empty segment", RIGHT)),
        "." | ".." => Err(Invalid::new("has a `.` or `..` segment", RIGHT)),
        segment if !segment.bytes().all(inside) => {
            Err(Invalid::new("has a character that is not allowed in a path here", RIGHT))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_makes_no_difference() {
        for (written, canonical) in
            [("/", "/"), ("/app", "/app"), ("/app/", "/app"), ("/a/b.c/~d_e-f", "/a/b.c/~d_e-f")]
        {
            assert_eq!(written.parse::<PathPrefix>().unwrap().as_str(), canonical);
        }
    }

    #[test]
    fn what_a_proxy_could_misread_is_no_path() {
        for wrong in [
            "", "app", "//", "/a//b", "/a//", "/..", "/a/../b", "/.", "/a b", "/a%2fb", "/a;b", "/a{b", "/a\"", "/a\\",
            "/a\n", "/$uri", "/~*[a]", "/é", "/a#b", "/a?b",
        ] {
            assert!(wrong.parse::<PathPrefix>().is_err(), "{wrong:?}");
        }
        assert!(format!("/{}", "a".repeat(1024)).parse::<PathPrefix>().is_err());
    }
}
