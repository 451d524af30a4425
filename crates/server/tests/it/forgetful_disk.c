/* Keeps, beside the files of a store, what a disk would hold of them after a power cut: only what a
 * successful flush has written. One flush can be made to fail as Linux lets it fail: the error is
 * reported once, and the pages count as written from then on.
 *
 * PASSMATE_DISK is the folder of these copies. Once it has a file `armed`, flushes are counted, and
 * the flush with the number PASSMATE_FAILS_AT fails, which makes a file `failed`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 1 << 16, FILES = 2 };

static const char *const names[FILES] = {"passmate.db", "passmate.db-wal"};
/* Pages that were written since they were flushed. */
static unsigned char dirty[FILES][PAGES];
static long flushes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void die(const char *why) {
    fprintf(stderr, "forgetful disk: %s\n", why);
    abort();
}

/* Which of the files this is, or -1. */
static int file_of(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len <= 0) return -1;
    path[len] = 0;
    const char *name = strrchr(path, '/');
    for (int file = 0; name && file < FILES; file++)
        if (!strcmp(name + 1, names[file])) return file;
    return -1;
}

static void mark(int fd, off_t at, ssize_t len) {
    int file = len > 0 ? file_of(fd) : -1;
    if (file < 0) return;
    if (at + len > (off_t)PAGE * PAGES) die("the file is too long");
    pthread_mutex_lock(&lock);
    for (off_t page = at / PAGE; page * PAGE < at + len; page++) dirty[file][page] = 1;
    pthread_mutex_unlock(&lock);
}

/* Copies the dirty pages and the length of a file to the disk. */
static void keep(int fd, int file) {
    char path[4096], bytes[PAGE];
    struct stat now;
    snprintf(path, sizeof path, "%s/%s", getenv("PASSMATE_DISK"), names[file]);
    int copy = open(path, O_RDWR | O_CREAT, 0600);
    if (copy < 0 || fstat(fd, &now)) die("no copy");
    ssize_t (*write_at)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite64");
    int (*truncate_to)(int, off_t) = dlsym(RTLD_NEXT, "ftruncate64");
    for (off_t page = 0; page < PAGES; page++) {
        if (!dirty[file][page]) continue;
        ssize_t len = pread(fd, bytes, PAGE, page * PAGE);
        if (len > 0 && write_at(copy, bytes, len, page * PAGE) != len) die("no copy of a page");
    }
    if (truncate_to(copy, now.st_size)) die("no copy of the length");
    close(copy);
}

static int flush(int fd, int (*real)(int)) {
    int file = file_of(fd);
    if (file < 0) return real(fd);
    char armed[4096];
    snprintf(armed, sizeof armed, "%s/armed", getenv("PASSMATE_DISK"));
    pthread_mutex_lock(&lock);
    if (!access(armed, F_OK)) flushes++;
    int fails = flushes && flushes == atol(getenv("PASSMATE_FAILS_AT"));
    if (!fails) keep(fd, file);
    memset(dirty[file], 0, PAGES);
    pthread_mutex_unlock(&lock);
    if (fails) {
        flushes++;
        snprintf(armed, sizeof armed, "%s/failed", getenv("PASSMATE_DISK"));
        close(open(armed, O_WRONLY | O_CREAT, 0600));
        errno = EIO;
        return -1;
    }
    return 0;
}

int fsync(int fd) { return flush(fd, dlsym(RTLD_NEXT, "fsync")); }

int fdatasync(int fd) { return flush(fd, dlsym(RTLD_NEXT, "fdatasync")); }

static ssize_t write_at(const char *call, int fd, const void *bytes, size_t len, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, call);
    ssize_t written = real(fd, bytes, len, at);
    mark(fd, at, written);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
    return write_at("pwrite", fd, bytes, len, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at) {
    return write_at("pwrite64", fd, bytes, len, at);
}
