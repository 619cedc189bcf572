use super::*;

fn bot(name: &str) -> BotName {
    name.parse().unwrap()
}

fn takes(types: &[&str], slots: u32) -> Capacity {
    Capacity {
        task_types: types.iter().map(|t| t.parse().unwrap()).collect(),
        slots,
        lease: None,
    }
}

/// Generation of the bots in these tests.
const GENERATION: BotGeneration = BotGeneration {
    version: 1,
    launched_at: None,
};

/// Returns a roster in which the bots of these tests may be given tasks.
fn roster() -> Roster {
    let mut roster = Roster::default();
    for name in ["b", "big", "g", "gone", "here", "s", "small"] {
        roster.set_eligible(&bot(name), Some(GENERATION));
    }
    roster
}

/// Returns the presence of a bot that has just begun.
fn fresh(name: &str, incarnation: u64, capacity: Capacity) -> Presence {
    Presence {
        bot: bot(name),
        incarnation,
        generation: GENERATION,
        capacity,
        received: 0,
        ended: 0,
    }
}

fn take_slots(roster: &mut Roster, task_type: &str, n: usize) -> Vec<String> {
    let demand = Demand::of_type(task_type.parse().unwrap());
    (0..n)
        .filter_map(|_| roster.take_slot(&demand, None))
        .map(|(bot, _)| bot.to_string())
        .collect()
}

#[test]
fn the_least_loaded_by_share_goes_first_and_none_is_overfilled() {
    let mut roster = roster();
    roster.open(fresh("big", 1, takes(&[], 4)));
    roster.open(fresh("small", 1, takes(&[], 2)));
    assert_eq!(
        take_slots(&mut roster, "x", 9),
        ["big", "small", "big", "big", "small", "big"]
    );
    assert!(!roster.has_room());
    roster.free_slots(&bot("small"), 1, 1);
    assert_eq!(take_slots(&mut roster, "x", 9), ["small"]);
}

#[test]
fn specialists_take_only_their_types() {
    let mut roster = roster();
    roster.open(fresh("s", 1, takes(&["a", "b"], 2)));
    assert!(take_slots(&mut roster, "x", 1).is_empty());
    assert_eq!(take_slots(&mut roster, "a", 1), ["s"]);
    roster.open(fresh("g", 1, takes(&[], 1)));
    assert_eq!(take_slots(&mut roster, "b", 3), ["g", "s"]);
    assert!(!roster.takes(&Demand::of_type("a".parse().unwrap())));
}

#[test]
fn news_of_an_earlier_incarnation_change_nothing() {
    let mut roster = roster();
    roster.open(fresh("b", 1, takes(&[], 1)));
    assert_eq!(take_slots(&mut roster, "x", 1).len(), 1);
    roster.open(fresh("b", 2, takes(&[], 1)));
    assert_eq!(
        take_slots(&mut roster, "x", 1).len(),
        1,
        "begins anew with nothing in hand"
    );
    roster.free_slots(&bot("b"), 1, 1);
    roster.ended(&bot("b"), 1, 7);
    roster.close(&bot("b"), 1);
    // A blocked thread held this heartbeat back; the room that it reports is gone.
    let late = Presence {
        received: 9,
        ended: 9,
        ..fresh("b", 1, takes(&[], 9))
    };
    assert!(!roster.open(late));
    assert_eq!(roster.pending(), 1, "the claim under way stays counted");
    assert!(roster.may_have(&bot("b"), 2) && !roster.may_have(&bot("b"), 1));
    assert!(take_slots(&mut roster, "x", 1).is_empty());
    roster.close(&bot("b"), 2);
    assert!(!roster.may_have(&bot("b"), 2));
    assert!(roster.specialists.is_empty() && roster.generalists.is_empty());
}

/// An event in the life of one bot with three slots.
enum Happens {
    Taken(u32),
    Freed(u32),
    Delivered(u32),
    Ended(u64),
    Heard { received: u64, ended: u64 },
    Shrunk(u32),
    Closed,
    NewScheduler,
}

#[test]
fn slots_are_counted_through_every_sequence_of_events() {
    use Happens::{Closed, Delivered, Ended, Freed, Heard, NewScheduler, Shrunk, Taken};
    for (name, happens, free) in [
        ("nothing", vec![], 3),
        ("a claim under way", vec![Taken(1)], 2),
        ("a claim that came to nothing", vec![Taken(1), Freed(1)], 3),
        ("a task in hand", vec![Taken(1), Delivered(1)], 2),
        (
            "a task that ended",
            vec![Taken(1), Delivered(1), Ended(1)],
            3,
        ),
        (
            "an end that is told twice",
            vec![Taken(2), Delivered(2), Ended(1), Ended(1)],
            2,
        ),
        (
            "ends that are told out of order",
            vec![Taken(3), Delivered(3), Ended(3), Ended(1)],
            3,
        ),
        (
            "an end that was never told",
            vec![
                Taken(2),
                Delivered(2),
                Heard {
                    received: 2,
                    ended: 1,
                },
            ],
            2,
        ),
        (
            "a heartbeat from before a delivery",
            vec![
                Taken(2),
                Delivered(2),
                Heard {
                    received: 0,
                    ended: 0,
                },
            ],
            1,
        ),
        (
            "a delivery that the roster does not know of",
            vec![Heard {
                received: 2,
                ended: 0,
            }],
            1,
        ),
        ("a new scheduler offers nothing", vec![NewScheduler], 0),
        (
            "a new scheduler, and claims of the old one under way",
            vec![
                Taken(2),
                NewScheduler,
                Heard {
                    received: 0,
                    ended: 0,
                },
            ],
            1,
        ),
        (
            "claims of the old scheduler that arrive under the new one",
            vec![
                Taken(2),
                NewScheduler,
                Heard {
                    received: 0,
                    ended: 0,
                },
                Delivered(2),
                Heard {
                    received: 2,
                    ended: 0,
                },
            ],
            1,
        ),
        (
            "claims of the old scheduler that come to nothing",
            vec![
                Taken(2),
                NewScheduler,
                Freed(2),
                Heard {
                    received: 0,
                    ended: 0,
                },
            ],
            3,
        ),
        ("a bot that takes nothing", vec![Closed], 0),
        (
            "a bot that stops taking tasks and begins again",
            vec![
                Taken(2),
                Delivered(1),
                Closed,
                Heard {
                    received: 1,
                    ended: 1,
                },
            ],
            2,
        ),
        ("fewer places", vec![Shrunk(1)], 1),
        (
            "fewer places than tasks in hand",
            vec![Taken(2), Shrunk(1)],
            0,
        ),
        ("more places again", vec![Shrunk(1), Shrunk(3)], 3),
    ] {
        let mut roster = roster();
        let b = bot("b");
        let heard = |received, ended, places| Presence {
            received,
            ended,
            ..fresh("b", 9, takes(&[], places))
        };
        roster.open(heard(0, 0, 3));
        for what in happens {
            match what {
                Taken(n) => assert_eq!(take_slots(&mut roster, "x", n as usize).len(), n as usize),
                Freed(n) => roster.free_slots(&b, 9, n),
                Delivered(n) => roster.delivered(&b, 9, n),
                Ended(n) => roster.ended(&b, 9, n),
                Heard { received, ended } => drop(roster.open(heard(received, ended, 3))),
                Shrunk(places) => drop(roster.open(heard(0, 0, places))),
                Closed => roster.close(&b, 9),
                NewScheduler => roster.unconfirm(),
            }
        }
        assert_eq!(take_slots(&mut roster, "x", 9).len(), free, "{name}");
    }
}

#[test]
fn a_sign_of_life_says_whether_there_is_room_now() {
    let mut roster = roster();
    assert!(roster.open(fresh("b", 1, takes(&[], 1))));
    assert!(!roster.open(fresh("b", 1, takes(&[], 1))), "known already");
    roster.unconfirm();
    assert!(roster.may_have(&bot("b"), 1) && !roster.has_room());
    assert!(roster.open(fresh("b", 1, takes(&[], 1))));
    take_slots(&mut roster, "x", 1);
    assert!(roster.open(fresh("b", 1, takes(&[], 2))), "more places");
    assert_eq!(roster.pending(), 1);
}

#[test]
fn bots_that_take_nothing_for_long_are_forgotten() {
    let mut roster = roster();
    roster.open(fresh("gone", 1, takes(&[], 1)));
    roster.open(fresh("here", 1, takes(&[], 1)));
    roster.close(&bot("gone"), 1);
    let forgotten: Vec<BotName> = (0..=IDLE_LOOKS_MAX).flat_map(|_| roster.look()).collect();
    assert_eq!(forgotten, [bot("gone")]);
    assert_eq!(roster.incarnation(&bot("gone")), None);
    assert_eq!(roster.incarnation(&bot("here")), Some(1));
}

#[test]
fn bot_is_given_tasks_only_in_the_generation_that_is_wanted() {
    let generation = |version, launch| BotGeneration {
        version,
        launched_at: Some(deia_model::Timestamp::from_millis(launch)),
    };
    let (runs, wanted_next) = (generation(1, 1), generation(2, 1));
    let present = Presence {
        generation: runs,
        ..fresh("b", 3, takes(&[], 2))
    };
    // Columns: the generations that commits name, in order, or `None` for a stop; then whether
    // the bot that runs in generation `runs` is given tasks.
    for (case, commits, given) in [
        ("never heard of", vec![], false),
        ("launched", vec![Some(runs)], true),
        ("stopped, drained or deleted", vec![Some(runs), None], false),
        (
            "goes on after a drain",
            vec![Some(runs), None, Some(runs)],
            true,
        ),
        ("replaced", vec![Some(runs), Some(wanted_next)], false),
        (
            "launched anew",
            vec![Some(runs), None, Some(generation(1, 2))],
            false,
        ),
    ] {
        for heartbeat_last in [false, true] {
            let case = format!("{case}, heartbeat last: {heartbeat_last}");
            let (mut roster, b) = (Roster::default(), bot("b"));
            roster.open(present.clone());
            for eligible in &commits {
                let has_room = roster.set_eligible(&b, *eligible);
                assert_eq!(has_room, *eligible == Some(runs), "{case}");
            }
            if heartbeat_last {
                // The heartbeat was sent before the commits, or by a bot that does not know of
                // them yet.
                assert!(!roster.open(present.clone()), "{case}");
            }
            assert_eq!(
                take_slots(&mut roster, "x", 3).len(),
                2 * usize::from(given),
                "{case}"
            );
            assert!(!roster.has_room(), "{case}");
            assert_eq!(roster.withholds(&b), !given, "{case}");
            // The next start of a stale launcher is withheld as well, that of the wanted one is
            // not.
            let last = commits.last().copied().flatten();
            for next in [runs, wanted_next] {
                roster.open(Presence {
                    generation: next,
                    ..fresh("b", present.incarnation + next.version, takes(&[], 1))
                });
                let expected = usize::from(last == Some(next));
                assert_eq!(take_slots(&mut roster, "x", 9).len(), expected, "{case}");
            }
        }
    }
}

fn fallback(bot_name: &str, types: &[&str], by: &[&str]) -> Fallback {
    Fallback {
        bot: bot(bot_name),
        task_types: types.iter().map(|it| it.parse().unwrap()).collect(),
        by: by.iter().map(|it| bot(it)).collect(),
    }
}

#[test]
fn fallback_bots_take_the_types_of_a_bot_that_is_out_and_no_others() {
    for (case, out, takes_types, stands_in) in [
        ("nobody is out", vec![], &["s"][..], None),
        (
            "a bot with types is out",
            vec![fallback("b", &["x"], &["s"])],
            &["s", "x"],
            Some("b"),
        ),
        (
            "a bot that takes any is out",
            vec![fallback("g", &[], &["s"])],
            &["s", "x", "y"],
            Some("g"),
        ),
        (
            "another bot stands in",
            vec![fallback("b", &["x"], &["big"])],
            &["s"],
            None,
        ),
        (
            "two are out",
            vec![
                fallback("g", &["y"], &["s"]),
                fallback("b", &["x", "y"], &["s", "big"]),
            ],
            &["s", "x", "y"],
            Some("b"),
        ),
    ] {
        let mut roster = roster();
        roster.open(fresh("s", 1, takes(&["s"], 10)));
        let has_more = roster.set_fallbacks(out.clone());
        assert_eq!(has_more, takes_types.len() > 1, "{case}");
        let demand = |it: &str| Demand::of_type(it.parse().unwrap());
        for task_type in ["s", "x", "y"] {
            let taken = roster.takes(&demand(task_type));
            assert_eq!(
                taken,
                takes_types.contains(&task_type),
                "{case}: {task_type}"
            );
            assert_eq!(
                roster.bot_takes(&bot("s"), &demand(task_type)),
                taken,
                "{case}"
            );
        }
        let for_whom = roster.stands_in_for(&bot("s"), &demand("x"));
        assert_eq!(for_whom, stands_in.map(bot), "{case}");
        assert_eq!(
            roster.stands_in_for(&bot("s"), &demand("s")),
            None,
            "{case}"
        );

        // The same holds for a bot that begins later, and is over when nobody is out.
        roster.open(fresh("s", 2, takes(&["s"], 10)));
        assert_eq!(
            roster.takes(&demand("x")),
            takes_types.contains(&"x"),
            "{case}"
        );
        assert_eq!(take_slots(&mut roster, "s", 1), ["s"], "{case}");
        assert!(!roster.set_fallbacks(Vec::new()), "{case}");
        assert!(
            !roster.takes(&demand("x")) && roster.takes(&demand("s")),
            "{case}"
        );
        roster.free_slots(&bot("s"), 2, 1);
        roster.close(&bot("s"), 2);
        assert!(!roster.has_room(), "{case}: nothing is left behind");
    }
}
