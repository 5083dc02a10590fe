/* env_real.c: the world as the operating system has it. */
#include "base/env.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

enum { BLOCK = 4096 };

struct env_file {
    int fd;
    bool
        append; /* written with write(): also pipes and terminals take it, which have no position */
    bool direct; /* ENV_DISK: read in whole blocks, past the page cache */
};

/* Calls `expression` until a signal no longer interrupts it. */
#define UNINTERRUPTED(expression)                \
    ({                                           \
        typeof(expression) result_;              \
        do {                                     \
            result_ = (expression);              \
        } while (result_ < 0 && errno == EINTR); \
        result_;                                 \
    })

static uint64_t clock_ns(clockid_t id) {
    struct timespec now;
    int failed = clock_gettime(id, &now);
    assert(failed == 0);
    return (uint64_t)now.tv_sec * 1'000'000'000u + (uint64_t)now.tv_nsec;
}

static uint64_t real_monotonic_ns(struct env *) {
    return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t real_realtime_ns(struct env *) {
    return clock_ns(CLOCK_REALTIME);
}

static void real_random(struct env *, void *out, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = UNINTERRUPTED(getrandom((char *)out + done, len - done, 0));
        assert(n > 0); /* Linux 3.17 and later never refuse */
        done += (size_t)n;
    }
}

static void real_sleep_ns(struct env *, uint64_t ns) {
    struct timespec left = { (time_t)(ns / 1'000'000'000u), (long)(ns % 1'000'000'000u) };
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

static int open_flags(unsigned flags) {
    int os = O_CLOEXEC | O_NOCTTY;
    bool reads = flags & ENV_READ, writes = flags & (ENV_WRITE | ENV_APPEND | ENV_TRUNCATE);
    os |= reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY;
    if (flags & ENV_CREATE) os |= O_CREAT | O_EXCL;
    if (flags & ENV_TRUNCATE) os |= O_CREAT | O_TRUNC;
    if (flags & ENV_APPEND) os |= O_APPEND;
    if (flags & ENV_DISK) os |= O_DIRECT;
    return os;
}

static struct env_file *file_new(int fd, unsigned flags) {
    struct env_file *file = mem_new(sizeof *file);
    *file = (struct env_file){ .fd = fd, .append = flags & ENV_APPEND, .direct = flags & ENV_DISK };
    return file;
}

static int real_open(struct env *, const char *path, unsigned flags, struct env_file **out) {
    int fd = UNINTERRUPTED(open(path, open_flags(flags), 0600));
    if (fd < 0) return -errno;
    *out = file_new(fd, flags);
    return 0;
}

static int real_lock(struct env *, const char *path, struct env_file **out) {
    int fd = UNINTERRUPTED(open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOCTTY, 0600));
    if (fd < 0) return -errno;
    if (UNINTERRUPTED(flock(fd, LOCK_EX | LOCK_NB)) < 0) {
        int error = errno;
        (void)close(fd);
        return -error;
    }
    *out = file_new(fd, 0);
    return 0;
}

static void real_close(struct env *, struct env_file *file) {
    if (!file) return;
    (void)close(file->fd); /* on Linux it is closed whatever this says */
    mem_free(file, sizeof *file);
}

/* Past the page cache memory, place and length must be those of whole blocks. */
static int64_t read_blocks(struct env_file *file, void *out, size_t len, uint64_t at) {
    size_t skipped = (size_t)(at % BLOCK), size = (skipped + len + BLOCK - 1) / BLOCK * BLOCK;
    char *memory = mem_new(size + BLOCK);
    char *blocks = memory + (BLOCK - (uintptr_t)memory % BLOCK) % BLOCK;
    ssize_t n = UNINTERRUPTED(pread(file->fd, blocks, size, (off_t)(at - skipped)));
    int64_t result = n < 0 ? -errno : n <= (ssize_t)skipped ? 0 : n - (ssize_t)skipped;
    if (result > (int64_t)len) result = (int64_t)len;
    if (result > 0) memcpy(out, blocks + skipped, (size_t)result);
    mem_free(memory, size + BLOCK);
    return result;
}

static int64_t real_pread(struct env *, struct env_file *file, void *out, size_t len, uint64_t at) {
    if (file->direct) return read_blocks(file, out, len, at);
    ssize_t n = UNINTERRUPTED(pread(file->fd, out, len, (off_t)at));
    return n < 0 ? -errno : n;
}

static int64_t real_pwrite(struct env *, struct env_file *file, const void *data, size_t len,
                           uint64_t at) {
    ssize_t n = file->append ? UNINTERRUPTED(write(file->fd, data, len))
                             : UNINTERRUPTED(pwrite(file->fd, data, len, (off_t)at));
    return n < 0 ? -errno : n;
}

static int real_sync(struct env *, struct env_file *file) {
    return UNINTERRUPTED(fdatasync(file->fd)) < 0 ? -errno : 0;
}

static int real_write_back(struct env *, struct env_file *file, uint64_t at, uint64_t len) {
    uint64_t before = at < len ? 0 : at - len;
    if (sync_file_range(file->fd, (off_t)at, (off_t)len, SYNC_FILE_RANGE_WRITE) < 0 ||
        (before < at && sync_file_range(file->fd, (off_t)before, (off_t)(at - before),
                                        SYNC_FILE_RANGE_WAIT_BEFORE) < 0))
        return errno == ENOSYS || errno == EINVAL ? 0 : -errno; /* not every file system can */
    return 0;
}

static int real_truncate(struct env *, struct env_file *file, uint64_t len) {
    return UNINTERRUPTED(ftruncate(file->fd, (off_t)len)) < 0 ? -errno : 0;
}

static int64_t real_size(struct env *, struct env_file *file) {
    struct stat stat;
    return fstat(file->fd, &stat) < 0 ? -errno : stat.st_size;
}

static int real_rename(struct env *, const char *from, const char *to) {
    return rename(from, to) < 0 ? -errno : 0;
}

static int real_unlink(struct env *, const char *path) {
    return unlink(path) < 0 ? -errno : 0;
}

static int real_mkdir(struct env *, const char *path) {
    return mkdir(path, 0700) < 0 ? -errno : 0;
}

static int real_sync_dir(struct env *, const char *path) {
    int fd = UNINTERRUPTED(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0) return -errno;
    int error = UNINTERRUPTED(fsync(fd)) < 0 ? -errno : 0;
    (void)close(fd);
    return error;
}

static int real_list(struct env *, const char *path, bool (*name)(void *self, const char *name),
                     void *self) {
    DIR *folder = opendir(path);
    if (!folder) return -errno;
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(folder))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !name(self, entry->d_name))
            break;
        errno = 0; /* readdir's only way to tell an error from the end */
    }
    int error = entry ? 0 : -errno;
    (void)closedir(folder);
    return error;
}

struct env *env_real(void) {
    static const struct env_ops ops = {
        .monotonic_ns = real_monotonic_ns,
        .realtime_ns = real_realtime_ns,
        .random = real_random,
        .sleep_ns = real_sleep_ns,
        .open = real_open,
        .lock = real_lock,
        .close = real_close,
        .pread = real_pread,
        .pwrite = real_pwrite,
        .sync = real_sync,
        .write_back = real_write_back,
        .truncate = real_truncate,
        .size = real_size,
        .rename = real_rename,
        .unlink = real_unlink,
        .mkdir = real_mkdir,
        .sync_dir = real_sync_dir,
        .list = real_list,
    };
    static struct env real = { &ops };
    return &real;
}
