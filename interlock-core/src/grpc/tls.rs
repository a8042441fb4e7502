//! TLS 1.3 with certificates on both sides.
