//! interlock core
