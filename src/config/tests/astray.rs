use std::path::PathBuf;

use super::*;

impl Case {
    /// Where the shim's data is, by a file that somebody named.
    fn data(&self) -> Option<PathBuf> {
        self.data_by("shim.toml")
    }

    fn data_by(&self, file: &str) -> Option<PathBuf> {
        let environment = Environment::from_iter(self.variables.clone());
        let file = self.directory.path().join(file);
        Config::data_of(Some(&file), &self.flags, &environment)
    }

    fn usual(&self) -> PathBuf {
        self.directory.path().join(".local/share/scope-shim")
    }
}

#[test]
fn a_broken_file_that_still_says_where_the_data_is_leads_there() {
    for text in [
        "data = \"/srv/b\"\nnonsense = = 1\n",
        "data = \"/srv/b\"\nnonsense = 1\n",
    ] {
        assert_eq!(Case::new(text).data(), Some("/srv/b".into()), "{text}");
    }
    let silent = Case::new("# data = \"/srv/b\"\nnonsense = 1\n");
    assert_eq!(silent.data(), Some(silent.usual()));
}

#[test]
fn a_broken_file_that_may_have_meant_another_place_leads_nowhere() {
    for text in [
        "data = \"/srv/b\nlisten = \"127.0.0.1:1\"\n",
        "data = /srv/b\n",
        "data = 5\n",
        "data = \"/srv/a\"\ndata = \"/srv/b\"\n",
        "date = \"/srv/b\"\n",
        "[log]\ndata = \"/srv/b\"\n",
        "nonsense = = 1\n",
    ] {
        assert_eq!(Case::new(text).data(), None, "{text}");
    }
    assert_eq!(Case::new("").data_by("mistyped.toml"), None);
}

#[test]
fn a_flag_or_variable_says_where_the_data_is_whatever_the_file_says() {
    for text in ["data = 5\n", "data = \"/srv/b\n", "nonsense = = 1\n"] {
        let flag = Case::new(text).flag("data", "--data", "/srv/c");
        assert_eq!(flag.data(), Some("/srv/c".into()), "{text}");
        assert_eq!(flag.data_by("mistyped.toml"), Some("/srv/c".into()));
        let variable = Case::new(text).with("SCOPE_SHIM_DATA", "/srv/c");
        assert_eq!(variable.data(), Some("/srv/c".into()), "{text}");
    }
}
