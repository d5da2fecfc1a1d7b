//! The configuration under the dotted names that Kubo's users know, for the RPC.
//!
//! Names that have a meaning here are Kubo's; what Kubo does not have stands under `Hpips`. A change is made to the whole,
//! the whole is checked, and only then written; a running node takes it up at its next start.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use hpips_api::rpc::{Settings, SettingsError};
use serde_json::{Value, json};

use crate::config::{Config, ConfigError};

/// The settings of a repo.
#[derive(Debug)]
pub(crate) struct RepoSettings {
    repo: PathBuf,
    peer_id: String,
    /// One change at a time.
    turn: Mutex<()>,
}

impl RepoSettings {
    pub(crate) fn new(repo: PathBuf, peer_id: String) -> Self {
        Self { repo, peer_id, turn: Mutex::new(()) }
    }

    fn read(&self) -> Result<Value, SettingsError> {
        Ok(to_value(&Config::read(&self.repo).map_err(file)?, &self.peer_id))
    }

    /// Checks everything, then writes it.
    fn write(&self, key: &str, all: &Value) -> Result<(), SettingsError> {
        let config = self.check(key, all)?;
        config.write(&self.repo).map_err(file)
    }

    fn check(&self, key: &str, all: &Value) -> Result<Config, SettingsError> {
        let wrong = |reason: String| SettingsError::Value { key: key.to_owned(), reason };
        let known = to_value(&Config::default(), &self.peer_id);
        let mut unknown = None;
        paths(all, String::new(), &mut |path| {
            if !is_known(&known, path) {
                unknown.get_or_insert_with(|| path.to_owned());
            }
        });
        if let Some(path) = unknown {
            return Err(no_setting(&known, &path));
        }
        if all.pointer("/Identity/PeerID").is_some_and(|id| id.as_str() != Some(self.peer_id.as_str())) {
            return Err(wrong(
                "Identity.PeerID is the name of the node's key, which is not changed here".into(),
            ));
        }
        from_value(all).map_err(wrong)
    }
}

fn file(error: ConfigError) -> SettingsError {
    SettingsError::File(Box::new(error))
}

/// The configuration in Kubo's form.
fn to_value(config: &Config, peer_id: &str) -> Value {
    let address = |address: Option<std::net::SocketAddr>| match address {
        None => Value::String(String::new()),
        Some(address) => {
            let family = if address.is_ipv4() { "ip4" } else { "ip6" };
            Value::String(format!("/{family}/{}/tcp/{}", address.ip(), address.port()))
        }
    };
    let bytes = |bytes: Option<u64>| bytes.map_or_else(String::new, |bytes| bytes.to_string());
    json!({
        "Addresses": {
            "API": address(Some(config.api)),
            "Announce": config.announce,
            "Gateway": address(config.gateway),
            "Swarm": config.listen,
        },
        "Bootstrap": config.peers,
        "Datastore": { "StorageMax": bytes(config.storage_max) },
        "Discovery": { "MDNS": { "Enabled": config.mdns } },
        "Gateway": { "ExposeRoutingAPI": config.routing_api },
        "Identity": { "PeerID": peer_id },
        "Import": { "Profile": config.import_profile },
        "Provide": { "Strategy": config.provide },
        "Routing": { "DelegatedRouters": config.delegated_routers, "Type": config.routing },
        "Swarm": {
            "AddrFilters": config.filters,
            "ConnMgr": { "HighWater": config.peers_high, "LowWater": config.peers_low },
            "DisableNatPortMap": !config.upnp,
            "RelayClient": { "StaticRelays": config.relays },
        },
        "Hpips": {
            "AnnouncePublic": config.announce_public,
            "ApiTokenRequired": config.api_token_required,
            "AskNano": config.ask_nano,
            "Bandwidth": { "Receive": bytes(config.receive_bytes_max), "Send": bytes(config.send_bytes_max) },
            "ComputeThreads": config.compute_threads,
            "FetchSeconds": config.fetch_seconds,
            "Keys": config.keys,
            "Mount": config.mount,
            "ProvingMemory": config.proving_memory,
        },
    })
}

/// The other way round; what is absent keeps its default.
fn from_value(all: &Value) -> Result<Config, String> {
    let mut config = Config::default();
    let part = |pointer: &str| all.pointer(pointer).filter(|value| !value.is_null());
    fn parse<T: serde::de::DeserializeOwned>(name: &str, value: &Value) -> Result<T, String> {
        serde_json::from_value(value.clone()).map_err(|error| format!("{name}: {error}"))
    }
    let address = |name: &str, value: &Value| -> Result<Option<std::net::SocketAddr>, String> {
        let text: String = parse(name, value)?;
        if text.is_empty() {
            return Ok(None);
        }
        let parts: Vec<&str> = text.split('/').collect();
        let found = match parts.as_slice() {
            ["", "ip4" | "ip6", host, "tcp", port] => host.parse().ok().zip(port.parse().ok()),
            _ => text.parse().ok().map(|address: std::net::SocketAddr| (address.ip(), address.port())),
        };
        let found =
            found.ok_or_else(|| format!("{name}: {text:?} is no address such as /ip4/127.0.0.1/tcp/5001"))?;
        Ok(Some(found.into()))
    };
    if let Some(value) = part("/Addresses/API") {
        config.api = address("Addresses.API", value)?.ok_or("Addresses.API: the node needs one")?;
    }
    if let Some(value) = part("/Addresses/Gateway") {
        config.gateway = address("Addresses.Gateway", value)?;
    }
    if let Some(value) = part("/Addresses/Swarm") {
        config.listen = parse("Addresses.Swarm", value)?;
    }
    if let Some(value) = part("/Bootstrap") {
        config.peers = parse("Bootstrap", value)?;
    }
    if let Some(value) = part("/Addresses/Announce") {
        config.announce = parse("Addresses.Announce", value)?;
    }
    if let Some(value) = part("/Provide/Strategy") {
        config.provide = parse("Provide.Strategy", value)?;
    }
    if let Some(value) = part("/Routing/Type") {
        config.routing = parse("Routing.Type", value)?;
    }
    if let Some(value) = part("/Swarm/AddrFilters") {
        config.filters = parse("Swarm.AddrFilters", value)?;
    }
    if let Some(value) = part("/Swarm/ConnMgr/HighWater") {
        config.peers_high = parse("Swarm.ConnMgr.HighWater", value)?;
    }
    if let Some(value) = part("/Swarm/ConnMgr/LowWater") {
        config.peers_low = parse("Swarm.ConnMgr.LowWater", value)?;
    }
    if let Some(value) = part("/Swarm/DisableNatPortMap") {
        config.upnp = !parse::<bool>("Swarm.DisableNatPortMap", value)?;
    }
    if let Some(value) = part("/Swarm/RelayClient/StaticRelays") {
        config.relays = parse("Swarm.RelayClient.StaticRelays", value)?;
    }
    if let Some(value) = part("/Hpips/AnnouncePublic") {
        config.announce_public = parse("Hpips.AnnouncePublic", value)?;
    }
    for (name, texts) in [
        ("Addresses.Swarm", &config.listen),
        ("Addresses.Announce", &config.announce),
        ("Bootstrap", &config.peers),
        ("Swarm.RelayClient.StaticRelays", &config.relays),
    ] {
        for text in texts {
            if text.parse::<hpips_net::Multiaddr>().is_err() {
                return Err(format!("{name}: {text:?} is no multiaddress"));
            }
        }
    }
    if let Some(value) = part("/Datastore/StorageMax") {
        config.storage_max = parse_bytes("Datastore.StorageMax", value)?;
    }
    if let Some(value) = part("/Discovery/MDNS/Enabled") {
        config.mdns = parse("Discovery.MDNS.Enabled", value)?;
    }
    if let Some(value) = part("/Gateway/ExposeRoutingAPI") {
        config.routing_api = parse("Gateway.ExposeRoutingAPI", value)?;
    }
    if let Some(value) = part("/Routing/DelegatedRouters") {
        config.delegated_routers = parse("Routing.DelegatedRouters", value)?;
        config
            .routers()
            .map_err(|error| format!("Routing.DelegatedRouters: {}", hpips_api::chain_text(&error)))?;
    }
    if let Some(value) = part("/Import/Profile") {
        config.import_profile = parse("Import.Profile", value)?;
    }
    if let Some(value) = part("/Hpips/ApiTokenRequired") {
        config.api_token_required = parse("Hpips.ApiTokenRequired", value)?;
    }
    if let Some(value) = part("/Hpips/AskNano") {
        config.ask_nano = parse("Hpips.AskNano", value)?;
    }
    if let Some(value) = part("/Hpips/Bandwidth/Receive") {
        config.receive_bytes_max = parse_bytes("Hpips.Bandwidth.Receive", value)?;
    }
    if let Some(value) = part("/Hpips/Bandwidth/Send") {
        config.send_bytes_max = parse_bytes("Hpips.Bandwidth.Send", value)?;
    }
    if let Some(value) = part("/Hpips/ComputeThreads") {
        config.compute_threads = parse("Hpips.ComputeThreads", value)?;
    }
    if let Some(value) = part("/Hpips/FetchSeconds") {
        config.fetch_seconds = parse("Hpips.FetchSeconds", value)?;
    }
    if let Some(value) = part("/Hpips/Keys") {
        config.keys = parse("Hpips.Keys", value)?;
    }
    if let Some(value) = part("/Hpips/Mount") {
        config.mount = parse("Hpips.Mount", value)?;
    }
    if let Some(value) = part("/Hpips/ProvingMemory") {
        config.proving_memory = parse("Hpips.ProvingMemory", value)?;
    }
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

/// `10GB`, `64MiB` or bytes; empty for no limit.
fn parse_bytes(name: &str, value: &Value) -> Result<Option<u64>, String> {
    let wrong = || format!("{name}: {value} is no size such as 10GB or 512MiB");
    let text = match value {
        Value::Number(number) => return number.as_u64().map(Some).ok_or_else(wrong),
        Value::String(text) => text,
        _ => return Err(wrong()),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    let bytes =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|bytes| *bytes > 0);
    bytes.map(Some).ok_or_else(wrong)
}

/// Dotted names of all values that are no objects.
fn paths(value: &Value, path: String, take: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                paths(value, format!("{path}{dot}{name}"), take);
            }
        }
        _ => take(&path),
    }
}

fn lookup<'a>(all: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(all, |value, name| value.get(name))
}

fn is_known(known: &Value, path: &str) -> bool {
    lookup(known, path).is_some_and(|value| !value.is_object())
}

fn no_setting(known: &Value, path: &str) -> SettingsError {
    let mut near: Option<(usize, String)> = None;
    paths(known, String::new(), &mut |name| {
        let distance = distance(&name.to_lowercase(), &path.to_lowercase());
        if distance <= path.len() / 2 && near.as_ref().is_none_or(|(best, _)| distance < *best) {
            near = Some((distance, name.to_owned()));
        }
    });
    SettingsError::Unknown { key: path.to_owned(), near: near.map(|(_, name)| name) }
}

/// Letters to change, add or leave out (Levenshtein). Names are short: the product of their lengths is the cost.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().take(64).enumerate() {
        let mut corner = row[0];
        row[0] = index + 1;
        for (at, other) in right.iter().enumerate() {
            let change = corner + usize::from(letter != *other);
            corner = row[at + 1];
            row[at + 1] = change.min(row[at] + 1).min(corner + 1);
        }
    }
    row[right.len()]
}

/// What a text means where a switch or number stood before.
fn coerce(old: &Value, new: Value) -> Value {
    match (&new, old) {
        (Value::String(text), Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
            serde_json::from_str(text).unwrap_or(new)
        }
        _ => new,
    }
}

impl Settings for RepoSettings {
    fn show(&self) -> Result<Value, SettingsError> {
        self.read()
    }

    fn get(&self, key: &str) -> Result<Value, SettingsError> {
        let all = self.read()?;
        lookup(&all, key).cloned().ok_or_else(|| no_setting(&all, key))
    }

    fn set(&self, key: &str, value: Value) -> Result<(), SettingsError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.read()?;
        let old = lookup(&all, key).cloned().ok_or_else(|| no_setting(&all, key))?;
        let place =
            key.split('.').try_fold(&mut all, |value, name| value.get_mut(name)).expect("found just now");
        *place = coerce(&old, value);
        self.write(key, &all)
    }

    fn replace(&self, all: Value) -> Result<(), SettingsError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.write("the configuration", &all)
    }

    fn apply_profile(&self, name: &str, dry_run: bool) -> Result<(Value, Value), SettingsError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.read()?;
        let mut new = old.clone();
        let mut set =
            |pointer: &str, value: Value| *new.pointer_mut(pointer).expect("a known setting") = value;
        match name {
            "unixfs-v1-2025" | "unixfs-v0-2015" => set("/Import/Profile", name.into()),
            "local-discovery" => set("/Discovery/MDNS/Enabled", true.into()),
            "server" => {
                set("/Discovery/MDNS/Enabled", false.into());
                set("/Swarm/DisableNatPortMap", true.into());
            }
            "announce-on" => set("/Hpips/AnnouncePublic", true.into()),
            "announce-off" => set("/Hpips/AnnouncePublic", false.into()),
            "test" => {
                set("/Addresses/API", "/ip4/127.0.0.1/tcp/0".into());
                set("/Addresses/Gateway", "/ip4/127.0.0.1/tcp/0".into());
                set("/Addresses/Swarm", json!(["/ip4/127.0.0.1/tcp/0"]));
                set("/Bootstrap", json!([]));
                set("/Swarm/DisableNatPortMap", true.into());
                set("/Discovery/MDNS/Enabled", false.into());
            }
            "randomports" => {
                set("/Addresses/Swarm", json!(["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"]));
            }
            _ => {
                return Err(SettingsError::Value {
                    key: "the configuration".into(),
                    reason: format!(
                        "{name} is not a profile: there are unixfs-v1-2025, unixfs-v0-2015, local-discovery, server, \
                         randomports, test, announce-on, announce-off"
                    ),
                });
            }
        }
        if dry_run {
            self.check(name, &new)?;
        } else {
            self.write(name, &new)?;
        }
        // A person compares the two: names alone are not shown twice.
        let without_identity = |mut value: Value| {
            if let Some(map) = value.as_object_mut() {
                map.remove("Identity");
            }
            value
        };
        Ok((without_identity(old), without_identity(new)))
    }

    fn storage_max(&self) -> u64 {
        Config::read(&self.repo).ok().and_then(|config| config.storage_max).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> (tempfile::TempDir, RepoSettings) {
        let repo = tempfile::tempdir().unwrap();
        Config::default().write(repo.path()).unwrap();
        let settings = RepoSettings::new(repo.path().to_owned(), "me".into());
        (repo, settings)
    }

    #[test]
    fn every_setting_survives_the_other_form() {
        let config = Config {
            listen: vec!["/ip4/127.0.0.1/tcp/7".into()],
            peers: Vec::new(),
            api: "[::1]:6".parse().unwrap(),
            gateway: None,
            mdns: false,
            keys: Some("/k".into()),
            compute_threads: 3,
            proving_memory: 5,
            ask_nano: 7,
            mount: Some("/m".into()),
            storage_max: Some(10_000_000_000),
            import_profile: "unixfs-v0-2015".into(),
            api_token_required: true,
            routing: crate::config::Routing::Dht,
            announce_public: true,
            provide: crate::config::Provide::All,
            announce: vec!["/ip4/1.2.3.4/tcp/5".into()],
            relays: vec!["/ip4/1.2.3.4/tcp/6".into()],
            filters: vec!["/ip4/10.0.0.0/ipcidr/8".into()],
            upnp: false,
            peers_high: 9,
            peers_low: 8,
            fetch_seconds: 7,
            receive_bytes_max: Some(5_000_000),
            send_bytes_max: Some(1 << 20),
            delegated_routers: vec!["http://127.0.0.1:8080".into()],
            routing_api: false,
        };
        assert_eq!(from_value(&to_value(&config, "me")), Ok(config));
    }

    #[test]
    fn a_wrong_value_changes_nothing_and_a_wrong_name_gets_a_near_one() {
        let (_repo, settings) = settings();
        let before = settings.show().unwrap();
        for (key, value, word) in [
            ("Addresses.API", json!("/ip4/0.0.0.0/tcp/5001"), "loopback"),
            ("Addresses.API", json!("bogus"), "address"),
            ("Datastore.StorageMax", json!("ten"), "size"),
            ("Import.Profile", json!("unixfs-v9"), "unixfs-v1-2025"),
            ("Identity.PeerID", json!("you"), "key"),
            ("Addresses", json!({"Swarm": [], "Bogus": 1}), "Addresses.Bogus"),
            ("Adresses.Gatway", json!(""), "did you mean Addresses.Gateway"),
            ("Hpips.ComputeThreads", json!("0"), "compute_threads"),
            ("Swarm.AddrFilters", json!(["10.0.0.0/8"]), "filters"),
            ("Swarm.ConnMgr.LowWater", json!(1000), "peers_low"),
            ("Hpips.Bandwidth.Send", json!("10kB"), "send_bytes_max must be at least 65536"),
            ("Hpips.Bandwidth.Receive", json!("fast"), "size"),
            ("Hpips.FetchSeconds", json!(0), "1 to 86400"),
            ("Provide.Strategy", json!("some"), "roots"),
            ("Routing.Type", json!("magic"), "auto"),
            ("Addresses.Announce", json!(["here"]), "multiaddress"),
        ] {
            let error = settings.set(key, value).unwrap_err().to_string();
            assert!(error.contains(word), "{key}: {error}");
        }
        assert_eq!(settings.show().unwrap(), before);
        settings.set("Datastore.StorageMax", json!("10GB")).unwrap();
        assert_eq!(settings.storage_max(), 10_000_000_000);
        settings.set("Discovery.MDNS.Enabled", json!("false")).unwrap();
        assert_eq!(settings.get("Discovery.MDNS.Enabled").unwrap(), json!(false));
        assert!(settings.get("Nothing").is_err());
    }

    #[test]
    fn profiles_are_shown_before_they_are_applied() {
        let (_repo, settings) = settings();
        let (old, new) = settings.apply_profile("test", true).unwrap();
        assert_ne!(old, new);
        assert_eq!(settings.apply_profile("test", false).unwrap(), (old, new.clone()));
        assert_eq!(settings.apply_profile("test", true).unwrap().0, new);
        assert!(settings.apply_profile("bogus", false).is_err());
    }
}
