//! Cases of [`Index`].

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;

use super::{Case, Fixture, LONG, MILLISECOND, Scene, at_once, cases};
use crate::{
    backend::{Index, Member, Page},
    clock::Timestamp,
    key::Key,
};

/// What [`Index`] owes.
#[must_use]
pub fn index<F>() -> Vec<Case<F>>
where
    F: Fixture,
    F::Backend: Index,
{
    cases![
        a_set_without_members_is_one_empty_page,
        members_come_with_their_deadlines_earliest_first,
        members_are_bytes,
        sets_are_independent,
        a_member_is_gone_at_its_deadline,
        adding_again_keeps_the_later_deadline,
        a_deadline_that_is_over_adds_nothing,
        a_deadline_that_is_over_leaves_the_member,
        removing_says_whether_it_was_a_member,
        removing_an_expired_member_removes_nothing,
        a_set_begins_anew_after_its_last_member,
        a_set_outlives_every_member_but_the_last,
        a_page_holds_no_more_than_its_maximum,
        every_member_is_listed_once_over_many_pages,
        equal_deadlines_hide_no_member,
        a_full_last_page_ends_the_listing,
        a_cursor_survives_the_member_it_stands_on,
        no_member_is_missed_while_others_come_and_go,
        concurrent_additions_lose_nothing,
    ]
}

async fn a_set_without_members_is_one_empty_page<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let members = scene.backend().members(&scene.key("none"), None).await;
    assert_eq!(members.expect("members answers"), Page::default());
}

async fn members_come_with_their_deadlines_earliest_first<F: Fixture<Backend: Index>>(
    scene: Scene<F>,
) {
    let set = scene.key("set");
    let now = scene.now().await;
    let (early, middle, late) = (now + LONG, now + 2 * LONG, now + 3 * LONG);
    scene.add(&set, "b", middle).await;
    scene.add(&set, "c", early).await;
    scene.add(&set, "a", late).await;
    let expected = [("c", early), ("b", middle), ("a", late)]
        .map(|(member, deadline)| Member::new(member.into(), deadline));
    assert_eq!(scene.list(&set).await, expected);
}

async fn members_are_bytes<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let members = [
        Bytes::new(),
        Bytes::from(all),
        Bytes::from_static(b"\0\r\n"),
    ];
    let deadline = scene.now().await + LONG;
    for member in &members {
        scene.add(&set, member.clone(), deadline).await;
    }
    let listed: HashSet<_> = scene.names(&set).await.into_iter().collect();
    assert_eq!(listed, HashSet::from(members), "an empty member is one too");
}

async fn sets_are_independent<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let (one, other) = (scene.key("one"), scene.key("other"));
    let deadline = scene.now().await + LONG;
    scene.add(&one, "member", deadline).await;
    scene.add(&other, "member", deadline).await;
    assert!(scene.remove(&one, "member").await);
    assert_eq!(scene.names(&other).await, ["member"]);
}

async fn a_member_is_gone_at_its_deadline<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let now = scene.now().await;
    let deadline = now + 50 * MILLISECOND;
    scene.add(&set, "short", deadline).await;
    scene.add(&set, "long", now + LONG).await;
    for step in [40 * MILLISECOND, 9 * MILLISECOND, MILLISECOND, MILLISECOND] {
        scene.pass(step).await;
        let before = scene.now().await;
        let names = scene.names(&set).await;
        let after = scene.now().await;
        assert!(names.contains(&"long".into()), "its deadline is not over");
        if names.contains(&"short".into()) {
            assert!(
                before < deadline + MILLISECOND,
                "a member outlived its deadline {deadline:?}: seen after {before:?}"
            );
        } else {
            assert!(
                after + MILLISECOND >= deadline,
                "a member was gone before its deadline {deadline:?}: missed before {after:?}"
            );
        }
    }
    assert_eq!(scene.names(&set).await, ["long"]);
}

async fn adding_again_keeps_the_later_deadline<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let now = scene.now().await;
    let (first, later, earlier) = (now + 2 * LONG, now + 3 * LONG, now + LONG);
    for (added, kept) in [(first, first), (later, later), (earlier, later)] {
        scene.add(&set, "member", added).await;
        let expected = [Member::new("member".into(), kept)];
        assert_eq!(
            scene.list(&set).await,
            expected,
            "an addition takes nothing back"
        );
    }
}

async fn a_deadline_that_is_over_adds_nothing<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let now = scene.now().await;
    scene.add(&set, "now", now).await;
    scene.add(&set, "past", now - LONG).await;
    scene.add(&set, "epoch", Timestamp::default()).await;
    assert_eq!(scene.list(&set).await, [], "none of them is a member");
}

async fn a_deadline_that_is_over_leaves_the_member<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let now = scene.now().await;
    scene.add(&set, "stays", now + LONG).await;
    scene.add(&set, "stays", now - MILLISECOND).await;
    assert_eq!(scene.names(&set).await, ["stays"]);
}

async fn removing_says_whether_it_was_a_member<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    assert!(!scene.remove(&set, "member").await, "there is no set");
    let deadline = scene.now().await + LONG;
    scene.add(&set, "member", deadline).await;
    assert!(!scene.remove(&set, "other").await, "it is no member");
    assert!(scene.remove(&set, "member").await, "it is a member");
    assert!(!scene.remove(&set, "member").await, "it was removed");
    assert_eq!(scene.list(&set).await, []);
}

async fn removing_an_expired_member_removes_nothing<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let now = scene.now().await;
    scene.add(&set, "short", now + 10 * MILLISECOND).await;
    scene.add(&set, "long", now + LONG).await;
    scene.pass(12 * MILLISECOND).await;
    assert!(!scene.remove(&set, "short").await, "it expired");
}

async fn a_set_begins_anew_after_its_last_member<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let deadline = scene.now().await + 10 * MILLISECOND;
    scene.add(&set, "expires", deadline).await;
    scene.pass(12 * MILLISECOND).await;
    assert_eq!(scene.list(&set).await, [], "gone with its last member");
    let deadline = scene.now().await + LONG;
    scene.add(&set, "removed", deadline).await;
    assert!(scene.remove(&set, "removed").await);
    assert_eq!(scene.list(&set).await, [], "gone with its last member");
    scene.add(&set, "new", deadline).await;
    assert_eq!(scene.names(&set).await, ["new"]);
}

async fn a_set_outlives_every_member_but_the_last<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let now = scene.now().await;
    scene.add(&set, "longest", now + LONG).await;
    scene.add(&set, "removed", now + 2 * LONG).await;
    assert!(scene.remove(&set, "removed").await);
    scene.add(&set, "moved", now + 10 * MILLISECOND).await;
    scene.add(&set, "moved", now + 20 * MILLISECOND).await;
    scene.add(&set, "short", now + 10 * MILLISECOND).await;
    scene.pass(25 * MILLISECOND).await;
    assert_eq!(scene.names(&set).await, ["longest"]);
}

async fn a_page_holds_no_more_than_its_maximum<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    scene.fill(&set, Page::MAX_MEMBERS + 1, |_| LONG).await;
    let page = scene.backend().members(&set, None).await;
    let page = page.expect("members answers");
    assert_eq!(page.members.len(), Page::MAX_MEMBERS, "a page is full");
    assert!(page.next.is_some(), "and says that there is more");
}

async fn every_member_is_listed_once_over_many_pages<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let added = scene
        .fill(&set, 257, |n| LONG + MILLISECOND * (n * 7 % 257))
        .await;
    let listed = scene.list(&set).await;
    assert!(
        listed.is_sorted_by_key(|member| member.deadline),
        "earliest deadline first, over all pages"
    );
    assert_eq!(listed.len(), added.len(), "each is listed once");
    assert_eq!(names_of(listed), added, "all are listed");
}

async fn equal_deadlines_hide_no_member<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let added = scene.fill(&set, 257, |n| LONG * (1 + n / 250)).await;
    let listed = scene.list(&set).await;
    assert_eq!(listed.len(), added.len(), "each is listed once");
    assert_eq!(names_of(listed), added, "all are listed");
}

async fn a_full_last_page_ends_the_listing<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let added = scene.fill(&set, 2 * Page::MAX_MEMBERS, |_| LONG).await;
    let listed = scene.list(&set).await;
    assert_eq!(listed.len(), added.len(), "each is listed once");
}

async fn a_cursor_survives_the_member_it_stands_on<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let added = scene.fill(&set, 150, |_| LONG).await;
    let first = scene.backend().members(&set, None).await;
    let first = first.expect("members answers");
    let cursor = first.next.expect("there is more than one page");
    assert!(scene.remove(&set, cursor.behind().member.clone()).await);
    let second = scene.backend().members(&set, Some(cursor)).await;
    let second = second.expect("members answers");
    let listed = first.members.into_iter().chain(second.members).collect();
    assert_eq!(names_of(listed), added, "the listing goes on behind it");
}

async fn no_member_is_missed_while_others_come_and_go<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let set = scene.key("set");
    let lasting = scene
        .fill(&set, 250, |n| LONG + MILLISECOND * (n / 50))
        .await;
    let deadline = scene.now().await + LONG;
    for n in 0..60 {
        scene.add(&set, format!("leaves {n}"), deadline).await;
    }
    let mut listed = Vec::new();
    let mut after = None;
    for n in 0.. {
        let page = scene.backend().members(&set, after).await;
        let page = page.expect("members answers");
        listed.extend(page.members);
        for m in 0..20 {
            let leaves = format!("leaves {}", n * 20 + m);
            scene.remove(&set, leaves).await;
            let comes = format!("comes {n} {m}");
            scene.add(&set, comes, deadline - MILLISECOND * m).await;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let listed = names_of(listed);
    let missed = lasting.difference(&listed).count();
    assert_eq!(
        missed, 0,
        "members that were there all the time were missed"
    );
}

async fn concurrent_additions_lose_nothing<F: Fixture<Backend: Index>>(scene: Scene<F>) {
    let deadline = scene.now().await + LONG;
    at_once(64, |task| {
        let scene = scene.clone();
        async move {
            let set = scene.key("set");
            scene.add(&set, format!("stays {task}"), deadline).await;
            scene.add(&set, format!("leaves {task}"), deadline).await;
            assert!(scene.remove(&set, format!("leaves {task}")).await);
        }
    })
    .await;
    let listed = scene.list(&scene.key("set")).await;
    assert_eq!(listed.len(), 64, "what was added and not removed is there");
}

impl<F: Fixture<Backend: Index>> Scene<F> {
    async fn add(&self, set: &Key, member: impl Into<Bytes>, deadline: Timestamp) {
        let add = self.backend().add(set, member.into(), deadline);
        add.await.expect("add answers");
    }

    async fn remove(&self, set: &Key, member: impl Into<Bytes>) -> bool {
        let remove = self.backend().remove(set, member.into());
        remove.await.expect("remove answers")
    }

    /// Adds this many members, each for so long, and gives their names.
    async fn fill(
        &self,
        set: &Key,
        members: usize,
        lasts: impl Fn(u32) -> Duration,
    ) -> HashSet<Bytes> {
        let now = self.now().await;
        let mut names = HashSet::new();
        for (n, _) in (0..).zip(0..members) {
            let name = Bytes::from(format!("member {n}"));
            self.add(set, name.clone(), now + lasts(n)).await;
            names.insert(name);
        }
        names
    }

    /// All members, page by page.
    async fn list(&self, set: &Key) -> Vec<Member> {
        let mut listed = Vec::new();
        let mut after = None;
        for _ in 0..100 {
            let page = self.backend().members(set, after).await;
            let page = page.expect("members answers");
            listed.extend(page.members);
            after = page.next;
            if after.is_none() {
                return listed;
            }
        }
        panic!(
            "a listing never ended: 100 pages for {} members",
            listed.len()
        );
    }

    async fn names(&self, set: &Key) -> Vec<Bytes> {
        let members = self.list(set).await.into_iter();
        members.map(|member| member.member).collect()
    }
}

fn names_of(members: Vec<Member>) -> HashSet<Bytes> {
    members.into_iter().map(|member| member.member).collect()
}
