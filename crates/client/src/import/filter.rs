//! Names that are left out of an import: rules in the syntax of `.gitignore`.

use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Rules by which names are left out; without any, nothing is.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    rules: Option<Gitignore>,
}

/// Why rules are not used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The file of rules cannot be read, or one of its lines is no rule.
    #[error("the rules in {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ignore::Error,
    },
    /// A rule of the command line.
    #[error("{rule:?} is no rule for names to leave out")]
    Rule {
        /// The rule.
        rule: String,
        /// Why.
        #[source]
        source: ignore::Error,
    },
}

impl Filter {
    /// Rules one by one (`--ignore`), and a file of them (`--ignore-rules-path`).
    ///
    /// # Errors
    /// [`FilterError`] by variant.
    pub fn new(rules: &[String], file: Option<&Path>) -> Result<Self, FilterError> {
        if rules.is_empty() && file.is_none() {
            return Ok(Self::default());
        }
        let mut builder = GitignoreBuilder::new("");
        if let Some(path) = file
            && let Some(source) = builder.add(path)
        {
            return Err(FilterError::File { path: path.to_path_buf(), source });
        }
        for rule in rules {
            builder
                .add_line(None, rule)
                .map_err(|source| FilterError::Rule { rule: rule.clone(), source })?;
        }
        let rules = builder.build().map_err(|source| FilterError::Rule { rule: rules.join(", "), source })?;
        Ok(Self { rules: Some(rules) })
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_none()
    }

    /// Whether what stands at this path below the root is left out.
    pub fn leaves_out(&self, below_root: impl AsRef<Path>, is_directory: bool) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.matched(below_root, is_directory).is_ignore())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_match_as_in_gitignore() {
        let rules = ["*.tmp".to_owned(), "build/".to_owned(), "!keep.tmp".to_owned()];
        let filter = Filter::new(&rules, None).unwrap();
        for (path, is_directory, out) in [
            ("a.tmp", false, true),
            ("deep/er/a.tmp", false, true),
            ("keep.tmp", false, false),
            ("build", true, true),
            ("build", false, false),
            ("a.txt", false, false),
        ] {
            assert_eq!(filter.leaves_out(path, is_directory), out, "{path}");
        }
        assert!(!Filter::default().leaves_out("a.tmp", false));
        assert!(Filter::new(&[], Some(Path::new("/nowhere/rules"))).is_err());
        assert!(Filter::new(&["{a".to_owned()], None).is_err());
    }
}
