//! What is tried: requests, and the order of their calls to the backend.

use std::time::Duration;

use proptest::prelude::*;

use super::driver::Release;

/// What a store and its sessions go through.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) family: FamilyShape,
    pub(crate) steps: Vec<Step>,
}

/// How sessions live.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FamilyShape {
    pub(crate) rotates: bool,
    /// At most so many sessions of a user; the oldest goes.
    pub(crate) most: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Runs this from its beginning to its end; what waits goes on waiting.
    Run(Work),
    /// Begins this, up to its first call.
    Begin(Work),
    /// Releases a waiting call: so many after the one that waits longest.
    Release(usize, Release),
    /// Delivers a write that was lost, or one that was applied once more.
    Deliver(usize),
    /// Drops a task.
    Cancel(usize),
    Pass(Duration),
}

#[derive(Clone, Debug)]
pub(crate) enum Work {
    Request(Request),
    DestroyAll(User),
}

/// A request, and what its handler does.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) token: TokenChoice,
    pub(crate) route: Route,
    pub(crate) ops: Vec<Op>,
    /// The status of its answer if all of that goes well.
    pub(crate) status: u16,
}

/// The token that a request brings; tokens are counted from the newest back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenChoice {
    None,
    Issued(usize),
    /// One with another secret.
    Forged(usize),
    /// One of a session that never was.
    Unknown,
    /// One that is too short.
    Malformed(usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own, and any may go with any"
)]
pub(crate) struct Route {
    pub(crate) is_strict: bool,
    pub(crate) does_not_slide: bool,
    pub(crate) rejects_when_gone: bool,
    pub(crate) is_read_only: bool,
}

/// What a handler does with its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Get(Name),
    /// Each has a value that nobody else sets.
    Insert(Name),
    /// Inserts what it just read.
    InsertSame(Name),
    Remove(Name),
    Clear,
    User,
    Incr(Count, i64),
    /// The same by `update`.
    Update(Count, i64),
    Take(Count),
    BeginLogin(User),
    /// With the ticket that was drawn last, here or, if none was, by the request before.
    Login,
    Renew,
    Start,
    Destroy,
    DestroyOthers,
    /// Looks at the user's devices and ends one of them.
    DestroyDevice(usize),
    /// Ends this very session as if it were a device of this user's.
    EndAs(User),
}

/// An attribute that is set.
pub(crate) type Name = &'static str;
/// An attribute that is counted with.
pub(crate) type Count = &'static str;
pub(crate) type User = &'static str;

impl Op {
    /// Whether it is written at once.
    pub(crate) fn is_eager(self) -> bool {
        matches!(self, Self::Incr(..) | Self::Update(..) | Self::Take(_))
    }
}

impl Request {
    pub(crate) fn new(token: TokenChoice, ops: impl Into<Vec<Op>>) -> Self {
        Self {
            token,
            route: Route {
                rejects_when_gone: true,
                ..Route::default()
            },
            ops: ops.into(),
            status: 200,
        }
    }
}

impl From<Request> for Work {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

/// Programs of all kinds.
pub(crate) fn programs(
    passes: impl Strategy<Value = Duration> + Clone,
) -> impl Strategy<Value = Program> {
    let family = (
        prop::bool::weighted(0.4),
        prop::option::weighted(0.15, 1..3_usize),
    )
        .prop_map(|(rotates, most)| FamilyShape { rotates, most });
    let steps = prop::collection::vec(step(passes), 3..40);
    (family, beginning(), steps).prop_map(|(family, mut beginning, steps)| {
        beginning.extend(steps);
        Program {
            family,
            steps: beginning,
        }
    })
}

/// Programs in which two requests are under way when the session's secret is replaced.
pub(crate) fn rotations() -> impl Strategy<Value = Program> {
    let writer = || {
        let ops = prop::collection::vec(
            prop_oneof![
                3 => name().prop_map(Op::Insert),
                1 => count().prop_map(|name| Op::Incr(name, 1)),
                1 => name().prop_map(Op::Get),
            ],
            1..3,
        );
        ops.prop_map(|ops| Step::Begin(Request::new(TokenChoice::Issued(0), ops).into()))
    };
    let later = prop_oneof![
        3 => (0..3_usize, prop::collection::vec(name().prop_map(Op::Insert), 0..2)).prop_map(|(token, mut ops)| {
            ops.push(Op::Get("a"));
            Step::Run(Request::new(TokenChoice::Issued(token), ops).into())
        }),
        3 => release(),
        1 => prop_oneof![Just(29), Just(31), Just(61), Just(600), Just(330)].prop_map(|s| Step::Pass(Duration::from_secs(s))),
    ];
    let between = prop::collection::vec(release(), 0..8);
    let later = prop::collection::vec(later, 1..12);
    (
        beginning(),
        prop::collection::vec(writer(), 2..4),
        between,
        later,
    )
        .prop_map(|(mut steps, writers, between, later)| {
            steps.push(Step::Pass(Duration::from_secs(330)));
            steps.extend(writers);
            steps.extend(between);
            steps.extend(later);
            let family = FamilyShape {
                rotates: true,
                most: None,
            };
            Program { family, steps }
        })
}

/// Programs in which logins meet the end of all sessions of their user.
pub(crate) fn logins(passes: impl Strategy<Value = Duration>) -> impl Strategy<Value = Program> {
    let login = (token(), prop::bool::ANY).prop_map(|(token, draws)| {
        let ops = if draws {
            vec![Op::BeginLogin("ada"), Op::Login]
        } else {
            vec![Op::Login]
        };
        Step::Begin(Request::new(token, ops).into())
    });
    let draw = Just(Step::Run(
        Request::new(TokenChoice::None, [Op::BeginLogin("ada")]).into(),
    ));
    let step = prop_oneof![
        2 => login,
        1 => Just(Step::Begin(Work::DestroyAll("ada"))),
        8 => release(),
        1 => (0..4_usize).prop_map(Step::Deliver),
        1 => passes.prop_map(Step::Pass),
    ];
    (draw, beginning(), prop::collection::vec(step, 4..40)).prop_map(|(draw, beginning, steps)| {
        let mut all = vec![draw];
        all.extend(beginning);
        all.extend(steps);
        Program {
            family: FamilyShape::default(),
            steps: all,
        }
    })
}

/// Nothing yet, a session, or one with a user.
fn beginning() -> impl Strategy<Value = Vec<Step>> {
    let new = |ops: &[Op]| Step::Run(Request::new(TokenChoice::None, ops).into());
    prop_oneof![
        1 => Just(vec![]),
        3 => Just(vec![new(&[Op::Insert("a"), Op::Incr("n", 1)])]),
        2 => Just(vec![new(&[Op::Insert("a"), Op::BeginLogin("ada"), Op::Login])]),
        1 => Just(vec![
            new(&[Op::Insert("b"), Op::BeginLogin("bob"), Op::Login]),
            new(&[Op::Insert("a"), Op::BeginLogin("ada"), Op::Login]),
        ]),
    ]
}

fn step(passes: impl Strategy<Value = Duration>) -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => work().prop_map(Step::Run),
        4 => work().prop_map(Step::Begin),
        12 => release(),
        1 => (0..8_usize).prop_map(Step::Deliver),
        1 => (0..4_usize).prop_map(Step::Cancel),
        2 => passes.prop_map(Step::Pass),
    ]
}

/// Times around those at which something ends.
pub(crate) fn passes() -> impl Strategy<Value = Duration> + Clone {
    let seconds = vec![
        1, 29, 31, 59, 61, 125, 301, 540, 601, 901, 1_790, 3_601, 10_700,
    ];
    prop::sample::select(seconds).prop_map(Duration::from_secs)
}

fn release() -> impl Strategy<Value = Step> {
    let how = prop_oneof![
        10 => Just(Release::Answer),
        1 => Just(Release::LoseReply),
        1 => Just(Release::LoseCall),
        1 => Just(Release::Refuse),
    ];
    (0..6_usize, how).prop_map(|(place, how)| Step::Release(place, how))
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        12 => request().prop_map(Work::Request),
        1 => user().prop_map(Work::DestroyAll),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let status = prop_oneof![8 => Just(200_u16), 1 => Just(404), 1 => Just(500)];
    (token(), route(), ops(), status).prop_map(|(token, route, ops, status)| Request {
        token,
        route,
        ops,
        status,
    })
}

fn token() -> impl Strategy<Value = TokenChoice> {
    prop_oneof![
        2 => Just(TokenChoice::None),
        8 => Just(TokenChoice::Issued(0)),
        6 => (0..6_usize).prop_map(TokenChoice::Issued),
        1 => (0..3_usize).prop_map(TokenChoice::Forged),
        1 => Just(TokenChoice::Unknown),
        1 => (0..3_usize).prop_map(TokenChoice::Malformed),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    let rarely = || prop::bool::weighted(0.15);
    (
        rarely(),
        rarely(),
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.05),
    )
        .prop_map(
            |(is_strict, does_not_slide, rejects_when_gone, is_read_only)| Route {
                is_strict,
                does_not_slide,
                rejects_when_gone,
                is_read_only,
            },
        )
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let ordinary = prop_oneof![
        4 => name().prop_map(Op::Get),
        4 => name().prop_map(Op::Insert),
        1 => name().prop_map(Op::InsertSame),
        2 => name().prop_map(Op::Remove),
        1 => Just(Op::User),
        2 => (count(), 1..4_i64).prop_map(|(name, by)| Op::Incr(name, by)),
        1 => (count(), 1..4_i64).prop_map(|(name, by)| Op::Update(name, by)),
        1 => count().prop_map(Op::Take),
    ];
    let identity = prop_oneof![
        4 => user().prop_map(|user| vec![Op::BeginLogin(user), Op::Login]),
        1 => Just(vec![Op::Login]),
        1 => user().prop_map(|user| vec![Op::BeginLogin(user)]),
        2 => Just(vec![Op::Renew]),
        1 => Just(vec![Op::Start]),
        3 => Just(vec![Op::Destroy]),
        1 => Just(vec![Op::DestroyOthers]),
        1 => (0..3_usize).prop_map(|which| vec![Op::DestroyDevice(which)]),
        1 => user().prop_map(|user| vec![Op::EndAs(user)]),
        1 => Just(vec![Op::Clear]),
    ];
    let some = prop::collection::vec(ordinary, 0..4);
    (some, prop::option::weighted(0.35, identity)).prop_map(|(mut ops, identity)| {
        let identity = identity.unwrap_or_default();
        // What a clear does to what is written at once is nobody's promise.
        if identity.contains(&Op::Clear) {
            ops.retain(|op| !op.is_eager());
        }
        ops.extend(identity);
        ops
    })
}

fn name() -> impl Strategy<Value = Name> {
    prop::sample::select(vec!["a", "b", "c"])
}

fn count() -> impl Strategy<Value = Count> {
    prop::sample::select(vec!["n", "m"])
}

fn user() -> impl Strategy<Value = User> {
    prop_oneof![3 => Just("ada"), 1 => Just("bob")]
}
