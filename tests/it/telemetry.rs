//! No telemetry: the consensus engine brings OpenTelemetry along, and nothing may start it.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hpips_api::ApiClient;
use hpips_api::view::ChainInfo;

use crate::binary::hpips;

/// A validator whose environment names a collector writes blocks and never connects to it.
#[test]
fn no_exporter_starts() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    collector.set_nonblocking(true).unwrap();
    let address = format!("http://{}", collector.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let network = folder.path().join("net");
    let testnet = |args: &[&str]| {
        Command::new(hpips())
            .arg("testnet")
            .args(args)
            .arg("--dir")
            .arg(&network)
            .env("HPIPS_PATH", folder.path().join("repo"))
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
            .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &address)
            .env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &address)
            .env("OTEL_TRACES_EXPORTER", "otlp")
            .env("OTEL_METRICS_EXPORTER", "otlp")
            .output()
            .unwrap()
    };
    let up = testnet(&["up", "-n", "1"]);
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let grown = wait_for_blocks(&network.join("node-1"));
    let down = testnet(&["down"]);
    assert!(grown, "the chain does not grow");
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    assert_eq!(collector.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "something was exported");
}

/// Whether a node sees the third block within a minute.
fn wait_for_blocks(repo: &Path) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let deadline = Instant::now() + Duration::from_secs(60);
    runtime.block_on(async {
        while Instant::now() < deadline {
            if let Ok(api) = ApiClient::of_repo(repo)
                && let Ok(info) = api.get::<ChainInfo>("/hpips/v0/chain").await
                && info.height.get() >= 3
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    })
}
