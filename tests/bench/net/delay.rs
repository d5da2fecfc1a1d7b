//! A link with a round trip and a bandwidth: a TCP proxy that holds every byte back for as long as the link would.

use std::time::Duration;

use hpips_net::Multiaddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Bytes taken at once.
const PART_BYTES: usize = 16 << 10;
/// Parts on their way in one direction: two megabytes, above bandwidth times delay of what is measured here.
const PARTS_MAX: usize = 128;

/// Opens a link to a node; the result is the node's address at its other end.
pub(super) async fn link(to: &Multiaddr, delay: Duration, bytes_a_second: u32) -> Multiaddr {
    let text = to.to_string();
    let port = |text: &str| text.split('/').nth(4).expect("/ip4/A/tcp/PORT/p2p/NAME").to_owned();
    let target = format!("127.0.0.1:{}", port(&text));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let here = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&target).await.expect("the node listens");
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(carry(near_in, far_out, delay, bytes_a_second));
            tokio::spawn(carry(far_in, near_out, delay, bytes_a_second));
        }
    });
    let through = text.replace(&format!("/tcp/{}", port(&text)), &format!("/tcp/{here}"));
    through.parse().expect("an address with another port")
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    delay: Duration,
    bytes_a_second: u32,
) {
    let (sender, mut parts) = mpsc::channel::<(Instant, Vec<u8>)>(PARTS_MAX);
    tokio::spawn(async move {
        while let Some((at, part)) = parts.recv().await {
            sleep_until(at).await;
            if to.write_all(&part).await.is_err() {
                return;
            }
        }
    });
    // When the link is free to take the next part.
    let mut free = Instant::now();
    loop {
        let mut part = vec![0; PART_BYTES];
        let Ok(length @ 1..) = from.read(&mut part).await else { return };
        part.truncate(length);
        let bytes = u32::try_from(length).expect("a short part");
        free = free.max(Instant::now()) + Duration::from_secs(1) * bytes / bytes_a_second;
        if sender.send((free + delay, part)).await.is_err() {
            return;
        }
    }
}
