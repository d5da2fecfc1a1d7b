//! The tests that need more than one room: `tidy.rs` checks the house itself, `it/` runs real processes,
//! `vectors/` holds frozen encodings. This library is empty.
