//! Reading and writing state rows: a view of what is final, and an overlay of what a block changes.

use std::collections::BTreeMap;

use hpips_types::cbor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::Event;

/// A row's name; see `tables.rs`.
pub type Key = Vec<u8>;
/// A row's content: canonical dag-cbor.
pub type Value = Vec<u8>;

/// The state after some block. Implemented by whoever stores it.
///
/// The ledger relies on one thing: the same key gives the same value for as long as the view lives.
pub trait StateView {
    /// The row of a key, or `None` when there is none.
    fn get(&self, key: &[u8]) -> Option<Value>;
}

impl StateView for BTreeMap<Key, Value> {
    fn get(&self, key: &[u8]) -> Option<Value> {
        BTreeMap::get(self, key).cloned()
    }
}

impl<V: StateView + ?Sized> StateView for &V {
    fn get(&self, key: &[u8]) -> Option<Value> {
        (**self).get(key)
    }
}

/// What a block changes: new rows, and `None` for rows that go.
pub type Changes = BTreeMap<Key, Option<Value>>;

/// Reads a row.
///
/// # Panics
/// When the row is not what the ledger wrote: state is authenticated, so this is a broken disk or a bug, and
/// going on would fork.
pub(crate) fn read<T: Serialize + DeserializeOwned>(view: &dyn StateView, key: &[u8]) -> Option<T> {
    view.get(key).map(|bytes| cbor::decode(&bytes, usize::MAX).expect("state rows are written by the ledger"))
}

/// The overlay a block is applied on. A transaction writes into a layer of its own, which is dropped when
/// one of its operations fails.
pub(crate) struct State<'a> {
    view: &'a dyn StateView,
    block: Changes,
    transaction: Option<(Changes, usize)>,
    events: Vec<Event>,
}

impl<'a> State<'a> {
    pub(crate) fn new(view: &'a dyn StateView) -> Self {
        Self { view, block: Changes::new(), transaction: None, events: Vec::new() }
    }

    /// Starts a layer that [`Self::commit`] keeps and [`Self::revert`] drops.
    ///
    /// # Panics
    /// When one is open already.
    pub(crate) fn begin(&mut self) {
        assert!(self.transaction.is_none(), "transactions do not nest");
        self.transaction = Some((Changes::new(), self.events.len()));
    }

    pub(crate) fn commit(&mut self) {
        let (changes, _) = self.transaction.take().expect("a transaction is open");
        self.block.extend(changes);
    }

    pub(crate) fn revert(&mut self) {
        let (_, events) = self.transaction.take().expect("a transaction is open");
        self.events.truncate(events);
    }

    pub(crate) fn read<T: Serialize + DeserializeOwned>(&self, key: &[u8]) -> Option<T> {
        read(self, key)
    }

    pub(crate) fn put<T: Serialize>(&mut self, key: Key, row: &T) {
        self.layer().insert(key, Some(cbor::encode(row)));
    }

    pub(crate) fn delete(&mut self, key: Key) {
        self.layer().insert(key, None);
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    fn layer(&mut self) -> &mut Changes {
        match &mut self.transaction {
            Some((changes, _)) => changes,
            None => &mut self.block,
        }
    }

    /// The changes and events, with rows that are as before left out.
    pub(crate) fn finish(self) -> (Changes, Vec<Event>) {
        assert!(self.transaction.is_none(), "a block ends between transactions");
        let view = self.view;
        let changes = self.block.into_iter().filter(|(key, value)| view.get(key) != *value).collect();
        (changes, self.events)
    }
}

impl StateView for State<'_> {
    fn get(&self, key: &[u8]) -> Option<Value> {
        if let Some((changes, _)) = &self.transaction
            && let Some(value) = changes.get(key)
        {
            return value.clone();
        }
        match self.block.get(key) {
            Some(value) => value.clone(),
            None => self.view.get(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reverted_layer_leaves_nothing() {
        let base: BTreeMap<Key, Value> =
            [(vec![1], cbor::encode(&1u64)), (vec![2], cbor::encode(&2u64))].into();
        let mut state = State::new(&base);
        state.put(vec![1], &10u64);
        state.begin();
        state.put(vec![1], &11u64);
        state.delete(vec![2]);
        assert_eq!((state.read::<u64>(&[1]), state.read::<u64>(&[2])), (Some(11), None));
        state.revert();
        assert_eq!((state.read::<u64>(&[1]), state.read::<u64>(&[2])), (Some(10), Some(2)));
        state.begin();
        state.put(vec![1], &1u64);
        state.put(vec![3], &3u64);
        state.commit();
        let (changes, events) = state.finish();
        assert_eq!(changes, [(vec![3], Some(cbor::encode(&3u64)))].into(), "an equal row is no change");
        assert!(events.is_empty());
    }
}
