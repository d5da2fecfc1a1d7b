//! Why a request has no good answer.

use std::time::Duration;

use crate::exit::Exit;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RpcError {
    /// The handler refused or failed, in its own words.
    #[error("{message}")]
    Refused {
        /// What it said.
        message: String,
        /// HTTP status.
        status: u16,
    },
    /// The other end does not know the command.
    #[error("this version of the node has no such command; nothing was changed")]
    Unknown,
    /// Part of the answer came, then the handler failed.
    #[error("{message}")]
    BrokeOff {
        /// What it said.
        message: String,
    },
    /// Nothing listens, or it is not HTTP.
    #[error("nothing answers at {host}")]
    Unreachable {
        /// Where.
        host: String,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was given cannot stand in a request.
    #[error("{host:?} cannot be spoken to")]
    Address {
        /// Where.
        host: String,
    },
    /// The connection ended within the answer.
    #[error("the answer ends too early")]
    Cut(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A value of the answer is too large to be held.
    #[error("the answer holds a value of more than {0} bytes")]
    TooLong(usize),
    /// A value of the answer is not what was expected.
    #[error("the answer is not understood")]
    Answer(#[source] serde_json::Error),
    /// Time is up.
    #[error("not done within {0:?}, given up. Longer: --timeout")]
    Deadline(Duration),
}

/// What the handlers say when content is not there, in Kubo's words: its answers carry no finer code.
const ABSENT: &[&str] =
    &["could not find", "no link named", "not found locally", "context deadline exceeded"];
/// What they say when the request itself is wrong.
const WRONG: &[&str] = &["invalid path", "invalid cid", "invalid CID", "is required", "must start with"];

impl RpcError {
    /// The exit code it deserves.
    pub(crate) fn exit(&self) -> Exit {
        let says = |words: &[&str], message: &str| words.iter().any(|word| message.contains(word));
        match self {
            Self::Refused { message, .. } | Self::BrokeOff { message } if says(ABSENT, message) => {
                Exit::NotFound
            }
            Self::Refused { message, .. } if says(WRONG, message) => Exit::Usage,
            Self::Refused { status: 400, .. } | Self::Address { .. } => Exit::Usage,
            Self::Deadline(_) => Exit::NotFound,
            _ => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_kubo_become_exit_codes() {
        let check = |message: &str, status, exit| {
            assert_eq!(RpcError::Refused { message: message.to_owned(), status }.exit(), exit, "{message}");
        };
        check("block was not found locally (offline): ipld: could not find bafk", 500, Exit::NotFound);
        check("no link named \"x\" under bafy", 500, Exit::NotFound);
        check("invalid path \"bogus\": path does not have enough components", 500, Exit::Usage);
        check("argument \"ipfs-path\" is required", 400, Exit::Usage);
        check("file already exists", 500, Exit::Failed);
        assert_eq!(RpcError::Deadline(Duration::from_secs(1)).exit(), Exit::NotFound);
    }
}
