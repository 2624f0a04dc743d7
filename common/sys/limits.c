#include "common/sys/limits.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/clock.h"

uint64_t tel_limits_raise_open_files(uint64_t want)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= want)
        return limit.rlim_cur;
    struct rlimit raised = limit;
    raised.rlim_cur = limit.rlim_max == RLIM_INFINITY ? want : TEL_MIN(want, limit.rlim_max);
    return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

/* A small file of /proc or /sys as a C string; false if it cannot be read. */
static bool read_small(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, out, cap - 1);
    close(fd);
    if (n < 0)
        return false;
    out[n] = '\0';
    return true;
}

unsigned tel_limits_cpus(void)
{
    cpu_set_t set;
    unsigned cpus = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        cpus = (unsigned)CPU_COUNT(&set);
    char text[128];
    unsigned long long quota, period;
    if (read_small("/sys/fs/cgroup/cpu.max", text, sizeof text) &&
        sscanf(text, "%llu %llu", &quota, &period) == 2 && period > 0) {
        unsigned long long allowed = (quota + period - 1) / period;
        if (allowed < cpus)
            cpus = (unsigned)allowed;
    }
    return cpus ? cpus : 1;
}

uint64_t tel_limits_memory_bytes(void)
{
    struct sysinfo info;
    uint64_t bytes = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : UINT64_MAX;
    char text[64];
    if (read_small("/sys/fs/cgroup/memory.max", text, sizeof text) &&
        isdigit((unsigned char)text[0])) {
        uint64_t allowed = strtoull(text, NULL, 10);
        bytes = TEL_MIN(bytes, allowed);
    }
    return bytes;
}

static uint64_t statm_pages(int field)
{
    char text[256];
    unsigned long long size, resident;
    if (!read_small("/proc/self/statm", text, sizeof text) ||
        sscanf(text, "%llu %llu", &size, &resident) != 2)
        return 0;
    return field == 0 ? size : resident;
}

uint64_t tel_process_rss_bytes(void)
{
    return statm_pages(1) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t tel_process_virtual_bytes(void)
{
    return statm_pages(0) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t tel_process_peak_rss_bytes(void)
{
    /* Not ru_maxrss: that is inherited over exec, so that a small program started by a large one
     * would report the large one's. */
    char text[4096];
    unsigned long long kib;
    if (!read_small("/proc/self/status", text, sizeof text))
        return 0;
    const char *line = strstr(text, "VmHWM:");
    return line && sscanf(line, "VmHWM: %llu", &kib) == 1 ? kib * 1024 : 0;
}

uint64_t tel_process_open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    uint64_t count = 0;
    for (struct dirent *e; (e = readdir(dir));)
        count += e->d_name[0] != '.';
    closedir(dir);
    return count - 1; /* the one that was opened to count */
}

int64_t tel_process_cpu_ns(void)
{
    struct timespec ts;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) != 0)
        return 0;
    return (int64_t)ts.tv_sec * TEL_NS_PER_S + ts.tv_nsec;
}

int64_t tel_thread_cpu_ns(void)
{
    struct timespec ts;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) != 0)
        return 0;
    return (int64_t)ts.tv_sec * TEL_NS_PER_S + ts.tv_nsec;
}

int64_t tel_process_start_ns(void)
{
    char text[1024];
    if (!read_small("/proc/self/stat", text, sizeof text))
        return 0;
    /* The name stands in parentheses and may hold anything, so count the fields behind it. Field 22
     * (the 20th from there) is the start in clock ticks since boot: proc(5). */
    const char *p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    if (!p)
        return 0;
    int64_t ticks = strtoll(p, NULL, 10), hz = sysconf(_SC_CLK_TCK);
    struct timespec boot;
    if (hz <= 0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0)
        return 0;
    int64_t since_boot = (int64_t)boot.tv_sec * TEL_NS_PER_S + boot.tv_nsec;
    return tel_wall_ns(tel_clock_system()) - since_boot +
           ticks / hz * TEL_NS_PER_S + ticks % hz * (TEL_NS_PER_S / hz);
}
