//! How a wrapper is written: it says once what happens around any call, and every capability of the
//! backend that it wraps follows.

use std::future::Future;

use super::{Op, Result};

/// What a wrapper does around each call to the backend that it wraps.
pub(crate) trait Wrapper {
    /// Makes this call in the wrapper's way; not calling `call` is not making it.
    ///
    /// It is a closure, because a future that is handed over is stored twice: as an argument, and
    /// where it is awaited.
    fn around<T: Send, F: Future<Output = Result<T>> + Send>(
        &self,
        op: Op,
        call: impl FnOnce() -> F + Send,
    ) -> impl Future<Output = Result<T>> + Send;

    /// Whether calls leave the process, where this says whether those of the wrapped backend do.
    fn leaves_process(&self, wrapped: bool) -> bool {
        wrapped
    }
}

/// Gives `Wrapper<B>` every capability that `B` has.
///
/// Each call is `self.backend`'s own, inside [`Wrapper::around`] of the wrapper.
macro_rules! impl_capabilities {
    ($Wrapper:ident) => {
        const _: () = {
            use std::time::Duration;

            use bytes::Bytes;

            use $crate::{
                backend::{
                    Acquire, Amendment, Broadcast, Cursor, Decision, Entry, GetOptions, Hold,
                    Index, KeyValue, Limit, Op, Page, Precondition, Put, PutOptions, Quotas,
                    Receipt, Result, SlotId, SlotLimit, Slots, Subscription,
                },
                clock::Timestamp,
                key::Key,
            };

            impl<B: KeyValue> KeyValue for $Wrapper<B> {
                async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
                    self.around(Op::Get, move || self.backend.get(key, options))
                        .await
                }

                async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
                    self.around(Op::Put, move || self.backend.put(key, value, options))
                        .await
                }

                async fn delete(&self, key: &Key, precondition: Precondition) -> Result<bool> {
                    self.around(Op::Delete, move || self.backend.delete(key, precondition))
                        .await
                }

                async fn touch(
                    &self,
                    key: &Key,
                    ttl: Duration,
                    precondition: Precondition,
                ) -> Result<bool> {
                    self.around(Op::Touch, move || {
                        self.backend.touch(key, ttl, precondition)
                    })
                    .await
                }

                fn clock_skew(&self) -> Duration {
                    self.backend.clock_skew()
                }

                fn is_remote(&self) -> bool {
                    self.leaves_process(KeyValue::is_remote(&self.backend))
                }
            }

            impl<B: Quotas> Quotas for $Wrapper<B> {
                async fn acquire(&self, request: &Acquire) -> Result<Decision> {
                    self.around(Op::Acquire, move || self.backend.acquire(request))
                        .await
                }

                async fn refund(&self, receipt: &Receipt) -> Result<()> {
                    self.around(Op::Refund, move || self.backend.refund(receipt))
                        .await
                }

                fn is_remote(&self) -> bool {
                    self.leaves_process(Quotas::is_remote(&self.backend))
                }

                async fn reset(&self, subject: &Key, limits: &[Limit]) -> Result<()> {
                    self.around(Op::Reset, move || self.backend.reset(subject, limits))
                        .await
                }

                async fn amend(&self, subject: &Key, amendment: &Amendment) -> Result<()> {
                    self.around(Op::Amend, move || self.backend.amend(subject, amendment))
                        .await
                }
            }

            impl<B: Slots> Slots for $Wrapper<B> {
                async fn hold(
                    &self,
                    subject: &Key,
                    limit: &SlotLimit,
                    slot: SlotId,
                ) -> Result<Hold> {
                    self.around(Op::SlotsHold, move || {
                        self.backend.hold(subject, limit, slot)
                    })
                    .await
                }

                async fn renew(
                    &self,
                    subject: &Key,
                    limit: &SlotLimit,
                    slots: &[SlotId],
                ) -> Result<Vec<bool>> {
                    self.around(Op::SlotsRenew, move || {
                        self.backend.renew(subject, limit, slots)
                    })
                    .await
                }

                async fn release(
                    &self,
                    subject: &Key,
                    limit: &SlotLimit,
                    slot: SlotId,
                ) -> Result<()> {
                    self.around(Op::SlotsRelease, move || {
                        self.backend.release(subject, limit, slot)
                    })
                    .await
                }
            }

            impl<B: Index> Index for $Wrapper<B> {
                async fn add(&self, index: &Key, member: Bytes, deadline: Timestamp) -> Result<()> {
                    self.around(Op::IndexAdd, move || {
                        self.backend.add(index, member, deadline)
                    })
                    .await
                }

                async fn remove(&self, index: &Key, member: Bytes) -> Result<bool> {
                    self.around(Op::IndexRemove, move || self.backend.remove(index, member))
                        .await
                }

                async fn members(&self, index: &Key, after: Option<Cursor>) -> Result<Page> {
                    self.around(Op::IndexMembers, move || self.backend.members(index, after))
                        .await
                }
            }

            impl<B: Broadcast> Broadcast for $Wrapper<B> {
                async fn publish(&self, channel: &Key, message: Bytes) -> Result<()> {
                    self.around(Op::Publish, move || self.backend.publish(channel, message))
                        .await
                }

                async fn subscribe(&self, channel: &Key) -> Result<Subscription> {
                    self.around(Op::Subscribe, move || self.backend.subscribe(channel))
                        .await
                }
            }
        };
    };
}

pub(crate) use impl_capabilities;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        backend::{
            AnyBackend, Breaker, KeyValue, Metered, Op, Timeout,
            stub::{Stub, call},
        },
        testing::FaultBackend,
    };

    #[tokio::test]
    async fn wrappers_stack_in_any_order_and_are_backends_that_can_be_erased() {
        let stub = Stub::default();
        let second = Duration::from_secs(1);
        let inwards = Metered::new(Breaker::new(Timeout::new(stub.clone(), second)), "a");
        let outwards = Timeout::new(Breaker::new(Metered::new(inwards, "b")), second);
        let backend = AnyBackend::new(FaultBackend::new(outwards));
        for &op in Op::ALL {
            call(&backend, op).await.expect("nothing fails");
        }
        assert_eq!(stub.applied(), Op::ALL);
        assert_eq!(backend.clock_skew(), Stub::CLOCK_SKEW);
    }

    #[test]
    fn wrappers_are_as_shareable_as_what_they_wrap() {
        fn shareable<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
        shareable::<Timeout<Stub>>();
        shareable::<Breaker<Stub>>();
        shareable::<Metered<Stub>>();
        shareable::<FaultBackend<Stub>>();
    }
}
