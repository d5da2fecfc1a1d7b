//! Messages to everyone on a topic, by gossipsub: signed by their author, forwarded once.

use bytes::Bytes;
use hpips_types::AccountId;
use libp2p::gossipsub::{IdentTopic, PublishError};
use tokio::sync::{mpsc, oneshot};

use crate::swarm::Command;

/// Messages that wait for a reader; a reader that is behind loses new ones.
pub(crate) const INBOX_MAX: usize = 256;

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// No connected peer has subscribed to the topic (yet).
    #[error("nobody connected listens to this topic")]
    Alone,
    /// All queues to peers are full.
    #[error("the queues to all peers are full")]
    Busy,
    /// Over the topic's limit.
    #[error("a message of {bytes} bytes is over the limit of {bytes_max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit of the topic.
        bytes_max: usize,
    },
    /// Refused by gossipsub.
    #[error("gossipsub refused the message")]
    Refused(#[source] PublishError),
    /// This node shuts down.
    #[error("the network is shut down")]
    Closed,
}

/// A subscription to one topic. Several in one node each get every message.
#[derive(Debug)]
pub struct Gossip {
    topic: IdentTopic,
    bytes_max: usize,
    commands: mpsc::Sender<Command>,
    inbox: mpsc::Receiver<(AccountId, Bytes)>,
}

/// The publishing half of a subscription, cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    topic: IdentTopic,
    bytes_max: usize,
    commands: mpsc::Sender<Command>,
}

impl Gossip {
    pub(crate) fn new(
        topic: IdentTopic,
        bytes_max: usize,
        commands: mpsc::Sender<Command>,
        inbox: mpsc::Receiver<(AccountId, Bytes)>,
    ) -> Self {
        Self { topic, bytes_max, commands, inbox }
    }

    /// A handle that only publishes.
    pub fn publisher(&self) -> Publisher {
        Publisher { topic: self.topic.clone(), bytes_max: self.bytes_max, commands: self.commands.clone() }
    }

    /// See [`Publisher::publish`].
    ///
    /// # Errors
    /// [`GossipError`] by variant.
    pub async fn publish(&self, data: Bytes) -> Result<(), GossipError> {
        self.publisher().publish(data).await
    }

    /// The next message and its author, whose signature was checked; `None` after shutdown. Own messages do not
    /// come back. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<(AccountId, Bytes)> {
        loop {
            let (author, data) = self.inbox.recv().await?;
            if data.len() <= self.bytes_max {
                return Some((author, data));
            }
            tracing::debug!(%author, bytes = data.len(), topic = %self.topic, "gossip over the topic's limit");
        }
    }
}

impl Publisher {
    /// Sends a message to everyone on the topic. Publishing the same bytes again within a minute is no error
    /// and sends nothing.
    ///
    /// # Errors
    /// [`GossipError`] by variant.
    pub async fn publish(&self, data: Bytes) -> Result<(), GossipError> {
        if data.len() > self.bytes_max {
            return Err(GossipError::TooLong { bytes: data.len(), bytes_max: self.bytes_max });
        }
        let (reply, outcome) = oneshot::channel();
        let command = Command::Publish(self.topic.clone(), data, reply);
        self.commands.send(command).await.map_err(|_| GossipError::Closed)?;
        outcome.await.map_err(|_| GossipError::Closed)?
    }
}
