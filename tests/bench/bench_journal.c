/* How fast the journal takes records: small ones by the number, large ones by the byte, durable. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/journal/journal.h"
#include "common/sys/fs.h"

struct result {
    double seconds, cpu_seconds;
    uint64_t syncs;
};

static double cpu_now(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static struct result run(const char *dir, uint64_t count, size_t size, bool read)
{
    struct tel_journal_options o = {.dir = dir, .budget_bytes = UINT64_C(8) << 30, .pending_bytes = 64u << 20};
    struct tel_journal *j = NULL;
    struct tel_error err;
    if (tel_journal_open(&o, &j, &err) != TEL_OK) {
        fprintf(stderr, "bench_journal: %s\n", err.text);
        exit(1);
    }
    char *value = tel_malloc(size);
    memset(value, 'x', size);
    struct tel_journal_stats s;
    tel_journal_stats(j, &s);
    int64_t from = s.high;
    int64_t start = tel_mono_ns(tel_clock_system());
    double cpu = cpu_now();
    for (uint64_t i = 0; i < count; i++)
        while (tel_journal_append(j, TEL_SPAN("key"), tel_span_make(value, size), NULL, NULL, &err) != TEL_OK)
            if (tel_journal_flush(j, 10000, &err) != TEL_OK)
                exit(1);
    if (tel_journal_flush(j, 60000, &err) != TEL_OK)
        exit(1);
    struct result r = {(double)(tel_mono_ns(tel_clock_system()) - start) / 1e9, cpu_now() - cpu, 0};
    tel_journal_stats(j, &s);
    r.syncs = s.syncs;
    if (read) {
        struct tel_journal_reader *reader = tel_journal_reader_open(j, from);
        start = tel_mono_ns(tel_clock_system());
        cpu = cpu_now();
        for (uint64_t n = 0; n < count;) {
            const struct tel_journal_record *records = NULL;
            size_t got = 0;
            int64_t next = 0;
            if (tel_journal_read(reader, 1000, 10000, &records, &got, &next, &err) != TEL_OK)
                exit(1);
            n += got;
        }
        r.seconds = (double)(tel_mono_ns(tel_clock_system()) - start) / 1e9;
        r.cpu_seconds = cpu_now() - cpu;
        tel_journal_reader_close(reader);
    }
    tel_journal_close(j);
    free(value);
    return r;
}

int main(int argc, char **argv)
{
    const char *dir = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--data") == 0 && i + 1 < argc) {
            dir = argv[++i];
        } else {
            printf("usage: bench_journal [--data DIR]\nAppends to and reads a journal; DIR is used up. Default: a folder in /tmp.\n");
            return strcmp(argv[i], "--help") == 0 ? 0 : 2;
        }
    }
    char made[] = "/tmp/bench-journal-XXXXXX";
    if (!dir)
        dir = mkdtemp(made);
    const uint64_t small = 1000000, large = 4000;
    const size_t small_size = 200, large_size = 256u << 10;
    struct result a = run(dir, small, small_size, false);
    struct result b = run(dir, small, small_size, true);
    struct result c = run(dir, large, large_size, false);
    struct result d = run(dir, large, large_size, true);
    struct tel_error err;
    if (tel_fs_remove_all(tel_fs_system(), dir, &err) != TEL_OK)
        fprintf(stderr, "bench_journal: %s\n", err.text);
    double large_gb = (double)large * (double)large_size / 1e9;
    printf("{\"small_records_per_s\":%.0f,\"small_records_per_cpu_s\":%.0f,\"small_read_per_s\":%.0f,"
           "\"small_syncs\":%llu,\"large_gb_per_s\":%.2f,\"large_gb_per_cpu_s\":%.2f,\"large_read_gb_per_s\":%.2f}\n",
           (double)small / a.seconds, (double)small / a.cpu_seconds, (double)small / b.seconds,
           (unsigned long long)a.syncs, large_gb / c.seconds, large_gb / c.cpu_seconds, large_gb / d.seconds);
    return 0;
}
