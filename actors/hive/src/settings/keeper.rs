//! The actor that watches over changes: it takes settings back, ends probations, and applies a
//! changed file.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf, time::Duration};

use actix::{Actor, AsyncContext, WrapFuture};
use deia_model::{Level, Timestamp};
use deia_supervision::{Context, Event, EventKind, EventStream, Tree};
use tokio::time::{Instant, sleep, sleep_until};

use super::{SettingsApi, file::Look, reload::loaded, trips};
use crate::host::directory_watch::{DirectoryWatch, directories_of, watch};

/// Pause before the watch of a directory that could not be watched, or broke, is tried again, and
/// before a record that could not be written is. Fixed: the file is also read every second.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Keeps watch over the settings in force.
pub(super) struct SettingsKeeper {
    api: SettingsApi,
}

impl SettingsKeeper {
    pub(super) fn new(api: SettingsApi) -> Self {
        Self { api }
    }
}

impl Actor for SettingsKeeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let deadlines = keep_deadlines(self.api.clone());
        let level = keep_level(self.api.clone());
        let tree = keep_tree(self.api.clone());
        let file = keep_file(self.api.clone());
        ctx.spawn(deadlines.into_actor(self));
        ctx.spawn(level.into_actor(self));
        ctx.spawn(tree.into_actor(self));
        ctx.spawn(file.into_actor(self));
    }
}

/// Ends probations, takes back what nobody confirms, and checks readiness meanwhile.
async fn keep_deadlines(api: SettingsApi) {
    loop {
        let now = Timestamp::now();
        let settling = api.clone();
        let due = api.whole(async move { settling.settle_due(now).await });
        let due = due.await.unwrap_or(Some(now));
        let look_every = api.0.settings.get().settings.look_every;
        let on_probation = api.is_on_probation(now).await;
        if on_probation {
            keep_ready(&api).await;
        }
        let until_due = due.map(|due| {
            let wait = Duration::from_millis(due.millis_since(Timestamp::now()));
            // Work that is due now and could not be done is tried again a little later.
            if wait.is_zero() {
                RETRY_AFTER.min(look_every)
            } else {
                wait
            }
        });
        let wait = match (until_due, on_probation) {
            (Some(wait), true) => Some(wait.min(look_every)),
            (wait, _) => wait,
        };
        let waiting = async {
            match wait {
                Some(wait) => sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = waiting => {}
            () = api.0.poke.notified() => {}
        }
    }
}

/// Takes settings back if the hive should be ready, and was not at two looks.
async fn keep_ready(api: &SettingsApi) {
    if let Some(since) = api.look_at_readiness().await {
        api.judge(since, "the hive was not ready".to_owned()).await;
    }
}

/// Takes settings back when signals raise the level that they demand, also while a drill hides it.
async fn keep_level(api: SettingsApi) {
    let mut changes = api.0.level.demands();
    let mut before: Level = changes.borrow_and_update().level;
    while changes.changed().await.is_ok() {
        let now = changes.borrow_and_update().clone();
        if let Some(reason) = trips::raised(before, &now) {
            api.judge(api.0.level.trip_began(&now), reason).await;
        }
        before = now.level;
    }
}

/// Takes settings back when a part of the tree crashes so often that it stays down.
async fn keep_tree(api: SettingsApi) {
    let Some(tree) = api.tree().await else {
        return;
    };
    let mut events: EventStream = tree.subscribe();
    while let Some(event) = events.recv().await {
        match event {
            Ok(Event {
                kind: EventKind::Quarantined { exit },
                path,
                at,
                ..
            }) => {
                let began = crashes_of(&tree, &path)
                    .unwrap_or_else(|| Timestamp::from_millis(at.as_millisecond()));
                let reason = format!("{path} crashed too often and stays down: {exit}");
                api.judge(began, reason).await;
            }
            Ok(_) => {}
            Err(_missed) => judge_parts_that_are_down(&api, &tree).await,
        }
    }
}

/// Takes settings back for parts that are down, whose events may have been missed.
async fn judge_parts_that_are_down(api: &SettingsApi, tree: &Tree) {
    for path in trips::down(&tree.status()) {
        if let Some(began) = crashes_of(tree, &path) {
            let reason = format!("{path} crashed too often and stays down");
            api.judge(began, reason).await;
        }
    }
}

fn crashes_of(tree: &Tree, path: &str) -> Option<Timestamp> {
    tree.status_of(path).as_ref().and_then(trips::crashes_began)
}

/// Applies the settings file when it has changed.
async fn keep_file(api: SettingsApi) {
    api.ready().await;
    let mut file = Watch::default();
    loop {
        let settings = api.0.settings.get().settings.clone();
        let mut changes = api.0.settings.changes();
        if settings.watch {
            file.follow(&api).await;
            if let Some(look) = settled(&api, settings.watch_debounce).await {
                let applying = api.clone();
                // A failure is told by the hook of panics.
                let _ = api
                    .whole(async move { applying.apply_file(look).await })
                    .await;
            }
        } else {
            file = Watch::default();
            api.0.watched.send_replace("off");
        }
        tokio::select! {
            () = file.changed() => {}
            () = sleep(settings.poll_every) => {}
            _ = changes.changed() => {}
        }
    }
}

/// Returns the file as it is once it has not changed for that time: an editor may not have written
/// all of it.
async fn settled(api: &SettingsApi, debounce: Duration) -> Option<Look> {
    let mut look = api.look_at_file().await?;
    if api.knows(&look).await {
        return Some(look);
    }
    loop {
        sleep(debounce).await;
        let again = api.look_at_file().await?;
        if again.is_as(&look) {
            return Some(look);
        }
        look = again;
    }
}

/// The watch of the directories of the settings file.
#[derive(Default)]
struct Watch {
    directories: Vec<Directory>,
    watch: Option<DirectoryWatch>,
    /// Time before which a watch that failed is not tried again.
    not_before: Option<Instant>,
}

/// A directory: another one of the same name is another directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Directory {
    path: PathBuf,
    /// Device and number of it; `None` if it cannot be looked at.
    id: Option<(u64, u64)>,
}

impl Directory {
    fn of(path: PathBuf) -> Self {
        let found = std::fs::metadata(&path).ok();
        let id = found.map(|it| (it.dev(), it.ino()));
        Self { path, id }
    }
}

impl Watch {
    /// Watches the directories that the file is in now.
    async fn follow(&mut self, api: &SettingsApi) {
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let (source, known) = (api.0.source.clone(), self.directories.clone());
        let is_watching = self.watch.is_some();
        let looked = loaded(move || {
            let path = source.path()?;
            // Before the watch begins: one that is replaced meanwhile differs at the next look.
            let directories: Vec<_> = directories_of(&path)
                .into_iter()
                .map(Directory::of)
                .collect();
            let stays = is_watching && directories == known;
            let paths = directories.iter().map(|it| it.path.clone());
            let watched = (!stays).then(|| watch(&paths.collect::<Vec<_>>()));
            Some((path, directories, watched))
        });
        let Some((path, directories, watched)) = looked.await.ok().flatten() else {
            *self = Self::default();
            api.0.watched.send_replace("off");
            return;
        };
        let Some(watched) = watched else {
            return;
        };
        match watched.and_then(DirectoryWatch::of) {
            Ok(watch) => {
                self.watch = Some(watch);
                self.not_before = None;
                api.0.watched.send_replace("events");
            }
            Err(error) => {
                if *api.0.watched.borrow() != "polling" {
                    tracing::warn!(%error, path = %path.display(), "the directory of the settings file cannot be watched; reading the file every settings.poll_every");
                }
                *self = Self::default();
                self.not_before = Some(Instant::now() + RETRY_AFTER);
                api.0.watched.send_replace("polling");
            }
        }
        self.directories = directories;
    }

    /// Resolves when something in the directories has changed.
    async fn changed(&mut self) {
        let broken = match &self.watch {
            Some(watch) => watch.changed().await.is_err(),
            None => std::future::pending().await,
        };
        if broken {
            self.watch = None;
            sleep_until(Instant::now() + RETRY_AFTER).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_in_the_place_of_another_is_watched_anew() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("current");
        std::fs::create_dir(&path).unwrap();
        let before = Directory::of(path.clone());
        assert_eq!(before, Directory::of(path.clone()));
        std::fs::rename(&path, base.path().join("old")).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_ne!(before, Directory::of(path));
    }
}
