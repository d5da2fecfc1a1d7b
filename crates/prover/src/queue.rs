//! Which job is next: order, deadlines and bounds, without threads or clocks.

use std::collections::BTreeMap;
use std::time::Instant;

/// How much hangs on a proof. The first in this list goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Of a window: without it the set is unpaid, and fined later.
    Window,
    /// Of an activation: space begins to earn a little later.
    Activation,
    /// Of a measurement: nobody waits for it.
    Bench,
}

/// When a job's turn comes, and how long its proof is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its kind.
    pub priority: Priority,
    /// A job that has not been started by then is not started any more. Among jobs of one kind the earliest
    /// deadline goes first, those without one last.
    pub deadline: Option<Instant>,
}

impl Order {
    /// As soon as what is more urgent allows, however late that is.
    pub const fn whenever(priority: Priority) -> Self {
        Self { priority, deadline: None }
    }

    /// Before a moment, or not at all.
    pub const fn before(priority: Priority, deadline: Instant) -> Self {
        Self { priority, deadline: Some(deadline) }
    }
}

/// A job's place in the order of all jobs; no two have the same. Less is sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    priority: Priority,
    /// Without a deadline last: `false` is less than `true`.
    is_open_ended: bool,
    deadline: Option<Instant>,
    /// First come, first served among equals.
    number: u64,
}

/// Why a job does not enter the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many jobs wait as may.
    Full,
    /// Its deadline has passed.
    Late,
}

/// The job whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<J> {
    /// To be done now.
    Start(Turn, J),
    /// Waited past its deadline.
    Late(J),
}

/// Jobs that wait, in order.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    waiting: BTreeMap<Turn, J>,
    jobs_max: usize,
    /// Jobs ever taken in.
    count: u64,
}

impl<J> Queue<J> {
    /// A queue of at most so many jobs.
    pub(crate) fn new(jobs_max: usize) -> Self {
        Self { waiting: BTreeMap::new(), jobs_max, count: 0 }
    }

    /// Takes a job in.
    pub(crate) fn push(&mut self, order: Order, now: Instant, job: J) -> Result<Turn, Refused> {
        if is_late(order.deadline, now) {
            return Err(Refused::Late);
        }
        if self.waiting.len() >= self.jobs_max {
            return Err(Refused::Full);
        }
        let Order { priority, deadline } = order;
        let turn = Turn { priority, is_open_ended: deadline.is_none(), deadline, number: self.count };
        self.count += 1;
        self.waiting.insert(turn, job);
        Ok(turn)
    }

    /// Takes the next job out; `None` when nobody waits.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Next<J>> {
        let (turn, job) = self.waiting.pop_first()?;
        Some(if is_late(turn.deadline, now) { Next::Late(job) } else { Next::Start(turn, job) })
    }

    /// Takes a job out that is wanted no more; `None` when it does not wait.
    pub(crate) fn cancel(&mut self, turn: Turn) -> Option<J> {
        self.waiting.remove(&turn)
    }

    /// The place of a job that waits, from 1.
    pub(crate) fn place(&self, turn: Turn) -> Option<usize> {
        self.waiting.contains_key(&turn).then(|| self.waiting.range(..=turn).count())
    }

    /// The jobs that wait, the next one first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &J> {
        self.waiting.values()
    }

    /// Jobs that may wait.
    pub(crate) fn jobs_max(&self) -> usize {
        self.jobs_max
    }

    /// Takes all jobs out.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}

fn is_late(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

#[cfg(test)]
mod tests;
