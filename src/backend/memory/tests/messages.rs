//! Subscriptions.

use super::{super::broadcast::CAPACITY, *};
use crate::backend::{Broadcast, Signal};

#[tokio::test]
async fn a_slow_subscriber_is_told_how_many_messages_it_lost() {
    let backend = MemoryBackend::new();
    let mut subscription = backend.subscribe(&key(1)).await.unwrap();
    for n in 0..CAPACITY + 3 {
        let message = n.to_string().into();
        backend.publish(&key(1), message).await.unwrap();
    }
    assert_eq!(subscription.next().await, Some(Signal::Lagged(3)));
    for n in 3..CAPACITY + 3 {
        let message = Signal::Message(n.to_string().into());
        assert_eq!(subscription.next().await, Some(message));
    }
}

#[tokio::test]
async fn a_channel_closes_behind_its_last_subscriber() {
    let backend = MemoryBackend::new();
    let one = backend.subscribe(&key(1)).await.unwrap();
    let other = backend.subscribe(&key(1)).await.unwrap();
    drop(one);
    assert_eq!(backend.inner.channels.count(), 1);
    drop(other);
    assert_eq!(backend.inner.channels.count(), 0);
    backend.publish(&key(1), "unheard".into()).await.unwrap();
    assert_eq!(backend.inner.channels.count(), 0);
}

#[tokio::test]
async fn subscriptions_end_with_the_last_clone_after_what_was_sent() {
    let backend = MemoryBackend::new();
    let clone = backend.clone();
    let mut subscription = backend.subscribe(&key(1)).await.unwrap();
    drop(backend);
    clone.publish(&key(1), "last".into()).await.unwrap();
    drop(clone);
    let signal = subscription.next().await;
    assert_eq!(signal, Some(Signal::Message("last".into())));
    assert_eq!(subscription.next().await, None);
}

#[tokio::test]
async fn a_waiting_subscription_is_woken_by_the_end() {
    let backend = MemoryBackend::new();
    let mut subscription = backend.subscribe(&key(1)).await.unwrap();
    let waiting = tokio::spawn(async move { subscription.next().await });
    tokio::task::yield_now().await;
    drop(backend);
    let woken = tokio::time::timeout(MINUTE / 12, waiting).await;
    assert_eq!(woken.expect("it is woken").unwrap(), None);
}
