//! What a gateway answers.

use std::time::Duration;

/// Settings of a gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names, without port, under which every root has an origin of its own: `{cid}.ipfs.NAME`. A path below
    /// `/ipfs/` at such a name is redirected there.
    pub subdomain_hosts: Vec<String>,
    /// Further names, without port, that are answered as path gateway. `*` answers every name and gives up the
    /// protection against pages that point their own name at this machine. Loopback addresses are always answered.
    pub path_hosts: Vec<String>,
    /// Whether files, directories and documents are answered; otherwise only what a client can verify:
    /// raw blocks and CARs.
    pub deserialized: bool,
    /// Whether `/routing/v1` says who has what, to programs that ask over HTTP.
    pub routing: bool,
    /// Requests at once; each holds a thread and at most about 10 MiB. One more is told to come later.
    pub requests_max: usize,
    /// How long a block, or the client's taking of one, may be waited for.
    pub wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            subdomain_hosts: vec!["localhost".to_owned()],
            path_hosts: Vec::new(),
            deserialized: true,
            routing: true,
            requests_max: 128,
            wait: Duration::from_secs(30),
        }
    }
}
