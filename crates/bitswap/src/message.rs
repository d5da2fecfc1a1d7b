//! One message of the protocol, in the wire format of bitswap 1.2.0 and of the versions before.
//!
//! A decoder counts while it reads: what a peer may make us keep is bounded by the limits below whatever the
//! message says. Source: `message.proto` of boxo/bitswap.

use bytes::Bytes;
use cid::Version;
use hpips_types::Cid;
use hpips_types::content::{BLOCK_BYTES_MAX, DAG_PB, cid_v1_with};

use crate::proto::{Malformed, Reader, Value, put_bytes, put_head, put_number, put_varint, varint_len};
use crate::protocol::Protocol;

/// Longest message that is sent or accepted, bytes, without the length in front (Kubo's limit).
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Wants of one message that are looked at, and wants of one peer that are kept (Kubo's limit). More are dropped.
pub const WANTS_MAX: usize = 1024;
/// Cancels, presences and blocks of one message that are looked at, each.
const ITEMS_MAX: usize = 4 * WANTS_MAX;
/// Longest CID and block prefix accepted, bytes; a CIDv1 with a 64-byte hash has fewer.
const CID_BYTES_MAX: usize = 128;

/// What a want asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WantType {
    /// The block itself.
    #[default]
    Block,
    /// Only whether the peer has it.
    Have,
}

/// A line of a wantlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The block.
    pub cid: Cid,
    /// Higher is wanted more; only the sender's own order counts.
    pub priority: i32,
    /// Takes back an earlier want.
    pub cancel: bool,
    /// Block or presence.
    pub want_type: WantType,
    /// Whether a missing block shall be answered with [`Presence::DontHave`] instead of silence.
    pub send_dont_have: bool,
}

impl Entry {
    /// A want that asks for an answer in any case.
    pub fn want(cid: Cid, want_type: WantType) -> Self {
        Self { cid, priority: 1, cancel: false, want_type, send_dont_have: true }
    }

    /// Takes a want back.
    pub fn cancel(cid: Cid) -> Self {
        Self { cid, priority: 0, cancel: true, want_type: WantType::Block, send_dont_have: false }
    }
}

/// Whether a peer has a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// It does.
    Have,
    /// It does not.
    DontHave,
}

/// A block as it travels: the prefix says how to name it, the name itself is computed by the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// CID version, codec, hash function and hash length, as varints.
    pub prefix: Vec<u8>,
    /// The block.
    pub data: Bytes,
}

impl Payload {
    /// A block under the CID it was asked by.
    pub fn new(cid: &Cid, data: Bytes) -> Self {
        let mut prefix = Vec::with_capacity(8);
        let version = match cid.version() {
            Version::V0 => 0,
            Version::V1 => 1,
        };
        for word in [version, cid.codec(), cid.hash().code(), u64::from(cid.hash().size())] {
            put_varint(&mut prefix, word);
        }
        Self { prefix, data }
    }

    fn encoded_len(&self) -> usize {
        let (prefix, data) = (self.prefix.len(), self.data.len());
        1 + varint_len(prefix as u64) + prefix + 1 + varint_len(data as u64) + data
    }
}

/// The CID of a received block, computed from its bytes; `None` for a prefix that is malformed or names a hash
/// function that is not computed here. Costs one hash of the block.
///
/// A block can be trusted to be what the result names, and nothing else: this is the check that
/// `hpips_types::content::verify_block` makes, read from the other end.
pub fn cid_of_payload(payload: &Payload) -> Option<Cid> {
    let mut reader = Reader::new(&payload.prefix);
    let mut word = || reader.varint().ok();
    let (version, codec, code, len) = (word()?, word()?, word()?, word()?);
    let cid = cid_v1_with(codec, code, &payload.data).ok()?;
    if u64::from(cid.hash().size()) != len {
        return None;
    }
    match version {
        0 if codec == DAG_PB => Cid::new_v0(*cid.hash()).ok(),
        1 => Some(cid),
        _ => None,
    }
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Whether the wants replace all earlier ones of the sender.
    pub full: bool,
    /// Wants and cancels.
    pub wants: Vec<Entry>,
    /// Blocks.
    pub blocks: Vec<Payload>,
    /// Answers to wants.
    pub presences: Vec<(Cid, Presence)>,
    /// Bytes of wanted blocks that the sender has queued for the receiver.
    pub pending_bytes: u32,
    /// Lines that were left out because the message had more than the limits allow or named malformed CIDs.
    /// Not on the wire.
    pub dropped: usize,
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Over [`MESSAGE_BYTES_MAX`].
    #[error("a message of {bytes} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A block over [`BLOCK_BYTES_MAX`].
    #[error("a block of {bytes} bytes is over the limit of {BLOCK_BYTES_MAX}")]
    BlockTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not protobuf.
    #[error("malformed message")]
    Malformed,
}

impl From<Malformed> for MessageError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Message {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        !self.full && self.wants.is_empty() && self.blocks.is_empty() && self.presences.is_empty()
    }

    /// Reads a message, without the length in front. Blocks share the memory of `bytes` where they make up most
    /// of it and are copied where they would hold on to a much larger message.
    ///
    /// # Errors
    /// [`MessageError`] by variant. Unknown fields are skipped; lines over the limits are counted in
    /// [`Message::dropped`].
    pub fn decode(bytes: &Bytes) -> Result<Self, MessageError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLong { bytes: bytes.len() });
        }
        let mut message = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Bytes(list)) => message.decode_wantlist(list)?,
                // The block list of 1.0.0, still written by some: always CIDv0.
                (2, Value::Bytes(data)) => {
                    message.push_block(bytes, vec![0, 0x70, 0x12, 32], data)?;
                }
                (3, Value::Bytes(block)) => message.decode_block(bytes, block)?,
                (4, Value::Bytes(presence)) => message.decode_presence(presence)?,
                (5, Value::Varint(pending)) => {
                    message.pending_bytes = u32::try_from(pending).unwrap_or(u32::MAX);
                }
                _ => {}
            }
        }
        Ok(message)
    }

    fn decode_wantlist(&mut self, bytes: &[u8]) -> Result<(), MessageError> {
        let mut reader = Reader::new(bytes);
        let (mut wants, mut cancels) = (0, 0);
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Bytes(line)) => {
                    let Some(entry) = decode_entry(line)? else {
                        self.dropped += 1;
                        continue;
                    };
                    let (count, most) =
                        if entry.cancel { (&mut cancels, ITEMS_MAX) } else { (&mut wants, WANTS_MAX) };
                    if *count == most {
                        self.dropped += 1;
                    } else {
                        *count += 1;
                        self.wants.push(entry);
                    }
                }
                (2, Value::Varint(full)) => self.full = full != 0,
                _ => {}
            }
        }
        // Several wantlists in one message are allowed by protobuf; together they stay under the limits.
        let kept = self.wants.len().min(WANTS_MAX + ITEMS_MAX);
        self.dropped += self.wants.len() - kept;
        self.wants.truncate(kept);
        Ok(())
    }

    fn decode_block(&mut self, whole: &Bytes, bytes: &[u8]) -> Result<(), MessageError> {
        let mut reader = Reader::new(bytes);
        let (mut prefix, mut data): (&[u8], &[u8]) = (&[], &[]);
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Bytes(value)) => prefix = value,
                (2, Value::Bytes(value)) => data = value,
                _ => {}
            }
        }
        if prefix.len() > CID_BYTES_MAX {
            self.dropped += 1;
            return Ok(());
        }
        self.push_block(whole, prefix.to_vec(), data)
    }

    fn push_block(&mut self, whole: &Bytes, prefix: Vec<u8>, data: &[u8]) -> Result<(), MessageError> {
        if data.len() > BLOCK_BYTES_MAX {
            return Err(MessageError::BlockTooLong { bytes: data.len() });
        }
        if self.blocks.len() == ITEMS_MAX {
            self.dropped += 1;
            return Ok(());
        }
        let data =
            if data.len() >= whole.len() / 2 { whole.slice_ref(data) } else { Bytes::copy_from_slice(data) };
        self.blocks.push(Payload { prefix, data });
        Ok(())
    }

    fn decode_presence(&mut self, bytes: &[u8]) -> Result<(), MessageError> {
        let mut reader = Reader::new(bytes);
        let (mut cid, mut presence) = (None, Presence::Have);
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Bytes(bytes)) => cid = decode_cid(bytes),
                (2, Value::Varint(1)) => presence = Presence::DontHave,
                _ => {}
            }
        }
        match cid {
            Some(cid) if self.presences.len() < ITEMS_MAX => self.presences.push((cid, presence)),
            _ => self.dropped += 1,
        }
        Ok(())
    }

    /// The message with its length in front, as parts to be written one after the other: blocks are not copied.
    pub fn encode(&self) -> Vec<Bytes> {
        self.parts(Protocol::V1_2)
    }

    /// As [`Message::encode`] for a peer that speaks an older version: what it cannot say is left out. No parts when
    /// nothing is left.
    pub fn encode_for(&self, protocol: Protocol) -> Vec<Bytes> {
        if protocol.has_presence() {
            return self.encode();
        }
        let message = protocol.sayable(self);
        if message.is_empty() { Vec::new() } else { message.parts(protocol) }
    }

    fn parts(&self, protocol: Protocol) -> Vec<Bytes> {
        let head = self.encode_wantlist();
        let mut tail = Vec::new();
        for (cid, presence) in &self.presences {
            let mut line = Vec::with_capacity(64);
            put_bytes(&mut line, 1, &cid.to_bytes());
            put_number(&mut line, 2, u64::from(*presence == Presence::DontHave));
            put_bytes(&mut tail, 4, &line);
        }
        put_number(&mut tail, 5, u64::from(self.pending_bytes));

        // Field 2 is the list of 1.0.0, bytes alone; field 3 has a prefix beside them.
        let is_bare = matches!(protocol, Protocol::V1_0 | Protocol::Unversioned);
        let heads = self.blocks.iter().map(|block| {
            let mut head = Vec::with_capacity(32);
            if !is_bare {
                put_head(&mut head, 3, block.encoded_len());
                put_bytes(&mut head, 1, &block.prefix);
            }
            put_head(&mut head, 2, block.data.len());
            head
        });
        let heads: Vec<Vec<u8>> = heads.collect();
        let blocks: usize = heads.iter().zip(&self.blocks).map(|(head, b)| head.len() + b.data.len()).sum();
        let mut part = Vec::with_capacity(head.len() + 32);
        put_varint(&mut part, (head.len() + blocks + tail.len()) as u64);
        part.extend_from_slice(&head);
        let mut parts = Vec::with_capacity(2 * self.blocks.len() + 1);
        for (head, block) in heads.iter().zip(&self.blocks) {
            part.extend_from_slice(head);
            parts.push(Bytes::from(core::mem::take(&mut part)));
            parts.push(block.data.clone());
        }
        part.extend_from_slice(&tail);
        parts.push(Bytes::from(part));
        parts.retain(|part| !part.is_empty());
        parts
    }

    fn encode_wantlist(&self) -> Vec<u8> {
        let mut list = Vec::new();
        for entry in &self.wants {
            let mut line = Vec::with_capacity(64);
            put_bytes(&mut line, 1, &entry.cid.to_bytes());
            // A negative int32 is written as its 64-bit two's complement.
            put_number(&mut line, 2, i64::from(entry.priority).cast_unsigned());
            put_number(&mut line, 3, u64::from(entry.cancel));
            put_number(&mut line, 4, u64::from(entry.want_type == WantType::Have));
            put_number(&mut line, 5, u64::from(entry.send_dont_have));
            put_bytes(&mut list, 1, &line);
        }
        put_number(&mut list, 2, u64::from(self.full));
        let mut head = Vec::new();
        // Kubo always writes the wantlist, even an empty one.
        put_bytes(&mut head, 1, &list);
        head
    }
}

fn decode_entry(bytes: &[u8]) -> Result<Option<Entry>, MessageError> {
    let mut reader = Reader::new(bytes);
    let mut cid = None;
    let (mut priority, mut cancel, mut want_type, mut send_dont_have) = (0, false, WantType::Block, false);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => cid = decode_cid(bytes),
            (2, Value::Varint(value)) => {
                priority = i32::try_from(value.cast_signed()).unwrap_or(0);
            }
            (3, Value::Varint(value)) => cancel = value != 0,
            (4, Value::Varint(1)) => want_type = WantType::Have,
            (5, Value::Varint(value)) => send_dont_have = value != 0,
            _ => {}
        }
    }
    Ok(cid.map(|cid| Entry { cid, priority, cancel, want_type, send_dont_have }))
}

fn decode_cid(bytes: &[u8]) -> Option<Cid> {
    if bytes.len() > CID_BYTES_MAX { None } else { Cid::try_from(bytes).ok() }
}

#[cfg(test)]
mod tests;
