//! Records that were seen lately.

use std::collections::BTreeMap;

use hpips_ipns::{Moment, Name, Record};

use super::remembered;

/// Records that are remembered at once; each is some hundred bytes and ten thousand at most.
const RECORDS_MAX: usize = 1024;

/// A record and until when nobody needs to be asked again.
#[derive(Debug)]
struct Seen {
    record: Record,
    fresh_until: Moment,
}

/// The newest record of each name, as far as it still holds.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<Name, Seen>);

impl Memory {
    /// A record that has not ended, and whether it is fresh.
    pub(super) fn get(&self, name: &Name, now: Moment) -> Option<(Record, bool)> {
        let seen = self.0.get(name).filter(|seen| seen.record.content().validity > now)?;
        Some((seen.record.clone(), now < seen.fresh_until))
    }

    /// Remembers a verified record, and that it was seen now.
    pub(super) fn put(&mut self, name: Name, record: &Record, now: Moment) {
        if !self.0.contains_key(&name) && self.0.len() >= RECORDS_MAX {
            self.0.retain(|_, seen| seen.record.content().validity > now);
            // Whichever is asked for again first is of least use here.
            let stalest = self.0.iter().min_by_key(|(_, seen)| seen.fresh_until).map(|(name, _)| *name);
            if let Some(stalest) = stalest.filter(|_| self.0.len() >= RECORDS_MAX) {
                self.0.remove(&stalest);
            }
        }
        let fresh_until = now.after(remembered(record));
        match self.0.get_mut(&name) {
            Some(seen) if seen.record.is_newer_than(record) => {}
            _ => drop(self.0.insert(name, Seen { record: record.clone(), fresh_until })),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hpips_ipns::{Content, Form};

    use super::*;
    use crate::routing::now;

    #[test]
    fn it_is_bounded_and_forgets_what_ended() {
        let make = |number: u16, sequence| {
            let mut seed = [0; 32];
            seed[..2].copy_from_slice(&number.to_le_bytes());
            let content = Content {
                value: "/ipfs/bafkqaaa".into(),
                validity: now().after(Duration::from_secs(3600)),
                sequence,
                ttl_nanoseconds: 1_000_000_000 * (u64::from(number) + 1),
            };
            (Name::of_seed(&seed), Record::create(&seed, &content, Form::V2).unwrap())
        };
        let mut memory = Memory::default();
        let start = now();
        for number in 0..1100 {
            let (name, record) = make(number, 5);
            memory.put(name, &record, start);
        }
        assert_eq!(memory.0.len(), RECORDS_MAX);
        assert!(memory.get(&make(0, 5).0, start).is_none(), "the first to go stale went");
        let (name, old) = make(1099, 4);
        memory.put(name, &old, start);
        assert_eq!(memory.get(&name, start).unwrap().0.content().sequence, 5, "an older one is not taken");
        assert!(memory.get(&name, start).unwrap().1);
        assert!(!memory.get(&name, start.after(Duration::from_secs(1200))).unwrap().1, "stale");
        assert!(memory.get(&name, start.after(Duration::from_secs(4000))).is_none(), "ended");
    }
}
