//! Real nodes on the loopback interface, ports chosen by the system.

mod bitswap;
mod bulk;
mod messages;
mod support;
