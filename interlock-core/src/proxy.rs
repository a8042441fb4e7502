//! The agent: what supervises a proxy and gives it each revision that core accepted.
