//! Absolute paths in the mutable files.

use hpips_dag::split_path;

use super::FilesError;

/// Segments of a path at most: a change holds one listing of a directory a segment.
const SEGMENTS_MAX: usize = 256;

/// The segments of an absolute path; none for the root.
pub(super) fn segments(path: &str) -> Result<Vec<String>, FilesError> {
    let bad = || FilesError::Path { path: path.to_owned() };
    if !path.starts_with('/') {
        return Err(bad());
    }
    let segments = split_path(path).map_err(|_| bad())?;
    if segments.len() > SEGMENTS_MAX {
        return Err(FilesError::PathLong { max: SEGMENTS_MAX });
    }
    Ok(segments)
}

/// The path of segments, for messages.
pub(super) fn shown(segments: &[String]) -> String {
    format!("/{}", segments.join("/"))
}
