//! Whole requests against a router over a temporary store.
