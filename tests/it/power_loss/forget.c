/* Keeps, for each file below FORGET_DIR, what its unsynced writes have replaced: a disk that loses
 * power can be made from that, once a program that was started with this in LD_PRELOAD is killed.
 *
 * FORGET_UNDO/<inode> has a record for each write since the last sync of the file: offset, number
 * of bytes written, size of the file before, number of replaced bytes (64 bits each), and the
 * replaced bytes. A sync empties it. Names are durable at once, and so is what the kernel writes
 * through memory maps. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define NEXT(type, name) ((type)next(name))
static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef ssize_t (*writev_fn)(int, const struct iovec *, int);
typedef int (*truncate_fn)(int, off_t);
typedef int (*sync_fn)(int);
typedef int (*unlink_fn)(const char *);
typedef int (*unlinkat_fn)(int, const char *, int);
typedef int (*rename_fn)(const char *, const char *);

static write_fn real_write(void) {
    static write_fn it;
    return it ? it : (it = NEXT(write_fn, "write"));
}

static pwrite_fn real_pwrite(void) {
    static pwrite_fn it;
    return it ? it : (it = NEXT(pwrite_fn, "pwrite64"));
}

static void journal_path(char *path, ino_t inode) {
    snprintf(path, PATH_MAX, "%s/%llu", getenv("FORGET_UNDO"), (unsigned long long)inode);
}

/* Tells whether a file is one of those whose writes are forgotten. */
static int is_ours(int file, struct stat *found) {
    const char *dir = getenv("FORGET_DIR");
    char link[64], path[PATH_MAX];
    if (!dir || !getenv("FORGET_UNDO") || fstat(file, found) || !S_ISREG(found->st_mode))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    size_t of_dir = strlen(dir);
    if (strncmp(path, dir, of_dir) || path[of_dir] != '/')
        return 0;
    const char *shared = "-shm";
    return length < 4 || strcmp(path + length - 4, shared);
}

/* Notes what a write of `count` bytes at `offset` replaces. */
static void note(int file, const struct stat *found, off_t offset, size_t count) {
    uint64_t head[4] = {offset, count, found->st_size, 0};
    char own[PATH_MAX], again[64];
    off_t replaced = found->st_size - offset;
    if (replaced > (off_t)count)
        replaced = count;
    if (replaced < 0)
        replaced = 0;
    char *record = malloc(sizeof head + replaced);
    if (!record)
        abort();
    if (replaced > 0) {
        /* The descriptor may be for writing only. */
        snprintf(again, sizeof again, "/proc/self/fd/%d", file);
        int reader = open(again, O_RDONLY | O_CLOEXEC);
        ssize_t n = reader < 0 ? -1 : pread(reader, record + sizeof head, replaced, offset);
        if (reader >= 0)
            close(reader);
        if (n != replaced)
            abort();
    }
    head[3] = replaced;
    memcpy(record, head, sizeof head);
    journal_path(own, found->st_ino);
    int journal = open(own, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0 || real_write()(journal, record, sizeof head + replaced) < 0)
        abort();
    close(journal);
    free(record);
}

static off_t place(int file, const struct stat *found) {
    if (fcntl(file, F_GETFL) & O_APPEND)
        return found->st_size;
    return lseek(file, 0, SEEK_CUR);
}

ssize_t write(int file, const void *bytes, size_t count) {
    struct stat found;
    int saved = errno;
    if (!is_ours(file, &found)) {
        errno = saved;
        return real_write()(file, bytes, count);
    }
    pthread_mutex_lock(&lock);
    note(file, &found, place(file, &found), count);
    ssize_t written = real_write()(file, bytes, count);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t writev(int file, const struct iovec *parts, int number) {
    static writev_fn it;
    struct stat found;
    size_t count = 0;
    if (!it)
        it = NEXT(writev_fn, "writev");
    if (!is_ours(file, &found))
        return it(file, parts, number);
    for (int i = 0; i < number; i++)
        count += parts[i].iov_len;
    pthread_mutex_lock(&lock);
    note(file, &found, place(file, &found), count);
    ssize_t written = it(file, parts, number);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t offset) {
    struct stat found;
    if (!is_ours(file, &found))
        return real_pwrite()(file, bytes, count, offset);
    pthread_mutex_lock(&lock);
    note(file, &found, offset, count);
    ssize_t written = real_pwrite()(file, bytes, count, offset);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    return pwrite64(file, bytes, count, offset);
}

int ftruncate64(int file, off_t length) {
    static truncate_fn it;
    struct stat found;
    if (!it)
        it = NEXT(truncate_fn, "ftruncate64");
    if (!is_ours(file, &found))
        return it(file, length);
    pthread_mutex_lock(&lock);
    off_t cut = found.st_size > length ? found.st_size - length : 0;
    note(file, &found, length, cut);
    int told = it(file, length);
    pthread_mutex_unlock(&lock);
    return told;
}

int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

static int synced(int file, sync_fn it) {
    struct stat found;
    char own[PATH_MAX];
    if (!is_ours(file, &found))
        return it(file);
    pthread_mutex_lock(&lock);
    /* The kernel keeps what it was told: only a power loss needs the disk. */
    journal_path(own, found.st_ino);
    unlink_fn remove = NEXT(unlink_fn, "unlink");
    int saved = errno;
    remove(own);
    errno = saved;
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int file) { return synced(file, NEXT(sync_fn, "fsync")); }

int fdatasync(int file) { return synced(file, NEXT(sync_fn, "fdatasync")); }

/* The number of a file that is gone is given to another one. */
static void forget(int dir, const char *path) {
    struct stat found;
    char own[PATH_MAX];
    if (!getenv("FORGET_UNDO") || fstatat(dir, path, &found, AT_SYMLINK_NOFOLLOW)
        || !S_ISREG(found.st_mode) || found.st_nlink > 1)
        return;
    journal_path(own, found.st_ino);
    NEXT(unlink_fn, "unlink")(own);
}

int unlink(const char *path) {
    forget(AT_FDCWD, path);
    return NEXT(unlink_fn, "unlink")(path);
}

int unlinkat(int dir, const char *path, int flags) {
    if (!(flags & AT_REMOVEDIR))
        forget(dir, path);
    return NEXT(unlinkat_fn, "unlinkat")(dir, path, flags);
}

int rename(const char *from, const char *to) {
    forget(AT_FDCWD, to);
    return NEXT(rename_fn, "rename")(from, to);
}
