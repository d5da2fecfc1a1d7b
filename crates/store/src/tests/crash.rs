//! Power cuts and failing disks at every operation, compared with a model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hpips_types::Cid;
use proptest::prelude::*;

use super::{block, parent, small};
use crate::error::{IndexError, MarkError, WriteError};
use crate::layer::Layer;
use crate::mocks::{Dice, Fault, MemoryDisk};
use crate::{PinKind, Store};

const DIR: &str = "/store";

fn open(disk: &MemoryDisk) -> Result<Store, crate::OpenError> {
    Store::open_on(Arc::new(disk.clone()), Path::new(DIR), small(), || Ok(None))
}

/// What must, and what may, be in the store.
#[derive(Clone, Debug, Default)]
struct Model {
    /// Acknowledged and never deleted: must be there.
    certain: BTreeMap<Cid, Bytes>,
    /// Neither acknowledged as stored nor as gone: may be there.
    possible: BTreeMap<Cid, Bytes>,
    /// For each root that was ever pinned, the states it may be in.
    pins: BTreeMap<Cid, BTreeSet<Option<&'static str>>>,
    /// What the root of the files may be; empty before it was ever set.
    files_roots: BTreeSet<Option<Cid>>,
}

impl Model {
    fn check(&mut self, store: &Store, context: &str) {
        for (cid, bytes) in &self.certain {
            let found = store.get(cid).unwrap();
            assert_eq!(found.as_ref(), Some(bytes), "{context}: an acknowledged block is lost");
            assert_eq!(store.size(cid).unwrap(), u32::try_from(bytes.len()).ok());
        }
        let mut count = 0;
        store
            .for_each_block(|cid, _| {
                count += 1;
                let known = self.certain.contains_key(cid) || self.possible.contains_key(cid);
                assert!(known, "{context}: {cid} should be gone");
                Ok::<_, IndexError>(())
            })
            .unwrap();
        assert_eq!(store.block_count().unwrap(), count, "{context}: the count of blocks is wrong");
        let report = store.verify().unwrap();
        assert_eq!(report.damaged, [], "{context}");
        assert_eq!(report.sound_blocks, count);
        // What survived is certain from now on, and what did not is gone.
        for (cid, bytes) in std::mem::take(&mut self.possible) {
            if store.has(&cid).unwrap() {
                assert_eq!(store.get(&cid).unwrap(), Some(bytes.clone()), "{context}");
                self.certain.insert(cid, bytes);
            }
        }
        if !self.files_roots.is_empty() {
            let root = store.files_root();
            assert!(
                self.files_roots.contains(&root),
                "{context}: the root of the files is {root:?}, expected one of {:?}",
                self.files_roots
            );
            self.files_roots = BTreeSet::from([root]);
        }
        for (cid, states) in &mut self.pins {
            let found = store.pin_of(cid).map(|pin| pin.name);
            let state = states.iter().copied().find(|state| *state == found.as_deref());
            let state =
                state.unwrap_or_else(|| panic!("{context}: pin {found:?}, expected one of {states:?}"));
            *states = BTreeSet::from([state]);
        }
    }
}

/// One operation by chance; returns what it came to, after telling the model.
fn act(store: &Store, model: &mut Model, dice: &mut Dice, next: &mut u64) -> Result<(), WriteError> {
    match dice.below(14) {
        0..6 => {
            let count = 1 + dice.below(5);
            let mut batch = Vec::new();
            for _ in 0..count {
                // Some blocks are stored again, or after they were deleted.
                let number = if dice.below(4) == 0 { dice.below(*next + 1) } else { *next };
                *next += 1;
                batch.push(block(number, 8 + usize::try_from(number * 37 % 400).unwrap()));
            }
            if dice.below(3) == 0 {
                let children: Vec<Cid> = batch.iter().map(|(cid, _)| *cid).collect();
                batch.push(parent(&children));
            }
            let stored = store.put(batch.clone());
            for (cid, bytes) in batch {
                if stored.is_ok() {
                    model.possible.remove(&cid);
                    model.certain.insert(cid, bytes);
                } else if !model.certain.contains_key(&cid) {
                    model.possible.insert(cid, bytes);
                }
            }
            stored
        }
        6 | 7 => {
            let Some(cid) = model.certain.keys().nth(dice.index(model.certain.len().max(1))).copied() else {
                return Ok(());
            };
            let name = ["", "a", "b"][dice.index(3)];
            let pin = (dice.below(3) > 0).then_some(name);
            let done = match pin {
                Some(name) => store.pin(&cid, PinKind::Recursive, name),
                None => store.unpin(&cid).map(drop),
            };
            let states = model.pins.entry(cid).or_insert_with(|| BTreeSet::from([None]));
            if done.is_ok() {
                states.clear();
            }
            states.insert(pin);
            done
        }
        8 => {
            let Some(cid) = model.certain.keys().nth(dice.index(model.certain.len().max(1))).copied() else {
                return Ok(());
            };
            let bytes = model.certain.remove(&cid).unwrap();
            let done = store.delete(&cid);
            if done.is_err() {
                model.possible.insert(cid, bytes);
            }
            done.map(drop)
        }
        9 => {
            // Every third block stays.
            let is_live = |cid: &Cid| cid.hash().digest()[0] % 3 != 0;
            let done = store.retain(is_live);
            let dead: Vec<Cid> = model.certain.keys().filter(|cid| !is_live(cid)).copied().collect();
            for cid in dead {
                let bytes = model.certain.remove(&cid).unwrap();
                if done.is_err() {
                    model.possible.insert(cid, bytes);
                }
            }
            if done.is_ok() {
                model.possible.retain(|cid, _| is_live(cid));
            }
            done.map(drop)
        }
        10 => store.flush(),
        11 => {
            let Some(cid) = model.certain.keys().nth(dice.index(model.certain.len().max(1))).copied() else {
                return Ok(());
            };
            if model.files_roots.is_empty() {
                model.files_roots.insert(None);
            }
            let done = store.set_files_root(&cid);
            if done.is_ok() {
                model.files_roots.clear();
            }
            model.files_roots.insert(Some(cid));
            done
        }
        12 => collect(store, model),
        _ => Ok(()),
    }
}

/// Collects, with the roots and what they reach as the model knows them.
fn collect(store: &Store, model: &mut Model) -> Result<(), WriteError> {
    let mut alive = BTreeSet::new();
    let mut is_torn = false;
    let pins = store.pins().into_iter().map(|pin| (pin.cid, true));
    let mut open: Vec<(Cid, bool)> = pins.chain(store.files_root().map(|root| (root, false))).collect();
    let mut walked = BTreeSet::new();
    while let Some((cid, is_pinned)) = open.pop() {
        alive.insert(cid);
        if !walked.insert((cid, is_pinned)) || hpips_dag::is_leaf_codec(&cid) {
            continue;
        }
        let bytes = model.certain.get(&cid).or_else(|| model.possible.get(&cid));
        match bytes.filter(|_| store.has(&cid).unwrap()) {
            Some(bytes) => {
                let links = hpips_dag::children(&cid, bytes).unwrap();
                open.extend(links.into_iter().map(|link| (link, is_pinned)));
            }
            // A deleted block below a pin stops the collection; among the files it hides what is below it.
            None => is_torn |= is_pinned,
        }
    }
    let done = store.collect(&[]);
    if is_torn {
        assert!(done.is_err(), "a collection cannot know what is below a missing block");
        if matches!(done, Err(WriteError::Unmarked { source: MarkError::Missing, .. })) {
            return Ok(());
        }
    }
    let dead: Vec<Cid> = model.certain.keys().filter(|cid| !alive.contains(cid)).copied().collect();
    for cid in dead {
        let bytes = model.certain.remove(&cid).unwrap();
        if done.is_err() {
            model.possible.insert(cid, bytes);
        }
    }
    if done.is_ok() {
        model.possible.retain(|cid, _| alive.contains(cid));
    }
    done.map(drop)
}

/// Lives through several lives of a store, each ended by a fault at some operation.
fn live(seed: u64, faults: &[Fault]) {
    let mut dice = Dice(seed);
    let mut disk = MemoryDisk::new(seed);
    let mut model = Model::default();
    let mut next = 0;
    for (life, fault) in faults.iter().enumerate() {
        let context = format!("seed {seed}, life {life}, {fault:?}");
        disk.set_fault(Some(*fault));
        match open(&disk) {
            Ok(store) => {
                for _ in 0..60 {
                    let done = act(&store, &mut model, &mut dice, &mut next);
                    if disk.is_off() || matches!(done, Err(WriteError::Poisoned)) {
                        break;
                    }
                }
            }
            Err(error) => assert!(!matches!(error, crate::OpenError::Version { .. }), "{context}: {error:?}"),
        }
        // The store is dropped before the disk starts again, as a process dies before its successor.
        if !disk.is_off() && dice.below(2) == 0 {
            disk.set_fault(None);
        } else {
            disk = disk.boot();
        }
        let store = open(&disk).unwrap_or_else(|error| panic!("{context}: cannot open again: {error:?}"));
        model.check(&store, &context);
    }
    // The index is lost altogether: everything certain comes back from the packs.
    disk.edit(&Path::new(DIR).join("index.redb"), |bytes| bytes.fill(7));
    let store = open(&disk).unwrap();
    for (cid, bytes) in &model.certain {
        assert_eq!(store.get(cid).unwrap().as_ref(), Some(bytes), "seed {seed}: not rebuilt");
    }
    for (cid, states) in &model.pins {
        let found = store.pin_of(cid).map(|pin| pin.name);
        assert!(states.contains(&found.as_deref()), "seed {seed}: pins need no index");
    }
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![(0u64..400).prop_map(Fault::CutAfter), (0u64..400).prop_map(Fault::FailAfter)]
}

proptest! {
    #[test]
    fn nothing_acknowledged_is_lost(seed: u64, faults in prop::collection::vec(any_fault(), 1..5)) {
        live(seed, &faults);
    }
}

/// A delete that failed may have happened all the same: the block must not count as stored then.
#[test]
fn nothing_is_acknowledged_on_an_index_that_failed() {
    let (cid, bytes) = block(1, 300);
    let mut failed = 0;
    for at in 0..40 {
        let disk = MemoryDisk::new(at);
        let store = open(&disk).unwrap();
        store.put(vec![(cid, bytes.clone())]).unwrap();
        disk.set_fault(Some(Fault::FailAfter(at)));
        if store.delete(&cid).is_ok() {
            break;
        }
        failed += 1;
        let put = store.put(vec![(cid, bytes.clone())]);
        let pinned = store.pin(&cid, PinKind::Direct, "");
        assert!(put.is_err() && pinned.is_err(), "failure {at}");
        drop(store);
        let store = open(&disk.boot()).unwrap();
        store.put(vec![(cid, bytes.clone())]).unwrap();
        assert_eq!(store.get(&cid).unwrap().as_ref(), Some(&bytes));
    }
    assert!(failed > 2, "{failed}");
}

/// One short life, cut at every single operation that changes the disk.
#[test]
fn a_cut_at_every_operation_is_survived() {
    let seed = 42;
    let count = {
        let disk = MemoryDisk::new(seed);
        let store = open(&disk).unwrap();
        let (mut model, mut dice, mut next) = (Model::default(), Dice(seed), 0);
        for _ in 0..25 {
            act(&store, &mut model, &mut dice, &mut next).unwrap();
        }
        drop(store);
        disk.operations()
    };
    assert!(count > 100, "{count} operations");
    for at in 0..count {
        live(seed, &[Fault::CutAfter(at)]);
        live(seed, &[Fault::FailAfter(at)]);
    }
}

/// Users' files are added all at once or not at all, and what was acknowledged stays.
#[test]
fn rows_of_users_files_survive_a_cut_at_every_operation() {
    let files: Vec<_> = (0..3)
        .map(|number| {
            let (cid, bytes) = block(number, 200);
            (PathBuf::from(format!("/home/{number}")), cid, bytes)
        })
        .collect();
    let rows = |number: usize| (files[number].0.clone(), vec![(files[number].1, 0, 200)]);
    let mut cuts = 0;
    loop {
        let disk = MemoryDisk::new(cuts);
        for (path, _, bytes) in &files {
            disk.create(path).unwrap();
            disk.edit(path, |content| content.extend_from_slice(bytes));
        }
        disk.sync_dir(Path::new("/home")).unwrap();
        disk.set_fault(Some(Fault::CutAfter(cuts)));
        // How many of the steps were begun, and how many acknowledged.
        let (mut begun, mut done) = (0, 0);
        if let Ok(store) = open(&disk) {
            let steps: [&dyn Fn() -> bool; 4] = [
                &|| store.put(vec![block(100, 900), block(101, 900)]).is_ok(),
                &|| store.add_user_files(&[rows(0), rows(1)]).is_ok(),
                // The first one again, as after it was changed.
                &|| store.add_user_files(&[rows(2), rows(0)]).is_ok(),
                &|| store.remove_user_file(&files[1].0).is_ok(),
            ];
            for step in steps {
                begun += 1;
                if !step() {
                    break;
                }
                done += 1;
            }
        }
        let is_cut = disk.is_off();
        let disk = disk.boot();
        let store = open(&disk).unwrap();
        let found: Vec<bool> = files.iter().map(|(_, cid, _)| store.get(cid).unwrap().is_some()).collect();
        // What each number of steps leaves.
        let after = [[false; 3], [false; 3], [true, true, false], [true; 3], [true, false, true]];
        assert!(
            after[done..=begun].iter().any(|state| found == state),
            "cut {cuts}: {found:?} after {done} steps"
        );
        assert_eq!(store.verify().unwrap().damaged, [], "cut {cuts}");
        for (number, (path, cid, _)) in files.iter().enumerate() {
            assert_eq!(store.lent(cid).unwrap().len(), usize::from(found[number]), "cut {cuts}");
            assert_eq!(store.remove_user_file(path).unwrap(), found[number], "cut {cuts}");
        }
        if !is_cut {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 30, "{cuts}");
}
