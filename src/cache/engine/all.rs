//! Several calls side by side.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

/// What all of these futures come to, in their order, when the last has ended.
pub(super) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Running<F>> = futures
        .into_iter()
        .map(|future| Running::Still(Box::pin(future)))
        .collect();
    poll_fn(|cx| {
        let mut has_ended = true;
        for future in &mut running {
            if let Running::Still(still) = future {
                match still.as_mut().poll(cx) {
                    Poll::Ready(output) => *future = Running::Ended(output),
                    Poll::Pending => has_ended = false,
                }
            }
        }
        if has_ended {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    let outputs = running.into_iter().filter_map(|future| match future {
        Running::Ended(output) => Some(output),
        Running::Still(_) => None,
    });
    outputs.collect()
}

enum Running<F: Future> {
    Still(Pin<Box<F>>),
    Ended(F::Output),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;
    use crate::clock::monotonic_now;

    #[tokio::test(start_paused = true)]
    async fn they_take_as_long_as_the_longest_and_keep_their_order() {
        let began = monotonic_now();
        let outputs = all([3, 1, 2].map(|seconds| async move {
            sleep(Duration::from_secs(seconds)).await;
            seconds
        }));
        assert_eq!(outputs.await, [3, 1, 2]);
        assert_eq!(began.elapsed(), Duration::from_secs(3));
    }
}
