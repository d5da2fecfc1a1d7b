//! Real nodes on the loopback interface, ports chosen by the system.

#![allow(clippy::unwrap_used, reason = "helpers of tests outside of test functions")]

mod bitswap;
mod bounds;
mod bulk;
mod messages;
mod routing;
mod support;
