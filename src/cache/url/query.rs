//! What of a query belongs to the key.
//!
//! A handler reads a query in its own way, and sees all of it. If it took something for a parameter
//! that counts and the cache did not, a client could have a response stored under a URL that it
//! was not made for. So a parameter is left out only where no usual reader takes it for one that
//! counts, and what remains is kept byte for byte:
//!
//! * A query with `;` is taken as it is, since some readers part parameters there; and so is one with
//!   a name that keeps a `%` when it is decoded, since some decode it again or otherwise.
//! * The parameters that a rule chooses are looked for with `%` and `+` decoded, in any case, and also
//!   where more follows a name, as in `id[]` and `id.x`.
//! * Those that it ignores must be written plainly, as the rule has them.
//! * Sorting keeps in order whatever could be taken for the same name.

use std::borrow::Cow;

use crate::cache::rule::{Chosen, Query};

/// What the rule takes of a query; `None` if it leaves out all there is.
pub(super) fn keyed<'a>(query: &'a str, rule: &Query) -> Option<Cow<'a, str>> {
    let is_whole = rule.chosen == Chosen::All && !rule.is_sorted;
    if is_whole || is_read_variously(query) {
        return Some(query.into());
    }
    let mut kept: Vec<&str> = query
        .split('&')
        .filter(|pair| is_kept(name(pair), &rule.chosen))
        .collect();
    if rule.is_sorted {
        kept.sort_by(|one, other| root(name(one)).cmp(root(name(other))));
    }
    (!kept.is_empty()).then(|| kept.join("&").into())
}

fn is_read_variously(query: &str) -> bool {
    let mut names = query.split('&').map(name);
    query.contains(';') || names.any(|name| decoded(name).any(|byte| byte == b'%'))
}

fn name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

fn is_kept(name: &str, chosen: &Chosen) -> bool {
    match chosen {
        Chosen::All => true,
        Chosen::Only(listed) => listed.iter().any(|listed| may_be(name, listed)),
        Chosen::Ignore(listed) => !listed.iter().any(|listed| is_plainly(name, listed)),
    }
}

/// Whether anyone could read this name as the listed one.
fn may_be(name: &str, listed: &str) -> bool {
    let Some(start) = listed.strip_suffix('*') else {
        return root(name).eq(root(listed));
    };
    let len = root(start).count();
    root(name).take(len).eq(root(start))
}

/// Whether nobody could read this name as another than the listed one.
fn is_plainly(name: &str, listed: &str) -> bool {
    listed
        .strip_suffix('*')
        .map_or(name == listed, |start| name.starts_with(start))
}

/// What those readers of a query make of a name that make the least of it: what comes before the
/// first byte that is none of a plain name, leading ones aside.
fn root(name: &str) -> impl Iterator<Item = u8> {
    decoded(name)
        .skip_while(|byte| !is_plain(*byte))
        .take_while(|byte| is_plain(*byte))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || !byte.is_ascii()
}

/// The bytes of a name without its encoding, in lower case.
fn decoded(name: &str) -> impl Iterator<Item = u8> {
    let mut rest = name.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = match rest {
            [b'%', high, low, after @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => ((high << 4) | low, after),
                _ => rest.split_first().map(|(byte, after)| (*byte, after))?,
            },
            [b'+', after @ ..] => (b' ', after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        rest = after;
        Some(byte.to_ascii_lowercase())
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}
