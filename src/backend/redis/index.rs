//! Sets whose members expire, as sorted sets by deadline.

use bytes::Bytes;
use fred::types::Value;

use super::{
    RedisBackend,
    script::{INDEX_ADD, INDEX_MEMBERS, INDEX_REMOVE},
};
use crate::{
    backend::{Cursor, Index, Member, Op, Page, Result},
    clock::Timestamp,
    key::Key,
};

impl Index for RedisBackend {
    async fn add(&self, index: &Key, member: Bytes, deadline: Timestamp) -> Result<()> {
        let key = self.name(index);
        let arguments = [Value::Bytes(member), score(deadline)];
        self.run_on(Op::IndexAdd.attempt(), &INDEX_ADD, &key, &arguments)
            .await?
            .integer()?;
        Ok(())
    }

    async fn remove(&self, index: &Key, member: Bytes) -> Result<bool> {
        let key = self.name(index);
        let removed = self
            .run_on(
                Op::IndexRemove.attempt(),
                &INDEX_REMOVE,
                &key,
                &[Value::Bytes(member)],
            )
            .await?
            .integer()?;
        Ok(removed > 0)
    }

    async fn members(&self, index: &Key, after: Option<Cursor>) -> Result<Page> {
        let key = self.name(index);
        let mut arguments = vec![Value::Integer(PAGE)];
        if let Some(cursor) = after {
            let Member { member, deadline } = cursor.0;
            arguments.extend([score(deadline), Value::Bytes(member)]);
        }
        let mut items = self
            .run_on(Op::IndexMembers.attempt(), &INDEX_MEMBERS, &key, &arguments)
            .await?
            .items()?;
        let mut members = Vec::with_capacity(Page::MAX_MEMBERS);
        while !items.is_empty() {
            let member = items.next()?.bytes()?;
            let deadline = Timestamp::from_micros(items.next()?.unsigned()?);
            members.push(Member::new(member, deadline));
        }
        Ok(Page::new(members))
    }
}

/// A deadline as a score, which is a double: the last one is in the year 2255.
fn score(deadline: Timestamp) -> Value {
    let micros = deadline.as_micros().min(MAX_SCORE);
    Value::Integer(i64::try_from(micros).unwrap_or(i64::MAX))
}

const MAX_SCORE: u64 = (1 << 53) - 1;

#[expect(clippy::cast_possible_wrap, reason = "a page is small")]
const PAGE: i64 = Page::MAX_MEMBERS as i64;
