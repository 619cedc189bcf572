/* Delays every sync of a file by as many milliseconds as the file at SLOW_SYNC_FILE says: a disk
 * that is slow, for a program that is started with this in LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long told(void) {
    const char *path = getenv("SLOW_SYNC_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char text[16] = {0};
    if (file < 0)
        return 0;
    long ms = read(file, text, sizeof text - 1) > 0 ? atol(text) : 0;
    close(file);
    return ms;
}

/* Sleeps in steps, so that a disk that hangs can come back. */
static void delay(void) {
    const long step = 20;
    for (long slept = 0, ms; (ms = told()) > slept;) {
        long rest = ms - slept < step ? ms - slept : step;
        struct timespec time = {0, rest * 1000000};
        nanosleep(&time, NULL);
        slept += rest;
    }
}

int fsync(int file) {
    static int (*next)(int);
    if (!next)
        next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    delay();
    return next(file);
}

int fdatasync(int file) {
    static int (*next)(int);
    if (!next)
        next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    delay();
    return next(file);
}
