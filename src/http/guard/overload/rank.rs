//! The order in which requests are refused under overload.

use deia_model::{Permission, Priority};

use crate::http::guard::class::RouteClass;

/// Kind of a request, the most important ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// A change other than a submission.
    Change,
    /// A read that is answered at once.
    Read,
    /// A submission of tasks, the least urgent of which has this priority.
    Submit(Priority),
    /// A read that may wait or stream.
    Wait,
}

/// Number of tiers. Fixed: counts the tiers above, a submission for each priority.
const TIERS: usize = 7;
/// Number of groups into which the callers of a tier are divided by their hash.
///
/// Fixed: the threshold moves by groups, so that this is its resolution, not a limit.
const GROUPS: usize = 128;
/// Number of ranks: those of callers within their share, then those of callers over it. Fixed: it
/// follows from the tiers and the groups.
pub(crate) const RANKS: usize = 2 * TIERS * GROUPS;

/// Place of a request in the order: the highest rank is refused first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(pub(super) usize);

impl Tier {
    /// Returns the tier of the requests of a route; `None` if they are never refused for
    /// overload: administration, and the work of bots on tasks that run.
    pub(crate) fn of(needs: Option<Permission>, class: RouteClass) -> Option<Self> {
        match (needs, class) {
            (Some(Permission::TaskWork), _) | (_, RouteClass::Admin) => None,
            (_, RouteClass::Write) => Some(Self::Change),
            (_, RouteClass::Read) => Some(Self::Read),
            // The priority is in the body.
            (_, RouteClass::Submit) => Some(Self::Submit(Priority::P0)),
            (_, RouteClass::Stream) => Some(Self::Wait),
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Change => 0,
            Self::Read => 1,
            Self::Submit(priority) => 2 + usize::from(priority.rank()),
            Self::Wait => 6,
        }
    }
}

impl Rank {
    /// Returns the rank of a request of that tier from a caller with that hash.
    pub(crate) fn new(tier: Tier, caller: u64, is_over_share: bool) -> Self {
        // The remainder is smaller than a number that came from a usize.
        let group = usize::try_from(caller % GROUPS as u64).unwrap_or(0);
        let half = usize::from(is_over_share) * TIERS * GROUPS;
        Self(half + tier.place() * GROUPS + group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_over_their_share_are_refused_first_then_lower_tiers() {
        use Priority::{P0, P1, P2, P3};
        use Tier::{Change, Read, Submit, Wait};
        let tiers = [
            Change,
            Read,
            Submit(P0),
            Submit(P1),
            Submit(P2),
            Submit(P3),
            Wait,
        ];
        let ranks = |over| tiers.map(|tier| Rank::new(tier, 7, over));
        let (within, over) = (ranks(false), ranks(true));
        assert!(within.is_sorted() && over.is_sorted());
        assert!(within[6] < over[0], "the share comes before the tier");
        assert_eq!(Rank::new(Change, 0, false), Rank(0));
        assert_eq!(Rank::new(Wait, 127, true), Rank(RANKS - 1));
    }

    #[test]
    fn administration_and_work_on_running_tasks_have_no_tier() {
        for (access, class, tier) in [
            (Some(Permission::AdminKeys), RouteClass::Admin, None),
            (Some(Permission::TaskWork), RouteClass::Write, None),
            (Some(Permission::TaskWork), RouteClass::Stream, None),
            (
                Some(Permission::TaskCancel),
                RouteClass::Write,
                Some(Tier::Change),
            ),
            (
                Some(Permission::TaskSubmit),
                RouteClass::Submit,
                Some(Tier::Submit(Priority::P0)),
            ),
            (None, RouteClass::Read, Some(Tier::Read)),
            (
                Some(Permission::TaskRead),
                RouteClass::Stream,
                Some(Tier::Wait),
            ),
        ] {
            assert_eq!(Tier::of(access, class), tier, "{access:?} {class:?}");
        }
    }
}
