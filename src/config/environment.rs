//! The environment variables, as a value that a test can make up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The environment of this process, or one that a test made up.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (lossy(&name), lossy(&value)))
            .collect();
        Self {
            variables,
            home: etcetera::home_dir().ok(),
        }
    }

    /// The value of a variable, without the white space around it; `None` when it is unset or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// The names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// The same, without the variables that speak of one gateway, of which there are several.
    #[must_use]
    pub(crate) fn of_no_gateway(&self) -> Self {
        let mut other = self.clone();
        let speaks = |name: &str| {
            name.starts_with("OPENCLAW_GATEWAY_")
                || name.ends_with("_STATE_DIR")
                || name.ends_with("_CONFIG_PATH")
        };
        other.variables.retain(|name, _| !speaks(name));
        other
    }

    /// The user's home directory.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.get("HOME")
            .map(PathBuf::from)
            .or_else(|| self.home.clone())
    }

    /// Where this user's configuration files are, also on macOS: `$XDG_CONFIG_HOME`, else `~/.config`.
    #[must_use]
    pub fn config_directory(&self) -> Option<PathBuf> {
        self.absolute("XDG_CONFIG_HOME")
            .or_else(|| Some(self.home()?.join(".config")))
    }

    /// Where this platform keeps the data of this user's programs.
    #[must_use]
    pub fn data_directory(&self) -> Option<PathBuf> {
        if cfg!(target_os = "macos") {
            return Some(self.home()?.join("Library/Application Support"));
        }
        if cfg!(windows) {
            return self.absolute("APPDATA");
        }
        self.absolute("XDG_DATA_HOME")
            .or_else(|| Some(self.home()?.join(".local/share")))
    }

    /// A directory that a variable names; the specification wants relative ones ignored.
    fn absolute(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.get(name)?);
        path.is_absolute().then_some(path)
    }

    /// `path` with a leading `~` replaced by the home directory, made absolute against `base`.
    #[must_use]
    pub fn expand(&self, path: &str, base: &Path) -> PathBuf {
        if let Some(rest) = path.strip_prefix('~')
            && (rest.is_empty() || rest.starts_with(['/', '\\']))
            && let Some(home) = self.home()
        {
            return home.join(rest.trim_start_matches(['/', '\\']));
        }
        base.join(path)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            home: None,
        }
    }
}

fn lossy(text: &std::ffi::OsStr) -> String {
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let environment = Environment::from_iter([("A", " x "), ("B", "  ")]);
        assert_eq!(environment.get("A"), Some("x"));
        assert_eq!(environment.get("B"), None);
        assert_eq!(environment.get("C"), None);
    }

    #[test]
    fn a_tilde_is_the_home_directory_and_other_paths_start_at_the_base() {
        let environment = Environment::from_iter([("HOME", "/home/op")]);
        let base = Path::new("/etc/shim");
        assert_eq!(
            environment.expand("~/x", base),
            Path::new("/home/op").join("x")
        );
        assert_eq!(environment.expand("~", base), Path::new("/home/op"));
        assert_eq!(environment.expand("~x", base), Path::new("/etc/shim/~x"));
        assert_eq!(environment.expand("x", base), Path::new("/etc/shim/x"));
        assert_eq!(environment.expand("/x", base), Path::new("/x"));
    }
}
