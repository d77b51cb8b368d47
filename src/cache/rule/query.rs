//! Which parts of a query make another URL.

/// Which parameters of a query belong to the URL that a response is stored under; by default the
/// query as it was sent, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub(in crate::cache) chosen: Chosen,
    pub(in crate::cache) is_sorted: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) enum Chosen {
    #[default]
    All,
    /// Only those of these names; a name that ends in `*` stands for all that begin so.
    Only(Vec<Box<str>>),
    /// All but those.
    Ignore(Vec<Box<str>>),
}

impl Query {
    /// The parameters of these names, and no others. A name that ends in `*` stands for all that
    /// begin so.
    #[must_use]
    pub fn only<N: Into<Box<str>>>(names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self {
            chosen: Chosen::Only(names),
            is_sorted: false,
        }
    }

    /// All parameters but those of these names, such as `utm_*`. A name that ends in `*` stands for
    /// all that begin so.
    #[must_use]
    pub fn ignore<N: Into<Box<str>>>(names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self {
            chosen: Chosen::Ignore(names),
            is_sorted: false,
        }
    }

    /// All parameters, as they were sent.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Takes parameters in any order for the same; those of one name keep theirs.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.is_sorted = true;
        self
    }
}
