//! Frozen records of Kubo 0.43.1, and what must hold of any.

use ed25519_dalek::{Signature, VerifyingKey};
use hpips_types::AccountId;
use proptest::prelude::*;

use super::*;

/// The name of Kubo's records, valid until 2126.
const NAME: &str = "k51qzi5uqu5djwg640vujhsdlrkcpdbm9bxdx96ky5kbdpaii7anlz164jywgd";
const SECOND_VALUE: &str = "/ipfs/QmapoNeQhJxjMDWstx27etyxMNLU4MtkDk8BMfyHRao8P8";
/// `name publish --sequence 5`.
const FIFTH: &str = "0a342f697066732f516d5a554c6b43454c6d6d6b35584e664367546e437946674156784252425879444847474d566f4c464c6958454e1240b884ab356aff92d4362166faa1d689fea450a5843dc1d66cc10597ab7020eba0b4df00b7b04750483a9960266625fccb6618fb9cbf4b4dd6a8a4d59b5039940b1800221e323132362d31312d30335430373a35393a33332e3837353736343737315a28053080f092cbdd08424077ae8a8ff6c23da769ca435012812856b63ea3a93395c0d58f86d7925c1d36b7627a09672bfcebc68bb10b7dba312ae03378d6d2c0fe236f199cbc0fbf767f0b4a8b01a56354544c1b00000045d964b8006556616c756558342f697066732f516d5a554c6b43454c6d6d6b35584e664367546e437946674156784252425879444847474d566f4c464c6958454e6853657175656e6365056856616c6964697479581e323132362d31312d30335430373a35393a33332e3837353736343737315a6c56616c69646974795479706500";
/// The next one, with another value.
const SIXTH: &str = "0a342f697066732f516d61706f4e6551684a786a4d44577374783237657479784d4e4c55344d746b446b38424d66794852616f38503812407b058d4cfb600e579d48baead136079ca44c51ce7bb153ed42efdcc0736ffcf116cbbeb48a81d45849b592a84be2e593fc39ce569e38cc847ac3f4f71454d2091800221e323132362d31312d30335430373a35393a33342e3030343235343238365a28063080f092cbdd0842401230d7bea2df02ddb3696ff03c6ba9c63675bdd7b252980fa5497ceb44bf87465d07c81556c15f65777d6e0fa521ca0e5fbc659059c8e9449d71c55816e84f034a8b01a56354544c1b00000045d964b8006556616c756558342f697066732f516d61706f4e6551684a786a4d44577374783237657479784d4e4c55344d746b446b38424d66794852616f3850386853657175656e6365066856616c6964697479581e323132362d31312d30335430373a35393a33342e3030343235343238365a6c56616c69646974795479706500";
/// `--v1compat=false --ttl=0s`.
const SEVENTH: &str = "4240a31a72b155a326bea21a7d0c8efab3075fd0c4dcff5409c4c6ccb58b29fe43d23744c9d36e3017e82c784e0fcdaf4ca2531ea149c1857650013304d2e88887014a8301a56354544c006556616c756558342f697066732f516d5a554c6b43454c6d6d6b35584e664367546e437946674156784252425879444847474d566f4c464c6958454e6853657175656e6365076856616c6964697479581e323132362d31312d30335430373a35393a33342e3039383234373838315a6c56616c69646974795479706500";
/// Signed by an RSA key, which it brings along.
const RSA_NAME: &str = "k2k4r8knusampjk8yubmggyiqp0bxcv36q8yrs3y6ighcxuh3tam0q44";
const RSA: &str = "0a342f697066732f516d5a554c6b43454c6d6d6b35584e664367546e437946674156784252425879444847474d566f4c464c6958454e1280020fe7fe7b7c3e74e5d94b1db3beb8fedc271c7c76f6f96f48cdf4298255f120608c19618589e7d158e12bf6c1061fe61fc6922c46a4c2919942af077918dddd4ed2d86e58c7bf3b33fe912cbeffc84f95af88c629f44daf611c7f1a01449e6c011e4a6e5c5c0a91d1f3e93e508a0252063616f0355ed660283e2e9f99183c1493d7fe91724996557c9992c06188cff67dd7afd7748d13fb21fb34fb4b3bb2b3e6b2f5b2e1444f16a249529fd90d33d3febcc1e5e39d820b45d1000a06b3879c71298e42a4339fee2d743987786f6d19a5fc3467490a01205181a77cd85fb5c607078d9b71e1f33a03603557096de509fe1c7b50b7434136a80fdaa8b731244ece1800221e323132362d31312d30335430373a35393a33342e3330313031323839375a28003080f092cbdd083aab02080012a60230820122300d06092a864886f70d01010105000382010f003082010a0282010100c6ad787e772d023ff4e1ce037f6d3b1f90c27547cd37d9216d5dbf283322cda09bea86094138c9f07a42238997e159ff445f808065869e6ce827e9ec91933cf4b3eee484e2cffbcc5c7faa291c08f1534634a92751f124f23c2ed1f5da0372a7e1df561bbf54a57f637d34044a854007f773f5c22965ac1157f4bf051a4c0dc8b4683cff3519780d175744cf3d7c7d931dd8b33697bce0f822acc640b63aa64c1665db7f688139b5db8ad47e8b6fe588a8687e35e724059bfa9823fe3dc669bb0074ae374fdb378afdb27aab4c75a3371f9d637ba312f3c6ecaa9ae80e3a22aa5fcfd0b011a446e827285e5ab6bbf511a9373157e1c139f84c2d4d01ba9d1bbd02030100014280028fde118476c4812a9ff7229cd796cfc1961d1a8453b56f715c9bf3f4d9f6651673b8a6ab641c51cdc514532097ef950cf105db3d53c962c34f69de97e10062a353ea0e0573625682ceb91442f8cee16913631d522157c4943ec67715e3a927aeebc8dc2d89244afc7236074bf54f3db26f66cadc4299002561ec59069fd47aa0e64559771a3b6012e078382fd0a993fce6b029c78232a6446d86a972d040addb0a2a22232900dc939b9af7729eae041afd685e76a010e6c65af3be079682db765c9f6c9d3590078d82a640af3128efb9831bcd455158402f8e27821e9a2244538d51025727742e0ec9f4eaad40ebf97b22595feef1e45fd5cdd7eacceb7e162e4a8b01a56354544c1b00000045d964b8006556616c756558342f697066732f516d5a554c6b43454c6d6d6b35584e664367546e437946674156784252425879444847474d566f4c464c6958454e6853657175656e6365006856616c6964697479581e323132362d31312d30335430373a35393a33342e3330313031323839375a6c56616c69646974795479706500";
/// What [`Record::create`] makes of one seed and content.
const OURS: &str = "0a212f697066732f6261666b7161646477676576786d6d72616f6a7377673333736d711240ec74ed074f89e5d07b1c81f4603feb54e2e455ee399bbea0dd5312072fa351dd83d6f26e09da1e2fac65b493af1dfc41a10aff715afd69f8a5625a2ea51fa80b1800221b323032362d31312d32375430393a30303a30302e3030303030315a28033080f092cbdd084240274b5cb838101795acabbe636ca8c04b1032e88c3db4147e5bc021bf6c82bc889a8a481f2e979c466c820dc85d35102d601bc32b900796242b415cc40168b00a4a75a56354544c1b00000045d964b8006556616c756558212f697066732f6261666b7161646477676576786d6d72616f6a7377673333736d716853657175656e6365036856616c6964697479581b323032362d31312d32375430393a30303a30302e3030303030315a6c56616c69646974795479706500";

const NOW: i64 = 1_795_766_400;

fn now() -> Moment {
    Moment::from_unix_seconds(NOW)
}

fn record(hexadecimal: &str) -> Record {
    Record::decode(&hex::decode(hexadecimal).unwrap()).unwrap()
}

fn content(sequence: u64) -> Content {
    Content {
        value: "/ipfs/bafkqaddwgevxmmraojswg33smq".into(),
        validity: now().after(std::time::Duration::new(3600, 1_000)),
        sequence,
        ttl_nanoseconds: 300_000_000_000,
    }
}

#[test]
fn records_of_kubo_are_read() {
    let name: Name = NAME.parse().unwrap();
    for (text, sequence, form, ttl_nanoseconds) in [
        (FIFTH, 5, Form::V1AndV2, 300_000_000_000),
        (SIXTH, 6, Form::V1AndV2, 300_000_000_000),
        (SEVENTH, 7, Form::V2, 0),
    ] {
        let record = record(text);
        let content = record.verify(&name, now()).unwrap();
        assert_eq!(
            (content.sequence, record.form(), content.ttl_nanoseconds),
            (sequence, form, ttl_nanoseconds)
        );
        assert!(content.validity.to_string().starts_with("2126-11-03T07:59:3"), "{}", content.validity);
        assert_eq!(content.value == SECOND_VALUE, sequence == 6, "{}", content.value);
        assert!(validate_dht(&dht_key(&name), record.bytes(), now()));
        assert_eq!(record.verify(&Name::of_seed(&[1; 32]), now()), Err(RecordError::Signature));
        let end = content.validity;
        assert_eq!(record.verify(&name, end), Err(RecordError::Ended(end)));
    }
    assert!(record(SIXTH).is_newer_than(&record(FIFTH)) && !record(FIFTH).is_newer_than(&record(SIXTH)));
    let key = dht_key(&name);
    let bytes = |text: &str| hex::decode(text).unwrap();
    assert!(
        better_dht(&key, &bytes(SIXTH), &bytes(SEVENTH)) && !better_dht(&key, &bytes(SIXTH), &bytes(SIXTH))
    );
    assert!(better_dht(&key, b"no record", &bytes(FIFTH)) && !better_dht(&key, &bytes(FIFTH), b"no record"));
    assert!(!better_dht(b"/pk/x", &bytes(FIFTH), &bytes(SIXTH)));
    assert_eq!(name_of_dht_key(&key), Some(name));
}

#[test]
fn the_encoding_is_kubos() {
    // What Kubo wrote, written again here, differs in nothing but the signatures.
    for (text, form) in [(SIXTH, Form::V1AndV2), (SEVENTH, Form::V2)] {
        let theirs = record(text);
        let ours = Record::create(&[7; 32], theirs.content(), form).unwrap();
        let blank = |record: &Record| {
            let mut bytes = record.bytes().to_vec();
            for field in [0x12, 0x42] {
                let signature = bytes.windows(2).position(|two| two == [field, 0x40]);
                if let Some(at) = signature {
                    bytes[at + 2..at + 66].fill(0);
                }
            }
            bytes
        };
        assert_eq!(blank(&ours), blank(&theirs));
    }
}

#[test]
fn the_old_signature_is_kubos() {
    let old_signature = |record: &Record, name: &Name| {
        let bytes = record.bytes();
        let at = bytes.windows(2).position(|two| two == [0x12, 0x40]).unwrap() + 2;
        let signature = Signature::from_slice(&bytes[at..at + 64]).unwrap();
        let content = record.content();
        let signed = format!("{}{}EOL", content.value, content.validity);
        let key = VerifyingKey::from_bytes(name.account().unwrap().as_bytes()).unwrap();
        key.verify_strict(signed.as_bytes(), &signature).is_ok()
    };
    assert!(old_signature(&record(FIFTH), &NAME.parse().unwrap()));
    let ours = Record::create(&[7; 32], &content(0), Form::V1AndV2).unwrap();
    assert!(old_signature(&ours, &Name::of_seed(&[7; 32])));
}

#[test]
fn records_made_here_are_frozen() {
    let record = Record::create(&[7; 32], &content(3), Form::V1AndV2).unwrap();
    assert_eq!(hex::encode(record.bytes()), OURS);
    assert_eq!(Record::decode(record.bytes()).unwrap(), record);
}

#[test]
fn keys_of_other_kinds_are_named() {
    let name: Name = RSA_NAME.parse().unwrap();
    let rsa = record(RSA);
    assert_eq!(rsa.verify(&name, now()), Err(RecordError::Key(KeyError::Kind("RSA"))));
    assert_eq!(Name::of_public_key(rsa.attached_key().unwrap()), name);
    assert_eq!(rsa.verify(&NAME.parse().unwrap(), now()), Err(RecordError::Key(KeyError::Foreign)));
    assert_eq!(record(FIFTH).verify(&name, now()), Err(RecordError::Key(KeyError::Absent)));
}

#[test]
fn damaged_and_contradictory_records_are_refused() {
    let name = Name::of_seed(&[7; 32]);
    let good = Record::create(&[7; 32], &content(3), Form::V1AndV2).unwrap();
    // Every bit counts, but those of the old signature, which nobody looks at.
    let old = good.bytes().windows(2).position(|two| two == [0x12, 0x40]).unwrap() + 2;
    for at in (0..good.bytes().len()).filter(|at| !(old..old + 64).contains(at)) {
        let mut bytes = good.bytes().to_vec();
        bytes[at] ^= 1;
        assert!(!validate_dht(&dht_key(&name), &bytes, now()), "byte {at}");
    }
    let other = Record::create(&[7; 32], &content(4), Form::V2).unwrap();
    // The new part of one record behind the old part of another.
    let mixed = [&good.bytes()[..good.bytes().len() - other.bytes().len()], other.bytes()].concat();
    assert_eq!(Record::decode(&mixed), Err(RecordError::Differs("sequence")));
    let old_only = &good.bytes()[..good.bytes().len() - other.bytes().len()];
    assert_eq!(Record::decode(old_only), Err(RecordError::Missing("signatureV2")));
    assert_eq!(Record::decode(&[0; RECORD_BYTES_MAX + 1]), Err(RecordError::TooLong(RECORD_BYTES_MAX + 1)));
    let long = Content { value: format!("/ipfs/{}", "a".repeat(RECORD_BYTES_MAX)), ..content(0) };
    assert!(matches!(Record::create(&[7; 32], &long, Form::V2), Err(CreateError::TooLong(_))));
    let relative = Content { value: "hpips/signature/v1".into(), ..content(0) };
    assert!(matches!(Record::create(&[7; 32], &relative, Form::V2), Err(CreateError::Value(_))));
}

#[test]
fn the_order_is_total() {
    let make = |sequence, seconds, form| {
        let validity = Moment::from_unix_seconds(seconds);
        Record::create(&[7; 32], &Content { validity, ..content(sequence) }, form).unwrap()
    };
    let records = [make(1, 5, Form::V2), make(1, 6, Form::V2), make(2, 1, Form::V2)];
    for (left, record) in records.iter().enumerate() {
        for (right, other) in records.iter().enumerate() {
            assert_eq!(record.is_newer_than(other), left > right, "{left} {right}");
        }
    }
    let (both, new) = (make(1, 5, Form::V1AndV2), make(1, 5, Form::V2));
    assert!(both.is_newer_than(&new) != new.is_newer_than(&both));
}

#[test]
fn names_are_read_in_every_writing() {
    let name: Name = NAME.parse().unwrap();
    let writings = [
        name.peer_id(),
        name.cid().to_string(),
        format!("/ipns/{NAME}"),
        name.cid().to_string_of_base(cid::multibase::Base::Base58Btc).unwrap(),
    ];
    for text in writings {
        assert_eq!(text.parse(), Ok(name), "{text}");
    }
    assert_eq!((name.to_string().as_str(), Name::from_bytes(&name.to_bytes())), (NAME, Ok(name)));
    let account = name.account().unwrap();
    assert_eq!(Name::of_account(&account), name);
    let rsa: Name = RSA_NAME.parse().unwrap();
    assert!(rsa.peer_id().starts_with("Qm") && rsa.account().is_none());
    assert_eq!(rsa.peer_id().parse(), Ok(rsa));
    for bad in ["", "example.com", "k51", "Qmx", "1", "12D3KooW", "/ipns/", &"1".repeat(300), "bafkqaaa"] {
        assert!(bad.parse::<Name>().is_err(), "{bad}");
    }
    let content = "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y".parse::<Name>();
    assert!(matches!(content, Err(NameError::Content(_))));
    assert!(Name::from_bytes(&[0x11, 20]).is_err() && Name::from_bytes(&[]).is_err());
}

#[test]
fn moments_are_those_of_rfc_3339() {
    for (text, expected) in [
        ("1970-01-01T00:00:00.000000001Z", Some("1970-01-01T00:00:00.000000001Z")),
        ("2000-02-29T23:59:59Z", Some("2000-02-29T23:59:59Z")),
        ("2026-11-29T07:58:33.344297749Z", Some("2026-11-29T07:58:33.344297749Z")),
        ("2026-11-29t07:58:33.3442977490z", Some("2026-11-29T07:58:33.344297749Z")),
        ("2026-11-29T07:58:33.500Z", Some("2026-11-29T07:58:33.5Z")),
        ("2026-01-01T00:30:00+01:30", Some("2025-12-31T23:00:00Z")),
        ("0000-01-01T00:00:00Z", Some("0000-01-01T00:00:00Z")),
        ("9999-12-31T23:59:59.999999999Z", Some("9999-12-31T23:59:59.999999999Z")),
        ("0000-01-01T00:00:00+00:01", None),
        ("2026-02-29T00:00:00Z", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-01-01T24:00:00Z", None),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01T00:00:00.Z", None),
        ("2026-01-01T00:00:00Zx", None),
        ("2026-01-01T00:00:00+1:30", None),
        ("+026-01-01T00:00:00Z", None),
        ("", None),
    ] {
        let parsed = Moment::parse(text).map(|moment| moment.to_string());
        assert_eq!(parsed.as_deref(), expected, "{text}");
    }
    let end = Moment::parse("9999-12-31T23:59:59.999999999Z").unwrap();
    assert_eq!(now().after(std::time::Duration::MAX), end);
    let later = now().after(std::time::Duration::from_millis(1500));
    assert_eq!((later.since(now()).as_millis(), now().since(later).as_millis()), (1500, 0));
    let clock = std::time::Duration::from_millis(1_500);
    assert_eq!(Moment::from_unix(clock).to_string(), "1970-01-01T00:00:01.5Z");
}

proptest! {
    #[test]
    fn records_round_trip(
        seed: [u8; 32], sequence: u64, ttl_nanoseconds: u64, seconds in NOW + 1..250_000_000_000,
        path in "/ipfs/[a-z0-9/ \u{e4}]{0,200}", is_old: bool,
    ) {
        let validity = Moment::from_unix_seconds(seconds);
        let content = Content { value: path, validity, sequence, ttl_nanoseconds };
        let form = if is_old { Form::V1AndV2 } else { Form::V2 };
        let record = Record::create(&seed, &content, form).unwrap();
        let read = Record::decode(record.bytes()).unwrap();
        prop_assert_eq!(&read, &record);
        let name = Name::of_seed(&seed);
        prop_assert_eq!(read.verify(&name, now()), Ok(&content));
        prop_assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn nothing_panics(bytes: Vec<u8>, text in ".{0,80}") {
        let _ = Record::decode(&bytes);
        let _ = Name::from_bytes(&bytes);
        let _ = text.parse::<Name>();
        let _ = Moment::parse(&text);
    }

    #[test]
    fn moments_round_trip(seconds in -62_167_219_200i64..253_402_300_799, nanoseconds in 0u32..1_000_000_000) {
        let moment = Moment::from_unix_seconds(seconds).after(std::time::Duration::from_nanos(nanoseconds.into()));
        prop_assert_eq!(Moment::parse(&moment.to_string()), Some(moment));
    }

    #[test]
    fn accounts_are_names(key: [u8; 32]) {
        let name = Name::of_account(&AccountId::new(key));
        prop_assert_eq!(name.account(), Some(AccountId::new(key)));
        prop_assert_eq!(name.peer_id().parse(), Ok(name));
    }
}
