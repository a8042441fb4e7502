//! Many requests at once over HTTP/2, by h2load.
