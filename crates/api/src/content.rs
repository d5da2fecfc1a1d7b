//! Reading content by path, the same for a local repo and for a node's endpoints.

use std::fmt;
use std::str::FromStr;

use cid::Cid;
use hpips_client::{BlockGetter, GetBlockError, walk};
use hpips_dag::{DriveError, NameError, Resolver, split_path};

/// `CID`, `CID/a/b` or `/ipfs/CID/a/b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentPath {
    /// Where it starts.
    pub root: Cid,
    /// Names below it.
    pub segments: Vec<String>,
}

/// Why a text is no path of content.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a CID.
    #[error("{text:?} is no CID")]
    Cid {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        #[source]
        source: cid::Error,
    },
    /// A name that no directory contains.
    #[error("not a path below a CID")]
    Name(#[from] NameError),
}

impl FromStr for ContentPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let path = text.strip_prefix("/ipfs/").unwrap_or(text);
        let (root, rest) = path.split_once('/').unwrap_or((path, ""));
        let root = root.parse().map_err(|source| PathError::Cid { text: root.to_owned(), source })?;
        Ok(Self { root, segments: split_path(rest)? })
    }
}

impl fmt::Display for ContentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)?;
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

impl ContentPath {
    /// The name a copy of it gets: its last segment, or the CID.
    pub fn name(&self) -> String {
        self.segments.last().cloned().unwrap_or_else(|| self.root.to_string())
    }
}

/// Why content was not read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A block is missing, or the DAG is not what was asked for.
    #[error(transparent)]
    Drive(#[from] DriveError<GetBlockError>),
}

impl ContentError {
    /// Whether something is simply not there.
    pub fn is_not_found(&self) -> bool {
        let absent = |error: &GetBlockError| {
            matches!(error, GetBlockError::NotFound { .. } | GetBlockError::TooFewSlots { .. })
        };
        matches!(self, Self::Drive(DriveError::Get(_, error)) if absent(error))
    }

    /// Whether the question itself was wrong: a name that is not there, a file listed as a directory.
    pub fn is_wrong_path(&self) -> bool {
        matches!(self, Self::Drive(DriveError::Walk(_)))
    }
}

/// The CID a path leads to.
///
/// # Errors
/// [`ContentError::Drive`].
pub fn resolve(path: &ContentPath, blocks: &dyn BlockGetter) -> Result<Cid, ContentError> {
    let mut found = path.root;
    walk::<_, ContentError>(Resolver::new(path.root, path.segments.clone()), blocks, |resolved| {
        found = resolved.cid;
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_parse_and_print() {
        let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
        for (text, expected) in [
            (cid.to_owned(), Some(cid.to_owned())),
            (format!("/ipfs/{cid}/a//b"), Some(format!("{cid}/a/b"))),
            (format!("{cid}/../x"), None),
            ("readme".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(text.parse::<ContentPath>().ok().map(|path| path.to_string()), expected, "{text}");
        }
    }
}
