//! Who may talk to core: the authority, the identities that it issues, and what is read from a certificate.
