//! What this node keeps for others: who provides what, and signed values. Bounded in every direction.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

/// Keys with providers that are kept; the oldest make room. With a few providers of a few addresses each this
/// is some tens of megabytes at the very most.
const KEYS_MAX: usize = 32_768;
/// Providers of one key that are kept; the oldest make room (as many as answer a lookup anyway).
const PROVIDERS_MAX: usize = 20;
/// Addresses of a provider that are kept.
const ADDRESSES_MAX: usize = 8;
/// Values that are kept; more are refused.
const VALUES_MAX: usize = 4_096;
/// Bytes of a value at most: that of an IPNS record.
pub(crate) const VALUE_BYTES_MAX: usize = 10 * 1024;
/// Bytes of a key at most: a multihash of 64 bytes and a name space before it.
const KEY_BYTES_MAX: usize = 128;

/// Records in memory.
#[derive(Debug)]
pub(crate) struct Records {
    local: PeerId,
    values: HashMap<RecordKey, Record>,
    providers: HashMap<RecordKey, (u64, Vec<ProviderRecord>)>,
    /// Keys of `providers` by the number they were added with.
    order: BTreeMap<u64, RecordKey>,
    next: u64,
}

impl Records {
    pub(crate) fn new(local: PeerId) -> Self {
        Self { local, values: HashMap::new(), providers: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// Addresses that a provider gave with its record.
    pub(crate) fn addresses(&self, key: &RecordKey, provider: &PeerId) -> Vec<libp2p::Multiaddr> {
        let records = self.providers.get(key).map_or(&[][..], |(_, records)| records);
        let record = records.iter().find(|record| record.provider == *provider);
        record.map_or_else(Vec::new, |record| record.addresses.clone())
    }

    fn forget(&mut self, key: &RecordKey) {
        if let Some((number, _)) = self.providers.remove(key) {
            self.order.remove(&number);
        }
    }

    /// Forgets what has expired.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.values.retain(|_, record| !record.is_expired(now));
        let mut empty = VecDeque::new();
        for (key, (_, records)) in &mut self.providers {
            records.retain(|record| !record.is_expired(now));
            if records.is_empty() {
                empty.push_back(key.clone());
            }
        }
        empty.iter().for_each(|key| self.forget(key));
    }
}

impl RecordStore for Records {
    type RecordsIter<'a> = std::iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::iter::Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        self.values.get(key).map(Cow::Borrowed)
    }

    fn put(&mut self, record: Record) -> Result<()> {
        if record.value.len() > VALUE_BYTES_MAX || record.key.as_ref().len() > KEY_BYTES_MAX {
            return Err(Error::ValueTooLarge);
        }
        if !self.values.contains_key(&record.key) && self.values.len() >= VALUES_MAX {
            return Err(Error::MaxRecords);
        }
        self.values.insert(record.key.clone(), record);
        Ok(())
    }

    fn remove(&mut self, key: &RecordKey) {
        self.values.remove(key);
    }

    /// Nothing is replicated or published again by the behaviour itself: providers and authors do it.
    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }

    fn add_provider(&mut self, mut record: ProviderRecord) -> Result<()> {
        if record.key.as_ref().len() > KEY_BYTES_MAX {
            return Err(Error::ValueTooLarge);
        }
        record.addresses.truncate(ADDRESSES_MAX);
        let key = record.key.clone();
        let mut records = match self.providers.remove(&key) {
            Some((number, records)) => {
                self.order.remove(&number);
                records
            }
            None => Vec::new(),
        };
        records.retain(|known| known.provider != record.provider);
        if records.len() >= PROVIDERS_MAX {
            let oldest = usize::from(records[0].provider == self.local);
            records.remove(oldest);
        }
        records.push(record);
        self.next += 1;
        self.order.insert(self.next, key.clone());
        self.providers.insert(key, (self.next, records));
        while self.providers.len() > KEYS_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.providers.remove(&oldest);
        }
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        self.providers.get(key).map_or_else(Vec::new, |(_, records)| records.clone())
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        std::iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        let Some((_, records)) = self.providers.get_mut(key) else { return };
        records.retain(|record| record.provider != *provider);
        if records.is_empty() {
            self.forget(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn key(number: usize) -> RecordKey {
        RecordKey::new(&number.to_le_bytes())
    }

    fn provider(number: usize) -> ProviderRecord {
        ProviderRecord::new(key(number), PeerId::random(), Vec::new())
    }

    #[test]
    fn floods_of_providers_push_out_the_oldest_keys() {
        let mut records = Records::new(PeerId::random());
        for number in 0..KEYS_MAX + 10 {
            records.add_provider(provider(number)).unwrap();
        }
        assert_eq!((records.providers.len(), records.order.len()), (KEYS_MAX, KEYS_MAX));
        assert!(records.providers(&key(9)).is_empty() && !records.providers(&key(10)).is_empty());
    }

    #[test]
    fn providers_of_a_key_are_bounded_and_this_node_stays_one() {
        let local = PeerId::random();
        let mut records = Records::new(local);
        records.add_provider(ProviderRecord::new(key(0), local, Vec::new())).unwrap();
        for _ in 0..3 * PROVIDERS_MAX {
            records.add_provider(provider(0)).unwrap();
        }
        let all = records.providers(&key(0));
        assert_eq!(all.len(), PROVIDERS_MAX);
        assert!(all.iter().any(|record| record.provider == local));
        let mut many = provider(1);
        many.addresses = vec!["/ip4/1.2.3.4/tcp/1".parse().unwrap(); 100];
        records.add_provider(many.clone()).unwrap();
        assert_eq!(records.addresses(&key(1), &many.provider).len(), ADDRESSES_MAX);
        records.remove_provider(&key(1), &many.provider);
        assert_eq!((records.providers.len(), records.order.len()), (1, 1));
    }

    #[test]
    fn values_are_bounded_and_expire() {
        let mut records = Records::new(PeerId::random());
        let record = |number, bytes| Record::new(key(number), vec![0; bytes]);
        assert!(records.put(record(0, VALUE_BYTES_MAX + 1)).is_err());
        for number in 0..VALUES_MAX {
            records.put(record(number, 1)).unwrap();
        }
        assert!(records.put(record(VALUES_MAX, 1)).is_err());
        records.put(record(7, 2)).unwrap();
        let now = Instant::now();
        let mut mortal = record(3, 1);
        mortal.expires = Some(now);
        records.put(mortal).unwrap();
        let mut mortal = provider(5);
        mortal.expires = Some(now);
        records.add_provider(mortal).unwrap();
        records.expire(now + Duration::from_secs(1));
        assert!(records.get(&key(3)).is_none() && records.get(&key(7)).is_some());
        assert!(records.providers.is_empty() && records.order.is_empty());
    }
}
