//! One form for states that differ in nothing that matters.

use crate::{
    protocol::{Call, Precondition},
    world::{Stage, World},
};

impl World {
    /// Gives states that differ in nothing that matters one form.
    pub(crate) fn normalise(&mut self, forgets_passed_versions: bool) {
        for request in &mut self.requests {
            let owns = !matches!(
                request.stage,
                Stage::Claiming { .. } | Stage::Awaiting | Stage::CleaningUp(_) | Stage::Over
            );
            if !owns {
                request.claim = None;
                request.is_sure = false;
                request.renewal = None;
            }
            request.is_followed &= owns || matches!(request.stage, Stage::Claiming { .. });
        }
        if forgets_passed_versions {
            let there = self.slot.map(|entry| entry.version);
            let next = self.version;
            self.late.retain(|(_, call)| match call.precondition {
                // A version that nobody has yet is a mistake of a changed protocol.
                Precondition::Matches(version) => Some(version) == there || version > next,
                Precondition::Any | Precondition::Absent => true,
            });
        }
        self.rank_versions();
        self.late.sort_unstable();
    }

    /// Of versions only their order matters.
    fn rank_versions(&mut self) {
        let mut all = 0_u64;
        self.each_version(&mut |version| all |= 1 << *version);
        self.each_version(&mut |version| {
            let rank = (all & ((2 << *version) - 2)).count_ones();
            *version = u8::try_from(rank).expect("few versions");
        });
    }

    fn each_version(&mut self, visit: &mut impl FnMut(&mut u8)) {
        visit(&mut self.version);
        visit(&mut self.seen.epoch);
        for entry in self.slot.iter_mut().chain(&mut self.before) {
            visit(&mut entry.version);
            visit(&mut entry.record.epoch);
        }
        for request in &mut self.requests {
            if let Stage::Claiming { call, .. }
            | Stage::Writing { call, .. }
            | Stage::CleaningUp(Some(call)) = &mut request.stage
            {
                call.each_version(visit);
            }
            if let Some(call) = &mut request.renewal {
                call.each_version(visit);
            }
            if let Some(claim) = &mut request.claim {
                visit(&mut claim.epoch);
                visit(&mut claim.version);
            }
            if let Some((epoch, _)) = &mut request.begun {
                visit(epoch);
            }
        }
        for (_, call) in &mut self.late {
            call.each_version(visit);
        }
    }
}

impl Call {
    fn each_version(&mut self, visit: &mut impl FnMut(&mut u8)) {
        if let Some(record) = &mut self.writes {
            visit(&mut record.epoch);
        }
        if let Precondition::Matches(version) = &mut self.precondition {
            visit(version);
        }
    }
}
