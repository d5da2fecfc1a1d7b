//! The versions of the protocol, and what each can say.

use cid::Version;
use hpips_types::Cid;

use crate::message::{Entry, Message, WantType};

/// A version of the protocol. Every one is served; a stream opens with the newest that the peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// 1.2.0: blocks and presences.
    V1_2,
    /// 1.1.0: blocks under any CID. A missing block is answered with silence.
    V1_1,
    /// 1.0.0: blocks without names, which are all CIDv0.
    V1_0,
    /// As 1.0.0, from before versions had names.
    Unversioned,
}

impl Protocol {
    /// All of them, the newest first.
    pub const ALL: [Self; 4] = [Self::V1_2, Self::V1_1, Self::V1_0, Self::Unversioned];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_2 => crate::PROTOCOL,
            Self::V1_1 => "/ipfs/bitswap/1.1.0",
            Self::V1_0 => "/ipfs/bitswap/1.0.0",
            Self::Unversioned => "/ipfs/bitswap",
        }
    }

    /// Whether peers that speak it can be asked if they have a block, and say when they have not.
    pub const fn has_presence(self) -> bool {
        matches!(self, Self::V1_2)
    }

    /// Whether a block can travel under a CID: 1.0.0 does not say what a block's name is, only CIDv0 is implied.
    pub fn can_name(self, cid: &Cid) -> bool {
        match self {
            Self::V1_2 | Self::V1_1 => true,
            Self::V1_0 | Self::Unversioned => cid.version() == Version::V0,
        }
    }

    /// The part of a message that this version can say; a question whether the peer has a block becomes a want for it.
    pub(crate) fn sayable(self, message: &Message) -> Message {
        if self.has_presence() {
            return message.clone();
        }
        let line =
            |entry: &Entry| Entry { want_type: WantType::Block, send_dont_have: false, ..entry.clone() };
        let is_named = |prefix: &[u8]| matches!(self, Self::V1_1) || prefix.first() == Some(&0);
        Message {
            full: message.full,
            wants: message.wants.iter().filter(|entry| self.can_name(&entry.cid)).map(line).collect(),
            blocks: message.blocks.iter().filter(|block| is_named(&block.prefix)).cloned().collect(),
            ..Message::default()
        }
    }
}
