//! Stored answers that only this program can read.
//!
//! ```text
//! format u8 | key id 4 | salt 16 | ciphertext | tag 16
//! ```
//!
//! AES-256-GCM, under a key of its own for each sealing: keyed BLAKE3 of a random salt. So the
//! nonce can be zero, and never meets a key twice. The format, the name of the record, its
//! fingerprint and what the text is are authenticated beside it, as they stand in this order: the
//! format and the last have one byte, the fingerprint 32, and the name is the rest. The key id says which secret to
//! try, and nothing of it.

use std::fmt;

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{AeadInPlace as _, KeyInit as _},
};
use blake3::Hasher;
use bytes::{BufMut as _, Bytes};

use super::{engine::Purpose, protocol::Fingerprint};
use crate::{
    error::ConfigError,
    key::Key,
    secret::{self, Root},
};

/// Secrets under which stored answers are encrypted: one that seals and opens, and any number of
/// previous ones that open.
///
/// To replace a secret, make the new one current and keep the old one as a previous one for as long
/// as answers are retained. While instances that lack the new secret still run, they cannot read
/// what it sealed. To avoid that, give the new one to all of them as a previous one in one rollout,
/// and make it current in the next.
///
/// A secret is 32 random bytes or more, as text or not; `openssl rand -base64 32` prints one. All
/// instances need the same. What is kept is derived from them, and none of it is shown.
///
/// ```
/// use tower_stash::idempotency::AnswerKeys;
///
/// # let (current, previous) = ("kK8mkOIw0ZyLzHnlqvHhTFQ7jTfs5rYhd5VSy0pBUnQ=", "AeLb8TjEJt7k3LFRmdHcmzCQWZlvBKUN7oI0TzbpEqw=");
/// let keys = AnswerKeys::new(current)?.with_previous(previous)?;
/// assert_eq!(format!("{keys:?}"), "AnswerKeys { .. }");
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
///
/// # What it is good for
///
/// Who reads the store, a dump or a backup of it, sees how long each answer is and which were
/// sealed under one secret. That is what it is for: it hides answers, and does not vouch for them.
/// Answers that were stored without keys stay readable, so who writes into the store can write one
/// that is not sealed. They can make no sealed one that opens, nor put one in the place of another
/// key's, of another request's, or of a recovery point, but can delete it, and put an older answer to the same request
/// with the same key back. What surrounds the answer in its record (how far the work is, the name
/// of the rule, times) is neither encrypted nor authenticated.
///
/// [Recovery points](super::Execution::checkpoint) are sealed as answers are.
///
/// A sealed answer is 37 bytes longer.
#[derive(Clone)]
pub struct AnswerKeys {
    current: AnswerKey,
    previous: Vec<AnswerKey>,
}

impl AnswerKeys {
    /// Seals and opens with this secret.
    ///
    /// # Errors
    ///
    /// A secret of less than 32 bytes.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Ok(Self {
            current: AnswerKey::new(secret.as_ref())?,
            previous: Vec::new(),
        })
    }

    /// Also opens what was sealed with this secret.
    ///
    /// # Errors
    ///
    /// A secret of less than 32 bytes, and one that is there already.
    pub fn with_previous(mut self, secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let key = AnswerKey::new(secret.as_ref())?;
        if self.all().any(|known| known.root == key.root) {
            return Err(ConfigError::new(
                "answer keys: a secret is there twice; write each once, the current one in `new`",
            ));
        }
        self.previous.push(key);
        Ok(self)
    }

    /// The plain bytes, to be stored under this key in a record with this fingerprint, and readable
    /// there alone.
    ///
    /// # Errors
    ///
    /// The operating system has no random bytes; or the plain bytes are more than 64 GiB, which is
    /// `UNSUPPORTED`.
    pub(in crate::idempotency) fn seal(
        &self,
        plain: &[u8],
        key: &Key,
        fingerprint: &Fingerprint,
        purpose: Purpose,
    ) -> Result<Bytes, getrandom::Error> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt)?;
        self.current
            .seal(plain, &salt, &associated(key, fingerprint, purpose))
            .ok_or(getrandom::Error::UNSUPPORTED)
    }

    /// The plain bytes of what one of the secrets sealed for this key and this fingerprint.
    pub(in crate::idempotency) fn open(
        &self,
        sealed: &Bytes,
        key: &Key,
        fingerprint: &Fingerprint,
        purpose: Purpose,
    ) -> Option<Bytes> {
        let sealed = Sealed::parse(sealed)?;
        let associated = associated(key, fingerprint, purpose);
        self.all()
            // Two secrets may have one id, once in four billion.
            .filter(|key| key.id == *sealed.key_id)
            .find_map(|key| key.open(&sealed, &associated))
    }

    fn all(&self) -> impl Iterator<Item = &AnswerKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

/// Shows nothing of the secrets.
impl fmt::Debug for AnswerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerKeys").finish_non_exhaustive()
    }
}

/// What is kept of one secret.
#[derive(Clone)]
struct AnswerKey {
    id: [u8; KEY_ID_LEN],
    root: Root,
}

impl AnswerKey {
    fn new(secret: &[u8]) -> Result<Self, ConfigError> {
        let root = secret::root("answer keys", ROOT_CONTEXT, secret)?;
        let mut id = [0; KEY_ID_LEN];
        Hasher::new_derive_key(ID_CONTEXT)
            .update(&root)
            .finalize_xof()
            .fill(&mut id);
        Ok(Self { id, root })
    }

    /// Nothing where the bytes are more than the cipher takes.
    fn seal(
        &self,
        plain: &[u8],
        salt: &[u8; SALT_LEN],
        associated: &[u8; ASSOCIATED_LEN],
    ) -> Option<Bytes> {
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.id);
        sealed.extend_from_slice(salt);
        sealed.extend_from_slice(plain);
        let text = sealed.get_mut(HEAD_LEN..)?;
        let tag = self
            .cipher(salt)
            .encrypt_in_place_detached(&Nonce::default(), associated, text)
            .ok()?;
        sealed.extend_from_slice(&tag);
        Some(sealed.into())
    }

    fn open(&self, sealed: &Sealed<'_>, associated: &[u8; ASSOCIATED_LEN]) -> Option<Bytes> {
        let mut text = sealed.ciphertext.to_vec();
        self.cipher(sealed.salt)
            .decrypt_in_place_detached(&Nonce::default(), associated, &mut text, sealed.tag.into())
            .ok()?;
        Some(text.into())
    }

    /// Good for the one sealing that has this salt.
    fn cipher(&self, salt: &[u8; SALT_LEN]) -> Aes256Gcm {
        let key = blake3::keyed_hash(&self.root, salt);
        Aes256Gcm::new(key.as_bytes().into())
    }
}

/// The fields of what is stored.
struct Sealed<'a> {
    key_id: &'a [u8; KEY_ID_LEN],
    salt: &'a [u8; SALT_LEN],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

impl<'a> Sealed<'a> {
    fn parse(stored: &'a [u8]) -> Option<Self> {
        let (&FORMAT, rest) = stored.split_first()? else {
            return None;
        };
        let (key_id, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        Some(Self {
            key_id,
            salt,
            ciphertext,
            tag,
        })
    }
}

/// What is authenticated beside the text.
fn associated(key: &Key, fingerprint: &Fingerprint, purpose: Purpose) -> [u8; ASSOCIATED_LEN] {
    let mut associated = [0; ASSOCIATED_LEN];
    let mut free = &mut associated[..];
    free.put_u8(FORMAT);
    free.put_slice(key.as_str().as_bytes());
    free.put_slice(fingerprint.as_bytes());
    free.put_u8(purpose as u8);
    associated
}

const FORMAT: u8 = 1;

const KEY_ID_LEN: usize = 4;
const SALT_LEN: usize = 16;
const TAG_LEN: usize = 16;

/// What stands before the ciphertext.
const HEAD_LEN: usize = 1 + KEY_ID_LEN + SALT_LEN;

/// How much longer a text is when it is sealed.
const OVERHEAD: usize = HEAD_LEN + TAG_LEN;

const ASSOCIATED_LEN: usize = 1 + Key::LEN + Fingerprint::LEN + 1;

const ROOT_CONTEXT: &str = "tower-stash 2026 stored answers v1";
const ID_CONTEXT: &str = "tower-stash 2026 stored answers key id v1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Digester, KeyParts, Kind};
    use aes_gcm::aead::{Aead as _, Payload};
    use proptest::{collection::vec, prelude::*};

    const A: &[u8] = &[b'a'; 32];
    const B: &[u8] = &[b'b'; 32];
    const ANSWER: Purpose = Purpose::Answer;
    const PRINT: Fingerprint = Fingerprint::from_bytes([7; Fingerprint::LEN]);
    const PAID: &[u8] = b"\x00\xc9 {\"receipt\":4711}";

    fn keys(secret: &[u8]) -> AnswerKeys {
        AnswerKeys::new(secret).unwrap()
    }

    fn record(name: &str) -> Key {
        let name = KeyParts::new().with(name);
        Key::new(Kind::EXECUTION, Digester::default().digest(&name))
    }

    fn problem(secret: &[u8]) -> String {
        AnswerKeys::new(secret).unwrap_err().to_string()
    }

    #[test]
    fn an_answer_that_was_sealed_is_opened() {
        let keys = keys(A);
        for plain in [PAID, b"", &[0; 10_000]] {
            let sealed = keys.seal(plain, &record("k"), &PRINT, ANSWER).unwrap();
            assert_eq!(
                keys.open(&sealed, &record("k"), &PRINT, ANSWER).unwrap(),
                plain
            );
        }
    }

    #[test]
    fn a_sealed_answer_is_37_bytes_longer_and_shows_nothing() {
        let sealed = keys(A).seal(PAID, &record("k"), &PRINT, ANSWER).unwrap();
        assert_eq!(sealed.len(), PAID.len() + 37);
        assert!(
            !sealed
                .windows(4)
                .any(|seen| PAID.windows(4).any(|part| part == seen))
        );
    }

    #[test]
    fn two_sealings_of_one_answer_have_nothing_in_common_but_format_and_key_id() {
        let keys = keys(A);
        let seal = || keys.seal(PAID, &record("k"), &PRINT, ANSWER).unwrap();
        let (one, other) = (seal(), seal());
        assert_eq!(one[..5], other[..5]);
        for four in (5..one.len() - 4).map(|start| start..start + 4) {
            assert_ne!(one[four.clone()], other[four]);
        }
    }

    #[test]
    fn an_answer_opens_for_its_own_key_and_fingerprint_alone() {
        let keys = keys(A);
        let sealed = keys.seal(PAID, &record("k"), &PRINT, ANSWER).unwrap();
        let mut near = [7; Fingerprint::LEN];
        near[Fingerprint::LEN - 1] = 6;
        assert_eq!(keys.open(&sealed, &record("l"), &PRINT, ANSWER), None);
        let lease = Key::new(
            Kind::LEASE,
            Digester::default().digest(&KeyParts::new().with("k")),
        );
        assert_eq!(keys.open(&sealed, &lease, &PRINT, ANSWER), None);
        let near = Fingerprint::from_bytes(near);
        assert_eq!(keys.open(&sealed, &record("k"), &near, ANSWER), None);
    }

    #[test]
    fn what_was_sealed_as_one_thing_is_no_other() {
        let sealed = keys(A).seal(PAID, &record("k"), &PRINT, Purpose::RecoveryPoints);
        let open = |purpose| keys(A).open(sealed.as_ref().unwrap(), &record("k"), &PRINT, purpose);
        assert_eq!(open(Purpose::RecoveryPoints).unwrap(), PAID);
        assert_eq!(open(Purpose::Answer), None);
        assert_eq!(open(Purpose::Head), None);
    }

    #[test]
    fn an_answer_holds_in_each_bit_and_to_its_last_byte() {
        // Both keys are tried where the id says so.
        let keys = keys(A).with_previous(B).unwrap();
        let sealed = keys.seal(PAID, &record("k"), &PRINT, ANSWER).unwrap();
        let opened = |sealed: Vec<u8>| keys.open(&sealed.into(), &record("k"), &PRINT, ANSWER);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(flipped), None, "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(opened(sealed[..len].to_vec()), None, "{len} bytes");
            assert_eq!(opened(sealed[len + 1..].to_vec()), None, "from {}", len + 1);
        }
        assert_eq!(opened([&sealed[..], b"\0"].concat()), None);
        assert!(opened(sealed.to_vec()).is_some());
    }

    #[test]
    fn the_current_secret_seals_and_a_previous_one_still_opens() {
        let old = keys(A).seal(PAID, &record("k"), &PRINT, ANSWER).unwrap();
        let rotated = keys(B).with_previous(A).unwrap();
        assert_eq!(
            rotated.open(&old, &record("k"), &PRINT, ANSWER).unwrap(),
            PAID
        );
        let new = rotated.seal(PAID, &record("k"), &PRINT, ANSWER).unwrap();
        assert_eq!(
            keys(B).open(&new, &record("k"), &PRINT, ANSWER).unwrap(),
            PAID
        );
        assert_eq!(keys(A).open(&new, &record("k"), &PRINT, ANSWER), None);
    }

    #[test]
    fn a_removed_secret_opens_nothing() {
        let old = keys(A).seal(PAID, &record("k"), &PRINT, ANSWER).unwrap();
        assert_eq!(keys(B).open(&old, &record("k"), &PRINT, ANSWER), None);
    }

    #[test]
    fn two_secrets_of_one_id_are_both_tried() {
        let old = keys(A).seal(PAID, &record("k"), &PRINT, ANSWER).unwrap();
        let mut rotated = keys(B).with_previous(A).unwrap();
        rotated.current.id = rotated.previous[0].id;
        assert_eq!(
            rotated.open(&old, &record("k"), &PRINT, ANSWER).unwrap(),
            PAID
        );
    }

    #[test]
    fn a_short_or_repeated_secret_is_refused_and_says_how_to_make_one() {
        assert!(problem(b"").contains("a secret of 0 bytes"));
        assert!(problem(&A[..31]).contains("openssl rand -base64 32"));
        assert!(problem(&A[..31]).starts_with("answer keys: "));
        assert!(keys(A).with_previous(&B[..31]).is_err());
        let twice = |keys: AnswerKeys, secret| keys.with_previous(secret).unwrap_err().to_string();
        assert!(twice(keys(A), A).contains("there twice"));
        assert!(twice(keys(A).with_previous(B).unwrap(), B).contains("there twice"));
    }

    #[test]
    fn nothing_shows_a_secret() {
        let secret = "correct horse battery";
        assert!(!problem(secret.as_bytes()).contains(secret));
        let keys = keys(secret.repeat(2).as_bytes());
        assert_eq!(format!("{keys:?}"), "AnswerKeys { .. }");
    }

    #[test]
    fn sealing_and_opening_allocate_once() {
        let (keys, record) = (keys(A).with_previous(B).unwrap(), record("k"));
        let mut sealed = Bytes::new();
        let counted = allocation_counter::measure(|| {
            sealed = keys.seal(PAID, &record, &PRINT, ANSWER).unwrap();
        });
        assert_eq!(counted.count_total, 1);
        let counted = allocation_counter::measure(|| {
            std::hint::black_box(keys.open(&sealed, &record, &PRINT, ANSWER).unwrap());
        });
        assert_eq!(counted.count_total, 1);
    }

    /// What is stored is opened by later versions only if this stays as it is.
    #[test]
    fn format_1_is_opened_for_ever() {
        let sealed = Bytes::from_static(GOLDEN);
        let plain = keys(A).open(&sealed, &record("k"), &PRINT, ANSWER);
        assert_eq!(plain.unwrap(), PAID);
    }

    #[test]
    fn an_answer_is_sealed_as_the_format_says() {
        let root = blake3::derive_key("tower-stash 2026 stored answers v1", A);
        let id = blake3::derive_key("tower-stash 2026 stored answers key id v1", &root);
        let salt = [b's'; 16];
        let key = blake3::keyed_hash(&root, &salt);
        let aad = [b"\x01", record("k").as_str().as_bytes(), &[7; 32], b"A"].concat();
        let text = Aes256Gcm::new(key.as_bytes().into())
            .encrypt(
                &[0; 12].into(),
                Payload {
                    msg: PAID,
                    aad: &aad,
                },
            )
            .unwrap();
        let expected = [b"\x01", &id[..4], &salt, &text].concat();
        let associated = associated(&record("k"), &PRINT, ANSWER);
        let sealed = keys(A).current.seal(PAID, &salt, &associated).unwrap();
        assert_eq!(sealed, expected);
        assert_eq!(sealed, GOLDEN);
    }

    /// Computed by another implementation of BLAKE3 and AES-GCM.
    const GOLDEN: &[u8] = b"\x01\x3e\x2d\x6e\xa3ssssssssssssssss\
        \xca\xb2\x9b\xa9\x55\x80\x32\xbc\xd7\x49\xae\xef\xf2\x87\xa4\xce\x2f\x0a\x60\
        \xed\x77\x30\x13\xd9\x9e\x58\x3e\x40\xbf\x21\x39\x73\xd8\xaa\x2a";

    proptest! {
        #[test]
        fn what_was_sealed_opens_as_it_was_and_nothing_else_does(
            plain in vec(any::<u8>(), 0..300),
            print in any::<[u8; Fingerprint::LEN]>(),
            name in ".{0,20}",
            (place, change) in (any::<prop::sample::Index>(), 1..=u8::MAX),
            cut in any::<prop::sample::Index>(),
        ) {
            let (keys, print) = (keys(A), Fingerprint::from_bytes(print));
            let record = record(&name);
            let sealed = keys.seal(&plain, &record, &print, ANSWER).unwrap();
            prop_assert_eq!(sealed.len(), plain.len() + OVERHEAD);
            prop_assert_eq!(keys.open(&sealed, &record, &print, ANSWER), Some(plain.into()));
            let mut changed = sealed.to_vec();
            changed[place.index(sealed.len())] ^= change;
            prop_assert_eq!(keys.open(&changed.into(), &record, &print, ANSWER), None);
            let cut = sealed.slice(..cut.index(sealed.len()));
            prop_assert_eq!(keys.open(&cut, &record, &print, ANSWER), None);
        }

        #[test]
        fn bytes_that_nobody_sealed_do_not_open(bytes in vec(any::<u8>(), 0..100)) {
            let ours = [&[FORMAT][..], &keys(A).current.id, &bytes].concat();
            for bytes in [bytes, ours] {
                prop_assert_eq!(keys(A).open(&bytes.into(), &record("k"), &PRINT, ANSWER), None);
            }
        }
    }
}
