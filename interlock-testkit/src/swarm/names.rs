//! Which names Swarm takes (docker-facts, section 1).

use crate::error::ApiError;

/// Services and networks: `^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$`, at most 63.
pub(super) fn dns_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::invalid("meta: name must be provided"));
    }
    if !framed(name, "-_") {
        return Err(ApiError::invalid("name must be valid as a DNS name component"));
    }
    if name.len() > 63 {
        return Err(ApiError::invalid("name must be 63 characters or fewer"));
    }
    Ok(())
}

/// Configs and secrets: `^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$`, at most 64.
pub(super) fn blob_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::invalid("name must be provided"));
    }
    if name.len() > 64 || !framed(name, "-_.") {
        return Err(ApiError::invalid(
            "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]",
        ));
    }
    Ok(())
}

/// Letters and digits, with `inner` allowed everywhere but at the ends.
fn framed(name: &str, inner: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    name.starts_with(outer) && name.ends_with(outer) && name.chars().all(|c| outer(c) || inner.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_is_a_dns_label_that_may_have_underscores() {
        for good in ["a", "A-b__c9", &"x".repeat(63)] {
            assert_eq!(dns_name(good), Ok(()), "{good}");
        }
        for bad in ["", "a.b", "-a", "a-", "a b", "ä", &"x".repeat(64)] {
            assert_eq!(dns_name(bad).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn a_config_name_may_have_dots_and_one_more_character() {
        for good in ["a", "com.docker.x-1", &"x".repeat(64)] {
            assert_eq!(blob_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".a", "a.", "a/b", &"x".repeat(65)] {
            assert_eq!(blob_name(bad).unwrap_err().status, 400, "{bad}");
        }
    }
}
