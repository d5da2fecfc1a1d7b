//! What a caller holds of a proof in the making, and what it shares with the thread that makes it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hpips_circuits::{Witness, circuit};
use hpips_proofs::{CircuitKind, ProofBytes, Statement};

use crate::prover::ProveError;
use crate::queue::{Next, Order, Queue, Refused, Turn};

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits, at this place from 1.
    Queued {
        /// 1 is next.
        place: usize,
    },
    /// Keys are read, or made where a test network has none.
    LoadingKeys,
    /// The proof is computed.
    Proving,
    /// The finished proof is verified.
    Checking,
    /// There is an answer, or there will be none.
    Done,
}

/// A proof that is computed or waits for its turn, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// What is proven.
    pub kind: CircuitKind,
    /// How far it is; never [`Progress::Done`].
    pub progress: Progress,
}

impl UnderWay {
    /// The circuit's name.
    pub fn circuit(&self) -> &'static str {
        circuit::name(self.kind)
    }
}

/// A proof in the making.
///
/// Dropping it cancels: a job that waits leaves the queue, one that is being proven is given up at the next stage.
#[derive(Debug)]
pub struct Job {
    desk: Arc<Desk>,
    turn: Turn,
    deadline: Option<Instant>,
    answer: Receiver<Answer>,
}

type Answer = Result<ProofBytes, ProveError>;

impl Job {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.desk.state().progress(self.turn)
    }

    /// Blocks until it is elsewhere than it was seen, and says where. Returns at once when it is done.
    pub fn wait_for_change(&self, seen: Progress) -> Progress {
        let mut state = self.desk.state();
        loop {
            let progress = state.progress(self.turn);
            if progress != seen || progress == Progress::Done {
                return progress;
            }
            state = self.desk.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks until there is a proof or a reason why not. A job that still waits at its deadline is told so then,
    /// however long the one before it takes.
    ///
    /// # Errors
    /// [`ProveError`] by variant.
    pub fn wait(self) -> Result<ProofBytes, ProveError> {
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.answer.recv_timeout(left) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => return Err(ProveError::Stopped),
                Err(RecvTimeoutError::Timeout) if self.desk.withdraw(self.turn) => {
                    return Err(ProveError::Late);
                }
                // It was started in time.
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.answer.recv().unwrap_or(Err(ProveError::Stopped))
    }

    /// Gives it up; the same as dropping it.
    pub fn cancel(self) {
        drop(self);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.desk.cancel(self.turn);
    }
}

/// What is to be proven and who waits for it.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) statement: Statement,
    /// Kept instead of the values of the circuit, which take thirty times the memory and are computed in a
    /// thousandth of the proof's time.
    pub(crate) witness: Witness,
    answer: SyncSender<Answer>,
}

/// What the thread that proves does next.
#[derive(Debug)]
pub(crate) enum Task {
    /// Prove.
    Prove(Work),
    /// Free the keys.
    Unload,
}

/// The queue between callers and the thread that proves. Locked for moments only, never while proving.
#[derive(Debug)]
pub(crate) struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    queue: Queue<Work>,
    running: Option<Running>,
    is_unload_wanted: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct Running {
    turn: Turn,
    kind: CircuitKind,
    progress: Progress,
    is_cancelled: bool,
    answer: SyncSender<Answer>,
}

impl State {
    fn progress(&self, turn: Turn) -> Progress {
        if let Some(place) = self.queue.place(turn) {
            return Progress::Queued { place };
        }
        self.running.as_ref().filter(|running| running.turn == turn).map_or(Progress::Done, |it| it.progress)
    }
}

impl Desk {
    pub(crate) fn new(jobs_max: usize) -> Self {
        let queue = Queue::new(jobs_max);
        let state = State { queue, running: None, is_unload_wanted: false, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes a job in.
    pub(crate) fn submit(
        self: &Arc<Self>,
        order: Order,
        statement: Statement,
        witness: Witness,
    ) -> Result<Job, ProveError> {
        // One answer a job: whoever comes second with one finds the place taken and drops it.
        let (sender, answer) = sync_channel(1);
        let mut state = self.state();
        if state.is_closed {
            return Err(ProveError::Stopped);
        }
        let work = Work { statement, witness, answer: sender };
        let turn = state.queue.push(order, Instant::now(), work).map_err(|refused| match refused {
            Refused::Full => ProveError::Full { jobs_max: state.queue.jobs_max() },
            Refused::Late => ProveError::Late,
        })?;
        self.changed.notify_all();
        Ok(Job { desk: Arc::clone(self), turn, deadline: order.deadline, answer })
    }

    /// The proof that is computed, then those that wait, the next one first.
    pub(crate) fn under_way(&self) -> Vec<UnderWay> {
        let state = self.state();
        let running = state.running.iter().filter(|running| !running.is_cancelled);
        let running = running.map(|running| UnderWay { kind: running.kind, progress: running.progress });
        let waiting = (1..).zip(state.queue.waiting());
        let waiting = waiting.map(|(place, work)| UnderWay {
            kind: work.statement.kind(),
            progress: Progress::Queued { place },
        });
        running.chain(waiting).collect()
    }

    /// Frees the keys once nothing is being proven.
    pub(crate) fn unload(&self) {
        self.state().is_unload_wanted = true;
        self.changed.notify_all();
    }

    /// Takes nothing in any more, and answers everybody who waits.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        // Their answers' senders go with them, which is an answer.
        state.queue.clear();
        if let Some(running) = &mut state.running {
            running.is_cancelled = true;
            let _ = running.answer.try_send(Err(ProveError::Stopped));
        }
        self.changed.notify_all();
    }

    /// Blocks until there is something to do; `None` once closed.
    pub(crate) fn next(&self) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.is_closed {
                return None;
            }
            if std::mem::take(&mut state.is_unload_wanted) {
                return Some(Task::Unload);
            }
            match state.queue.next(Instant::now()) {
                Some(Next::Start(turn, work)) => {
                    state.running = Some(Running {
                        turn,
                        kind: work.statement.kind(),
                        progress: Progress::LoadingKeys,
                        is_cancelled: false,
                        answer: work.answer.clone(),
                    });
                    self.changed.notify_all();
                    return Some(Task::Prove(work));
                }
                Some(Next::Late(work)) => {
                    let _ = work.answer.try_send(Err(ProveError::Late));
                    self.changed.notify_all();
                }
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Says how far the running job is, and learns whether it is still wanted.
    pub(crate) fn enter(&self, progress: Progress) -> Result<(), ProveError> {
        let mut state = self.state();
        let Some(running) = &mut state.running else { return Err(ProveError::Cancelled) };
        running.progress = progress;
        let is_wanted = !running.is_cancelled;
        self.changed.notify_all();
        if is_wanted { Ok(()) } else { Err(ProveError::Cancelled) }
    }

    /// Hands the answer over.
    pub(crate) fn finish(&self, answer: Answer) {
        let mut state = self.state();
        if let Some(running) = state.running.take() {
            // The caller may have gone.
            let _ = running.answer.try_send(answer);
        }
        self.changed.notify_all();
    }

    /// Takes a job that waits out; `false` when it does not.
    fn withdraw(&self, turn: Turn) -> bool {
        let is_out = self.state().queue.cancel(turn).is_some();
        self.changed.notify_all();
        is_out
    }

    fn cancel(&self, turn: Turn) {
        if self.withdraw(turn) {
            return;
        }
        if let Some(running) = self.state().running.as_mut().filter(|running| running.turn == turn) {
            running.is_cancelled = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No step in here leaves anything half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
