//! What one subscription has yet to read.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use crate::backend::Signal;

/// A bounded queue of signals that says how much did not fit.
#[derive(Default)]
pub(super) struct SignalQueue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    signals: VecDeque<Signal>,
    reader: Option<Waker>,
    closed: bool,
}

impl SignalQueue {
    /// Appends a signal, or counts it as lost.
    pub(super) fn push(&self, signal: Signal) {
        let mut state = self.lock();
        if state.signals.len() < CAPACITY {
            state.signals.push_back(signal);
        } else {
            let more = match signal {
                Signal::Lagged(more) => more,
                Signal::Message(_) | Signal::Reconnected => 1,
            };
            // One place above the capacity is for the last signal, which
            // counts what comes after it.
            match state.signals.back_mut() {
                Some(Signal::Lagged(lost)) => *lost = lost.saturating_add(more),
                _ => state.signals.push_back(Signal::Lagged(more)),
            }
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Ends the stream behind what is already there.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        let mut state = self.lock();
        if let Some(signal) = state.signals.pop_front() {
            return Poll::Ready(Some(signal));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a queue of signals, and calls `L` when it is dropped.
pub(super) struct Reader<L: FnMut()> {
    pub(super) queue: Arc<SignalQueue>,
    pub(super) leave: L,
}

impl<L: FnMut() + Unpin> Stream for Reader<L> {
    type Item = Signal;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        self.queue.poll(cx)
    }
}

impl<L: FnMut()> Drop for Reader<L> {
    fn drop(&mut self) {
        (self.leave)();
    }
}

/// How many signals wait for a slow reader.
pub(super) const CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(number: usize) -> Signal {
        Signal::Message(Bytes::from(number.to_string()))
    }

    fn read(queue: &SignalQueue) -> Poll<Option<Signal>> {
        queue.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_slow_reader_is_told_how_much_it_missed_where_it_missed_it() {
        let queue = SignalQueue::default();
        for number in 0..CAPACITY + 3 {
            queue.push(message(number));
        }
        for number in 0..CAPACITY {
            assert_eq!(read(&queue), Poll::Ready(Some(message(number))));
        }
        queue.push(message(9_999));
        assert_eq!(read(&queue), Poll::Ready(Some(Signal::Lagged(3))));
        assert_eq!(read(&queue), Poll::Ready(Some(message(9_999))));
        assert_eq!(read(&queue), Poll::Pending);
    }

    #[test]
    fn a_reader_that_never_reads_holds_no_more_than_the_capacity() {
        let queue = SignalQueue::default();
        for number in 0..10 * CAPACITY {
            queue.push(message(number));
            queue.push(Signal::Reconnected);
        }
        assert_eq!(queue.lock().signals.len(), CAPACITY + 1);
    }

    #[test]
    fn what_was_there_before_the_end_is_still_read() {
        let queue = SignalQueue::default();
        queue.push(message(1));
        queue.close();
        assert_eq!(read(&queue), Poll::Ready(Some(message(1))));
        assert_eq!(read(&queue), Poll::Ready(None));
    }
}
