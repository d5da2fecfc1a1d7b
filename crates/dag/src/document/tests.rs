use hpips_types::content::cid_v1;
use proptest::prelude::*;

use super::*;

fn read(codec: u64, bytes: impl Into<Vec<u8>>) -> Result<Ipld, DecodeError> {
    decode(codec, &Bytes::from(bytes.into()))
}

fn read_json(text: &str) -> Result<Ipld, DecodeError> {
    read(DAG_JSON, text)
}

fn map(entries: &[(&str, Ipld)]) -> Ipld {
    Ipld::Map(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

#[test]
fn documents_go_from_codec_to_codec() {
    let text = r#"{"a":[1,-2,1.5,null,true],"b":{"/":{"bytes":"aGVsbG8"}},"c":{"/":"QmXoypizjW3WknFiJnKLwHCnL72vedxjQkDDP1mXWo6uco"}}"#;
    let document = read_json(text).unwrap();
    assert_eq!(encode(DAG_JSON, &document).unwrap(), text.as_bytes());
    let cbor = encode(DAG_CBOR, &document).unwrap();
    assert_eq!(read(DAG_CBOR, cbor).unwrap(), document);
    assert_eq!(step(&document, "b"), Some(&Ipld::Bytes(b"hello".to_vec())));
    assert_eq!(step(step(&document, "a").unwrap(), "1"), Some(&Ipld::Integer(-2)));
    assert_eq!(step(&document, "nothing"), None);
    let cid = cid_v1(DAG_JSON, text.as_bytes());
    let path = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    let block = Bytes::from(text);
    assert!(matches!(follow(&cid, &block, &path("c/x/y")), Ok(Followed::Link { used: 1, .. })));
    assert_eq!(follow(&cid, &block, &path("a/2")), Ok(Followed::Value(Ipld::Float(1.5))));
    assert_eq!(follow(&cid, &block, &[]), Ok(Followed::Value(document)));
    assert_eq!(follow(&cid, &block, &path("a/9")), Err(WalkError::NotFound { cid, name: "9".into() }));
    assert_eq!(json_links(&block).unwrap().len(), 1);
}

#[test]
fn dag_pb_with_and_without_data() {
    for text in [r#"{"Data":{"/":{"bytes":"CAE"}},"Links":[]}"#, r#"{"Links":[]}"#] {
        let document = read_json(text).unwrap();
        let block = encode(DAG_PB, &document).unwrap();
        assert_eq!(read(DAG_PB, block).unwrap(), document);
    }
    for bad in [
        r#"{"Links":{}}"#,
        r#"{"Data":1,"Links":[]}"#,
        r#"{"Links":[],"More":1}"#,
        r#"{"Links":[{"Name":"a"}]}"#,
        "[]",
    ] {
        assert!(encode(DAG_PB, &read_json(bad).unwrap()).is_err(), "{bad}");
    }
}

#[test]
fn the_reserved_namespace_is_as_specified() {
    let cid = "QmXoypizjW3WknFiJnKLwHCnL72vedxjQkDDP1mXWo6uco";
    for (text, expected) in [
        (format!(r#"{{"/":"{cid}"}}"#), Some(Ipld::Link(cid.parse().unwrap()))),
        (r#"{"/":{"bytes":""}}"#.into(), Some(Ipld::Bytes(vec![]))),
        (r#"{"/":{"bytes":"AQI"}}"#.into(), Some(Ipld::Bytes(vec![1, 2]))),
        (r#"{"/":{"bytes":"AQI="}}"#.into(), Some(Ipld::Bytes(vec![1, 2]))),
        (r#"{"/":1}"#.into(), Some(map(&[("/", Ipld::Integer(1))]))),
        (r#"{"/":{}}"#.into(), Some(map(&[("/", map(&[]))]))),
        (
            r#"{"0":1,"/":"x"}"#.into(),
            // "/" sorts before "0", however it was written.
            None,
        ),
        (r#"{"-":1,"/":"x"}"#.into(), Some(map(&[("-", Ipld::Integer(1)), ("/", Ipld::String("x".into()))]))),
        (
            r#"{"/":{"a":1,"bytes":"!"}}"#.into(),
            Some(map(&[("/", map(&[("a", Ipld::Integer(1)), ("bytes", Ipld::String("!".into()))]))])),
        ),
        (r#"{"/":{"bytes":1},"a":2}"#.into(), {
            Some(map(&[("/", map(&[("bytes", Ipld::Integer(1))])), ("a", Ipld::Integer(2))]))
        }),
        (r#"{"/":"bogus"}"#.into(), None),
        (format!(r#"{{"/":"{cid}","a":1}}"#), None),
        (r#"{"/":{"bytes":"!"}}"#.into(), None),
        (r#"{"/":{"bytes":"AQI","x":1}}"#.into(), None),
        (r#"{"/":{"bytes":"AQI"},"a":1}"#.into(), None),
    ] {
        let document = read_json(&text);
        assert_eq!(document.as_ref().ok(), expected.as_ref(), "{text}");
        if let Ok(document) = document {
            let written = encode(DAG_JSON, &document).unwrap();
            assert_eq!(read(DAG_JSON, written).unwrap(), document, "{text}");
        }
        // Without the "dag-" they are maps.
        assert!(matches!(read(JSON, text.as_str()), Ok(Ipld::Map(_))), "{text}");
    }
    let link = map(&[("/", Ipld::String(cid.into()))]);
    assert_eq!(encode(DAG_JSON, &link), Err(EncodeError::Reserved));
}

#[test]
fn keys_are_sorted_by_each_codecs_rule() {
    let document = map(&[("aa", Ipld::Null), ("b", Ipld::Null), ("", Ipld::Null), ("\u{e4}", Ipld::Null)]);
    let json = "{\"\":null,\"aa\":null,\"b\":null,\"\u{e4}\":null}";
    assert_eq!(encode(DAG_JSON, &document).unwrap(), json.as_bytes());
    let cbor = b"\xa4\x60\xf6\x61b\xf6\x62aa\xf6\x62\xc3\xa4\xf6";
    assert_eq!(encode(DAG_CBOR, &document).unwrap(), cbor);
}

#[test]
fn json_as_rfc_8259_has_it() {
    let text = r#" { "s" : "\u00e4\n\ud83d\ude00\"\\" , "n":[-0,18446744073709551615,-18446744073709551616,1e3,-1.25E-2,0.1],"e":[ ],"m":{ } } "#;
    let document = read_json(text).unwrap();
    assert_eq!(step(&document, "s"), Some(&Ipld::String("\u{e4}\n\u{1f600}\"\\".into())));
    let numbers = step(&document, "n").unwrap();
    assert_eq!(step(numbers, "0"), Some(&Ipld::Integer(0)));
    assert_eq!(step(numbers, "2"), Some(&Ipld::Integer(-(1 << 64))));
    assert_eq!(step(numbers, "3"), Some(&Ipld::Float(1000.0)));
    let again = String::from_utf8(encode(DAG_JSON, &document).unwrap()).unwrap();
    assert!(again.contains("1000.0,-0.0125,0.1]"), "{again}");
    assert_eq!(read_json(&again).unwrap(), document);
    for bad in [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "+1",
        "1.",
        ".5",
        "1e",
        "-",
        "1 2",
        "nul",
        "nulls",
        "\"",
        "\"\\",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\n\"",
        "[1}",
        "{\"a\":1]",
        "]",
        "1e999",
        "NaN",
        "18446744073709551616",
        "\u{feff}1",
        "{\"a\":1,\"a\":2}",
        "'a'",
        "//\n1",
    ] {
        assert!(read_json(bad).is_err(), "{bad:?}");
    }
    assert!(read(DAG_JSON, b"\"\xff\"".to_vec()).is_err());
    let error = read_json("{\n  \"a\": x\n}").unwrap_err();
    assert_eq!(error.to_string(), "malformed dag-json: a value is due at line 2 column 8");
}

#[test]
fn cbor_is_read_as_kubo_reads_it() {
    let one = || Ipld::Integer(1);
    for (bytes, expected) in [
        // Keys in any order, heads longer than need be.
        (&b"\xa2\x62aa\x01\x61b\x18\x01"[..], Some(map(&[("aa", one()), ("b", one())]))),
        (b"\x9b\x00\x00\x00\x00\x00\x00\x00\x01\x01", Some(Ipld::List(vec![one()]))),
        (b"\xf9\x3c\x00", Some(Ipld::Float(1.0))),
        (b"\xf9\x00\x01", Some(Ipld::Float(f64::powi(2.0, -24)))),
        (b"\xf9\xc0\x00", Some(Ipld::Float(-2.0))),
        (b"\xfa\x3f\xc0\x00\x00", Some(Ipld::Float(1.5))),
        (b"\xf7", Some(Ipld::Null)),
        (b"\x9f\x01\xff", Some(Ipld::List(vec![one()]))),
        (b"\xbf\x61a\x9f\xff\xff", Some(map(&[("a", Ipld::List(vec![]))]))),
        (b"\x7f\x61a\x61b\xff", Some(Ipld::String("ab".into()))),
        (b"\x5f\xff", Some(Ipld::Bytes(vec![]))),
        (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", Some(Ipld::Integer(-(1 << 64)))),
        // A key twice, keys that are no text, NaN, infinity, other tags, half strings, odd maps.
        (b"\xa2\x61a\x01\x61a\x02", None),
        (b"\xa1\x01\x01", None),
        (b"\xa1\x41a\x01", None),
        (b"\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00", None),
        (b"\xfa\xff\x80\x00\x00", None),
        (b"\xf9\x7c\x00", None),
        (b"\xc2\x41\x01", None),
        (b"\xd8\x2b\x41\x00", None),
        (b"\xd8\x2a\x61a", None),
        (b"\x7f\x41a\xff", None),
        (b"\x7f\x7f\x61a\xff\xff", None),
        (b"\xbf\x61a\xff", None),
        (b"\x61\xff", None),
        (b"\xe0", None),
        (b"\xf8\x18", None),
        (b"\x01\x01", None),
        (b"\x81", None),
        (b"", None),
    ] {
        let document = read(DAG_CBOR, bytes);
        assert_eq!(document.as_ref().ok(), expected.as_ref(), "{bytes:x?}: {document:?}");
    }
    let link = encode(DAG_CBOR, &Ipld::Link(cid_v1(RAW, b"a"))).unwrap();
    assert!(read(DAG_CBOR, link.clone()).is_ok() && read(CBOR, link).is_err());
    let error = read(DAG_CBOR, b"\x82\x01\xc1\x01").unwrap_err();
    assert_eq!(error.to_string(), "malformed dag-cbor: a tag but 42 at byte 3");
}

#[test]
fn depth_and_number_are_bounded() {
    let arrays = |depth: usize| [vec![0x81; depth], vec![0xf6]].concat();
    let lists = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(read(DAG_CBOR, arrays(100_000)), Err(DecodeError::TooDeep { max: DEPTH_MAX }));
    assert_eq!(read(DAG_CBOR, vec![0x9f; 100_000]), Err(DecodeError::TooDeep { max: DEPTH_MAX }));
    assert_eq!(read(DAG_JSON, lists(100_000)), Err(DecodeError::TooDeep { max: DEPTH_MAX }));
    assert_eq!(read(JSON, "{\"a\":".repeat(100_000)), Err(DecodeError::TooDeep { max: DEPTH_MAX }));
    // At the bound it is read, written again and dropped on a small stack.
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let thread = small.spawn(move || {
        let document = read(DAG_CBOR, arrays(DEPTH_MAX)).unwrap();
        assert_eq!(encode(DAG_CBOR, &document).unwrap(), arrays(DEPTH_MAX));
        let json = encode(DAG_JSON, &document).unwrap();
        assert_eq!(read(DAG_JSON, json).unwrap(), document);
        let deeper = Ipld::List(vec![document]);
        assert_eq!(encode(DAG_CBOR, &deeper), Err(EncodeError::TooDeep));
        assert_eq!(encode(DAG_JSON, &deeper), Err(EncodeError::TooDeep));
    });
    thread.unwrap().join().unwrap();
    let mut zeros = vec![0x9a, 0, 0x20, 0, 0];
    zeros.resize(5 + (1 << 21), 0);
    assert_eq!(read(DAG_CBOR, zeros), Err(DecodeError::TooManyValues { max: VALUES_MAX }));
    assert!(matches!(read(RAW, vec![0; 9 << 20]), Err(DecodeError::TooLarge { .. })));
    assert_eq!(encode(DAG_CBOR, &Ipld::Float(f64::NAN)), Err(EncodeError::Float));
    assert_eq!(encode(DAG_CBOR, &Ipld::Integer(1 << 64)), Err(EncodeError::Integer));
}

fn any_document() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        any::<i64>().prop_map(|value| Ipld::Integer(value.into())),
        any::<u64>().prop_map(|value| Ipld::Integer(value.into())),
        // The other implementation drops the sign of zero, Kubo does not.
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite() && value.to_bits() != 1 << 63)
            .prop_map(Ipld::Float),
        any::<String>().prop_map(Ipld::String),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Ipld::Bytes),
        any::<u64>().prop_map(|seed| Ipld::Link(cid_v1(RAW, &seed.to_be_bytes()))),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Ipld::List),
            prop::collection::btree_map("[a-c/]{0,2}", inner, 0..6).prop_map(Ipld::Map),
        ]
    })
}

proptest! {
    #[test]
    fn documents_round_trip_and_agree_with_another_implementation(document in any_document()) {
        let cbor = encode(DAG_CBOR, &document).unwrap();
        prop_assert_eq!(&serde_ipld_dagcbor::to_vec(&document).unwrap(), &cbor);
        prop_assert_eq!(&read(DAG_CBOR, cbor.clone()).unwrap(), &document);
        let mut links = Vec::new();
        document.references(&mut links);
        let mut found = cbor_links(&cbor).unwrap();
        // Longer keys stand later in dag-cbor.
        found.sort();
        let mut sorted = links.clone();
        sorted.sort();
        prop_assert_eq!(found, sorted);
        if let Ok(json) = encode(DAG_JSON, &document) {
            prop_assert_eq!(json_links(&json.clone().into()).unwrap(), links);
            prop_assert_eq!(read(DAG_JSON, json).unwrap(), document);
        }
    }

    #[test]
    fn damage_never_panics(
        document in any_document(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
        cut in any::<prop::sample::Index>(),
    ) {
        for codec in [DAG_CBOR, DAG_JSON] {
            let Ok(mut bytes) = encode(codec, &document) else { continue };
            let damaged = at.index(bytes.len());
            bytes[damaged] ^= 1 << bit;
            for len in [bytes.len(), cut.index(bytes.len())] {
                let read = read(codec, &bytes[..len]);
                let links = crate::children(&cid_v1(codec, &[]), &Bytes::copy_from_slice(&bytes[..len]));
                // What is read as a document has links that are found without one.
                prop_assert!(read.is_err() || links.is_ok());
                if let Ok(document) = read {
                    prop_assert_eq!(decode(codec, &encode(codec, &document).unwrap().into()), Ok(document));
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for codec in [RAW, DAG_PB, DAG_CBOR, CBOR, DAG_JSON, JSON, 0x78] {
            let _ = read(codec, bytes.clone());
        }
    }
}
