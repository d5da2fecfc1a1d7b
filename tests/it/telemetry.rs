//! No telemetry: the consensus engine brings OpenTelemetry along, and nothing may start it.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hpips_api::ApiClient;
use hpips_testnet::{Network, Options};

use crate::binary::{hpips, ok};

/// A daemon whose environment names a collector never connects to it, neither alone nor as a validator.
#[test]
fn no_exporter_starts() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    collector.set_nonblocking(true).unwrap();
    let address = format!("http://{}", collector.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let repo = folder.path().join("repo");
    ok(&repo, &["init"]);
    let mut daemon = Command::new(hpips())
        .args(["daemon", "--end-with", &std::process::id().to_string()])
        .env("HPIPS_PATH", &repo)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &address)
        .env("OTEL_TRACES_EXPORTER", "otlp")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    runtime.block_on(async {
        loop {
            if let Ok(api) = ApiClient::of_repo(&repo)
                && api.is_alive().await
            {
                break;
            }
            assert!(Instant::now() < deadline, "the daemon does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let options = Options {
            program: hpips().to_owned(),
            providers: 1,
            clients: 0,
            ..Options::new(folder.path().join("net")).unwrap()
        };
        let network = Network::start(options).await.unwrap();
        let api = network.node(1).unwrap().api().clone();
        while api.get::<hpips_api::view::ChainInfo>("/hpips/v0/chain").await.unwrap().height.get() < 3 {
            assert!(Instant::now() < deadline, "the chain does not grow");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(collector.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "something was exported");
}
