//! A file system in memory whose power can be cut.
