/* Intercepts the file operations of a process. A seccomp filter passes every file operation to the handler
 * here, including those that do not go through libc. Operations in the watched folder are counted, fail on
 * request, or are written to a log in order, and are then executed. `watched.rs` loads the shim with
 * LD_PRELOAD and sets these variables:
 *
 *   YOI_SHIM_CONTROL  a file of 64-bit words: mode, kind, number of the call, error, calls, done, calls by kind,
 *                     and from word 128 the path of the failed call
 *   YOI_SHIM_ROOT     the watched folder; lines that are written to `marks` in it are copied to the log
 *   YOI_SHIM_LOG      the log
 */
#define _GNU_SOURCE
#define PATH_MAX_BYTES 1024
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

/* The only instruction whose system calls the filter allows. */
long shim_call(long number, long a, long b, long c, long d, long e, long f);
extern char shim_called[];
#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define RESULT(context) (context)->uc_mcontext.gregs[REG_RAX]
#define ARGUMENTS(context) { \
    (context)->uc_mcontext.gregs[REG_RDI], (context)->uc_mcontext.gregs[REG_RSI], \
    (context)->uc_mcontext.gregs[REG_RDX], (context)->uc_mcontext.gregs[REG_R10], \
    (context)->uc_mcontext.gregs[REG_R8], (context)->uc_mcontext.gregs[REG_R9] }
__asm__(".globl shim_call\n.globl shim_called\n.hidden shim_called\n.type shim_call, @function\n"
        "shim_call:\n mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n mov %r8, %r10\n"
        " mov %r9, %r8\n mov 8(%rsp), %r9\n syscall\nshim_called:\n ret\n");
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#define RESULT(context) (context)->uc_mcontext.regs[0]
#define ARGUMENTS(context) { \
    (context)->uc_mcontext.regs[0], (context)->uc_mcontext.regs[1], (context)->uc_mcontext.regs[2], \
    (context)->uc_mcontext.regs[3], (context)->uc_mcontext.regs[4], (context)->uc_mcontext.regs[5] }
__asm__(".globl shim_call\n.globl shim_called\n.hidden shim_called\n.type shim_call, %function\n"
        "shim_call:\n mov x8, x0\n mov x0, x1\n mov x1, x2\n mov x2, x3\n mov x3, x4\n mov x4, x5\n"
        " mov x5, x6\n svc #0\nshim_called:\n ret\n");
#else
#error "unsupported processor"
#endif

enum { OFF, FAIL, RECORD, FAIL_FROM };
/* `watched.rs` has the same names in the same order. */
enum { OPEN, READ, WRITE, SYNC, RENAME, UNLINK, MKDIR, LINK, TRUNCATE, CHMOD, STAT, LIST, LOCK, KINDS };
/* Entries of the log; `recording.rs` has the same numbers. */
enum { MADE_FILE = 1, WROTE, CUT, SYNCED, RENAMED, LINKED, UNLINKED, MADE_FOLDER, MARK, UNKNOWN };

static volatile uint64_t *control;
static char root[PATH_MAX_BYTES];
static size_t root_length;
static long log_file = -1;
static volatile int turn;

struct place {
    int watched;
    char path[PATH_MAX_BYTES];
};

static int is_below(const char *path) {
    return strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == 0);
}

static void of_file(long file, struct place *place) {
    char link[64] = "/proc/self/fd/";
    char digits[24];
    size_t count = 0, at = strlen(link);
    place->watched = 0;
    if (file < 0) return;
    for (unsigned long left = (unsigned long)file; left > 0 || count == 0; left /= 10)
        digits[count++] = (char)('0' + left % 10);
    while (count > 0) link[at++] = digits[--count];
    link[at] = 0;
    long length = shim_call(SYS_readlinkat, AT_FDCWD, (long)link, (long)place->path, sizeof place->path - 1, 0, 0);
    if (length <= 0) return;
    place->path[length] = 0;
    place->watched = is_below(place->path);
}

/* The path as given, without following links. */
static void of_path(int folder, const char *path, struct place *place) {
    place->watched = 0;
    if (path == NULL) return;
    size_t length = strlen(path), at = 0;
    if (length >= sizeof place->path) return;
    if (path[0] != '/') {
        if (folder == AT_FDCWD) return;
        of_file(folder, place);
        if (!place->watched) return;
        at = strlen(place->path);
        if (length == 0 || strcmp(path, ".") == 0) return;
        if (at + length + 2 > sizeof place->path) { place->watched = 0; return; }
        place->path[at++] = '/';
    }
    memcpy(place->path + at, path, length + 1);
    place->watched = is_below(place->path);
}

static void take_turn(void) {
    while (__atomic_exchange_n(&turn, 1, __ATOMIC_ACQUIRE)) shim_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

static void give_turn(void) { __atomic_store_n(&turn, 0, __ATOMIC_RELEASE); }

/* Returns a negative error if this call is to fail, 1 if half is to be written, or 0. If the disk is lost, all calls
 * of every kind fail from one on. */
static long failure(int kind, const struct place *place) {
    control[6 + kind]++;
    if (control[0] != FAIL_FROM && (control[0] != FAIL || control[1] != (uint64_t)kind)) return 0;
    uint64_t call = ++control[4];
    if (control[0] == FAIL_FROM ? call < control[2] : call != control[2]) return 0;
    control[5] = 1;
    strcpy((char *)(control + 128), place->path);
    return control[3] == 0 ? 1 : -(long)control[3];
}

static void note(uint8_t what, const char *first, const char *second, uint64_t number,
                 const struct iovec *pieces, long count, uint64_t bytes) {
    uint32_t head[4] = { what, first ? (uint32_t)strlen(first) : 0, second ? (uint32_t)strlen(second) : 0,
                         (uint32_t)bytes };
    struct iovec all[4] = { { head, sizeof head }, { &number, sizeof number },
                            { (void *)first, head[1] }, { (void *)second, head[2] } };
    shim_call(SYS_writev, log_file, (long)all, 4, 0, 0, 0);
    for (long index = 0; index < count && bytes > 0; index++) {
        size_t length = pieces[index].iov_len < bytes ? pieces[index].iov_len : bytes;
        shim_call(SYS_write, log_file, (long)pieces[index].iov_base, (long)length, 0, 0, 0);
        bytes -= length;
    }
}

static int is_there(const char *path, int follow) {
    struct stat found;
    return shim_call(SYS_newfstatat, AT_FDCWD, (long)path, (long)&found, follow ? 0 : AT_SYMLINK_NOFOLLOW, 0, 0) == 0;
}

static const char *below_root(const struct place *place) {
    const char *path = place->path + root_length;
    return *path == '/' ? path + 1 : path;
}

/* Handles one operation under the lock: counts it, lets it fail, or executes and logs it. */
static long done_in_turn(int kind, long number, const long *a, const struct place *first, const struct place *second) {
    long failed = failure(kind, first);
    if (failed < 0) return failed;
    int recording = control[0] == RECORD;
    const char *name = below_root(first);
    long result;
    if (kind == WRITE) {
        struct iovec one = { (void *)a[1], (size_t)a[2] };
        int gathered = number == SYS_writev || number == SYS_pwritev || number == SYS_pwritev2;
        const struct iovec *pieces = gathered ? (const struct iovec *)a[1] : &one;
        long count = gathered ? a[2] : 1;
        uint64_t at = number == SYS_pwrite64 || number == SYS_pwritev || number == SYS_pwritev2
                          ? (uint64_t)a[3]
                          : (uint64_t)shim_call(SYS_lseek, a[0], 0, SEEK_CUR, 0, 0, 0);
        if (failed == 1) {
            /* Half of the first piece that is not empty. */
            while (count > 1 && pieces->iov_len == 0) pieces++, count--;
            long half = (long)pieces->iov_len / 2;
            if (number == SYS_pwrite64 || number == SYS_pwritev || number == SYS_pwritev2)
                return shim_call(SYS_pwrite64, a[0], (long)pieces->iov_base, half, (long)at, 0, 0);
            return shim_call(SYS_write, a[0], (long)pieces->iov_base, half, 0, 0, 0);
        }
        result = shim_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        if (recording && result > 0)
            note(strcmp(name, "marks") == 0 ? MARK : WROTE, name, NULL, at, pieces, count, (uint64_t)result);
        return result;
    }
    int made = 0, emptied = 0;
    if (recording && kind == OPEN) {
        long flags = 0;
#ifdef SYS_open
        if (number == SYS_open) flags = a[1];
        if (number == SYS_creat) flags = O_CREAT | O_TRUNC;
#endif
        if (number == SYS_openat) flags = a[2];
        if (number == SYS_openat2) flags = (long)*(const uint64_t *)a[2];
        int there = is_there(first->path, 1);
        made = (flags & O_CREAT) && !there;
        emptied = (flags & O_TRUNC) && there;
    }
    result = shim_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (!recording || result < 0) return result;
    switch (kind) {
    case OPEN:
        if (strcmp(name, "marks") == 0) break;
        if (made) note(MADE_FILE, name, NULL, 0, NULL, 0, 0);
        if (emptied) note(CUT, name, NULL, 0, NULL, 0, 0);
        break;
    case SYNC: note(SYNCED, name, NULL, 0, NULL, 0, 0); break;
    case RENAME: note(RENAMED, name, below_root(second), 0, NULL, 0, 0); break;
    case LINK: note(LINKED, name, below_root(second), 0, NULL, 0, 0); break;
    case UNLINK: note(UNLINKED, name, NULL, 0, NULL, 0, 0); break;
    case MKDIR: note(MADE_FOLDER, name, NULL, 0, NULL, 0, 0); break;
    case TRUNCATE:
        if (number == SYS_ftruncate || number == SYS_truncate) note(CUT, name, NULL, (uint64_t)a[1], NULL, 0, 0);
        else note(UNKNOWN, name, NULL, (uint64_t)number, NULL, 0, 0);
        break;
    default: break;
    }
    return result;
}

static long judged(int kind, long number, const long *a, const struct place *first, const struct place *second) {
    if (!first->watched && !(second && second->watched)) return shim_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    take_turn();
    long result = done_in_turn(kind, number, a, first, second);
    give_turn();
    return result;
}

static long asked(long number, const long *a) {
    struct place first, second;
    int kind;
    switch (number) {
#ifdef SYS_open
    case SYS_open: case SYS_creat: kind = OPEN; goto path;
    case SYS_unlink: case SYS_rmdir: kind = UNLINK; goto path;
    case SYS_mkdir: kind = MKDIR; goto path;
    case SYS_chmod: case SYS_chown: case SYS_lchown: kind = CHMOD; goto path;
    case SYS_stat: case SYS_lstat: case SYS_access: kind = STAT; goto path;
    case SYS_readlink: kind = READ; goto path;
    case SYS_rename: kind = RENAME; goto two_paths;
    case SYS_link: kind = LINK; goto two_paths;
    case SYS_getdents: kind = LIST; goto file;
#endif
    case SYS_truncate: kind = TRUNCATE; goto path;
    case SYS_openat: case SYS_openat2: kind = OPEN; goto path_at;
    case SYS_readlinkat: kind = READ; goto path_at;
    case SYS_unlinkat: kind = UNLINK; goto path_at;
    case SYS_mkdirat: kind = MKDIR; goto path_at;
    case SYS_fchmodat: case SYS_fchownat: kind = CHMOD; goto path_at;
    case SYS_newfstatat: case SYS_statx: case SYS_faccessat: case SYS_faccessat2: kind = STAT; goto path_at;
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_renameat2: kind = RENAME; goto two_paths_at;
    case SYS_linkat: kind = LINK; goto two_paths_at;
    case SYS_read: case SYS_pread64: case SYS_readv: case SYS_preadv: kind = READ; goto file;
    case SYS_write: case SYS_pwrite64: case SYS_writev: case SYS_pwritev: case SYS_pwritev2: kind = WRITE; goto file;
    case SYS_fsync: case SYS_fdatasync: case SYS_sync_file_range: kind = SYNC; goto file;
    case SYS_ftruncate: case SYS_fallocate: case SYS_copy_file_range: kind = TRUNCATE; goto file;
    case SYS_fchmod: case SYS_fchown: kind = CHMOD; goto file;
    case SYS_fstat: kind = STAT; goto file;
    case SYS_getdents64: kind = LIST; goto file;
    case SYS_flock: kind = LOCK; goto file;
    /* A duplicated descriptor counts as another open file. */
    case SYS_fcntl:
        if (a[1] != F_DUPFD && a[1] != F_DUPFD_CLOEXEC) return shim_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        kind = OPEN;
        goto file;
    default: return -ENOSYS;
    }
path:
    of_path(AT_FDCWD, (const char *)a[0], &first);
    return judged(kind, number, a, &first, NULL);
path_at:
    of_path((int)a[0], (const char *)a[1], &first);
    return judged(kind, number, a, &first, NULL);
#ifdef SYS_open
two_paths:
    of_path(AT_FDCWD, (const char *)a[0], &first);
    of_path(AT_FDCWD, (const char *)a[1], &second);
    return judged(kind, number, a, &first, &second);
#endif
two_paths_at:
    of_path((int)a[0], (const char *)a[1], &first);
    of_path((int)a[2], (const char *)a[3], &second);
    return judged(kind, number, a, &first, &second);
file:
    of_file(number == SYS_copy_file_range ? a[2] : a[0], &first);
    return judged(kind, number, a, &first, NULL);
}

static void handler(int signal, siginfo_t *info, void *opaque) {
    ucontext_t *context = opaque;
    (void)signal;
    long arguments[6] = ARGUMENTS(context);
    RESULT(context) = asked(info->si_syscall, arguments);
}

static const int handed_over[] = {
#ifdef SYS_open
    SYS_open, SYS_creat, SYS_unlink, SYS_rmdir, SYS_mkdir, SYS_chmod, SYS_chown, SYS_lchown, SYS_stat, SYS_lstat,
    SYS_access, SYS_readlink, SYS_rename, SYS_link, SYS_getdents,
#endif
#ifdef SYS_renameat
    SYS_renameat,
#endif
    SYS_truncate, SYS_openat, SYS_openat2, SYS_unlinkat, SYS_mkdirat, SYS_fchmodat, SYS_fchownat, SYS_newfstatat,
    SYS_statx, SYS_faccessat, SYS_faccessat2, SYS_renameat2, SYS_linkat, SYS_read, SYS_pread64, SYS_readv,
    SYS_preadv, SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_fsync, SYS_fdatasync,
    SYS_sync_file_range, SYS_ftruncate, SYS_fallocate, SYS_copy_file_range, SYS_fchmod, SYS_fchown, SYS_fstat,
    SYS_getdents64, SYS_flock, SYS_fcntl, SYS_readlinkat,
};
#define HANDED_OVER (sizeof handed_over / sizeof *handed_over)

static void refuse(const char *what) {
    shim_call(SYS_write, 2, (long)what, (long)strlen(what), 0, 0, 0);
    shim_call(SYS_exit_group, 99, 0, 0, 0, 0, 0);
}

__attribute__((constructor)) static void begin(void) {
    const char *place = getenv("YOI_SHIM_CONTROL"), *watched = getenv("YOI_SHIM_ROOT"), *log = getenv("YOI_SHIM_LOG");
    if (!place || !watched || !log || strlen(watched) >= sizeof root) refuse("shim: not told where\n");
    strcpy(root, watched);
    root_length = strlen(root);
    int file = open(place, O_RDWR | O_CLOEXEC);
    void *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    log_file = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || words == MAP_FAILED || log_file < 0) refuse("shim: its files cannot be opened\n");
    control = words;

    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART };
    if (sigaction(SIGSYS, &action, NULL)) refuse("shim: no handler\n");

    uint64_t passed = (uint64_t)(uintptr_t)shim_called;
    struct sock_filter filter[9 + HANDED_OVER];
    size_t at = 0;
    const unsigned load = BPF_LD | BPF_W | BPF_ABS, equal = BPF_JMP | BPF_JEQ | BPF_K, end = BPF_RET | BPF_K;
    const unsigned pointer = offsetof(struct seccomp_data, instruction_pointer);
    filter[at++] = (struct sock_filter)BPF_STMT(load, offsetof(struct seccomp_data, arch));
    filter[at++] = (struct sock_filter)BPF_JUMP(equal, ARCH, 1, 0);
    filter[at++] = (struct sock_filter)BPF_STMT(end, SECCOMP_RET_KILL_PROCESS);
    filter[at++] = (struct sock_filter)BPF_STMT(load, pointer);
    filter[at++] = (struct sock_filter)BPF_JUMP(equal, (uint32_t)passed, 0, 2);
    filter[at++] = (struct sock_filter)BPF_STMT(load, pointer + 4);
    filter[at++] = (struct sock_filter)BPF_JUMP(equal, (uint32_t)(passed >> 32), HANDED_OVER + 1, 0);
    filter[at++] = (struct sock_filter)BPF_STMT(load, offsetof(struct seccomp_data, nr));
    for (size_t index = 0; index < HANDED_OVER; index++)
        filter[at++] = (struct sock_filter)BPF_JUMP(equal, (unsigned)handed_over[index], HANDED_OVER - index, 0);
    filter[at++] = (struct sock_filter)BPF_STMT(end, SECCOMP_RET_ALLOW);
    struct sock_filter all[10 + HANDED_OVER];
    memcpy(all, filter, at * sizeof *filter);
    all[at++] = (struct sock_filter)BPF_STMT(end, SECCOMP_RET_TRAP);
    struct sock_fprog program = { (unsigned short)at, all };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
        refuse("shim: no filter\n");
}
