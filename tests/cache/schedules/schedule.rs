//! What happens, and when.

use std::time::Duration;

use tower_stash::{backend::BackendErrorKind, cache::Coalescing, testing::Fault};

use super::chance::Chance;

/// All that happens, before all is quiet.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) is_strict: bool,
    pub(crate) coalescing: Coalescing,
    pub(crate) pages: [Page; 2],
    pub(crate) events: Vec<(Duration, Event)>,
    /// What the handler does at its calls, in their order.
    pub(crate) calls: Vec<Behaviour>,
    /// What the calls of each instance to the backend meet, in their order.
    pub(crate) faults: [Vec<Fault>; 2],
}

/// What is answered under one URL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// In seconds, as the next two.
    pub(crate) max_age: u64,
    pub(crate) while_revalidate: u64,
    pub(crate) if_error: u64,
    pub(crate) varies: bool,
    pub(crate) has_etag: bool,
    pub(crate) is_public: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Get(Getting),
    /// A request that writes: what was there before is not valid any more.
    Post {
        instance: usize,
        page: usize,
        hangs_up: Option<Duration>,
    },
    /// A write of one page, and then this purge.
    Purge {
        instance: usize,
        page: usize,
        what: What,
        is_soft: bool,
    },
    /// Nobody reaches the backend for so long.
    Outage(Duration),
    /// The backend's clock is set back.
    ClockBack(Duration),
}

/// A request that reads.
#[derive(Clone, Debug)]
pub(crate) struct Getting {
    pub(crate) instance: usize,
    pub(crate) page: usize,
    pub(crate) language: &'static str,
    pub(crate) who: Who,
    /// When its client goes away, counted from when it came.
    pub(crate) hangs_up: Option<Duration>,
    /// How long its client takes for each frame of the body.
    pub(crate) reading: Duration,
}

/// Whom a request says to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Anybody,
    Authorized,
    Cookie,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Tag,
    CommonTag,
    Url,
    All,
}

/// What the handler does at one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// Before its head.
    pub(crate) takes: Duration,
    /// Before each frame.
    pub(crate) pause: Duration,
    pub(crate) ends: Ends,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Whole,
    Private,
    Unavailable,
    Error,
    BrokenBody,
}

impl Schedule {
    /// The schedule with this number.
    pub(crate) fn with_seed(seed: u64) -> Self {
        let mut draw = Draw(Chance::new(seed));
        draw.schedule()
    }

    /// How far the clock is set back in all.
    pub(crate) fn set_back(&self) -> Duration {
        let steps = self.events.iter().map(|(_, event)| match event {
            Event::ClockBack(by) => *by,
            _ => Duration::ZERO,
        });
        steps.sum()
    }

    /// Whether nothing keeps a call to the backend from being answered.
    pub(crate) fn is_faultless(&self) -> bool {
        let is_outage = |(_, event): &(_, _)| matches!(event, Event::Outage(_));
        !self.events.iter().any(is_outage)
            && self
                .faults
                .iter()
                .flatten()
                .all(|fault| *fault == Fault::None)
    }
}

impl Page {
    /// One that is fresh for ten seconds, and no more.
    pub(crate) const PLAIN: Self = Self {
        max_age: 10,
        while_revalidate: 0,
        if_error: 0,
        varies: false,
        has_etag: false,
        is_public: false,
    };
}

impl Behaviour {
    pub(crate) const QUICK: Self = Self {
        takes: Duration::from_millis(5),
        pause: Duration::ZERO,
        ends: Ends::Whole,
    };
}

struct Draw(Chance);

impl Draw {
    fn schedule(&mut self) -> Schedule {
        let trouble = self.0.pick(&[0, 0, 1, 3, 10, 30]);
        let longest = self.0.pick(&[2_000, 10_000, 30_000]);
        let count = 5 + self.0.below(45);
        let mut events = Vec::new();
        for _ in 0..count {
            let (at, event) = (self.moment(longest), self.event());
            events.extend(self.crowd(at, event));
        }
        events.sort_by_key(|(at, _)| *at);
        let is_troubled = self.0.is_one_in(2);
        Schedule {
            is_strict: self.0.is_one_in(4),
            coalescing: self.0.pick(&[
                Coalescing::Fleet,
                Coalescing::Fleet,
                Coalescing::Fleet,
                Coalescing::Process,
                Coalescing::Off,
            ]),
            pages: [(); 2].map(|()| self.page()),
            events,
            calls: (0..40).map(|_| self.behaviour(is_troubled)).collect(),
            faults: [(); 2].map(|()| self.faults(trouble)),
        }
    }

    fn page(&mut self) -> Page {
        Page {
            max_age: self.0.pick(&[0, 1, 3, 10, 60, 60]),
            while_revalidate: self.0.pick(&[0, 0, 2, 20]),
            if_error: self.0.pick(&[0, 30]),
            varies: self.0.is_one_in(3),
            has_etag: self.0.is_one_in(2),
            is_public: self.0.is_one_in(3),
        }
    }

    fn event(&mut self) -> Event {
        let instance = self.0.below(2);
        let page = usize::from(self.0.is_one_in(4));
        match self.0.below(20) {
            0 | 1 => Event::Post {
                instance,
                page,
                hangs_up: self.hang_up(),
            },
            2..=5 => Event::Purge {
                instance,
                page,
                what: self
                    .0
                    .pick(&[What::Tag, What::Tag, What::CommonTag, What::Url, What::All]),
                is_soft: self.0.is_one_in(4),
            },
            6 if self.0.is_one_in(2) => Event::Outage(self.0.pick(&[50, 700, 3_000]).millis()),
            7 if self.0.is_one_in(3) => {
                Event::ClockBack(self.0.pick(&[100, 2_000, 9_000]).millis())
            }
            _ => Event::Get(Getting {
                instance,
                page,
                language: self.0.pick(&["en", "de"]),
                who: self.0.pick(&[
                    Who::Anybody,
                    Who::Anybody,
                    Who::Anybody,
                    Who::Authorized,
                    Who::Cookie,
                ]),
                hangs_up: self.hang_up(),
                reading: self.0.pick(&[0, 0, 0, 0, 10, 6_000]).millis(),
            }),
        }
    }

    /// Requests come alone as a rule, and now and then many of a kind.
    fn crowd(&mut self, at: Duration, event: Event) -> Vec<(Duration, Event)> {
        let Event::Get(getting) = &event else {
            return vec![(at, event)];
        };
        let many = self.0.pick(&[1, 1, 1, 1, 6]);
        let one = |number: usize| {
            let getting = Getting {
                instance: number % 2,
                ..getting.clone()
            };
            let later = Duration::from_millis(number as u64);
            (at + later, Event::Get(getting))
        };
        if many == 1 {
            return vec![(at, event)];
        }
        (0..many).map(one).collect()
    }

    fn hang_up(&mut self) -> Option<Duration> {
        self.0
            .is_one_in(8)
            .then(|| self.0.pick(&[0, 1, 20, 300, 2_000]).millis())
    }

    fn behaviour(&mut self, is_troubled: bool) -> Behaviour {
        let ends = if is_troubled {
            self.0.pick(&[
                Ends::Whole,
                Ends::Whole,
                Ends::Whole,
                Ends::Private,
                Ends::Unavailable,
                Ends::Unavailable,
                Ends::Error,
                Ends::BrokenBody,
            ])
        } else {
            Ends::Whole
        };
        Behaviour {
            takes: self
                .0
                .pick(&[0, 1, 5, 20, 20, 20, 20, 300, 2_500, 7_000])
                .millis(),
            pause: self.0.pick(&[0, 0, 1, 100, 1_500]).millis(),
            ends,
        }
    }

    fn faults(&mut self, trouble: usize) -> Vec<Fault> {
        (0..80).map(|_| self.fault(trouble)).collect()
    }

    fn fault(&mut self, trouble: usize) -> Fault {
        if !self.0.percent(trouble) {
            return match self.0.below(8) {
                0 => Fault::Delay(Duration::from_millis(2)),
                1 => Fault::LateReply(Duration::from_millis(15)),
                _ => Fault::None,
            };
        }
        let long = self.0.pick(&[60, 150, 500, 1_200, 6_000]).millis();
        match self.0.below(7) {
            0 => Fault::Fail(BackendErrorKind::Unavailable),
            1 => Fault::Fail(BackendErrorKind::Rejected),
            2 | 3 => Fault::LostReply,
            4 | 5 => Fault::Delay(long),
            _ => Fault::LateReply(long),
        }
    }

    fn moment(&mut self, longest: usize) -> Duration {
        Duration::from_millis(self.0.below(longest) as u64)
    }
}

trait Millis {
    fn millis(self) -> Duration;
}

impl Millis for u64 {
    fn millis(self) -> Duration {
        Duration::from_millis(self)
    }
}
