//! What rules work on while a block is applied.

use hpips_proofs::Shape;
use hpips_types::{AccountId, Height, NetworkParams};

use crate::body::BlockContext;
use crate::rows::{Constants, Head};
use crate::state::{self, State, StateView};
use crate::tables;

/// The overlay, the head row in hand, and what never changes.
///
/// The rules are methods in the module of their family; all of them go through here, so that one place knows
/// what a transaction that fails has to take back.
pub(crate) struct Exec<'a> {
    pub(crate) state: State<'a>,
    pub(crate) head: Head,
    /// The head as it was when the open transaction began.
    before: Option<Head>,
    pub(crate) constants: Constants,
    pub(crate) shape: Shape,
    pub(crate) height: Height,
    pub(crate) proposer: AccountId,
}

/// Chain id and parameters of a state.
///
/// # Panics
/// When the state does not begin with a genesis.
pub(crate) fn constants(view: &dyn StateView) -> Constants {
    state::read(view, &tables::constants()).expect("every state begins with genesis")
}

/// The head row of a state.
///
/// # Panics
/// When the state does not begin with a genesis.
pub(crate) fn head(view: &dyn StateView) -> Head {
    state::read(view, &tables::head()).expect("every state begins with genesis")
}

/// The sizes of a network whose genesis was checked.
pub(crate) fn shape(params: &NetworkParams) -> Shape {
    Shape::of(params).expect("genesis accepts only parameters that have a shape")
}

impl<'a> Exec<'a> {
    pub(crate) fn new(view: &'a dyn StateView, ctx: &BlockContext) -> Self {
        let constants = constants(view);
        Self {
            state: State::new(view),
            head: head(view),
            before: None,
            shape: shape(&constants.params),
            constants,
            height: ctx.height,
            proposer: ctx.proposer,
        }
    }

    pub(crate) fn params(&self) -> &NetworkParams {
        &self.constants.params
    }

    /// Blocks of a day.
    pub(crate) fn day_blocks(&self) -> u64 {
        self.params().window_blocks * self.params().day_windows
    }

    /// Starts what [`Self::commit`] keeps and [`Self::revert`] takes back.
    pub(crate) fn begin(&mut self) {
        self.state.begin();
        self.before = Some(self.head.clone());
    }

    pub(crate) fn commit(&mut self) {
        self.state.commit();
        self.before = None;
    }

    pub(crate) fn revert(&mut self) {
        self.state.revert();
        self.head = self.before.take().expect("a transaction is open");
    }

    /// The first opening height at or after a height.
    pub(crate) fn opening_from(&self, height: Height) -> Height {
        let step = self.params().offset_blocks;
        Height::new(height.get().div_ceil(step) * step)
    }
}
