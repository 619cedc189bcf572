/* Delays every sync of a file by as many milliseconds as the file at SLOW_SYNC_FILE says: a disk
 * that is slow, for a program that is started with this in LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void delay(void) {
    const char *path = getenv("SLOW_SYNC_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char text[16] = {0};
    if (file < 0)
        return;
    if (read(file, text, sizeof text - 1) > 0) {
        long ms = atol(text);
        struct timespec time = {ms / 1000, (ms % 1000) * 1000000};
        nanosleep(&time, NULL);
    }
    close(file);
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
