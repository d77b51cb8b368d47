//! How many bytes of bodies are kept in memory while they go by.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The bytes that may be kept at once.
#[derive(Debug)]
pub(in crate::cache) struct Budget {
    left: AtomicUsize,
}

/// Bytes that are kept, until it is dropped.
#[derive(Debug)]
pub(in crate::cache) struct Reserved {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(in crate::cache) fn new(bytes: usize) -> Arc<Self> {
        let left = AtomicUsize::new(bytes);
        Arc::new(Self { left })
    }

    pub(in crate::cache) fn reserve_nothing(self: &Arc<Self>) -> Reserved {
        Reserved {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }

    /// How many bytes nobody has reserved.
    #[cfg(test)]
    pub(in crate::cache) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

impl Reserved {
    /// Reserves so many more; says whether they were there.
    pub(in crate::cache) fn grow(&mut self, bytes: usize) -> bool {
        let left = &self.budget.left;
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(bytes)
        });
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_there_again() {
        let budget = Budget::new(10);
        let mut one = budget.reserve_nothing();
        assert!(one.grow(4) && one.grow(6));
        assert!(!budget.reserve_nothing().grow(1));
        assert_eq!(budget.left(), 0);
        drop(one);
        assert_eq!(budget.left(), 10);
    }

    #[test]
    fn what_was_refused_is_not_given_back() {
        let budget = Budget::new(10);
        let mut one = budget.reserve_nothing();
        assert!(!one.grow(11));
        drop(one);
        assert_eq!(budget.left(), 10);
    }
}
