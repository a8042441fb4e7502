//! TLS before a scanner.
