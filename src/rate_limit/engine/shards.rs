//! What is remembered of subjects, in parts that do not wait for each other.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::key::Key;

/// Parts of what is remembered; a subject is always in the same one.
pub(super) struct Shards<T> {
    shards: Vec<Mutex<T>>,
    hasher: RandomState,
}

impl<T> Shards<T> {
    /// Shards for so many subjects in all, each made for some of them; with 0 there is none.
    pub(super) fn new(subjects: usize, shard: impl Fn(usize) -> T) -> Self {
        let of_them = |index| {
            let odd_one = usize::from(index < subjects % MAX_SHARDS);
            Mutex::new(shard(subjects / MAX_SHARDS + odd_one))
        };
        Self {
            shards: (0..MAX_SHARDS.min(subjects)).map(of_them).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Where this subject is.
    pub(super) fn of(&self, subject: &Key) -> Option<MutexGuard<'_, T>> {
        let hash = self.hasher.hash_one(subject);
        let index = usize::try_from(hash % MAX_SHARDS as u64).ok()? % self.shards.len().max(1);
        let shard = self.shards.get(index)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

const MAX_SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyParts;

    #[test]
    fn shards_together_are_for_as_many_subjects_as_asked_for() {
        for subjects in [0, 1, 15, 16, 17, 100, 10_000] {
            let shards = Shards::new(subjects, |some| some);
            let in_all: usize = shards
                .shards
                .iter()
                .map(|shard| *shard.lock().unwrap())
                .sum();
            assert_eq!(in_all, subjects);
        }
    }

    #[test]
    fn a_subject_is_always_in_the_same_shard_and_others_are_in_others() {
        let shards = Shards::new(100, |_| 0);
        for subject in 0_u64..160 {
            let subject = Key::custom("subject", &KeyParts::new().with(subject));
            *shards.of(&subject).expect("there is one") += 1;
            assert!(*shards.of(&subject).expect("the same one") > 0);
        }
        let fullest = shards
            .shards
            .iter()
            .map(|shard| *shard.lock().unwrap())
            .max();
        assert!(fullest < Some(80));
    }

    #[test]
    fn without_room_nothing_is_anywhere() {
        let subject = Key::custom("subject", &KeyParts::new());
        assert!(Shards::new(0, |_| 0).of(&subject).is_none());
    }
}
