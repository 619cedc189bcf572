//! The choice of how the entries that match are found.

/// Demands of a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) target: bool,
    pub(super) actor: bool,
    /// An action, level or result.
    pub(super) class: bool,
    /// True if entries of these classes are among those without a row.
    pub(super) class_is_in_bundles: bool,
}

/// A way to entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Target,
    Actor,
    Class,
    All,
    /// None of them can match.
    Nothing,
}

/// The ways to entries with a row of their own, and to the bundles of all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) entries: Path,
    pub(super) bundles: Path,
}

impl Plan {
    /// Chooses the way that leads to the fewest entries: one target has few, one actor may have
    /// many, and so may a class.
    pub(super) fn of(wanted: Wanted) -> Self {
        let path = match wanted {
            Wanted { target: true, .. } => Path::Target,
            Wanted { actor: true, .. } => Path::Actor,
            Wanted { class: true, .. } => Path::Class,
            _ => Path::All,
        };
        let bundles = match wanted.class && !wanted.class_is_in_bundles {
            true => Path::Nothing,
            false => path,
        };
        Self {
            entries: path,
            bundles,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_way_is_chosen() {
        let wanted = |target, actor, class, class_is_in_bundles| Wanted {
            target,
            actor,
            class,
            class_is_in_bundles,
        };
        for (wanted, entries, bundles) in [
            (wanted(false, false, false, false), Path::All, Path::All),
            (
                wanted(true, false, false, false),
                Path::Target,
                Path::Target,
            ),
            (wanted(true, true, true, true), Path::Target, Path::Target),
            (wanted(true, true, true, false), Path::Target, Path::Nothing),
            (wanted(false, true, false, false), Path::Actor, Path::Actor),
            (wanted(false, true, true, true), Path::Actor, Path::Actor),
            (wanted(false, true, true, false), Path::Actor, Path::Nothing),
            (wanted(false, false, true, true), Path::Class, Path::Class),
            (
                wanted(false, false, true, false),
                Path::Class,
                Path::Nothing,
            ),
        ] {
            assert_eq!(Plan::of(wanted), Plan { entries, bundles }, "{wanted:?}");
        }
    }
}
