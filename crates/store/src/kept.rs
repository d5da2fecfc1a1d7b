//! What keeps a block, and whether what is pinned is whole.

use std::collections::HashMap;

use hpips_types::Cid;

use crate::error::{IndexError, ReadError};
use crate::marks::{Found, Marks, Reach};
use crate::pins::{Pin, PinKind};
use crate::read::Health;
use crate::store::Store;

/// Why collection leaves a block alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptBy {
    /// It is pinned itself, alone.
    Direct,
    /// It is the root of a recursive pin.
    Recursive,
    /// It is reachable from this recursively pinned root.
    Indirect(Cid),
    /// It is reachable from the root of the files.
    Files,
}

/// A block that a pin promises and that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBlock {
    /// It is not here.
    Missing(Cid),
    /// It is here and is not what its CID says.
    Damaged(Cid),
    /// Its file cannot be read; what is in it is not known.
    Unreadable(Cid),
}

/// All that was looked for is found.
struct Enough;

impl Store {
    /// For each block what keeps it, `None` when nothing does. Its own pin comes before roots that reach it, pins
    /// before the root of the files, and of several roots the one whose CID is first.
    ///
    /// Blocks that are not pinned themselves cost a walk over everything pinned, once for all of them.
    pub fn kept_by(&self, cids: &[Cid]) -> Vec<Option<KeptBy>> {
        let pin_of = |cid: &Cid| match self.pin_of(cid)?.kind {
            PinKind::Direct => Some(KeptBy::Direct),
            PinKind::Recursive => Some(KeptBy::Recursive),
        };
        let mut kept: Vec<_> = cids.iter().map(pin_of).collect();
        let mut open: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, cid) in cids.iter().enumerate().filter(|(index, _)| kept[*index].is_none()) {
            open.entry(*cid.hash()).or_default().push(index);
        }
        let pins = self.pins().into_iter().filter(|pin| pin.kind == PinKind::Recursive);
        let roots = pins.map(|pin| (pin.cid, KeptBy::Indirect(pin.cid)));
        let roots: Vec<_> = roots.chain(self.files_root().map(|root| (root, KeptBy::Files))).collect();
        let mut reach = Reach::default();
        for (root, reason) in roots {
            if open.is_empty() {
                break;
            }
            reach.push(root);
            let done = reach.run(self, |cid, _| {
                for index in open.remove(cid.hash()).unwrap_or_default() {
                    kept[index] = Some(reason);
                }
                if open.is_empty() { Err(Enough) } else { Ok(()) }
            });
            if done.is_err() {
                break;
            }
        }
        kept
    }

    /// Calls `visit` with every block that is reachable from a recursive pin and is no root itself, once, and with the
    /// first root it was reached from: `pin ls --type=indirect`. Blocks that are missing are named as well, and hide
    /// what is below them.
    ///
    /// # Errors
    /// What `visit` answers, to stop early.
    pub fn for_each_indirect<E>(&self, mut visit: impl FnMut(&Cid, &Cid) -> Result<(), E>) -> Result<(), E> {
        let pins = self.pins().into_iter().filter(|pin| pin.kind == PinKind::Recursive);
        let roots: Vec<Cid> = pins.map(|pin| pin.cid).collect();
        let mut seen = Marks::default();
        for root in &roots {
            seen.insert(root);
        }
        let mut reach = Reach::default();
        for root in &roots {
            reach.push(*root);
            reach.run(self, |cid, _| if seen.insert(cid) { visit(cid, root) } else { Ok(()) })?;
        }
        Ok(())
    }

    /// Reads everything that pins promise and calls `visit` with each pin and the blocks that it lacks, none when it is
    /// whole. What pins share is read once. Changes nothing.
    ///
    /// # Errors
    /// When the index fails; and what `visit` answers, to stop early.
    pub fn verify_pins<E: From<IndexError>>(
        &self,
        mut visit: impl FnMut(&Pin, &[BadBlock]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reach = Reach::default();
        let mut sound = Marks::default();
        for pin in self.pins() {
            let mut bad = Vec::new();
            let mut leaf = |cid: &Cid| -> Result<(), IndexError> {
                if sound.contains(cid) {
                    return Ok(());
                }
                match self.inner.health(cid)? {
                    Health::Sound => {
                        sound.insert(cid);
                    }
                    Health::Damaged => bad.push(BadBlock::Damaged(*cid)),
                    Health::Unreadable => bad.push(BadBlock::Unreadable(*cid)),
                    Health::Missing => bad.push(BadBlock::Missing(*cid)),
                }
                Ok(())
            };
            if pin.kind == PinKind::Direct {
                leaf(&pin.cid)?;
            } else {
                let mut inner = Vec::new();
                reach.push(pin.cid);
                reach.run(self, |cid, found| match found {
                    Found::Leaf => leaf(cid),
                    Found::Inner | Found::Undecoded(_) => Ok(()),
                    Found::Missing => {
                        inner.push(BadBlock::Missing(*cid));
                        Ok(())
                    }
                    Found::Failed(ReadError::Index(error)) => Err(error),
                    Found::Failed(ReadError::Damaged { .. }) => {
                        inner.push(BadBlock::Damaged(*cid));
                        Ok(())
                    }
                    Found::Failed(ReadError::Io { .. }) => {
                        inner.push(BadBlock::Unreadable(*cid));
                        Ok(())
                    }
                })?;
                bad.append(&mut inner);
                reach.settle(bad.is_empty());
            }
            visit(&pin, &bad)?;
        }
        Ok(())
    }
}
