//! Sets of permissions.

use std::fmt;

use super::Permission;

/// A set of permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions(u64);

// One bit per permission.
const _: () = assert!(Permission::ALL.len() <= u64::BITS as usize);

impl Permissions {
    /// Returns whether the set contains `permission`.
    pub fn contains(self, permission: Permission) -> bool {
        self.0 & bit(permission) != 0
    }

    /// Returns whether `other` contains all permissions of this set.
    pub fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Returns the intersection with `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the permissions of this set that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Iterates over the permissions in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        let all = Permission::ALL.iter().copied();
        all.filter(move |permission| self.contains(*permission))
    }
}

fn bit(permission: Permission) -> u64 {
    1 << (permission as u64)
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |all, one| all | bit(one)))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(Permission::as_str))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_operations() {
        let of = |some: &[Permission]| some.iter().copied().collect::<Permissions>();
        let (read, submit) = (Permission::TaskRead, Permission::TaskSubmit);
        let both = of(&[submit, read]);
        assert!(both.contains(read) && both.contains(submit));
        assert!(!both.contains(Permission::AdminKeys));
        assert!(of(&[read]).is_within(both) && !both.is_within(of(&[read])));
        assert_eq!(both.and(of(&[read, Permission::BotList])), of(&[read]));
        assert_eq!(both.without(of(&[read])), of(&[submit]));
        assert_eq!(both.iter().collect::<Vec<_>>(), [submit, read]);
        let all = Permission::ALL.iter().copied().collect::<Permissions>();
        assert_eq!(all.iter().count(), Permission::ALL.len());
    }
}
