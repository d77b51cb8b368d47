//! An operator sees what is recorded under a key, forgets it, or settles it.

mod forgetting;
mod inspecting;
mod office;
mod settling;

use tower_stash::{
    backend::{MemoryBackend, Version},
    idempotency::{Done, Idempotent, KeyState, RecordErrorKind},
    testing::ManualClock,
};

use self::office::{KEY, made, never, nobody, office};
use crate::fixture::rule;

#[tokio::test]
async fn nothing_is_forgotten_or_settled_or_made_where_nothing_is() {
    let office = office(rule(), made);
    for version in [0, 1, 1_767_225_600_000_000].map(Version::from_u64) {
        assert!(!office.forget(version).await.unwrap());
        assert!(!office.settle(version).await.unwrap());
        assert!(office.inspect().await.is_none());
    }
}

#[tokio::test]
async fn an_outage_is_told_with_its_cause_and_without_the_key() {
    let office = office(rule(), made);
    office.backend.go_down();
    let handle = office.bed.layer.handle();
    let error = handle.inspect(&nobody(), KEY).await.unwrap_err();
    assert_eq!(error.kind(), RecordErrorKind::Unavailable);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("injected"), "{cause}");
    assert!(!format!("{error} {error:?}").contains(KEY));
    let version = Version::from_u64(1);
    for error in [office.forget(version).await, office.settle(version).await] {
        assert_eq!(error.unwrap_err().kind(), RecordErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn work_that_is_no_request_is_seen_settled_and_forgotten_as_well() {
    let clock = ManualClock::new();
    let memory = MemoryBackend::new().with_clock(clock.clone());
    let jobs = Idempotent::new(memory, never()).unwrap();
    let run = async |fails: bool| {
        let work = move |_| async move { if fails { Err("no") } else { Ok("sent") } };
        jobs.run(KEY, "an invoice", work).await
    };
    assert!(run(true).await.is_err());
    let found = jobs.inspect(KEY).await.unwrap().unwrap();
    assert!(found.is_outcome_unknown());
    assert!(
        jobs.settle(KEY, found.version(), "sent by hand")
            .await
            .unwrap()
    );
    assert_eq!(
        run(false).await.unwrap(),
        Done::Replayed("sent by hand".into())
    );

    let found = jobs.inspect(KEY).await.unwrap().unwrap();
    assert!(matches!(found.state(), KeyState::Completed { .. }));
    assert_eq!((found.status(), found.is_never_again()), (None, true));
    let refused = jobs.settle(KEY, found.version(), "otherwise").await;
    assert_eq!(refused.unwrap_err().kind(), RecordErrorKind::NotUnknown);
    assert!(jobs.inspect("k-4712").await.unwrap().is_none());
    assert!(!jobs.forget("k-4712", found.version()).await.unwrap());
    assert!(jobs.forget(KEY, found.version()).await.unwrap());
    assert_eq!(run(false).await.unwrap(), Done::Ran("sent".into()));
    let found = jobs.inspect(KEY).await.unwrap().unwrap();
    assert!(jobs.forget_running(KEY, found.version()).await.unwrap());
    assert!(jobs.inspect(KEY).await.unwrap().is_none());
}
