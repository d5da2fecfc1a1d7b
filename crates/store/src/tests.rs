//! The store against a model, with and without crashes.
