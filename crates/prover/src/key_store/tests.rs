use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use hpips_circuits::builder::{Builder, Recorder};
use hpips_circuits::prove::{Blinding, CreateError, create};
use hpips_crypto::Fr;

use super::*;
use crate::config::Config;

/// The least circuits: keys in well under a second.
fn small() -> NetworkParams {
    NetworkParams { sector_height: 2, set_depth: 1, window_challenges: 1, ..NetworkParams::dev() }
}

fn open(dir: &Path, params: &NetworkParams) -> (KeyStore, ThreadPool) {
    let config = Config::new(dir).threads(NonZeroUsize::new(2).unwrap());
    let store = KeyStore::open(dir, params, Shape::of(params).unwrap()).unwrap();
    (store, crate::pool::start(&config).unwrap())
}

const KIND: CircuitKind = CircuitKind::Window;

/// Which file it is: another one after every rename.
fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn damaged_and_missing_files_are_made_again_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, pool) = open(dir.path(), &small());
    let (vk, pk) = (store.path(KIND, "vk"), store.path(KIND, "pk"));
    // What a writer that was killed leaves behind.
    fs::write(pk.with_extension("pk.tmp"), b"half a key").unwrap();
    let hash = store.verifying_key(KIND, &pool).unwrap().hash();
    let honest = [fs::read(&vk).unwrap(), fs::read(&pk).unwrap()];
    let matrices = circuit::matrices(KIND, &store.shape);

    let made = inode(&pk);
    assert_eq!(store.verifying_key(KIND, &pool).unwrap().hash(), hash);
    store.proving_key(KIND, &matrices, &pool).unwrap();
    assert_eq!(inode(&pk), made, "a good file is used as it is");

    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("missing", |path| fs::remove_file(path).unwrap()),
        ("empty", |path| fs::write(path, b"").unwrap()),
        ("cut", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("flipped", |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
    ];
    for (what, damage) in damages {
        damage(&vk);
        assert_eq!(store.verifying_key(KIND, &pool).unwrap().hash(), hash, "{what}");
        damage(&pk);
        store.proving_key(KIND, &matrices, &pool).unwrap();
        assert_eq!([fs::read(&vk).unwrap(), fs::read(&pk).unwrap()], honest, "{what}");
    }
    // A good file for other constraints of the same circuit: what an older program may leave.
    let mut recorder = Recorder::default();
    let _inputs: [_; 4] = recorder.inputs([Fr::default(); 4]);
    let mut stale = Vec::new();
    insecure_key(circuit::id(KIND, &store.shape), &recorder.finish(), &store.params, &mut stale).unwrap();
    fs::write(&pk, stale).unwrap();
    store.proving_key(KIND, &matrices, &pool).unwrap();
    assert_eq!([fs::read(&vk).unwrap(), fs::read(&pk).unwrap()], honest, "stale");

    let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    left.sort();
    assert_eq!(left, [store.path(KIND, "lock"), pk, vk], "no temporary file stays");
}

#[test]
fn an_open_key_keeps_its_bytes_and_a_cut_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (store, pool) = open(dir.path(), &small());
    let matrices = circuit::matrices(KIND, &store.shape);
    let key = store.proving_key(KIND, &matrices, &pool).unwrap();
    let path = store.path(KIND, "pk");
    let values = vec![Fr::default(); matrices.variables()];
    let blinding = Blinding::from_random(&[4; 128]);
    let proof = create(&key, &matrices, &values, &blinding).unwrap();
    // Made again while it is open: renamed over, the old file goes on.
    store.make(KIND, Some(&matrices), &pool).unwrap();
    assert_eq!(create(&key, &matrices, &values, &blinding), Ok(proof));
    let key = store.proving_key(KIND, &matrices, &pool).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(10_000).unwrap();
    let refused = create(&key, &matrices, &values, &blinding);
    assert_eq!(refused, Err(CreateError::Key(KeyError::Read(io::ErrorKind::UnexpectedEof))));
}

#[test]
fn real_networks_take_no_key_but_the_ceremonys() {
    let dir = tempfile::tempdir().unwrap();
    let (store, pool) = open(dir.path(), &small());
    store.verifying_key(KIND, &pool).unwrap();
    // The circuit, and so the file's name, is the same: only the network forbids it.
    let real = NetworkParams { name: "main".into(), ..small() };
    let (store, pool) = open(dir.path(), &real);
    let refused = store.verifying_key(KIND, &pool).unwrap_err();
    let KeyStoreError::Refused { source: KeyError::Insecure { network }, .. } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(network, "main");
    fs::remove_file(store.path(KIND, "vk")).unwrap();
    let refused = store.verifying_key(KIND, &pool).unwrap_err();
    assert!(matches!(refused, KeyStoreError::Absent { .. }), "{refused:?}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = KeyStore::open(&file.join("keys"), &small(), Shape::of(&small()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("file/keys"), "{error}");
}

/// Tells a copy of this program which folder to work in.
const CHILD_DIR: &str = "HPIPS_PROVER_TEST_DIR";

#[test]
fn of_several_processes_one_makes_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "key_store::tests::one_of_several_processes", "--nocapture"])
                .env(CHILD_DIR, dir.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let lines: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
            text.lines().find(|line| line.starts_with("child ")).unwrap_or_default().to_owned()
        })
        .collect();
    println!("{lines:?}");
    assert!(!lines[0].is_empty() && lines.iter().all(|line| *line == lines[0]), "{lines:?}");
}

/// What each process of the test above does; nothing by itself.
#[test]
fn one_of_several_processes() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let (store, pool) = open(Path::new(&dir), &small());
    let hash = store.verifying_key(KIND, &pool).unwrap().hash();
    // The leading line break ends whatever the test harness has begun to print.
    println!("\nchild {hash} {} {}", inode(&store.path(KIND, "pk")), inode(&store.path(KIND, "vk")));
}
