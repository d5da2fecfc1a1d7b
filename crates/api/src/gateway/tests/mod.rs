//! Whole requests against a router over a temporary store.

mod hostile;
mod names;
mod path;
mod subdomain;
mod support;
mod trustless;
