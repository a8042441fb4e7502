//! The extension: from models to checked files.
