//! Writes one peer's outbound bitswap stream.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hpips_bitswap::{Message, Protocol};
use libp2p::{PeerId, StreamProtocol};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::Event;
use crate::net::Shared;
use crate::streams::OpenError;
use crate::wire::{FrameError, Stream, within};

/// A peer that takes no byte of a message for so long has its stream closed.
const STALL: Duration = Duration::from_secs(60);
/// Bytes handed to the stream at once, between looks at the deadline.
const WRITE_BYTES: usize = 256 * 1024;

/// A message to be encoded for whatever version the peer speaks.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) message: Message,
    /// What it counts as outstanding with the server side.
    pub(super) bytes: u64,
}

pub(super) async fn write_peer(
    shared: Shared,
    peer: PeerId,
    mut messages: mpsc::Receiver<Outgoing>,
    events: mpsc::Sender<Event>,
) {
    let mut stream: Option<Stream> = None;
    // Remembered as long as the connection stands, since this task ends with it.
    let mut spoken = Protocol::ALL[0];
    while let Some(message) = messages.recv().await {
        if events.send(Event::Writing(peer, message.bytes)).await.is_err() {
            return;
        }
        // A stream that stood idle may have died with an old connection: one more attempt on a new one.
        let attempts = if stream.is_some() { 2 } else { 1 };
        let mut written = false;
        for _ in 0..attempts {
            let mut open = match stream.take() {
                Some(open) => open,
                None => match open(&shared, peer, spoken).await {
                    Ok((open, protocol)) => {
                        spoken = protocol;
                        if events.send(Event::Speaks(peer, protocol)).await.is_err() {
                            return;
                        }
                        open
                    }
                    Err(error) => {
                        tracing::debug!(%peer, %error, "no bitswap stream");
                        break;
                    }
                },
            };
            match write(&mut open, &message.message.encode_for(spoken)).await {
                Ok(()) => {
                    stream = Some(open);
                    written = true;
                    break;
                }
                Err(error) => tracing::debug!(%peer, %error, "bitswap stream failed"),
            }
        }
        if !written && events.send(Event::Unreachable(peer)).await.is_err() {
            return;
        }
    }
}

/// Opens a stream with the newest version that both speak, the one that was spoken last first.
async fn open(shared: &Shared, peer: PeerId, spoken: Protocol) -> Result<(Stream, Protocol), OpenError> {
    let mut refused = None;
    let others = Protocol::ALL.into_iter().filter(|protocol| *protocol != spoken);
    for protocol in [spoken].into_iter().chain(others) {
        match shared.open(peer, StreamProtocol::new(protocol.name())).await {
            Ok(stream) => return Ok((stream, protocol)),
            Err(error @ OpenError::Unsupported(_)) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or(OpenError::NotConnected(None)))
}

async fn write(stream: &mut Stream, parts: &[Bytes]) -> Result<(), FrameError> {
    for slice in parts.iter().flat_map(|part| part.chunks(WRITE_BYTES)) {
        within(STALL, stream.write_all(slice)).await?;
    }
    within(STALL, async { stream.flush().await as io::Result<()> }).await
}
