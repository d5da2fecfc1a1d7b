//! A real process, killed at any moment.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use hpips_types::Cid;

use super::{block, parent, small};
use crate::mocks::Dice;
use crate::{PinKind, Store};

/// Where the child is told its folder.
const FOLDER: &str = "HPIPS_STORE_KILL_FOLDER";
/// What the child prints after each acknowledged tree: a mark, so that the lines of the test harness are told apart.
const MARK: &str = "stored ";

/// A tree of a few blocks that its number names.
fn tree(number: u64) -> Vec<(Cid, bytes::Bytes)> {
    let mut blocks: Vec<_> = (0..4).map(|leaf| block(number << 8 | leaf, 150)).collect();
    let leaves: Vec<Cid> = blocks.iter().map(|(cid, _)| *cid).collect();
    blocks.push(parent(&leaves));
    blocks
}

/// The child: adds and pins trees, sets the root of the files, unpins old trees and collects, and says so.
#[test]
#[ignore = "the child of the test below"]
fn child_slow() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = Store::open(Path::new(&folder), small()).unwrap();
    let first =
        store.pins().iter().filter_map(|pin| pin.name.parse::<u64>().ok()).max().map_or(0, |last| last + 1);
    for number in first.. {
        let hold = store.hold().unwrap();
        let blocks = tree(number);
        let root = blocks[4].0;
        store.put(blocks).unwrap();
        store.pin(&root, PinKind::Recursive, &number.to_string()).unwrap();
        store.set_files_root(&root).unwrap();
        drop(hold);
        println!("\n{MARK}{number}");
        if number % 8 == 7 {
            for old in (number - 7..number).step_by(2) {
                store.unpin(&tree(old)[4].0).unwrap();
            }
            store.collect(&[]).unwrap();
        }
    }
}

/// Kills a child that many times at moments by chance and looks at what it left.
fn kill(times: u64, seed: u64) {
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = None;
    for round in 0..times {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["tests::kill::child_slow", "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = dice.below(30);
        for line in lines.by_ref() {
            let Some(number) = line.unwrap().strip_prefix(MARK).map(|number| number.parse::<u64>().unwrap())
            else {
                continue;
            };
            acknowledged = Some(number);
            if left == 0 {
                break;
            }
            left -= 1;
        }
        // The child is somewhere in its next step.
        (0..dice.below(200_000)).for_each(|spin| drop(std::hint::black_box(spin.to_string())));
        child.kill().unwrap();
        let last = lines.filter_map(|line| line.ok()?.strip_prefix(MARK)?.parse::<u64>().ok()).last();
        child.wait().unwrap();
        acknowledged = last.or(acknowledged);

        if dice.below(4) == 0 {
            std::fs::remove_file(folder.path().join("index.redb")).unwrap();
        }
        let store = Store::open(folder.path(), small()).unwrap();
        let context = format!("seed {seed}, round {round}, acknowledged {acknowledged:?}");
        let pins = store.pins();
        let newest = pins.iter().filter_map(|pin| pin.name.parse::<u64>().ok()).max();
        assert!(newest >= acknowledged, "{context}: pinned up to {newest:?}");
        for pin in &pins {
            let number: u64 = pin.name.parse().unwrap();
            for (cid, bytes) in tree(number) {
                assert_eq!(store.get(&cid).unwrap(), Some(bytes), "{context}: tree {number}");
            }
        }
        if let (Some(last), Some(newest)) = (acknowledged, newest) {
            // Odd ones are never unpinned.
            for number in (1..=last).step_by(2) {
                assert!(store.pin_of(&tree(number)[4].0).is_some(), "{context}: the pin of {number} is lost");
            }
            let root = store.files_root().unwrap();
            assert!(
                (last..=newest).any(|number| tree(number)[4].0 == root),
                "{context}: the root of the files"
            );
        }
        assert_eq!(store.verify().unwrap().damaged, [], "{context}");
    }
}

#[test]
fn a_killed_process_loses_nothing() {
    kill(12, 1);
}

#[test]
#[ignore = "kills three hundred processes"]
fn a_killed_process_loses_nothing_slow() {
    kill(300, 2);
}
