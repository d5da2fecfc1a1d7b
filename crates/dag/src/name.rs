//! Names in directories, and paths made of them.

/// Why a name cannot stand in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No characters.
    #[error("empty name")]
    Empty,
    /// `.` or `..`, which would leave the directory on extraction.
    #[error("a name that means a directory itself or its parent")]
    Dots,
    /// Contains `/` or NUL.
    #[error("a name with a slash or a NUL")]
    Separator,
}

/// Checks a name that comes from a directory block before it is used as a file's name on disk, and a name
/// before it is written into a directory.
///
/// # Errors
/// [`NameError`] by variant. The length is not limited here: file systems do that.
pub fn safe_name(name: &str) -> Result<&str, NameError> {
    match name {
        "" => Err(NameError::Empty),
        "." | ".." => Err(NameError::Dots),
        _ if name.bytes().any(|byte| byte == b'/' || byte == 0) => Err(NameError::Separator),
        _ => Ok(name),
    }
}

/// The segments of a path below a root, as in `/ipfs/<root>/a/b`: `a/b` gives `a` and `b`; empty segments
/// do not count.
///
/// # Errors
/// [`NameError::Dots`] or [`NameError::Separator`] for segments that no directory can contain.
pub fn split_path(path: &str) -> Result<Vec<String>, NameError> {
    path.split('/').filter(|part| !part.is_empty()).map(|part| safe_name(part).map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_stay_in_the_directory_are_safe() {
        for good in ["a", "...", ".hidden", "..a", "a b", "\u{e4}", "con", "-rf"] {
            assert_eq!(safe_name(good), Ok(good));
        }
        for (bad, error) in [
            ("", NameError::Empty),
            (".", NameError::Dots),
            ("..", NameError::Dots),
            ("a/b", NameError::Separator),
            ("/", NameError::Separator),
            ("a\0", NameError::Separator),
        ] {
            assert_eq!(safe_name(bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn paths_split_into_safe_names() {
        assert_eq!(split_path("/a//b/"), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(split_path(""), Ok(vec![]));
        assert_eq!(split_path("a/../b"), Err(NameError::Dots));
    }
}
