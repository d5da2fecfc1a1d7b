use bytes::{Bytes, BytesMut};
use cid::Cid;
use hpips_types::content::{DAG_PB, RAW, cid_v0, cid_v1};
use proptest::prelude::*;

use super::*;

fn blocks() -> Vec<(Cid, Bytes)> {
    let large = Bytes::from(vec![7; 300]);
    let small = Bytes::from_static(b"hello");
    let empty = Bytes::new();
    vec![
        (cid_v1(RAW, &small), small),
        (cid_v0(&large), large.clone()),
        (cid_v1(DAG_PB, &large), large),
        (cid_v1(RAW, &empty), empty),
    ]
}

fn v1(blocks: &[(Cid, Bytes)]) -> Vec<u8> {
    let mut car = header(&[blocks[0].0, blocks[1].0]).to_vec();
    blocks.iter().for_each(|(cid, block)| car.extend_from_slice(&section(cid, block)));
    car
}

fn v2(data: &[u8], padding: usize) -> Vec<u8> {
    let mut car = vec![10];
    car.extend_from_slice(b"\xa1\x67version\x02");
    car.extend_from_slice(&[0; 16]);
    for number in [51 + padding, data.len(), 0] {
        car.extend_from_slice(&u64::try_from(number).unwrap().to_le_bytes());
    }
    car.resize(51 + padding, 0);
    car.extend_from_slice(data);
    car.extend_from_slice(b"an index");
    car
}

/// Items of a file that comes in pieces.
fn read(car: &[u8], piece: usize) -> Result<Vec<Item>, CarError> {
    let (mut decoder, mut input, mut items) = (Decoder::new(), BytesMut::new(), Vec::new());
    for piece in car.chunks(piece) {
        input.extend_from_slice(piece);
        while let Some(item) = decoder.feed(&mut input)? {
            items.push(item);
        }
        assert!(input.is_empty() || input.len() < decoder.needed().max(51), "what is there is taken");
    }
    decoder.finish(&input)?;
    Ok(items)
}

fn items(blocks: &[(Cid, Bytes)]) -> Vec<Item> {
    let blocks = blocks.iter().cloned();
    let mut items: Vec<Item> = blocks.map(|(cid, bytes)| Item::Block { cid, bytes }).collect();
    let roots = items.iter().take(2).map(|item| match item {
        Item::Block { cid, .. } => *cid,
        Item::Header { .. } => unreachable!(),
    });
    items.insert(0, Item::Header { roots: roots.collect() });
    items
}

#[test]
fn what_is_written_is_read_in_pieces_of_any_size() {
    let blocks = blocks();
    let car = v1(&blocks);
    for car in [car.clone(), v2(&car, 0), v2(&car, 7), v2(&car, 70_000)] {
        for piece in [1, 2, 3, 64, 1000, usize::MAX] {
            assert_eq!(read(&car, piece).unwrap(), items(&blocks), "{piece}");
        }
    }
    let head = section_head(&blocks[1].0, 300);
    assert_eq!([head, blocks[1].1.clone()].concat(), section(&blocks[1].0, &blocks[1].1));
    // As go-car writes it: {"roots": [], "version": 1}.
    assert_eq!(header(&[]), &b"\x11\xa2\x65roots\x80\x67version\x01"[..]);
}

#[test]
fn cuts_are_told_except_between_sections() {
    let blocks = blocks();
    let car = v1(&blocks);
    let mut ends = vec![header(&[blocks[0].0, blocks[1].0]).len()];
    blocks.iter().for_each(|(cid, block)| ends.push(ends.last().unwrap() + section(cid, block).len()));
    for len in 0..car.len() {
        match read(&car[..len], 50) {
            Ok(items) => assert_eq!(ends.iter().position(|end| *end == len), Some(items.len() - 1), "{len}"),
            Err(error) if len == 0 => assert_eq!(error.to_string(), "no CAR: empty"),
            Err(error) => assert!(error.to_string().contains("too early"), "{len}: {error}"),
        }
    }
    let v2 = v2(&car, 7);
    for len in 0..v2.len() {
        assert_eq!(read(&v2[..len], 50).is_ok(), len >= v2.len() - b"an index".len(), "{len}");
    }
}

#[test]
fn what_is_no_car_is_told_in_words() {
    let car = v1(&blocks());
    let start = header(&[]).to_vec();
    let with = |rest: &[u8]| [start.clone(), rest.to_vec()].concat();
    let mut cut_data = v2(&car, 0);
    cut_data[35] -= 1;
    let mut before = v2(&car, 0);
    before[27] = 50;
    for (bad, words) in [
        (vec![0], "no CAR: a header of 0 bytes"),
        (vec![0xff; 40], "a length of more than nine bytes"),
        (vec![0x80, 0x80, 0x80, 0x80, 0x7f], "no CAR: a header of"),
        (b"\x05hello".to_vec(), "no CAR: the header cannot be read"),
        (b"\x01\x01".to_vec(), "no CAR: the header is no map"),
        (b"\x0a\xa1\x67version\x03".to_vec(), "no CAR: not of version 1 or 2"),
        (b"\x0a\xa1\x67version\x01".to_vec(), "no CAR: no roots"),
        (b"\x12\xa2\x65roots\x81\x01\x67version\x01".to_vec(), "no CAR: a root is no link"),
        (with(&[0]), "malformed CAR before byte 19: a section of 0 bytes"),
        (with(&[0xff, 0xff, 0xff, 0x7f]), "malformed CAR before byte 22: a section of 268435455 bytes"),
        (with(&[0x80; 12]), "malformed CAR before byte 27: a length of more than nine bytes"),
        (with(b"\x05hello"), "malformed CAR before byte 24"),
        (cut_data, "a section beyond the data"),
        (before, "malformed CAR: data before its header ends"),
        (v2(&v2(&car, 0), 0), "no CAR: not of version 1 or 2"),
    ] {
        let error = read(&bad, 16).unwrap_err().to_string();
        assert!(error.contains(words), "{error:?} for {words:?}");
    }
}

proptest! {
    #[test]
    fn blocks_round_trip(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 2..12),
        piece in 1..300usize,
        padding in prop::option::of(0..100usize),
    ) {
        let blocks: Vec<_> =
            contents.into_iter().map(|bytes| (cid_v1(RAW, &bytes), Bytes::from(bytes))).collect();
        let car = v1(&blocks);
        let car = padding.map_or(car.clone(), |padding| v2(&car, padding));
        prop_assert_eq!(read(&car, piece).unwrap(), items(&blocks));
    }

    #[test]
    fn damage_never_panics_and_never_makes_more(
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
        cut in any::<prop::sample::Index>(),
        piece in 1..100usize,
        is_v2 in any::<bool>(),
    ) {
        let blocks = blocks();
        let car = v1(&blocks);
        let mut car = if is_v2 { v2(&car, 9) } else { car };
        let damaged = at.index(car.len());
        car[damaged] ^= 1 << bit;
        let _ = read(&car[..cut.index(car.len())], piece);
        let whole = read(&car, usize::MAX).ok();
        prop_assert_eq!(read(&car, piece).ok(), whole);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1..50usize) {
        let _ = read(&bytes, piece);
    }
}
