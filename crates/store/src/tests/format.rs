//! Bytes on disk that must never change without a new version (docs/formats/store.md).

use std::path::Path;
use std::sync::Arc;

use hpips_types::content::{RAW, cid_v1};

use super::small;
use crate::config::Config;
use crate::layer::Layer;
use crate::mocks::MemoryDisk;
use crate::{PinKind, Store};

fn content(disk: &MemoryDisk, path: &str) -> Vec<u8> {
    let file = disk.open(Path::new(path)).unwrap().unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn packs_pins_and_version_are_as_documented() {
    let disk = MemoryDisk::new(0);
    let config = Config { pack_bytes: 70, ..small() };
    let store = Store::open_on(Arc::new(disk.clone()), Path::new("/store"), config, || Ok(None)).unwrap();
    let (one, two) = (cid_v1(RAW, b"one"), cid_v1(RAW, b"two"));
    // A pack takes blocks while it is shorter than 70 bytes: these two go to the first.
    store.put(vec![(one, "one".into()), (two, "two".into())]).unwrap();
    store.pin(&one, PinKind::Recursive, "name").unwrap();
    store.unpin(&one).unwrap();
    assert_eq!(content(&disk, "/store/version"), b"hpips-store 1\n");
    let cid = "015512207692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    let pack = content(&disk, "/store/packs/00000000.pack");
    assert_eq!(hex(&pack[..16]), "4850495053504b310000000000000000");
    assert_eq!(u32::from_le_bytes(pack[16..20].try_into().unwrap()), crc32c::crc32c(&pack[..16]));
    assert_eq!(hex(&pack[20..64]), format!("0300000024{cid}{}", hex(b"one")));
    assert_eq!(u32::from_le_bytes(pack[64..68].try_into().unwrap()), crc32c::crc32c(&pack[20..64]));
    let next = hex(&two.to_bytes());
    assert_eq!(hex(&pack[68..112]), format!("0300000024{next}{}", hex(b"two")));
    assert_eq!(pack.len(), 116);
    let pins = content(&disk, "/store/pins");
    assert_eq!(hex(&pins[..8]), "4850495053504e31");
    assert_eq!(hex(&pins[8..52]), format!("2a000224{cid}{}", hex(b"name")));
    assert_eq!(u32::from_le_bytes(pins[52..56].try_into().unwrap()), crc32c::crc32c(&pins[8..52]));
    assert_eq!(hex(&pins[56..96]), format!("26000024{cid}"));
    assert_eq!(pins.len(), 100);
    // A third block goes to another pack, so the first one gets its footer.
    store.put(vec![(cid_v1(RAW, b"three"), "three".into())]).unwrap();
    let pack = content(&disk, "/store/packs/00000000.pack");
    let footer = &pack[116..];
    let entries = format!("24{cid}0300000024{next}03000000");
    assert_eq!(hex(&footer[..94]), format!("ffffffff5200000000000000{entries}"));
    assert_eq!(u32::from_le_bytes(footer[94..98].try_into().unwrap()), crc32c::crc32c(&footer[..94]));
    assert_eq!(hex(&footer[98..]), format!("7400000000000000{}", hex(b"HPIPSFT1")));
}
