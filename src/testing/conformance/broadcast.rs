//! Cases of [`Broadcast`].

use std::{future::poll_fn, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::oneshot;

use super::{Case, Fixture, Scene, cases};
use crate::{
    backend::{Broadcast, Signal, Subscription},
    key::Key,
};

/// What [`Broadcast`] owes.
#[must_use]
pub fn broadcast<F>() -> Vec<Case<F>>
where
    F: Fixture,
    F::Backend: Broadcast,
{
    cases![
        a_publisher_receives_its_own_messages,
        messages_come_in_the_order_they_were_published,
        messages_are_bytes,
        every_subscriber_receives_every_message,
        channels_are_independent,
        a_channel_without_subscribers_takes_messages,
        a_subscription_that_ends_leaves_the_others,
        subscribing_again_at_once_misses_nothing,
        a_message_wakes_a_waiting_subscriber,
        nothing_is_lost_without_a_signal,
    ]
}

async fn a_publisher_receives_its_own_messages<F: Fixture<Backend: Broadcast>>(scene: Scene<F>) {
    let channel = scene.key("channel");
    let mut subscription = scene.subscribe(&channel).await;
    scene.publish(&channel, "hello").await;
    assert_eq!(message(&mut subscription).await, "hello");
}

async fn messages_come_in_the_order_they_were_published<F: Fixture<Backend: Broadcast>>(
    scene: Scene<F>,
) {
    let channel = scene.key("channel");
    let mut subscription = scene.subscribe(&channel).await;
    for n in 0..100 {
        scene.publish(&channel, n.to_string()).await;
    }
    for n in 0..100 {
        assert_eq!(message(&mut subscription).await, n.to_string());
    }
}

async fn messages_are_bytes<F: Fixture<Backend: Broadcast>>(scene: Scene<F>) {
    let channel = scene.key("channel");
    let mut subscription = scene.subscribe(&channel).await;
    let all: Bytes = (0..=u8::MAX).collect();
    for sent in [Bytes::new(), all, Bytes::from(vec![0; 1 << 16])] {
        scene.publish(&channel, sent.clone()).await;
        assert!(message(&mut subscription).await == sent, "any bytes arrive");
    }
}

async fn every_subscriber_receives_every_message<F: Fixture<Backend: Broadcast>>(scene: Scene<F>) {
    let channel = scene.key("channel");
    let mut one = scene.subscribe(&channel).await;
    let mut other = scene.subscribe(&channel).await;
    for sent in ["first", "second"] {
        scene.publish(&channel, sent).await;
        assert_eq!(message(&mut one).await, sent);
        assert_eq!(message(&mut other).await, sent);
    }
}

async fn channels_are_independent<F: Fixture<Backend: Broadcast>>(scene: Scene<F>) {
    let channels: Vec<Key> = (0..50)
        .map(|n| scene.key(&format!("channel {n}")))
        .collect();
    let mut subscriptions = Vec::new();
    for channel in &channels {
        subscriptions.push(scene.subscribe(channel).await);
    }
    for (n, channel) in channels.iter().enumerate() {
        scene.publish(channel, format!("for {n}")).await;
    }
    for channel in &channels {
        scene.publish(channel, "end").await;
    }
    for (n, subscription) in subscriptions.iter_mut().enumerate() {
        assert_eq!(message(subscription).await, format!("for {n}"));
        assert_eq!(message(subscription).await, "end", "of another channel");
    }
}

async fn a_channel_without_subscribers_takes_messages<F: Fixture<Backend: Broadcast>>(
    scene: Scene<F>,
) {
    scene.publish(&scene.key("channel"), "unheard").await;
}

async fn a_subscription_that_ends_leaves_the_others<F: Fixture<Backend: Broadcast>>(
    scene: Scene<F>,
) {
    let channel = scene.key("channel");
    let ends = scene.subscribe(&channel).await;
    let mut stays = scene.subscribe(&channel).await;
    drop(ends);
    for sent in ["first", "second"] {
        scene.publish(&channel, sent).await;
        assert_eq!(message(&mut stays).await, sent);
    }
}

async fn subscribing_again_at_once_misses_nothing<F: Fixture<Backend: Broadcast>>(scene: Scene<F>) {
    let channel = scene.key("channel");
    for n in 0..20 {
        let mut subscription = scene.subscribe(&channel).await;
        scene.publish(&channel, n.to_string()).await;
        assert_eq!(message(&mut subscription).await, n.to_string());
    }
}

async fn a_message_wakes_a_waiting_subscriber<F: Fixture<Backend: Broadcast>>(scene: Scene<F>) {
    let channel = scene.key("channel");
    let mut subscription = scene.subscribe(&channel).await;
    let (waits, waiting) = oneshot::channel();
    let mut waits = Some(waits);
    let woken = tokio::spawn(poll_fn(move |cx| {
        let signal = Pin::new(&mut subscription).poll_next(cx);
        if let Some(waits) = waits.take_if(|_| signal.is_pending()) {
            _ = waits.send(());
        }
        signal
    }));
    waiting.await.expect("nothing was sent, so nothing came");
    scene.publish(&channel, "wake").await;
    let woken = tokio::time::timeout(PATIENCE, woken).await;
    let signal = woken.expect("a message came, and woke nobody");
    let signal = signal.expect("no task panics");
    assert_eq!(signal, Some(Signal::Message("wake".into())));
}

async fn nothing_is_lost_without_a_signal<F: Fixture<Backend: Broadcast>>(scene: Scene<F>) {
    let channel = scene.key("channel");
    let mut subscription = scene.subscribe(&channel).await;
    let sent: u32 = 6_000;
    for n in 0..sent {
        let message = Bytes::copy_from_slice(&n.to_be_bytes());
        scene.publish(&channel, message).await;
    }
    let (mut received, mut gap, mut next) = (0_u64, false, 0);
    let (mut lost, mut reconnected) = (0, false);
    while next < sent {
        let signal = tokio::time::timeout(PATIENCE, subscription.next()).await;
        let Ok(signal) = signal else {
            assert!(gap, "the messages from {next} on are missing, unsaid");
            break;
        };
        match signal.expect("the subscription lasts as long as the backend") {
            Signal::Message(bytes) => {
                let n = bytes.as_ref().try_into().map(u32::from_be_bytes);
                let n = n.expect("what arrives is what was sent");
                assert!(n >= next, "message {n} came again, or late, after {next}");
                assert!(n == next || gap, "{next} to {n} are missing, unsaid");
                (next, gap, received) = (n + 1, false, received + 1);
            }
            Signal::Lagged(at_least) => (gap, lost) = (true, lost + at_least),
            Signal::Reconnected => (gap, reconnected) = (true, true),
        }
    }
    assert!(
        reconnected || received + lost <= u64::from(sent),
        "{received} received and {lost} lost are more than the {sent} that were sent",
    );
}

impl<F: Fixture<Backend: Broadcast>> Scene<F> {
    async fn publish(&self, channel: &Key, message: impl Into<Bytes>) {
        let publish = self.backend().publish(channel, message.into());
        publish.await.expect("publish answers");
    }

    async fn subscribe(&self, channel: &Key) -> Subscription {
        let subscribe = self.backend().subscribe(channel);
        subscribe.await.expect("subscribe answers")
    }
}

async fn message(subscription: &mut Subscription) -> Bytes {
    let signal = tokio::time::timeout(PATIENCE, subscription.next()).await;
    let signal = signal.expect("a message was sent, but no signal came in 5 s");
    match signal {
        Some(Signal::Message(message)) => message,
        other => panic!("a message was sent, but {other:?} came"),
    }
}

/// After this long without a signal, none will come.
const PATIENCE: Duration = Duration::from_secs(5);
