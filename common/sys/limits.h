/* What this process may use, and what it does use. A container's limits (cgroup v2) count. */
#ifndef TEL_SYS_LIMITS_H
#define TEL_SYS_LIMITS_H

#include <stdint.h>

/* Raises the soft limit of open files to `want` or as far as allowed; returns what it is now. */
uint64_t tel_limits_raise_open_files(uint64_t want);
/* CPUs that can be used at once, at least 1. */
unsigned tel_limits_cpus(void);
/* Bytes of memory that may be used: the container's limit or the machine's memory. */
uint64_t tel_limits_memory_bytes(void);

/* 0 where /proc does not tell. */
uint64_t tel_process_rss_bytes(void);
uint64_t tel_process_peak_rss_bytes(void);
uint64_t tel_process_virtual_bytes(void);
uint64_t tel_process_open_files(void);
/* User and system time of all threads. */
int64_t tel_process_cpu_ns(void);
/* Of the calling thread. */
int64_t tel_thread_cpu_ns(void);
/* Start of the process, ns since the epoch. */
int64_t tel_process_start_ns(void);

#endif
