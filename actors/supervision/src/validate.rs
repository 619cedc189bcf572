//! Faults of a specification, found before anything is started.

use std::{collections::HashSet, sync::Arc, time::Duration};

use crate::{
    arbiters::GroupSizes,
    error::SpecError,
    intensity::Intensity,
    spec::{
        AutoShutdown, Body, ChildSpec, Options, Placement, Policy, Restart, Shutdown, Strategy,
        SupervisorBody,
    },
    state::Kind,
};

/// Checks the root of a tree and all below it.
pub(crate) fn root(spec: &ChildSpec, options: &Options) -> Result<(), SpecError> {
    if options.watchdog == Some(Duration::ZERO) {
        let path = spec.name().to_owned();
        return Err(SpecError::ZeroWatchdog { path });
    }
    if let Some(group) = options.groups.empty() {
        let group = Arc::clone(group);
        return Err(SpecError::EmptyGroup { group });
    }
    let surroundings = Surroundings {
        parent: "",
        auto_shutdown: AutoShutdown::Never,
        groups: &options.groups,
    };
    child(spec, surroundings)?;
    peers(spec, "", &|_| false)
}

/// Checks that each child below `spec` that is placed with another is started after that: else
/// there would be no arbiter to share. `parent` is the path of its supervisor. `is_there` knows the
/// workers that are running already.
pub(crate) fn peers(
    spec: &ChildSpec,
    parent: &str,
    is_there: &dyn Fn(&str) -> bool,
) -> Result<(), SpecError> {
    if !has_peers(spec) {
        return Ok(());
    }
    let mut before = Before {
        workers: HashSet::new(),
        dynamic: HashSet::new(),
        is_there,
    };
    before.check(spec, join(parent, spec.name()))
}

fn has_peers(spec: &ChildSpec) -> bool {
    let below = match &spec.body {
        Body::Worker(_) => [].as_slice(),
        Body::Supervisor(body) => &body.children,
    };
    matches!(spec.policy.placement, Some(Placement::With(_))) || below.iter().any(has_peers)
}

/// Children that are started before the one that is checked.
struct Before<'a> {
    workers: HashSet<String>,
    /// Supervisors whose children are not known yet.
    dynamic: HashSet<String>,
    is_there: &'a dyn Fn(&str) -> bool,
}

impl Before<'_> {
    fn knows(&self, peer: &str) -> bool {
        let may_come = |(parent, _)| self.dynamic.contains(parent);
        self.workers.contains(peer)
            || peer.rsplit_once('/').is_some_and(may_come)
            || (self.is_there)(peer)
    }

    fn check(&mut self, spec: &ChildSpec, path: String) -> Result<(), SpecError> {
        if let Some(Placement::With(peer)) = &spec.policy.placement
            && !self.knows(peer)
        {
            let peer = Arc::clone(peer);
            return Err(SpecError::UnknownPeer { path, peer });
        }
        match &spec.body {
            Body::Worker(_) => {
                self.workers.insert(path);
            }
            Body::Supervisor(body) => {
                for below in &body.children {
                    self.check(below, join(&path, below.name()))?;
                }
                if body.options.strategy == Strategy::Dynamic {
                    self.dynamic.insert(path);
                }
            }
        }
        Ok(())
    }
}

/// Context against which a specification is checked.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Path of the supervisor.
    pub(crate) parent: &'a str,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) groups: &'a GroupSizes,
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        [parent, "/", name].concat()
    }
}

/// Checks a child and all below it.
pub(crate) fn child(spec: &ChildSpec, surroundings: Surroundings<'_>) -> Result<(), SpecError> {
    let (name, parent) = (spec.name(), surroundings.parent);
    if name.is_empty() {
        return Err(SpecError::EmptyName {
            parent: parent.to_owned(),
        });
    }
    // Paths are for errors only.
    let path = || join(parent, name);
    if name.contains('/') {
        return Err(SpecError::SlashInName { path: path() });
    }
    policy(&spec.policy, path, surroundings.auto_shutdown)?;
    if let Some(Placement::Group(group)) = &spec.policy.placement
        && surroundings.groups.of(group).is_none()
    {
        let (path, group) = (path(), Arc::clone(group));
        return Err(SpecError::UnknownGroup { path, group });
    }
    match &spec.body {
        Body::Worker(_) if spec.record.kind == Kind::Worker && spec.record.bound() == 0 => {
            Err(SpecError::ZeroMailbox { path: path() })
        }
        Body::Worker(_) => Ok(()),
        Body::Supervisor(body) => supervisor(body, path(), surroundings.groups),
    }
}

fn policy(
    policy: &Policy,
    path: impl Fn() -> String,
    auto_shutdown: AutoShutdown,
) -> Result<(), SpecError> {
    if let Some(fault) = policy.backoff.fault() {
        return Err(SpecError::Backoff {
            path: path(),
            fault,
        });
    }
    if policy.shutdown == Shutdown::Within(Duration::ZERO) {
        return Err(SpecError::ZeroShutdown { path: path() });
    }
    if policy.stalled_after == Some(Duration::ZERO) {
        return Err(SpecError::ZeroStall { path: path() });
    }
    if policy.budget.as_ref().is_some_and(has_zero_period) {
        return Err(SpecError::ZeroPeriod { path: path() });
    }
    match (policy.significant, policy.restart, auto_shutdown) {
        (true, Restart::Permanent, _) => Err(SpecError::SignificantPermanent { path: path() }),
        (true, _, AutoShutdown::Never) => {
            Err(SpecError::SignificantWithoutAutoShutdown { path: path() })
        }
        _ => Ok(()),
    }
}

fn supervisor(body: &SupervisorBody, path: String, groups: &GroupSizes) -> Result<(), SpecError> {
    let options = &body.options;
    if has_zero_period(&options.intensity) {
        return Err(SpecError::ZeroPeriod { path });
    }
    let dynamic = options.strategy == Strategy::Dynamic;
    match options.max_children {
        Some(_) if !dynamic => return Err(SpecError::MaxChildrenNotDynamic { path }),
        Some(0) => return Err(SpecError::ZeroMaxChildren { path }),
        _ => {}
    }
    if dynamic && !body.children.is_empty() {
        return Err(SpecError::DynamicWithChildren { path });
    }
    let mut names = HashSet::new();
    for spec in &body.children {
        let surroundings = Surroundings {
            parent: &path,
            auto_shutdown: options.auto_shutdown,
            groups,
        };
        child(spec, surroundings)?;
        if !names.insert(spec.name()) {
            return Err(SpecError::DuplicateName {
                path: join(&path, spec.name()),
            });
        }
    }
    Ok(())
}

fn has_zero_period(intensity: &Intensity) -> bool {
    [intensity.fast, intensity.slow]
        .iter()
        .flatten()
        .any(|limit| limit.period.is_zero())
}
