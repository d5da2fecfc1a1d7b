//! Nodes in networks of the test's own making, which are namespaces: neighbours that find each other, and homes behind
//! address translation, whose routers let nothing in that nobody inside asked for, with a relay that everybody reaches,
//! or with a router that opens ports to who asks.
//!
//! Needs root, `ip` and `nft`, and `miniupnpd` for the last; says "skipped" where one is missing.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::binary::{hpips, ok};

/// How long anything may take on a loaded machine.
const WAIT: Duration = Duration::from_secs(120);

fn skipped() {
    let _ = writeln!(std::io::stderr().lock(), "skipped: namespaces need root, ip and nft");
}

/// What tells the namespaces of this test from those of others that run now.
fn prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("hpips-test-{}-{}-", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Namespaces, removed with everything in them at the end.
struct Internet {
    prefix: String,
    made: Vec<String>,
}

impl Internet {
    /// A network of public addresses, or `None` where this machine cannot make one.
    fn start() -> Option<Self> {
        let quiet = |program: &str, args: &[&str]| {
            let run = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
            run.is_ok_and(|status| status.success())
        };
        let can = quiet("nft", &["--version"])
            && quiet("unshare", &["--net", "ip", "link", "add", "name", "bridge", "type", "bridge"]);
        if !can {
            skipped();
            return None;
        }
        let mut internet = Self { prefix: prefix(), made: Vec::new() };
        let wan = internet.namespace("wan");
        internet.run(&["-n", &wan, "link", "add", "name", "bridge", "type", "bridge"]);
        internet.run(&["-n", &wan, "link", "set", "bridge", "up"]);
        Some(internet)
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn namespace(&mut self, name: &str) -> String {
        let full = self.name(name);
        self.run(&["netns", "add", &full]);
        self.made.push(full.clone());
        self.run(&["-n", &full, "link", "set", "lo", "up"]);
        full
    }

    fn run(&self, args: &[&str]) {
        let output = Command::new("ip").args(args).output().unwrap();
        assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn inside(&self, namespace: &str, command: &[&str]) {
        self.run(&[&["netns", "exec", namespace], command].concat());
    }

    /// A machine with a public address.
    fn public(&mut self, name: &str, address: &str) -> String {
        let (host, wan) = (self.namespace(name), self.name("wan"));
        // Names of interfaces are short.
        let port = format!("port-{}", self.made.len());
        self.run(&[
            "link", "add", "name", "wan", "netns", &host, "type", "veth", "peer", "name", &port, "netns",
            &wan,
        ]);
        self.run(&["-n", &wan, "link", "set", &port, "master", "bridge", "up"]);
        self.run(&["-n", &host, "address", "add", &format!("{address}/24"), "dev", "wan"]);
        self.run(&["-n", &host, "link", "set", "wan", "up"]);
        host
    }

    /// A machine at home behind a router with a public address. `lets_in` is a rule for what comes unasked.
    fn home(&mut self, name: &str, public: &str, lan: &str, rule: &str) -> String {
        let router = self.public(&format!("{name}-router"), public);
        let host = self.namespace(name);
        self.run(&[
            "link", "add", "name", "lan", "netns", &router, "type", "veth", "peer", "name", "eth", "netns",
            &host,
        ]);
        self.run(&["-n", &router, "address", "add", &format!("{lan}.1/24"), "dev", "lan"]);
        self.run(&["-n", &router, "link", "set", "lan", "up"]);
        self.run(&["-n", &host, "address", "add", &format!("{lan}.2/24"), "dev", "eth"]);
        self.run(&["-n", &host, "link", "set", "eth", "up"]);
        self.run(&["-n", &host, "route", "add", "default", "via", &format!("{lan}.1")]);
        self.inside(&router, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        let rules = format!(
            "table ip home {{
                chain out {{ type nat hook postrouting priority srcnat; oifname wan masquerade; }}
                chain through {{
                    type filter hook forward priority filter; policy drop;
                    {rule}
                    iifname lan accept
                    ct state established,related accept
                }}
                chain here {{
                    type filter hook input priority filter; policy drop;
                    iifname lan accept
                    ct state established,related accept
                }}
            }}"
        );
        self.inside(&router, &["nft", &rules]);
        host
    }
}

/// A router's program that opens ports to who asks inside (UPnP).
struct Gateway {
    program: Child,
    _folder: TempDir,
}

impl Gateway {
    /// `None` where the program is missing.
    fn start(internet: &Internet, router: &str) -> Option<Self> {
        let mut version = Command::new("miniupnpd");
        if version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            let _ = writeln!(std::io::stderr().lock(), "skipped: miniupnpd is missing");
            return None;
        }
        let router = internet.name(router);
        // The program adds to these chains and makes none.
        let rules = "table inet filter {
            chain miniupnpd { }
            chain prerouting_miniupnpd { }
            chain postrouting_miniupnpd { }
            chain forward { type filter hook forward priority 0; jump miniupnpd; }
            chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
            chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; }
        }";
        internet.inside(&router, &["nft", rules]);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        let text = "ext_ifname=wan\nlistening_ip=lan\nenable_natpmp=no\nenable_upnp=yes\nsecure_mode=yes\n\
            upnp_table_name=filter\nupnp_nat_table_name=filter\nupnp_forward_chain=miniupnpd\n\
            upnp_nat_chain=prerouting_miniupnpd\nupnp_nat_postrouting_chain=postrouting_miniupnpd\n\
            uuid=00000000-0000-4000-8000-000000000001\nallow 1024-65535 0.0.0.0/0 1024-65535\n";
        fs::write(&config, text).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &router, "miniupnpd", "-d", "-f", config.to_str().unwrap(), "-P"]);
        command
            .arg(folder.path().join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Some(Self { program: command.spawn().unwrap(), _folder: folder })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        for namespace in self.made.iter().rev() {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
    }
}

/// A node in a namespace.
struct Host {
    namespace: String,
    folder: TempDir,
    daemon: Child,
}

impl Host {
    /// One that is told of relays and of nobody else.
    fn start(namespace: &str, relays: &[String]) -> Self {
        Self::with(namespace, |config| config["relays"] = relays.into())
    }

    fn with(namespace: &str, change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        ok(&repo, &["init"]);
        let config = repo.join("config");
        let mut json: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
        json["listen"] = serde_json::json!(["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"]);
        json["mdns"] = false.into();
        json["upnp"] = false.into();
        change(&mut json);
        fs::write(&config, json.to_string()).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(hpips()).arg("daemon").env("HPIPS_PATH", &repo);
        let daemon =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut host = Self { namespace: namespace.to_owned(), folder, daemon };
        let end = Instant::now() + WAIT;
        while !host.run(&["status", "--json"]).status.success() {
            assert!(host.daemon.try_wait().unwrap().is_none(), "the daemon ended");
            assert!(Instant::now() < end, "the daemon does not answer");
        }
        host
    }

    fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(hpips()).args(args);
        command.env("HPIPS_PATH", self.repo()).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "hpips {args:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn name(&self) -> String {
        self.ok(&["id", "-f", "<id>"])
    }

    /// Runs a command until what it prints is as wanted.
    fn until(&self, what: &str, args: &[&str], is_so: impl Fn(&str) -> bool) {
        let end = Instant::now() + WAIT;
        loop {
            let said = self.ok(args);
            if is_so(&said) {
                return;
            }
            assert!(Instant::now() < end, "{what} did not come about: hpips {args:?} says\n{said}");
        }
    }

    fn add(&self, bytes: &[u8]) -> String {
        let file = self.folder.path().join("file");
        fs::write(&file, bytes).unwrap();
        self.ok(&["add", "--local", "-Q", file.to_str().unwrap()])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn noise(count: u32) -> Vec<u8> {
    (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn neighbours_find_each_other() {
    let Some(mut internet) = Internet::start() else { return };
    let hosts = [("first", "10.3.0.1"), ("second", "10.3.0.2")].map(|(name, address)| {
        let namespace = internet.public(name, address);
        internet.run(&["-n", &namespace, "route", "add", "224.0.0.0/4", "dev", "wan"]);
        Host::with(&namespace, |config| config["mdns"] = true.into())
    });
    let [first, second] = &hosts;
    let name = second.name();
    first.until("its neighbour", &["swarm", "peers"], |said| said.contains(&name));
}

#[test]
fn a_home_is_reached_through_the_port_that_its_router_opens() {
    let Some(mut internet) = Internet::start() else { return };
    let public = internet.public("public", "45.45.45.1");
    let home = internet.home("home", "45.45.45.2", "10.1.0", "ct status dnat accept");
    let Some(_gateway) = Gateway::start(&internet, "home-router") else { return };
    let public = Host::start(&public, &[]);
    let shut = Host::start(&home, &[]);
    let address = |host: &Host| format!("/ip4/45.45.45.2/tcp/4001/p2p/{}", host.name());
    assert!(
        !public.run(&["--timeout", "3s", "swarm", "connect", &address(&shut)]).status.success(),
        "nothing is open"
    );
    drop(shut);
    let home = Host::with(&home, |config| config["upnp"] = true.into());
    home.until("a public address", &["id", "-f", "<addrs>"], |said| said.contains("/ip4/45.45.45.2/"));
    public.ok(&["swarm", "connect", &address(&home)]);
    let bytes = noise(3_000_000);
    let cid = home.add(&bytes);
    let got = public.run(&["cat", &cid]);
    assert!(got.stdout == bytes, "{}", String::from_utf8_lossy(&got.stderr));
}

/// A relay and two homes with a node each, the second connected with the first through the relay.
fn two_homes(internet: &mut Internet, rule: &str) -> (Host, Host, Host) {
    let public = internet.public("relay", "45.45.45.1");
    let first = internet.home("first", "45.45.45.2", "10.1.0", rule);
    let second = internet.home("second", "45.45.45.3", "10.2.0", rule);
    let relay = Host::start(&public, &[]);
    let way = format!("/ip4/45.45.45.1/udp/4001/quic-v1/p2p/{}", relay.name());
    let first = Host::start(&first, std::slice::from_ref(&way));
    let second = Host::start(&second, std::slice::from_ref(&way));
    let circuit = format!("{way}/p2p-circuit/p2p/{}", first.name());
    first.until("an address at the relay", &["id", "-f", "<addrs>"], |said| said.contains("/p2p-circuit"));
    second.ok(&["swarm", "connect", &circuit]);
    (relay, first, second)
}

#[test]
fn two_homes_find_a_direct_way_through_their_routers() {
    let Some(mut internet) = Internet::start() else { return };
    let (_relay, first, second) = two_homes(&mut internet, "");
    let direct = |said: &str| {
        said.lines().any(|line| line.contains("/ip4/45.45.45.2/") && !line.contains("/p2p-circuit"))
    };
    second.until("a direct way", &["swarm", "peers"], direct);
    let bytes = noise(5_000_000);
    let cid = first.add(&bytes);
    let got = second.run(&["cat", &cid]);
    assert!(got.stdout == bytes, "{}", String::from_utf8_lossy(&got.stderr));
}

#[test]
fn two_homes_without_a_direct_way_keep_the_relay() {
    let Some(mut internet) = Internet::start() else { return };
    // Neither home may speak with the other at all.
    let rule = "ip daddr { 45.45.45.2, 45.45.45.3 } drop";
    let (relay, first, second) = two_homes(&mut internet, rule);
    let bytes = noise(50_000);
    let cid = first.add(&bytes);
    let got = second.run(&["cat", &cid]);
    assert!(got.stdout == bytes, "{}", String::from_utf8_lossy(&got.stderr));
    let peers = second.ok(&["swarm", "peers"]);
    let to_first: Vec<&str> = peers.lines().filter(|line| line.contains(&first.name())).collect();
    assert!(to_first.iter().all(|line| line.contains("/p2p-circuit")), "{peers}");
    drop(relay);
}
