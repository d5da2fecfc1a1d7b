//! The `hpips` program.

fn main() {}
