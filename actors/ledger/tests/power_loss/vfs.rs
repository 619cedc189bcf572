//! A VFS of SQLite that keeps a diary of all writes and syncs.
//!
//! The VFS wraps the default one and passes everything on, except real syncs:
//! nothing here depends on a real disk. From the diary [`super::disk`] makes what a
//! power loss leaves. The only place of the tests with `unsafe`: SQLite calls
//! through tables of C functions.
//!
//! Safety, for all functions of this file: SQLite calls them with the pointers that
//! its documentation of `sqlite3_vfs` and `sqlite3_io_methods` promises. A file of
//! ours is a [`File`] with the default VFS's file right behind it; SQLite provides
//! `szOsFile` bytes for both, zeroed and aligned for any type.

#![allow(unsafe_code, reason = "a VFS is a table of C functions")]

use std::{
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    mem::size_of,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    ptr,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use rusqlite::ffi::{
    self, SQLITE_OK, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
};

/// An operation on the files of a directory.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A file was created.
    Create(usize),
    /// Bytes were written at an offset.
    Write(usize, u64, Vec<u8>),
    /// The file was truncated or extended to this length.
    Truncate(usize, u64),
    /// The file was synced: all earlier writes are on disk.
    Sync(usize),
    /// The sync failed.
    SyncFailed(usize),
    /// The file was removed; `true`: and its directory was synced.
    Delete(usize, bool),
    /// The caller was answered; the number identifies the answer.
    Mark(usize),
}

/// The diary of one directory.
#[derive(Default)]
pub(crate) struct Diary {
    /// Names of the files that [`Op`] counts.
    pub(crate) files: Vec<String>,
    /// Operations in their order.
    pub(crate) ops: Vec<Op>,
    /// Name of the file whose syncs fail.
    pub(crate) failing_sync: Option<&'static str>,
}

/// A diary in progress.
pub(crate) type Shared = Arc<Mutex<Diary>>;

static DIARIES: Mutex<Vec<(PathBuf, Shared)>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Diary {
    /// Starts a diary of that directory. The VFS is the default one from now on.
    pub(crate) fn of(dir: &Path) -> Shared {
        LazyLock::force(&REGISTERED);
        let diary = Shared::default();
        lock(&DIARIES).push((dir.canonicalize().unwrap(), diary.clone()));
        diary
    }

    /// Returns the number of the file of that name.
    pub(crate) fn file(&mut self, name: &str) -> usize {
        let known = self.files.iter().position(|file| file == name);
        known.unwrap_or_else(|| {
            self.files.push(name.to_owned());
            self.files.len() - 1
        })
    }
}

/// Returns the diary that records that file, and its number there.
fn diary_of(path: &Path) -> Option<(Shared, usize)> {
    let name = path.file_name()?.to_str()?;
    let (_, diary) = lock(&DIARIES)
        .iter()
        .find(|(dir, _)| path.parent() == Some(dir))?
        .clone();
    let file = lock(&diary).file(name);
    Some((diary, file))
}

/// An open file. The file of the default VFS follows it in memory.
#[repr(C)]
struct File {
    base: sqlite3_file,
    /// From `Arc::into_raw`; null for files without a diary.
    diary: *const Mutex<Diary>,
    number: usize,
}

unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    unsafe { file.cast::<u8>().add(size_of::<File>()).cast() }
}

/// The default VFS's functions for the file.
unsafe fn methods<'a>(file: *mut sqlite3_file) -> &'a sqlite3_io_methods {
    unsafe { &*(*real(file)).pMethods }
}

/// Records the operation, if the file has a diary.
unsafe fn note(file: *mut sqlite3_file, op: impl FnOnce(usize) -> Op) {
    unsafe {
        let file = file.cast::<File>();
        if let Some(diary) = (*file).diary.as_ref() {
            lock(diary).ops.push(op((*file).number));
        }
    }
}

/// Functions that only delegate.
macro_rules! pass_on {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $method:ident;)*) => {
        $(unsafe extern "C" fn $name(file: *mut sqlite3_file, $($arg: $kind),*) -> c_int {
            unsafe {
                match methods(file).$method {
                    Some(function) => function(real(file), $($arg),*),
                    None => ffi::SQLITE_NOTFOUND,
                }
            }
        })*
    };
}

pass_on! {
    read(to: *mut c_void, amount: c_int, at: sqlite3_int64) -> xRead;
    file_size(size: *mut sqlite3_int64) -> xFileSize;
    take_lock(level: c_int) -> xLock;
    unlock(level: c_int) -> xUnlock;
    check_reserved_lock(out: *mut c_int) -> xCheckReservedLock;
    file_control(op: c_int, arg: *mut c_void) -> xFileControl;
    sector_size() -> xSectorSize;
    device_characteristics() -> xDeviceCharacteristics;
    shm_map(page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void) -> xShmMap;
    shm_lock(offset: c_int, n: c_int, flags: c_int) -> xShmLock;
    shm_unmap(delete: c_int) -> xShmUnmap;
    real_write(from: *const c_void, amount: c_int, at: sqlite3_int64) -> xWrite;
    real_truncate(size: sqlite3_int64) -> xTruncate;
    real_close() -> xClose;
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    unsafe {
        if let Some(barrier) = methods(file).xShmBarrier {
            barrier(real(file));
        }
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    amount: c_int,
    at: sqlite3_int64,
) -> c_int {
    unsafe {
        let code = real_write(file, from, amount, at);
        if code == SQLITE_OK {
            let length = usize::try_from(amount).unwrap();
            let bytes = std::slice::from_raw_parts(from.cast::<u8>(), length).to_vec();
            note(file, |n| Op::Write(n, at.unsigned_abs(), bytes));
        }
        code
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    unsafe {
        let code = real_truncate(file, size);
        if code == SQLITE_OK {
            note(file, |n| Op::Truncate(n, size.unsigned_abs()));
        }
        code
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _flags: c_int) -> c_int {
    unsafe {
        let ours = file.cast::<File>();
        if let Some(diary) = (*ours).diary.as_ref() {
            let mut diary = lock(diary);
            let number = (*ours).number;
            if diary.failing_sync == Some(diary.files[number].as_str()) {
                diary.ops.push(Op::SyncFailed(number));
                return ffi::SQLITE_IOERR_FSYNC;
            }
            diary.ops.push(Op::Sync(number));
        }
    }
    SQLITE_OK
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    unsafe {
        let diary = std::mem::replace(&mut (*file.cast::<File>()).diary, ptr::null());
        if !diary.is_null() {
            drop(Arc::from_raw(diary));
        }
        real_close(file)
    }
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // 2: shared memory, but no mapping of the file itself.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(take_lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

unsafe fn path_of<'a>(name: *const c_char) -> Option<&'a Path> {
    (!name.is_null()).then(|| {
        Path::new(OsStr::from_bytes(
            unsafe { CStr::from_ptr(name) }.to_bytes(),
        ))
    })
}

/// Returns the VFS behind ours.
unsafe fn default_vfs(ours: *mut sqlite3_vfs) -> *mut sqlite3_vfs {
    unsafe { (*ours).pAppData.cast() }
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    unsafe {
        let path = path_of(name);
        let was_there = path.is_some_and(Path::exists);
        (*file).pMethods = ptr::null();
        (*file.cast::<File>()).diary = ptr::null();
        let default = default_vfs(vfs);
        let Some(real_open) = (*default).xOpen else {
            return ffi::SQLITE_CANTOPEN;
        };
        let code = real_open(default, name, real(file), flags, out_flags);
        if (*real(file)).pMethods.is_null() {
            return code;
        }
        // Also after an error: SQLite closes files that have methods.
        (*file).pMethods = &raw const METHODS;
        if let Some((diary, number)) = path.and_then(diary_of) {
            if !was_there && code == SQLITE_OK {
                lock(&diary).ops.push(Op::Create(number));
            }
            let ours = file.cast::<File>();
            (*ours).diary = Arc::into_raw(diary);
            (*ours).number = number;
        }
        code
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    unsafe {
        let default = default_vfs(vfs);
        let Some(real_delete) = (*default).xDelete else {
            return ffi::SQLITE_IOERR_DELETE;
        };
        let code = real_delete(default, name, 0);
        if code == SQLITE_OK
            && let Some((diary, number)) = path_of(name).and_then(diary_of)
        {
            lock(&diary).ops.push(Op::Delete(number, sync_dir != 0));
        }
        code
    }
}

static REGISTERED: LazyLock<()> = LazyLock::new(|| unsafe {
    let default = ffi::sqlite3_vfs_find(ptr::null());
    assert!(!default.is_null(), "SQLite has no VFS");
    let ours = Box::leak(Box::new(sqlite3_vfs {
        szOsFile: (*default).szOsFile + c_int::try_from(size_of::<File>()).unwrap(),
        pNext: ptr::null_mut(),
        zName: c"diary".as_ptr(),
        pAppData: default.cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        // The rest needs nothing of its VFS but the fields copied here.
        ..*default
    }));
    assert_eq!(ffi::sqlite3_vfs_register(ours, 1), SQLITE_OK);
});
