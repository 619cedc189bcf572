//! Classes of routes. Each has its own rate-limit budget for every caller and its own
//! bulkhead, so that one kind of work does not block another.

/// The kind of work of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RouteClass {
    /// Submits tasks.
    Submit,
    /// Reads, and answers at once.
    Read,
    /// Changes something.
    Write,
    /// Reads, and may wait or stream.
    Stream,
    /// Administers.
    Admin,
}

impl RouteClass {
    pub(crate) const ALL: [Self; 5] = [
        Self::Submit,
        Self::Read,
        Self::Write,
        Self::Stream,
        Self::Admin,
    ];

    /// Returns the name in settings and headers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Write => "write",
            Self::Stream => "stream",
            Self::Admin => "admin",
        }
    }
}

/// A `T` for each class.
#[derive(Debug)]
pub(crate) struct PerClass<T>([T; RouteClass::ALL.len()]);

impl<T> PerClass<T> {
    pub(crate) fn new(make: impl Fn(RouteClass) -> T) -> Self {
        Self(RouteClass::ALL.map(make))
    }

    pub(crate) fn get(&self, class: RouteClass) -> &T {
        // The classes are numbered in the order of `ALL`.
        &self.0[class as usize]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_numbered_in_order() {
        let names = PerClass::new(RouteClass::as_str);
        for class in RouteClass::ALL {
            assert_eq!(*names.get(class), class.as_str());
        }
    }
}
