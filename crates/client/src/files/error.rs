//! What can be wrong with a `files` command.

use std::io;

use hpips_dag::{DecodeError, DirectoryError, EditError, ProfileError};
use hpips_store::WriteError;

use crate::blocks::GetBlockError;
use crate::read::ReadError;

/// Why the mutable files were not read or changed. After an error they are as before.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The path does not begin with a slash, or has a segment no directory can contain.
    #[error("paths must start with a leading slash and must not contain . or ..: {path:?}")]
    Path {
        /// As it was given.
        path: String,
    },
    /// More segments than are followed.
    #[error("the path has more than {max} segments")]
    PathLong {
        /// How many are.
        max: usize,
    },
    /// Nothing stands there.
    #[error("file does not exist")]
    NotFound {
        /// The path.
        path: String,
    },
    /// Something stands there.
    #[error("file already exists")]
    Exists {
        /// The path.
        path: String,
    },
    /// No directory stands there.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The path.
        path: String,
    },
    /// No file stands there.
    #[error("{path} is not a file")]
    NotAFile {
        /// The path.
        path: String,
    },
    /// A directory is removed only when asked to.
    #[error("{path}: path is a directory, use -r to remove directories")]
    IsADirectory {
        /// The path.
        path: String,
    },
    /// The root cannot be removed or moved.
    #[error("cannot delete root")]
    Root,
    /// A directory cannot move into itself.
    #[error("cannot move {path} into itself")]
    IntoItself {
        /// The directory.
        path: String,
    },
    /// The offset lies further behind the file's end than is filled with zeros.
    #[error("the offset lies {bytes} bytes behind the end of the file; at most {max} are filled with zeros")]
    Gap {
        /// How far.
        bytes: u64,
        /// How far it may.
        max: u64,
    },
    /// The new content could not be read.
    #[error("cannot read what is to be written")]
    Input(#[source] io::Error),
    /// Content or a directory could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A block could not be had.
    #[error(transparent)]
    Get(#[from] GetBlockError),
    /// A root block makes no sense.
    #[error("cannot decode the block at {path}")]
    Decode {
        /// The path.
        path: String,
        /// Why not.
        #[source]
        source: DecodeError,
    },
    /// The directory cannot be built.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A hash function that is not computed here.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The store failed.
    #[error("cannot store the change")]
    Write(#[from] WriteError),
}

impl From<EditError<GetBlockError>> for FilesError {
    fn from(error: EditError<GetBlockError>) -> Self {
        match error {
            EditError::Read(error) => ReadError::from(error).into(),
            EditError::Build(error) => error.into(),
        }
    }
}
