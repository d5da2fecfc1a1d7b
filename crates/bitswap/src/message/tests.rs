use proptest::prelude::*;

use super::*;
use hpips_types::content::{RAW, cid_v0, cid_v1};

fn join(parts: &[Bytes]) -> Bytes {
    Bytes::from(parts.concat())
}

/// Splits the length off and checks it.
fn body(parts: &[Bytes]) -> Bytes {
    let bytes = join(parts);
    let mut reader = Reader::new(&bytes);
    let len = usize::try_from(reader.varint().unwrap()).unwrap();
    let body = bytes.slice(varint_len(len as u64)..);
    assert_eq!(body.len(), len);
    body
}

#[test]
fn bytes_are_those_of_the_published_schema() {
    let cid = cid_v1(RAW, b"hello world");
    let message = Message {
        wants: vec![Entry::want(cid, WantType::Have), Entry::cancel(cid)],
        blocks: vec![Payload::new(&cid, Bytes::from_static(b"hello world"))],
        presences: vec![(cid, Presence::DontHave)],
        pending_bytes: 300,
        ..Message::default()
    };
    let c = cid.to_bytes();
    assert_eq!(c.len(), 36);
    let entry = [&[0x0a, 36][..], &c, &[0x10, 1, 0x20, 1, 0x28, 1]].concat();
    let cancel = [&[0x0a, 36][..], &c, &[0x18, 1]].concat();
    let list = [&[0x0a, 44][..], &entry, &[0x0a, 40], &cancel].concat();
    let block = [&[0x0a, 4, 1, 0x55, 0x12, 32, 0x12, 11][..], b"hello world"].concat();
    let presence = [&[0x0a, 36][..], &c, &[0x10, 1]].concat();
    let expected =
        [&[0x0a, 88][..], &list, &[0x1a, 19], &block, &[0x22, 40], &presence, &[0x28, 0xac, 0x02]].concat();
    let body = body(&message.encode());
    assert_eq!(body, expected);
    assert_eq!(Message::decode(&body), Ok(message));
}

#[test]
fn a_block_is_named_by_its_bytes() {
    let data = Bytes::from_static(b"hello world");
    for cid in [cid_v1(RAW, &data), cid_v1(0x71, &data), cid_v0(&data)] {
        assert_eq!(cid_of_payload(&Payload::new(&cid, data.clone())), Some(cid));
        let other = Payload::new(&cid, Bytes::from_static(b"hello worlt"));
        assert_ne!(cid_of_payload(&other), Some(cid));
    }
    for prefix in
        [&[][..], &[1, 0x55, 0x12], &[1, 0x55, 0x12, 31], &[2, 0x55, 0x12, 32], &[1, 0x55, 0x99, 1, 32]]
    {
        assert_eq!(
            cid_of_payload(&Payload { prefix: prefix.to_vec(), data: data.clone() }),
            None,
            "{prefix:?}"
        );
    }
}

#[test]
fn limits_hold_on_real_lengths() {
    assert_eq!(
        Message::decode(&Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1])),
        Err(MessageError::TooLong { bytes: MESSAGE_BYTES_MAX + 1 })
    );
    let big = Bytes::from(vec![7; BLOCK_BYTES_MAX + 1]);
    let message =
        Message { blocks: vec![Payload::new(&cid_v1(RAW, b""), big.clone())], ..Message::default() };
    assert_eq!(
        Message::decode(&body(&message.encode())),
        Err(MessageError::BlockTooLong { bytes: big.len() })
    );

    let wants: Vec<_> = (0..3000u32)
        .map(|i| Entry::want(cid_v1(RAW, &i.to_le_bytes()), WantType::Block))
        .chain([Entry::cancel(cid_v1(RAW, b"x"))])
        .collect();
    let flood = Message { wants, ..Message::default() };
    let read = Message::decode(&body(&flood.encode())).unwrap();
    assert_eq!(read.wants.len(), WANTS_MAX + 1, "the cancel behind the flood is kept");
    assert_eq!(read.dropped, 3000 - WANTS_MAX);
}

#[test]
fn small_blocks_do_not_hold_large_messages() {
    let small = Bytes::from(vec![1; 100]);
    let large = Bytes::from(vec![2; 100_000]);
    let cid = cid_v1(RAW, b"");
    let message =
        Message { blocks: vec![Payload::new(&cid, small), Payload::new(&cid, large)], ..Message::default() };
    let body = body(&message.encode());
    let range = body.as_ptr_range();
    let read = Message::decode(&body).unwrap();
    assert!(!range.contains(&read.blocks[0].data.as_ptr()));
    assert!(range.contains(&read.blocks[1].data.as_ptr()));
}

fn entry() -> impl Strategy<Value = Entry> {
    (any::<u64>(), any::<i32>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(seed, priority, cancel, have, send_dont_have)| Entry {
            cid: cid_v1(RAW, &seed.to_le_bytes()),
            priority,
            cancel,
            want_type: if have { WantType::Have } else { WantType::Block },
            send_dont_have,
        },
    )
}

proptest! {
    #[test]
    fn messages_round_trip(
        full: bool,
        wants in prop::collection::vec(entry(), 0..20),
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
        presences in prop::collection::vec((any::<u64>(), any::<bool>()), 0..20),
        pending_bytes in 0..u32::MAX,
    ) {
        let message = Message {
            full,
            wants,
            blocks: blocks.into_iter().map(|b| Payload::new(&cid_v1(RAW, &b), Bytes::from(b))).collect(),
            presences: presences
                .into_iter()
                .map(|(seed, have)| {
                    (cid_v1(RAW, &seed.to_le_bytes()), if have { Presence::Have } else { Presence::DontHave })
                })
                .collect(),
            pending_bytes,
            dropped: 0,
        };
        prop_assert_eq!(Message::decode(&body(&message.encode())).unwrap(), message);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(message) = Message::decode(&Bytes::from(bytes)) {
            for block in &message.blocks {
                let _ = cid_of_payload(block);
            }
        }
    }

    /// As above, starting from something that parses and then damaged, which gets deeper than noise.
    #[test]
    fn damaged_messages_never_panic(
        wants in prop::collection::vec(entry(), 0..5),
        data in prop::collection::vec(any::<u8>(), 0..100),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let message = Message {
            wants,
            blocks: vec![Payload::new(&cid_v1(RAW, &data), Bytes::from(data))],
            presences: vec![(cid_v1(RAW, b"p"), Presence::Have)],
            ..Message::default()
        };
        let mut bytes = body(&message.encode()).to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = Message::decode(&Bytes::from(bytes));
    }
}

#[test]
fn old_versions_say_what_they_can() {
    let data = Bytes::from_static(b"hello world");
    let (old, new) = (cid_v0(&data), cid_v1(RAW, &data));
    let message = Message {
        wants: vec![Entry::want(old, WantType::Have), Entry::want(new, WantType::Block), Entry::cancel(old)],
        blocks: vec![Payload::new(&old, data.clone()), Payload::new(&new, data.clone())],
        presences: vec![(old, Presence::Have)],
        pending_bytes: 7,
        ..Message::default()
    };
    let decoded = |protocol| {
        let bytes = Bytes::from(message.encode_for(protocol).concat());
        // A length below 256 takes two bytes at most.
        let body = bytes.slice(if bytes[0] < 0x80 { 1 } else { 2 }..);
        (Message::decode(&body).unwrap(), body)
    };
    let (whole, _) = decoded(Protocol::V1_2);
    assert_eq!(whole, message);
    let (middle, _) = decoded(Protocol::V1_1);
    assert_eq!(middle.blocks, message.blocks);
    assert_eq!(middle.wants.len(), 3);
    assert!(middle.wants.iter().all(|entry| entry.want_type == WantType::Block && !entry.send_dont_have));
    assert!(middle.presences.is_empty() && middle.pending_bytes == 0);
    for protocol in [Protocol::V1_0, Protocol::Unversioned] {
        let (least, body) = decoded(protocol);
        assert_eq!(least.blocks, message.blocks[..1], "only what a CIDv0 names");
        assert_eq!(least.wants.iter().map(|entry| entry.cid).collect::<Vec<_>>(), [old, old]);
        assert_eq!(body[body.len() - data.len() - 2..][..2], [0x12, 11], "a bare block in field 2");
    }
    let answer = Message { presences: vec![(new, Presence::DontHave)], ..Message::default() };
    assert!(answer.encode_for(Protocol::V1_1).is_empty());
    assert_eq!(
        Protocol::ALL.map(Protocol::name)[1..],
        ["/ipfs/bitswap/1.1.0", "/ipfs/bitswap/1.0.0", "/ipfs/bitswap"]
    );
}
