//! Every decoder that reads bytes from outside, as a function of those bytes.
//!
//! The same list serves two ways: `cargo test` feeds each target its corpus and thousands of seeded mutations of
//! valid encodings (`corpus.rs`, in CI), and `cargo fuzz run NAME` in this folder lets coverage guide the
//! search (`fuzz_targets/`). A target may refuse its input in any way but a panic, and checks what must hold
//! of what it accepts.

use bytes::{Bytes, BytesMut};
use cid::Cid;
use hpips_dag::car::{self, Decoder, Item};
use hpips_dag::document;
use hpips_dag::{
    DirectoryBuilder, DirectoryReader, FileBuilder, FileReader, Node, Profile, Step, Tree, UnixFs, Walk,
    children, decode_pb, encode_pb, inspect, split_path,
};
use hpips_types::content::{DAG_CBOR, DAG_JSON, DAG_PB, RAW, cid_v1};

/// Steps a walker may take on one input; more says that a small DAG unfolds without end.
const STEPS_MAX: usize = 100_000;

/// A decoder under attack.
pub(crate) struct Target {
    /// Its name, and that of its corpus folder.
    pub(crate) name: &'static str,
    /// Decodes; may refuse, must not panic.
    pub(crate) run: fn(&[u8]),
    /// Valid encodings to mutate.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "cid", run: cid, seeds: cid_seeds },
    Target { name: "cid_text", run: cid_text, seeds: cid_text_seeds },
    Target { name: "path", run: path, seeds: path_seeds },
    Target { name: "dag_pb", run: dag_pb, seeds: block_seeds },
    Target { name: "unixfs", run: unixfs, seeds: unixfs_seeds },
    Target { name: "dag_cbor", run: dag_cbor, seeds: dag_cbor_seeds },
    Target { name: "directory", run: directory, seeds: block_seeds },
    Target { name: "file", run: file, seeds: block_seeds },
    Target { name: "tree", run: tree, seeds: block_seeds },
    Target { name: "bitswap", run: bitswap, seeds: bitswap_seeds },
    Target { name: "transaction", run: transaction, seeds: transaction_seeds },
    Target { name: "block_body", run: block_body, seeds: block_body_seeds },
    Target { name: "manifest", run: manifest, seeds: dag_cbor_seeds },
    Target { name: "merkle_path", run: merkle_path, seeds: merkle_path_seeds },
    Target { name: "proof", run: proof, seeds: proof_seeds },
    Target { name: "car", run: car_file, seeds: car_seeds },
    Target { name: "dag_cbor_document", run: dag_cbor_document, seeds: dag_cbor_seeds },
    Target { name: "dag_json_document", run: dag_json_document, seeds: dag_json_seeds },
    Target { name: "dag_pb_document", run: dag_pb_document, seeds: block_seeds },
    Target { name: "redirects", run: hpips_api::fuzzing::redirects, seeds: redirects_seeds },
    Target { name: "multipart", run: hpips_api::fuzzing::multipart, seeds: multipart_seeds },
    Target { name: "rpc_query", run: hpips_api::fuzzing::query, seeds: rpc_query_seeds },
    Target { name: "gateway_request", run: hpips_api::fuzzing::request, seeds: gateway_request_seeds },
    Target { name: "ranges", run: hpips_api::fuzzing::ranges, seeds: ranges_seeds },
    Target { name: "config", run: config, seeds: config_seeds },
    Target { name: "routing_answer", run: hpips_api::fuzzing::routing_answer, seeds: routing_answer_seeds },
    Target { name: "pin_request", run: hpips_api::fuzzing::pin_request, seeds: pin_request_seeds },
    Target { name: "ipns_record", run: ipns_record, seeds: ipns_record_seeds },
    Target { name: "ipns_name", run: ipns_name, seeds: ipns_name_seeds },
];

fn cid(data: &[u8]) {
    if let Ok(cid) = Cid::try_from(data) {
        assert_eq!(Cid::try_from(cid.to_bytes()).ok(), Some(cid));
        assert_eq!(cid.to_string().parse::<Cid>().ok(), Some(cid));
    }
}

fn cid_seeds() -> Vec<Vec<u8>> {
    vec![cid_v1(RAW, b"a").to_bytes(), hpips_types::content::cid_v0(b"b").to_bytes()]
}

fn cid_text(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = text.parse::<Cid>();
    }
}

fn cid_text_seeds() -> Vec<Vec<u8>> {
    let cid = cid_v1(DAG_PB, b"a");
    let bases = [
        cid::multibase::Base::Base32Lower,
        cid::multibase::Base::Base58Btc,
        cid::multibase::Base::Base36Lower,
    ];
    let mut seeds: Vec<Vec<u8>> =
        bases.iter().map(|base| cid.to_string_of_base(*base).expect("any base").into_bytes()).collect();
    seeds.push(hpips_types::content::cid_v0(b"b").to_string().into_bytes());
    seeds
}

fn path(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = split_path(text);
        let _ = text.parse::<hpips_api::ContentPath>();
    }
}

fn path_seeds() -> Vec<Vec<u8>> {
    vec![format!("/ipfs/{}/a/b", cid_v1(RAW, b"a")).into_bytes(), b"a//b/../c/.".to_vec()]
}

fn dag_pb(data: &[u8]) {
    let block = Bytes::copy_from_slice(data);
    let cid = cid_v1(DAG_PB, data);
    let _ = (children(&cid, &block), inspect(&cid, &block));
    if let Ok(node) = decode_pb(&block) {
        let links = node.links.iter().map(|link| (link.name.as_str(), &link.cid, link.tsize));
        let again = encode_pb(links, node.data.as_deref().unwrap_or_default());
        let again = decode_pb(&again.into()).expect("what was encoded decodes");
        assert_eq!(again.links, node.links);
    }
}

fn unixfs(data: &[u8]) {
    if let Ok(node) = UnixFs::decode(&Bytes::copy_from_slice(data)) {
        let again = UnixFs::decode(&node.encode().into()).expect("what was encoded decodes");
        assert_eq!(again, node);
    }
}

fn unixfs_seeds() -> Vec<Vec<u8>> {
    let blocks = blocks();
    let data = blocks.iter().filter_map(|block| decode_pb(&block.clone().into()).ok()?.data);
    data.map(|data| data.to_vec()).collect()
}

fn dag_cbor(data: &[u8]) {
    let _ = children(&cid_v1(DAG_CBOR, data), &Bytes::copy_from_slice(data));
}

fn dag_cbor_seeds() -> Vec<Vec<u8>> {
    // {"a": [1, -1, "x", true, null, 1.5], "l": link}
    let mut link = vec![0xd8, 42, 0x58, 37, 0];
    link.extend(cid_v1(RAW, b"a").to_bytes());
    let mut map = vec![0xa2, 0x61, b'a', 0x86, 1, 0x20, 0x61, b'x', 0xf5, 0xf6, 0xfb];
    map.extend(1.5f64.to_be_bytes());
    map.extend([0x61, b'l']);
    map.extend(link);
    vec![map, [0x81].repeat(300)]
}

/// Feeds one block for whatever is asked: every link leads back to it, the smallest DAG without an end.
fn drive<W: Walk>(mut walk: W, data: &[u8]) {
    let block = Bytes::copy_from_slice(data);
    for _ in 0..STEPS_MAX {
        match walk.step() {
            Ok(Step::Need(_)) => {
                if walk.feed(block.clone()).is_err() {
                    return;
                }
            }
            Ok(Step::Item(_)) => {}
            Ok(Step::Done) | Err(_) => return,
        }
    }
}

fn directory(data: &[u8]) {
    drive(DirectoryReader::new(cid_v1(DAG_PB, data)), data);
}

fn file(data: &[u8]) {
    drive(FileReader::new(cid_v1(DAG_PB, data), 3..1000), data);
}

fn tree(data: &[u8]) {
    drive(Tree::new(cid_v1(DAG_PB, data)), data);
}

/// Blocks of every kind: file nodes, wrapped leaves, basic and HAMT directories, symlinks.
fn blocks() -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let mut builder = FileBuilder::new(Profile::unixfs_v0_2015());
    builder.push(&[7; 600_000], &mut blocks);
    let file: Node = builder.finish(&mut blocks);
    let (link, node) = hpips_dag::symlink(&Profile::default(), "../x");
    blocks.push(link);
    let mut small = DirectoryBuilder::new(Profile::default());
    small.add("a", file).expect("a new name");
    small.add("b", node).expect("a new name");
    small.finish(&mut blocks).expect("small");
    let mut large = DirectoryBuilder::new(Profile::default());
    for index in 0..6000 {
        large.add(&format!("file number {index}"), file).expect("a new name");
    }
    large.finish(&mut blocks).expect("no collision");
    blocks
        .into_iter()
        .map(|block| block.bytes.to_vec())
        .filter(|bytes| bytes.len() < 20_000)
        .take(40)
        .collect()
}

fn block_seeds() -> Vec<Vec<u8>> {
    blocks()
}

fn bitswap(data: &[u8]) {
    if let Ok(message) = hpips_bitswap::Message::decode(&Bytes::copy_from_slice(data)) {
        let framed = message.encode().concat();
        let head = framed.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let again = hpips_bitswap::Message::decode(&Bytes::copy_from_slice(&framed[head..]));
        assert!(again.is_ok(), "what was encoded decodes");
    }
}

fn bitswap_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    // A wantlist entry, a block with its prefix, a presence: written by hand after the published schema.
    let cid = cid_v1(RAW, b"a").to_bytes();
    let length = u8::try_from(cid.len()).expect("36 bytes");
    let mut entry = vec![0x0a, length];
    entry.extend(&cid);
    entry.extend([0x10, 1, 0x20, 1, 0x28, 1]);
    let mut list = vec![0x0a, u8::try_from(entry.len()).expect("short")];
    list.extend(&entry);
    let mut message = vec![0x0a, u8::try_from(list.len()).expect("short")];
    message.extend(&list);
    seeds.push(message);
    seeds.push(vec![0x1a, 9, 0x0a, 4, 1, 0x55, 0x12, 32, 0x12, 1, b'a']);
    let mut presence = vec![0x22, length + 4, 0x0a, length];
    presence.extend(&cid);
    presence.extend([0x10, 1]);
    seeds.push(presence);
    seeds
}

fn transaction(data: &[u8]) {
    if let Ok(signed) = hpips_ledger::Signed::decode(data) {
        assert_eq!(signed.encode(), data, "one encoding only");
    }
}

fn transaction_seeds() -> Vec<Vec<u8>> {
    use hpips_types::{ChainId, Height, TokenAmount};
    let key = hpips_crypto::sign::SecretKey::from_seed(&[7; 32]);
    let transaction = hpips_ledger::Transaction {
        v: hpips_ledger::TX_VERSION,
        chain: ChainId::new([1; 32]),
        from: key.account(),
        nonce: 3,
        expires: Height::new(9),
        tip: TokenAmount::from_coins(0),
        max_fee: TokenAmount::from_coins(1),
        ops: vec![hpips_ledger::Operation::Transfer {
            to: key.account(),
            amount: TokenAmount::from_coins(2),
        }],
    };
    vec![transaction.sign(&key).encode()]
}

fn block_body(data: &[u8]) {
    if let Ok(body) = hpips_ledger::Body::decode(data) {
        assert_eq!(body.encode(), data, "one encoding only");
    }
}

fn block_body_seeds() -> Vec<Vec<u8>> {
    vec![hpips_ledger::Body::default().encode()]
}

fn manifest(data: &[u8]) {
    let _ = hpips_types::cbor::decode::<hpips_types::Manifest>(data, 1 << 20);
}

fn merkle_path(data: &[u8]) {
    for depth in 0..4 {
        let _ = hpips_crypto::merkle::Path::from_bytes(data, depth);
    }
}

fn merkle_path_seeds() -> Vec<Vec<u8>> {
    vec![vec![0; 7 * 32], vec![0; 14 * 32]]
}

fn proof(data: &[u8]) {
    let _ = hpips_circuits::verify::WellFormed::parse_slice(data);
}

fn proof_seeds() -> Vec<Vec<u8>> {
    vec![[0xc0].iter().chain(&[0; 191]).copied().collect(), vec![0x97; 192]]
}

/// Reads a CAR whole and in pieces: both must find the same.
fn car_file(data: &[u8]) {
    let whole = car_items(data, usize::MAX);
    assert_eq!(car_items(data, 5), whole);
    for (cid, block) in whole.unwrap_or_default() {
        let _ = children(&cid, &block);
    }
}

/// The blocks, or `None` for what is no CAR.
fn car_items(data: &[u8], piece: usize) -> Option<Vec<(Cid, Bytes)>> {
    let (mut decoder, mut input, mut blocks) = (Decoder::new(), BytesMut::new(), Vec::new());
    for piece in data.chunks(piece) {
        input.extend_from_slice(piece);
        while let Some(item) = decoder.feed(&mut input).ok()? {
            if let Item::Block { cid, bytes } = item {
                blocks.push((cid, bytes));
            }
        }
    }
    decoder.finish(&input).ok()?;
    Some(blocks)
}

fn car_seeds() -> Vec<Vec<u8>> {
    let block = Bytes::from_static(b"block");
    let cids = [cid_v1(RAW, &block), hpips_types::content::cid_v0(&block)];
    let v1 = [car::header(&cids), car::section(&cids[0], &block), car::section(&cids[1], &block)].concat();
    let mut v2 = b"\x0a\xa1\x67version\x02".to_vec();
    v2.extend([0; 16]);
    for number in [51 + 3, v1.len(), 0] {
        v2.extend(u64::try_from(number).expect("64 bits").to_le_bytes());
    }
    v2.extend([0; 3]);
    v2.extend(&v1);
    v2.extend(b"index");
    vec![v1, v2]
}

/// What is read can be written in the same codec, reads the same again, and its links are found without it.
fn same_again(codec: u64, data: &[u8]) {
    let block = Bytes::copy_from_slice(data);
    if let Ok(document) = document::decode(codec, &block) {
        let again = document::encode(codec, &document).expect("what was read can be written");
        assert_eq!(document::decode(codec, &again.into()).ok().as_ref(), Some(&document));
        assert!(children(&cid_v1(codec, data), &block).is_ok());
        let _ = document::follow(&cid_v1(codec, data), &block, &["a".to_owned(), "0".to_owned()]);
    }
}

fn dag_cbor_document(data: &[u8]) {
    same_again(DAG_CBOR, data);
    let _ = document::decode(document::CBOR, &Bytes::copy_from_slice(data));
}

fn dag_json_document(data: &[u8]) {
    same_again(DAG_JSON, data);
    let _ = document::decode(document::JSON, &Bytes::copy_from_slice(data));
}

fn dag_json_seeds() -> Vec<Vec<u8>> {
    let cid = cid_v1(RAW, b"a");
    let text = format!(
        r#"{{"a":[1,-2.5e3,"\u00e4",null,true,{{}}],"b":{{"/":{{"bytes":"aGk"}}}},"l":{{"/":"{cid}"}},"/":[]}}"#
    );
    vec![text.into_bytes(), [b'['].repeat(300), b" { \"/\" : 1 } ".to_vec()]
}

fn dag_pb_document(data: &[u8]) {
    let block = Bytes::copy_from_slice(data);
    if let Ok(read) = document::decode(DAG_PB, &block) {
        let again = document::encode(DAG_PB, &read).expect("what was read can be written");
        // Links are sorted when they are written.
        let sorted = document::decode(DAG_PB, &again.clone().into()).expect("what was written is read");
        assert_eq!(document::encode(DAG_PB, &sorted), Ok(again));
    }
}

fn redirects_seeds() -> Vec<Vec<u8>> {
    vec![
        b"/a/b/c\n# comment\n/a/:x/:y /:y/:x 302\n/a/* https://x/:splat\n/* /404.html 404\n".to_vec(),
        b"/\n/ /index.html 200\n".to_vec(),
    ]
}

fn multipart_seeds() -> Vec<Vec<u8>> {
    let body = b"\x07--XX\r\nContent-Disposition: form-data; name=\"a;b\"; filename=\"d%2Fe%20f\"\r\n\
        Content-Type: application/x-directory\r\nmode: 0644\r\n\r\n\r\n--XX\r\n\
        Content-Disposition: form-data; name=file\r\n\r\nline\r\n--X\r\n--XX--\r\n";
    vec![body.to_vec(), [b"\xff", &body[1..]].concat()]
}

fn rpc_query_seeds() -> Vec<Vec<u8>> {
    let cid = cid_v1(RAW, b"a");
    let text = format!(
        "arg=/ipfs/{cid}/a%2Fb/../c&arg={cid}&flag=true&offset=5&length=-1&timeout=1h2.5s&cid-base=base36\n\
         multipart/form-data; boundary=\"a b\""
    );
    vec![text.into_bytes()]
}

fn gateway_request_seeds() -> Vec<Vec<u8>> {
    let cid = cid_v1(RAW, b"a");
    let uri = format!("/ipfs/{cid}/a%20b/./c/?format=car&dag-scope=entity&entity-bytes=0:-5&car-dups=y");
    vec![
        format!("{uri}\n127.0.0.1:8080\ntext/html,application/vnd.ipld.car; version=1; order=dfs")
            .into_bytes(),
        format!("{uri}\nlocalhost:8080\napplication/vnd.ipld.raw").into_bytes(),
        format!("/a?filename=x\n{cid}.ipfs.localhost\n*/*").into_bytes(),
        format!("/?uri=ipfs%3A%2F%2F{cid}%2Fa\n[::1]:80\n*/*").into_bytes(),
    ]
}

fn ranges_seeds() -> Vec<Vec<u8>> {
    [&b"bytes=0-5, 7-,-3"[..], b"-5:*", b"3:-9"].map(<[u8]>::to_vec).to_vec()
}

fn config(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = hpips_node::Config::parse(std::path::Path::new("config"), text);
    }
}

fn config_seeds() -> Vec<Vec<u8>> {
    vec![
        serde_json::to_vec(&hpips_node::Config::default()).expect("plain JSON"),
        br#"{"api": "[::1]:5001", "gateway": null, "storage_max": 5, "mount": "/x"}"#.to_vec(),
    ]
}

fn pin_request_seeds() -> Vec<Vec<u8>> {
    let root = cid_v1(RAW, b"a");
    let query = format!(
        "cid={root},bafkqaaa&name=a&match=ipartial&status=queued,pinned&limit=10&before=2024-05-06T07:08:09.5%2B02:00&meta=%7B%22a%22:%22b%22%7D"
    );
    let pin = format!(r#"{{"cid":"{root}","name":"a","origins":["/ip4/1.2.3.4/tcp/1"],"meta":{{"a":"b"}}}}"#);
    vec![
        format!("{query}\n{pin}").into_bytes(),
        format!("\n{{\"cid\":\"{root}\",\"meta\":null}}").into_bytes(),
    ]
}

fn routing_answer_seeds() -> Vec<Vec<u8>> {
    let id = "12D3KooWKrjHHhpsGFoQ96dEpcvduNYr9uLq2VnWrTnxSasggtzp";
    let peer = format!(
        "{{\"Schema\":\"peer\",\"ID\":\"{id}\",\"Addrs\":[\"/ip4/1.2.3.4/tcp/1/p2p/{id}\",\"/ip6/::1/udp/1/quic-v1\"],\"Protocols\":[\"transport-bitswap\"]}}"
    );
    vec![format!("{{\"Providers\":[{peer},{{}},null]}}").into(), format!("{{\"Peers\":[{peer}]}}").into()]
}

fn ipns_record(data: &[u8]) {
    use hpips_ipns::{Moment, Name, Record};
    let name = Name::of_seed(&[7; 32]);
    let now = Moment::from_unix_seconds(0);
    let Ok(record) = Record::decode(data) else { return };
    assert!(data.len() <= hpips_ipns::RECORD_BYTES_MAX && record.bytes() == data);
    assert!(!record.is_newer_than(&record));
    let is_signed = record.verify(&name, now).is_ok();
    assert_eq!(hpips_ipns::validate_dht(&hpips_ipns::dht_key(&name), data, now), is_signed);
    // Nobody here has the key of these: what is accepted was signed by it.
    assert!(!is_signed || ipns_contents().contains(record.content()), "{record:?}");
}

fn ipns_contents() -> Vec<hpips_ipns::Content> {
    let content = |sequence, ttl_nanoseconds| hpips_ipns::Content {
        value: "/ipfs/bafkqaddwgevxmmraojswg33smq".into(),
        validity: hpips_ipns::Moment::from_unix_seconds(4_000_000_000),
        sequence,
        ttl_nanoseconds,
    };
    vec![content(0, 0), content(u64::MAX, 300_000_000_000)]
}

fn ipns_record_seeds() -> Vec<Vec<u8>> {
    use hpips_ipns::{Form, Record};
    let make =
        |content: &_, form| Record::create(&[7; 32], content, form).expect("a short path").bytes().to_vec();
    let contents = ipns_contents();
    contents.iter().flat_map(|content| [make(content, Form::V1AndV2), make(content, Form::V2)]).collect()
}

fn ipns_name(data: &[u8]) {
    use hpips_ipns::Name;
    let by_text = std::str::from_utf8(data).ok().and_then(|text| text.parse::<Name>().ok());
    for name in by_text.into_iter().chain(Name::from_bytes(data)) {
        assert_eq!(Name::from_bytes(&name.to_bytes()), Ok(name));
        assert_eq!(name.to_string().parse(), Ok(name));
        assert_eq!(name.peer_id().parse(), Ok(name));
        assert_eq!(hpips_ipns::name_of_dht_key(&hpips_ipns::dht_key(&name)), Some(name));
    }
}

fn ipns_name_seeds() -> Vec<Vec<u8>> {
    let name = hpips_ipns::Name::of_seed(&[7; 32]);
    let rsa = "k2k4r8knusampjk8yubmggyiqp0bxcv36q8yrs3y6ighcxuh3tam0q44";
    vec![name.to_bytes(), name.to_string().into_bytes(), name.peer_id().into_bytes(), rsa.into()]
}
