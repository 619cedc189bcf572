//! Cursors of lists, and what pages reveal of tasks that are not visible.

use proptest::prelude::*;

use super::{super::schema, *};

#[test]
fn invalid_cursors_are_refused() {
    let id = TaskId::from_bytes([7; 16]);
    let encoded = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    assert_eq!(cursor(&encoded(&format!("tasks:{id}"))), Some(id));
    for text in ["", "42", "tasks:", "tasks:42", "tasks:task_", "users:ada"] {
        assert_eq!(cursor(text), None, "{text}");
        assert_eq!(cursor(&encoded(text)), None, "{text}");
    }
    let shouted = format!("tasks:{}", id.to_string().to_uppercase());
    assert_eq!(cursor(&encoded(&shouted)), None);
    assert_eq!(cursor("\u{fc}nlaut"), None);
}

/// A task of one of two users, and of one of two bots or none.
#[derive(Clone, Copy, Debug)]
struct Stored {
    status: TaskStatus,
    submitter: &'static str,
    bot: Option<&'static str>,
}

const STATUSES: [TaskStatus; 6] = [
    TaskStatus::Pending,
    TaskStatus::Queued,
    TaskStatus::Running,
    TaskStatus::Completed,
    TaskStatus::Failed,
    TaskStatus::Cancelled,
];

fn stored() -> impl Strategy<Value = Stored> {
    let status = proptest::sample::select(STATUSES.to_vec());
    let submitter = proptest::sample::select(vec!["ada", "eve"]);
    let bot = proptest::sample::select(vec![None, Some("b-1"), Some("b-2")]);
    (status, submitter, bot).prop_map(|(status, submitter, bot)| Stored {
        status,
        submitter,
        bot,
    })
}

/// Creates a store of the tasks that `kept` selects, each with the id that it has among
/// all.
fn store_of(tasks: &[Stored], kept: impl Fn(&Stored) -> bool) -> Connection {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate(&mut db).unwrap();
    for (i, task) in tasks.iter().enumerate().filter(|(_, task)| kept(task)) {
        db.prepare_cached(
            "INSERT INTO tasks (id, type, priority, status, submitter, content, created_at, run_at,
                                max_attempts, timeout_seconds, bot)
             VALUES (?1, 'general', 2, ?2, ?3, 'x', 1, 1, 1, 1, ?4)",
        )
        .unwrap()
        .execute(params![
            id(i).as_bytes(),
            rows::status_code(task.status),
            task.submitter,
            task.bot
        ])
        .unwrap();
    }
    db
}

fn id(i: usize) -> TaskId {
    TaskId::from_bytes((i as u128).to_be_bytes())
}

/// Returns the ids and the cursor of each page.
fn pages(
    db: &Connection,
    visibility: &Visibility,
    filter: &TaskFilter,
) -> Vec<(Vec<TaskId>, Option<TaskId>)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let list = List {
            visibility: visibility.clone(),
            filter: filter.clone(),
            after,
            limit: 2,
        };
        let found = page(db, list, 3).unwrap();
        after = found.next_cursor.as_deref().and_then(cursor);
        all.push((found.items.iter().map(|task| task.id).collect(), after));
        if after.is_none() {
            return all;
        }
    }
}

fn filters() -> impl Iterator<Item = TaskFilter> {
    let statuses = STATUSES.map(Some).into_iter().chain([None]);
    let submitters = [None, Some("ada"), Some("eve")];
    let bots = [None, Some("b-1"), Some("b-2")];
    statuses.flat_map(move |status| {
        submitters.into_iter().flat_map(move |submitter| {
            bots.into_iter().map(move |bot| TaskFilter {
                status,
                submitter: submitter.map(String::from),
                bot: bot.map(|bot| bot.parse().unwrap()),
                ..TaskFilter::default()
            })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Callers get the same pages whether or not tasks exist that they do not see.
    #[test]
    fn pages_reveal_nothing_of_invisible_tasks(tasks in proptest::collection::vec(stored(), 0..40)) {
        let all = store_of(&tasks, |_| true);
        for visibility in [Visibility::SubmittedBy("ada".into()), Visibility::AssignedTo("b-1".parse().unwrap())] {
            let sees = |task: &Stored| match &visibility {
                Visibility::SubmittedBy(user) => task.submitter == &**user,
                Visibility::AssignedTo(bot) => task.bot == Some(bot.as_str()),
                Visibility::All | Visibility::Nothing => unreachable!(),
            };
            let own = store_of(&tasks, sees);
            for filter in filters() {
                let told = pages(&all, &visibility, &filter);
                prop_assert_eq!(&told, &pages(&own, &visibility, &filter), "{:?} {:?}", visibility, filter);
                for (items, cursor) in told {
                    for id in items.into_iter().chain(cursor) {
                        let place = u128::from_be_bytes(*id.as_bytes()) as usize;
                        prop_assert!(sees(&tasks[place]), "{:?} is told {}", visibility, id);
                    }
                }
            }
        }
    }

    /// Callers who see everything get all matching tasks, whichever index is used.
    #[test]
    fn pages_contain_all_matching_tasks(tasks in proptest::collection::vec(stored(), 0..40)) {
        let db = store_of(&tasks, |_| true);
        for filter in filters() {
            let wanted = |task: &Stored| {
                filter.status.is_none_or(|status| status == task.status)
                    && filter.submitter.as_deref().is_none_or(|user| user == task.submitter)
                    && filter.bot.as_ref().is_none_or(|bot| Some(bot.as_str()) == task.bot)
            };
            let places = (0..tasks.len()).rev().filter(|i| wanted(&tasks[*i]));
            let found = pages(&db, &Visibility::All, &filter).into_iter().flat_map(|(ids, _)| ids);
            prop_assert_eq!(found.collect::<Vec<_>>(), places.map(id).collect::<Vec<_>>(), "{:?}", filter);
            prop_assert_eq!(pages(&db, &Visibility::Nothing, &filter), [(vec![], None)]);
        }
    }
}

proptest! {
    #[test]
    fn every_cursor_reads_back(bytes in proptest::array::uniform16(0u8..)) {
        let id = TaskId::from_bytes(bytes);
        prop_assert_eq!(cursor(&cursor_text(id)), Some(id));
    }

    #[test]
    fn only_issued_cursors_are_accepted(text in "\\PC{0,40}|dGFza3M6[A-Za-z0-9_-]{0,48}") {
        if let Some(id) = cursor(&text) {
            prop_assert_eq!(cursor_text(id), text);
        }
    }
}
