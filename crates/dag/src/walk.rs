//! Walkers without I/O: they ask for CIDs, are fed blocks, yield items.

use bytes::Bytes;
use cid::Cid;

use crate::codec::DecodeError;
use crate::name::NameError;

/// What a walker wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// The block with this CID: hand it to [`Walk::feed`], then step again.
    Need(Cid),
    /// Something found.
    Item(T),
    /// Nothing is left.
    Done,
}

/// A state machine that reads a DAG.
///
/// Call [`Walk::step`]; on [`Step::Need`] fetch and check that block, [`Walk::feed`] it and go on. After an error
/// the walker is not used again.
pub trait Walk: Sized {
    /// What it yields.
    type Item;

    /// The next step. [`Step::Need`] repeats until the block was fed.
    ///
    /// # Errors
    /// [`WalkError`] when a block that was fed contradicts itself or its parent.
    fn step(&mut self) -> Result<Step<Self::Item>, WalkError>;

    /// Takes the block that the last step asked for; the caller has checked it against its CID.
    ///
    /// # Errors
    /// [`WalkError`] when it cannot be decoded or is not what stands here; [`WalkError::NotAsked`] when no
    /// block is wanted.
    fn feed(&mut self, block: Bytes) -> Result<(), WalkError>;

    /// CIDs known to be needed after the current one, in order, at most `count`: hints for fetching ahead.
    fn upcoming(&self, count: usize) -> Vec<Cid>;

    /// An iterator over the items, with blocks from `get`.
    fn drive<F, E>(self, get: F) -> Drive<Self, F>
    where
        F: FnMut(&Cid) -> Result<Bytes, E>,
    {
        Drive { walk: Some(self), get }
    }
}

/// A DAG is not what was expected. Boxes keep it small enough to be returned by value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// A block cannot be decoded.
    #[error("cannot decode {cid}")]
    Decode {
        /// The block.
        cid: Cid,
        /// Why not.
        #[source]
        source: Box<DecodeError>,
    },
    /// Asked to be read as a file, but it is none.
    #[error("{cid} is not a file")]
    NotAFile {
        /// The block.
        cid: Cid,
    },
    /// Asked to be listed or entered, but it is no directory.
    #[error("{cid} is not a directory")]
    NotADirectory {
        /// The block.
        cid: Cid,
    },
    /// A directory has no such entry.
    #[error("no link named {name:?} under {cid}")]
    NotFound {
        /// Root of the directory.
        cid: Cid,
        /// The name.
        name: Box<str>,
    },
    /// A block's size is not what it or its parent says.
    #[error("size of {cid} differs from what is declared")]
    Size {
        /// The block.
        cid: Cid,
    },
    /// Deeper or wider than is followed here.
    #[error("the DAG is too large at {cid}")]
    TooLarge {
        /// Where it was given up.
        cid: Cid,
    },
    /// A name that must not become a file's name.
    #[error("{name:?} is refused as a file name")]
    Name {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: NameError,
    },
    /// A block was fed that nobody asked for.
    #[error("a block was fed without being needed")]
    NotAsked,
}

/// Why a driven walk ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriveError<E> {
    /// The DAG is not what was expected.
    Walk(WalkError),
    /// This block could not be had.
    Get(Cid, E),
}

impl<E> core::fmt::Display for DriveError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Walk(error) => error.fmt(f),
            Self::Get(cid, _) => write!(f, "cannot get block {cid}"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for DriveError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Walk(error) => error.source(),
            Self::Get(_, error) => Some(error),
        }
    }
}

/// Iterator made by [`Walk::drive`]; ends after the first error.
#[derive(Debug)]
pub struct Drive<W, F> {
    walk: Option<W>,
    get: F,
}

impl<W: Walk, F> Drive<W, F> {
    fn advance<E>(&mut self) -> Result<Option<W::Item>, DriveError<E>>
    where
        F: FnMut(&Cid) -> Result<Bytes, E>,
    {
        let Some(walk) = &mut self.walk else { return Ok(None) };
        loop {
            match walk.step().map_err(DriveError::Walk)? {
                Step::Item(item) => return Ok(Some(item)),
                Step::Done => return Ok(None),
                Step::Need(cid) => {
                    let block = (self.get)(&cid).map_err(|error| DriveError::Get(cid, error))?;
                    walk.feed(block).map_err(DriveError::Walk)?;
                }
            }
        }
    }
}

impl<W: Walk, F, E> Iterator for Drive<W, F>
where
    F: FnMut(&Cid) -> Result<Bytes, E>,
{
    type Item = Result<W::Item, DriveError<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        let advanced = self.advance();
        if !matches!(advanced, Ok(Some(_))) {
            self.walk = None;
        }
        advanced.transpose()
    }
}
