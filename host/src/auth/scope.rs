//! What a credential permits: scopes as values.

use std::fmt;
use std::str::FromStr;

macro_rules! scopes {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal;)+) => {
        /// One thing that a credential may permit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Scope {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Scope {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As it stands in tokens, keys and messages.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

scopes! {
    /// See models, their versions, and what became of their requests.
    ModelsRead "models:read";
    /// Upload, promote, roll back, load, unload and delete them.
    ModelsWrite "models:write";
    /// Ask them.
    ModelsPredict "models:predict";
    /// See plugins.
    PluginsRead "plugins:read";
    /// Upload and delete them.
    PluginsWrite "plugins:write";
    /// Grant plugins, in a manifest, what the version before did not grant.
    PluginsGrant "plugins:grant";
    /// Say how traffic is shared among versions.
    RolloutsWrite "rollouts:write";
    /// Hand in jobs.
    JobsSubmit "jobs:submit";
    /// See them.
    JobsRead "jobs:read";
    /// End them.
    JobsCancel "jobs:cancel";
    /// Read who did what.
    AuditRead "audit:read";
    /// See and change tenants, their limits among it.
    AdminTenants "admin:tenants";
    /// See and change workers.
    AdminWorkers "admin:workers";
    /// Issue and revoke keys.
    AdminKeys "admin:keys";
    /// Say whose signatures count, and revoke digests.
    AdminTrust "admin:trust";
}

impl Scope {
    /// It permits changes, and not only to look or to ask.
    #[must_use]
    pub fn changes(self) -> bool {
        !matches!(self, Self::ModelsRead | Self::ModelsPredict | Self::PluginsRead | Self::JobsRead | Self::AuditRead)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope `{name}`: there are {}", Scope::ALL.iter().map(|scope| format!("`{scope}`")).collect::<Vec<_>>().join(", "))]
pub struct UnknownScope {
    /// What came instead.
    name: String,
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        // What came is shown, and may be long.
        Self::ALL.iter().copied().find(|scope| scope.name() == text).ok_or_else(|| UnknownScope { name: text.chars().take(64).collect() })
    }
}

/// A set of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u32);

impl Scopes {
    /// None.
    pub const NONE: Self = Self(0);

    /// Every one.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.iter().copied().collect()
    }

    /// Whether that one is among them.
    #[must_use]
    pub fn permit(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }

    /// Whether it is none at all.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether all of those are among them.
    #[must_use]
    pub fn contain(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// In the order of the table above.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |scope| self.permit(*scope))
    }

    /// Names with spaces or commas between them.
    ///
    /// # Errors
    /// The first that is none.
    pub fn parse(text: &str) -> Result<Self, UnknownScope> {
        text.split([' ', ',']).filter(|name| !name.is_empty()).map(str::parse).collect()
    }

    /// Names of which those that are no scopes of this release are passed over: another service may read them.
    #[must_use]
    pub fn known(text: &str) -> Self {
        text.split([' ', ',']).filter_map(|name| name.parse::<Scope>().ok()).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u32))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            write!(f, "{}{scope}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(*scope));
            assert!(Scopes::all().permit(*scope) && !Scopes::NONE.permit(*scope));
        }
        let two = Scopes::parse("models:read,audit:read").unwrap();
        assert_eq!(two, Scopes::parse(" audit:read  models:read").unwrap());
        assert_eq!(two.to_string(), "models:read audit:read");
        assert!(Scopes::all().contain(two) && !two.contain(Scopes::all()) && two.contain(Scopes::NONE));
        assert_eq!(Scopes::known("openid models:read"), Scopes::parse("models:read").unwrap());
        let error = Scopes::parse("models:reed").unwrap_err().to_string();
        assert!(error.starts_with("there is no scope `models:reed`: there are `models:read`, "), "{error}");
    }
}
