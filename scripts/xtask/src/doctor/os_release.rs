// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which distribution this is.

/// What `/etc/os-release` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// Such as `debian`.
    pub id: String,
    /// Such as `bookworm`.
    pub codename: String,
}

impl OsRelease {
    pub fn read() -> Self {
        let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.trim_matches('"').to_owned())
                .unwrap_or_default()
        };
        Self {
            id: field("ID"),
            codename: field("VERSION_CODENAME"),
        }
    }

    pub fn is_debian(&self) -> bool {
        self.id == "debian"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_quoted() {
        let os = OsRelease::parse("NAME=\"x\"\nVERSION_CODENAME=\"trixie\"\nID=debian\n");
        assert!(os.is_debian());
        assert_eq!(os.codename, "trixie");
    }
}
