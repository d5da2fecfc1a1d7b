//! Threshold signatures by view, as the engine's certificates bring them. Beacons are made of them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hpips_types::{ThresholdSignature, View};

/// Views kept in memory; as many are kept on disk.
const VIEWS_MAX: usize = 4_096;

/// The seeds this node has seen.
#[derive(Default)]
pub(crate) struct Seeds(Mutex<State>);

#[derive(Default)]
struct State {
    by_view: BTreeMap<View, ThresholdSignature>,
    /// Not yet on disk.
    fresh: Vec<(View, ThresholdSignature)>,
}

impl Seeds {
    pub(crate) fn new(stored: Vec<(View, ThresholdSignature)>) -> Self {
        Self(Mutex::new(State { by_view: stored.into_iter().collect(), fresh: Vec::new() }))
    }

    /// Remembers the seed of a view. It is unique, so the first is as good as every other.
    pub(crate) fn insert(&self, view: View, signature: ThresholdSignature) {
        let mut state = self.0.lock().expect("no panic while the lock is held");
        if state.by_view.insert(view, signature).is_none() && state.fresh.len() < VIEWS_MAX {
            state.fresh.push((view, signature));
        }
        if state.by_view.len() > VIEWS_MAX {
            state.by_view.pop_first();
        }
    }

    pub(crate) fn get(&self, view: View) -> Option<ThresholdSignature> {
        self.0.lock().expect("no panic while the lock is held").by_view.get(&view).copied()
    }

    /// Hands out what is not on disk yet; the caller stores it.
    pub(crate) fn take_fresh(&self) -> Vec<(View, ThresholdSignature)> {
        std::mem::take(&mut self.0.lock().expect("no panic while the lock is held").fresh)
    }
}
