//! What a request brought.

use crate::session::token::Token;

/// The tokens that a request brought: none, one, or several of which any may be the one.
#[derive(Clone, Debug, Default)]
pub(in crate::session) struct Presented {
    first: Option<Token>,
    others: Vec<Token>,
    saw_cookie: bool,
}

impl Presented {
    /// The tokens, none of them twice, in the order in which they came.
    pub(in crate::session) fn tokens(&self) -> impl Iterator<Item = Token> + '_ {
        self.first.iter().chain(&self.others).copied()
    }

    /// Keeps one more token, unless it is known, or there are [`MOST`](Self::MOST).
    pub(super) fn add(&mut self, token: Token) {
        if self.first.is_none() {
            self.first = Some(token);
        } else if self.others.len() + 1 < Self::MOST && self.tokens().all(|known| known != token) {
            self.others.push(token);
        }
    }

    /// The token if there is one only: of two, at most one is ours.
    pub(super) fn or_none_of_several(self) -> Self {
        if self.others.is_empty() {
            return self;
        }
        Self {
            first: None,
            others: Vec::new(),
            saw_cookie: self.saw_cookie,
        }
    }

    /// Notes that a cookie of our name came, whatever its value.
    pub(super) fn note_cookie(&mut self) {
        self.saw_cookie = true;
    }

    /// Whether a cookie of our name came, whatever its value.
    pub(super) fn saw_cookie(&self) -> bool {
        self.saw_cookie
    }

    /// So many tokens are tried, since each costs a call.
    pub(super) const MOST: usize = 4;
}
