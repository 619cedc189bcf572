//! A checksum over all pages of a database, kept up to date page by page.

use std::fmt;

/// Offset of the byte that SQLite locks: the page that has it is never written.
const LOCK_BYTE: u64 = 0x4000_0000;

/// The checksum over all pages of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageSum {
    /// Number of pages.
    pub(crate) pages: u32,
    /// Sum of the marks of the pages.
    pub(crate) sum: u64,
}

impl PageSum {
    /// Reads a checksum as documents have it.
    pub(crate) fn parse(pages: u32, sum: &str) -> Option<Self> {
        let sum = u64::from_str_radix(sum, 16).ok()?;
        Some(Self { pages, sum })
    }

    /// Returns the sum as documents have it.
    pub(crate) fn digits(self) -> String {
        format!("{:016x}", self.sum)
    }
}

impl fmt::Display for PageSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pages with the checksum {:016x}",
            self.pages, self.sum
        )
    }
}

/// The marks of the pages of a database: 8 bytes a page.
#[derive(Clone, Debug)]
pub(crate) struct PageMarks {
    page_bytes: u32,
    /// Mark of each page, from page 1 on; 0: the page is not known.
    marks: Vec<u64>,
    /// True for a page that the log has given; a copy of the file may be older.
    logged: Vec<bool>,
    pages: u32,
    sum: u64,
}

impl PageMarks {
    /// Returns marks of a database of `pages` pages, none of which is known.
    pub(crate) fn new(page_bytes: u32, pages: u32) -> Self {
        Self {
            page_bytes,
            marks: vec![0; pages as usize],
            logged: vec![false; pages as usize],
            pages,
            sum: 0,
        }
    }

    /// Notes a page as it was found in the file. The log, which may be newer, has precedence.
    pub(crate) fn copied(&mut self, page: u32, content: &[u8]) {
        let index = (page as usize).wrapping_sub(1);
        if self.logged.get(index).is_none_or(|logged| !logged) {
            self.set(page, content);
        }
    }

    /// Notes a page as a frame of the log has it.
    pub(crate) fn logged(&mut self, page: u32, content: &[u8]) {
        self.set(page, content);
        if let Some(logged) = self.logged.get_mut((page as usize).wrapping_sub(1)) {
            *logged = true;
        }
    }

    fn set(&mut self, page: u32, content: &[u8]) {
        if page == 0 || page == self.lock_page() {
            return;
        }
        let index = page as usize - 1;
        if index >= self.marks.len() {
            self.marks.resize(index + 1, 0);
            self.logged.resize(index + 1, false);
        }
        let mark = mark(page, content);
        self.sum = self.sum.wrapping_sub(self.marks[index]).wrapping_add(mark);
        self.marks[index] = mark;
    }

    /// Notes the size of the database after a transaction.
    ///
    /// # Errors
    /// Number of a page by which the database grew, and which the transaction did not write.
    pub(crate) fn committed(&mut self, pages: u32) -> Result<(), u32> {
        self.cut(pages);
        self.marks.resize(pages as usize, 0);
        self.logged.resize(pages as usize, false);
        let grown_from = self.pages + 1;
        self.pages = pages;
        match (grown_from..=pages).find(|page| !self.knows(*page)) {
            Some(missing) => Err(missing),
            None => Ok(()),
        }
    }

    /// Drops the pages of a copied file that are behind the end of the database: a file may be
    /// longer than its last transaction says.
    pub(crate) fn cut_copied(&mut self) {
        self.cut(self.pages);
    }

    fn cut(&mut self, pages: u32) {
        for dropped in self.marks.drain((pages as usize).min(self.marks.len())..) {
            self.sum = self.sum.wrapping_sub(dropped);
        }
        self.logged.truncate(pages as usize);
    }

    /// Takes the size of a copy, which need not be that of a transaction.
    pub(crate) fn adopt(&mut self, pages: u32) {
        self.pages = pages;
    }

    /// Returns the number of the first page that is not known, if there is one.
    pub(crate) fn missing(&self) -> Option<u32> {
        (1..=self.pages).find(|page| !self.knows(*page))
    }

    fn knows(&self, page: u32) -> bool {
        page == self.lock_page() || self.marks.get(page as usize - 1).is_some_and(|it| *it != 0)
    }

    /// Returns the checksum over all pages.
    pub(crate) fn sum(&self) -> PageSum {
        PageSum {
            pages: self.pages,
            sum: self.sum,
        }
    }

    fn lock_page(&self) -> u32 {
        u32::try_from(LOCK_BYTE / u64::from(self.page_bytes)).map_or(0, |page| page + 1)
    }
}

/// Returns the mark of a page: never 0. The last step of `splitmix64` makes marks of similar
/// pages differ, so that equal changes of two pages do not cancel each other.
fn mark(page: u32, content: &[u8]) -> u64 {
    let mut mixed = (u64::from(page) << 32) | u64::from(crc32fast::hash(content));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(byte: u8) -> Vec<u8> {
        vec![byte; 512]
    }

    #[test]
    fn sum_depends_on_pages_and_not_on_the_way_there() {
        let mut one = PageMarks::new(512, 0);
        for n in 1..=3 {
            one.logged(n, &page(n as u8));
        }
        assert_eq!(one.committed(3), Ok(()));
        let mut other = PageMarks::new(512, 3);
        for n in [2, 3, 1] {
            other.copied(n, &page(n as u8));
        }
        assert_eq!(one.sum(), other.sum());
        // The content of two pages swapped is another database.
        let mut swapped = PageMarks::new(512, 3);
        for (n, content) in [(1, 2), (2, 1), (3, 3)] {
            swapped.copied(n, &page(content));
        }
        assert_ne!(one.sum(), swapped.sum());
    }

    #[test]
    fn the_same_change_of_two_pages_does_not_cancel() {
        let sum = |first: u8, second: u8| {
            let mut marks = PageMarks::new(512, 2);
            marks.copied(1, &page(first));
            marks.copied(2, &page(second));
            marks.sum()
        };
        assert_ne!(sum(0, 0), sum(1, 1));
        assert_ne!(sum(0, 1), sum(1, 0));
    }

    #[test]
    fn page_that_growth_skips_is_named_and_the_lock_page_is_not() {
        let mut marks = PageMarks::new(512, 1);
        marks.copied(1, &page(1));
        marks.logged(3, &page(3));
        assert_eq!(marks.committed(3), Err(2));
        let lock = u32::try_from(LOCK_BYTE / 512).unwrap() + 1;
        let mut large = PageMarks::new(512, lock - 1);
        large.logged(lock + 1, &page(1));
        assert_eq!(large.committed(lock + 1), Ok(()));
    }

    #[test]
    fn copied_pages_behind_the_end_do_not_count() {
        let mut marks = PageMarks::new(512, 2);
        marks.logged(1, &page(1));
        marks.committed(1).unwrap();
        let expected = marks.sum();
        marks.copied(1, &page(7));
        marks.copied(2, &page(2));
        marks.cut_copied();
        assert_eq!(marks.sum(), expected);
        assert_eq!(marks.clone().committed(2), Err(2));
    }

    #[test]
    fn pages_cut_off_must_come_again_and_the_log_has_precedence() {
        let mut marks = PageMarks::new(512, 2);
        marks.logged(1, &page(9));
        marks.copied(1, &page(1));
        marks.copied(2, &page(2));
        let whole = marks.sum();
        assert_eq!(marks.missing(), None);
        marks.committed(1).unwrap();
        assert_eq!(marks.sum().pages, 1);
        assert_eq!(marks.clone().committed(2), Err(2));
        marks.logged(2, &page(2));
        marks.committed(2).unwrap();
        assert_eq!(marks.sum(), whole);
    }
}
