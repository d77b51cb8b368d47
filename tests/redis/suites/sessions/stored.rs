//! What is left on the server: nothing for ever, nothing secret, and how much of it.

use std::{collections::BTreeSet, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::try_join_all;

use super::app::{Browser, own};
use crate::servers::{Result, Servers, standalone::Server};

/// A key and what is under it; bytes as hexadecimal digits.
struct Stored {
    key: String,
    millis_left: i64,
    hex: String,
}

impl Stored {
    /// The letter that says what is stored.
    fn kind(&self) -> Result<char> {
        let kind = self.key.rsplit(':').nth(1).and_then(|k| k.chars().next());
        Ok(kind.ok_or_else(|| format!("{} has no kind", self.key))?)
    }
}

/// All that the server has.
async fn everything(server: &Server) -> Result<Vec<Stored>> {
    let reply = server.call(&["EVAL", DUMP, "0"]).await?;
    reply
        .items()
        .chunks(3)
        .map(|stored| {
            Ok(Stored {
                key: stored[0].to_string(),
                millis_left: stored[1].to_string().parse()?,
                hex: stored[2].to_string(),
            })
        })
        .collect()
}

pub(super) async fn every_key_has_a_time_to_live_and_tells_no_secret(_: &Servers) -> Result<()> {
    let (server, backend, browser) = own().await?;
    let storms = (0..8).map(|n| storm(&browser, n));
    let tokens: Vec<_> = try_join_all(storms).await?.into_iter().flatten().collect();
    let stored = everything(&server).await?;

    let kinds: BTreeSet<_> = stored.iter().map(Stored::kind).collect::<Result<_>>()?;
    assert_eq!(kinds, BTreeSet::from(['e', 'i', 's']));
    let mut tombstones = 0;
    for stored in &stored {
        // A record begins with its version, of eight bytes.
        let is_tombstone = stored.hex.get(16..20) == Some("7801");
        tombstones += u32::from(is_tombstone);
        let most = match stored.kind()? {
            's' if is_tombstone => MINUTE,
            's' => 24 * HOUR,
            'e' => HOUR,
            _ => 30 * 24 * HOUR + 5 * MINUTE,
        };
        let left = stored.millis_left;
        assert!((1..=most).contains(&left), "{}: {left} ms", stored.key);
    }
    assert!(tombstones > 0);

    let is_digest = |key: &str| {
        let digest = key.strip_prefix(backend.namespace());
        let digest = digest.and_then(|key| key.get(4..)?.strip_prefix('{')?.strip_suffix('}'));
        digest.is_some_and(|digest| digest.len() == 22)
    };
    for stored in &stored {
        assert!(is_digest(&stored.key), "{} is a digest", stored.key);
        let whose = stored.hex.contains(&hex(USER.as_bytes()));
        assert!(!whose || stored.kind()? == 's', "{} tells who", stored.key);
    }
    assert!(tokens.len() > 50, "{} tokens", tokens.len());
    let all: String = stored.iter().map(|stored| &*stored.hex).collect();
    for token in &tokens {
        let raw = URL_SAFE_NO_PAD.decode(token)?;
        let secret = raw.get(16..).ok_or("a token has 48 bytes")?;
        for part in secret.windows(8).step_by(4) {
            assert!(!all.contains(&hex(part)), "a secret is stored");
        }
        for part in token.as_bytes().windows(12).step_by(6) {
            assert!(!all.contains(&hex(part)), "a token is stored");
        }
        assert!(!stored.iter().any(|stored| stored.key.contains(&**token)));
    }
    eprintln!(
        "sessions: {} keys after {} tokens, {tombstones} of them tombstones",
        stored.len(),
        tokens.len()
    );
    Ok(())
}

/// All that can be done with sessions; gives the tokens that were handed out.
async fn storm(browser: &Browser, n: i64) -> Result<Vec<String>> {
    let user = format!("{USER} {}", n / 2);
    let browser = browser.fork();
    let mut tokens = Vec::new();
    for round in 0..4 {
        browser.insert("a", round).await.text()?;
        tokens.extend(browser.cookie());
        // The other one of this user's may log out everywhere at any time.
        let _ = browser.incr("b").await;
        let _ = browser.login(&user).await;
        tokens.extend(browser.cookie());
        let changed = browser
            .ask(async |session| {
                session.flash("info", "changed").await?;
                session.insert("text", "some text").await?;
                session.renew().await?;
                Ok(String::new())
            })
            .await;
        changed.text()?;
        tokens.extend(browser.cookie());
        match (n + round) % 4 {
            0 => drop(browser.sessions().destroy_all(&user).await?),
            1 => drop(browser.logout().await.text()?),
            _ => {}
        }
    }
    // One that has neither been written to again nor ended.
    let last = browser.fork();
    let _ = last.login(&user).await;
    tokens.extend(last.cookie());
    Ok(tokens)
}

/// As if the tombstone had run out while a request was under way.
pub(super) async fn a_save_after_the_tombstone_is_gone_stores_nothing(_: &Servers) -> Result<()> {
    let (server, _, browser) = own().await?;
    for ends_by_itself in [false, true] {
        browser.insert("n", 1).await.text()?;
        let other = &browser.fork();
        let server = &server;
        let late = browser
            .ask(async |session| {
                session.insert("n", 2).await?;
                if !ends_by_itself {
                    assert_eq!(other.logout().await.text, "logged out");
                }
                let gone = server.call(&["FLUSHALL"]).await;
                assert!(gone.is_ok());
                Ok(String::new())
            })
            .await;
        assert_eq!(late.cookies, [""; 0]);
        late.text()?;
        assert_eq!(server.call(&["DBSIZE"]).await?.to_string(), "0");
    }
    Ok(())
}

/// What one costs: 200 bytes, its user and its attributes, and what the server adds.
pub(super) async fn a_stored_session_is_as_large_as_documented(_: &Servers) -> Result<()> {
    let (server, backend, browser) = own().await?;
    let used = async || -> Result<i64> {
        let info = server.call(&["INFO", "memory"]).await?;
        Ok(info.field("used_memory").ok_or("no used_memory")?.parse()?)
    };
    let before = used().await?;
    for n in 0..SESSIONS {
        browser.fork().insert("attribute", n).await.text()?;
    }
    let after = used().await?;
    let pattern = format!("{}:s1:*", backend.namespace());
    let keys = server.call(&["KEYS", &pattern]).await?;
    let key = keys.items().first().ok_or("there is no session")?;
    let key = key.to_string();
    let usage = server.call(&["MEMORY", "USAGE", &key]).await?;
    let len: usize = server.call(&["STRLEN", &key]).await?.to_string().parse()?;
    // Name with its length, codec, length, at most three digits; the version is the backend's.
    let attribute = 1 + "attribute".len() + 1 + 4;
    let most = 8 + 200 + attribute + 3;
    assert!((most - 2..=most).contains(&len), "{len} bytes");
    eprintln!(
        "sessions: one of {len} bytes takes {usage} by MEMORY USAGE, {} of used_memory",
        (after - before) / SESSIONS
    );

    server.call(&["FLUSHALL"]).await?;
    browser.fork().login(USER).await.text()?;
    let keys = server.call(&["KEYS", &pattern]).await?;
    let key = keys.items().first().ok_or("there is no session")?;
    let len = server.call(&["STRLEN", &key.to_string()]).await?;
    let label = 1 + "~label".len() + 1 + 4 + USER.len() + 2;
    let expected = 8 + 200 + USER.len() + label;
    assert_eq!(len.to_string(), expected.to_string());
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Every key, how many milliseconds it has left, and what is under it.
const DUMP: &str = "local all = {} \
    local function hex(s) return (s:gsub('.', function(c) return string.format('%02x', c:byte()) end)) end \
    for _, key in ipairs(redis.call('KEYS', '*')) do \
      local value = '' \
      if redis.call('TYPE', key).ok == 'string' then value = redis.call('GET', key) \
      else value = table.concat(redis.call('ZRANGE', key, 0, -1)) end \
      all[#all + 1] = key \
      all[#all + 1] = tostring(redis.call('PTTL', key)) \
      all[#all + 1] = hex(value) \
    end \
    return all";

const USER: &str = "ada@lovelace.example";

const SESSIONS: i64 = 500;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
