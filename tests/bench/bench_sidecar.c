/*
 * What the sidecar costs from file to acknowledged: CPU microseconds a line and peak resident memory of a
 * process that does nothing else, over a real Kafka (acks=all) or over a journal.
 *
 *     bench_sidecar --corpus FILE.jsonl | --file FILE  [--brokers LIST] [options]
 *
 * The sidecar runs in a child, so that the corpus's preparation is in neither figure. With --rate the file
 * is written while it is read, so many lines a second; otherwise it is there and in the page cache.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/net/kafka/kafka_admin.h"
#include "common/sys/fs.h"
#include "common/sys/limits.h"
#include "common/transport/transport_journal.h"
#include "common/transport/transport_kafka.h"
#include "sidecar/sidecar.h"

struct options {
    const char *corpus, *file, *brokers, *compression;
    uint64_t lines; /* at most; 0: all */
    uint64_t rate;  /* lines a second; 0: the whole file at once */
    uint32_t partitions, batch_bytes;
    uint64_t memory, queue;
};

struct result {
    uint64_t delivered;
    double seconds, cpu_seconds;
    uint64_t peak_rss;
};

static void die(const char *what, const struct tel_error *err)
{
    fprintf(stderr, "bench_sidecar: %s%s%s\n", what, err ? ": " : "", err ? err->text : "");
    exit(1);
}

static void usage(void)
{
    puts("usage: bench_sidecar --corpus FILE.jsonl | --file FILE [--brokers HOST:PORT,...]\n"
         "  --lines N        at most so many lines\n"
         "  --rate N         write the file while it is read, N lines a second\n"
         "  --partitions N   of the topic or journal (4)\n"
         "  --compression C  lz4, zstd, none (lz4)\n"
         "  --batch-bytes N, --memory N, --queue N   as in the sidecar's configuration\n"
         "Prints one JSON object: cpu_us_per_line, peak_rss_bytes, delivered, ...");
}

/* ---- the corpus ----------------------------------------------------------------------------- */

/* The value of "_msg" in a flat JSON object, decoded as far as logs need. */
static void add_msg(struct tel_buf *out, const char *line)
{
    const char *p = strstr(line, "\"_msg\":\"");
    for (p = p ? p + 8 : ""; *p && *p != '"'; p++) {
        if (*p != '\\') {
            tel_buf_add_char(out, *p);
            continue;
        }
        switch (*++p) {
        case 'n':
        case 'r':
            tel_buf_add_char(out, ' ');
            break;
        case 't':
            tel_buf_add_char(out, '\t');
            break;
        case 'u':
            tel_buf_add_char(out, '?');
            p += strlen(p) > 4 ? 4 : 0;
            break;
        default:
            tel_buf_add_char(out, *p);
        }
    }
    tel_buf_add_char(out, '\n');
}

static uint64_t write_corpus(const struct options *o, const char *path, uint64_t *ret_bytes)
{
    FILE *in = fopen(o->corpus ? o->corpus : o->file, "r");
    FILE *out = fopen(path, "w");
    char *line = NULL;
    size_t cap = 0;
    uint64_t lines = 0;
    struct tel_buf text = {0};
    if (!in || !out)
        die("cannot read the corpus or write its copy", NULL);
    *ret_bytes = 0;
    for (ssize_t n; (!o->lines || lines < o->lines) && (n = getline(&line, &cap, in)) > 0; lines++) {
        tel_buf_clear(&text);
        if (o->corpus)
            add_msg(&text, line);
        else
            tel_buf_add(&text, line, (size_t)n);
        fwrite(text.ptr, 1, text.len, out);
        *ret_bytes += text.len;
    }
    free(line);
    tel_buf_free(&text);
    fclose(in);
    if (fclose(out) != 0)
        die("cannot write the corpus's copy", NULL);
    return lines;
}

/* Appends the lines of `from` to `to`, `rate` a second, in steps of 10 ms. */
static void feed(const char *from, const char *to, uint64_t rate)
{
    FILE *in = fopen(from, "r"), *out = fopen(to, "a");
    char *line = NULL;
    size_t cap = 0;
    const struct tel_clock *clock = tel_clock_system();
    int64_t start = tel_mono_ns(clock);
    uint64_t written = 0;
    if (!in || !out)
        die("cannot feed", NULL);
    for (bool more = true; more;) {
        uint64_t due = (uint64_t)(tel_mono_ns(clock) - start) / 1000 * rate / 1000000;
        for (; more && written < due; written++) {
            ssize_t n = getline(&line, &cap, in);
            more = n > 0 && fwrite(line, 1, (size_t)n, out) == (size_t)n;
        }
        fflush(out);
        usleep(10000);
    }
    free(line);
    fclose(in);
    fclose(out);
}

/* ---- the sidecar ---------------------------------------------------------------------------- */

static struct tel_transport *open_transport(const struct options *o, const char *dir,
                                            const char *topic)
{
    struct tel_transport *t;
    struct tel_error err;
    struct tel_buf path = {0};
    tel_code rc;
    if (o->brokers) {
        struct tel_kafka_options k = {.brokers = o->brokers,
                                      .topic = topic,
                                      .compression = o->compression,
                                      .queue_bytes = o->queue,
                                      .linger_ms = 5};
        rc = tel_transport_kafka_new(&k, &t, &err);
    } else {
        tel_buf_printf(&path, "%s/journal", dir);
        struct tel_transport_journal_options j = {.fs = tel_fs_system(),
                                                  .dir = tel_buf_cstr(&path),
                                                  .partitions = o->partitions,
                                                  .partition_bytes = (uint64_t)8 << 30};
        rc = tel_transport_journal_new(&j, &t, &err);
        tel_buf_free(&path);
    }
    if (rc != TEL_OK)
        die("transport", &err);
    return t;
}

static void run_sidecar(const struct options *o, const char *dir, const char *topic,
                        uint64_t lines, int report_fd)
{
    struct tel_error err;
    struct tel_buf glob = {0}, data = {0};
    struct sidecar_stats st;
    struct sidecar_input input;
    struct sidecar_tail space;
    struct sidecar *s;
    tel_buf_printf(&glob, "%s/in/*.log", dir);
    tel_buf_printf(&data, "%s/data", dir);
    const char *globs[] = {tel_buf_cstr(&glob)};
    sidecar_input_tail(&input, &space, "bench", globs, 1);
    struct sidecar_options so = {.data_dir = tel_buf_cstr(&data),
                                 .inputs = &input,
                                 .input_count = 1,
                                 .batch_bytes = o->batch_bytes,
                                 .memory_bytes = o->memory};
    struct tel_transport *t = open_transport(o, dir, topic);
    if (sidecar_new(&so, t, &s, &err) != TEL_OK || sidecar_start(s, &err) != TEL_OK)
        die("sidecar", &err);
    int64_t start = tel_mono_ns(tel_clock_system());
    do {
        usleep(20000);
        sidecar_get_stats(s, &st);
    } while (st.events_delivered + st.events_rejected < lines);
    double seconds = (double)(tel_mono_ns(tel_clock_system()) - start) / 1e9;
    if (sidecar_stop(s, 10000, &err) != TEL_OK)
        die("stop", &err);
    sidecar_get_stats(s, &st);
    dprintf(report_fd, "%llu %f\n", (unsigned long long)st.events_delivered, seconds);
    sidecar_free(s);
    tel_transport_free(t);
    tel_buf_free(&glob);
    tel_buf_free(&data);
}

static void in_child(const struct options *o, const char *dir, const char *topic, const char *text,
                     const char *live, uint64_t lines, struct result *r)
{
    int fds[2], status;
    struct rusage usage;
    char report[64] = "";
    unsigned long long delivered = 0;
    if (pipe(fds) != 0)
        die("pipe", NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        run_sidecar(o, dir, topic, lines, fds[1]);
        _exit(0);
    }
    close(fds[1]);
    if (o->rate)
        feed(text, live, o->rate);
    if (read(fds[0], report, sizeof(report) - 1) <= 0 ||
        sscanf(report, "%llu %lf", &delivered, &r->seconds) != 2 ||
        wait4(pid, &status, 0, &usage) != pid || status != 0)
        die("the sidecar's process failed", NULL);
    close(fds[0]);
    r->delivered = delivered;
    r->peak_rss = (uint64_t)usage.ru_maxrss * 1024;
    r->cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void make_topic(const struct options *o, const char *topic)
{
    struct tel_kafka_client client = {.brokers = o->brokers};
    struct tel_kafka_admin *admin;
    struct tel_error err;
    struct tel_kafka_topic_spec spec = {.name = topic, .partitions = o->partitions};
    if (tel_kafka_admin_new(&client, &admin, &err) != TEL_OK ||
        tel_kafka_admin_create(admin, &spec, 20000, &err) != TEL_OK)
        die("topic", &err);
    tel_kafka_admin_free(admin);
}

static void parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(name, "--help") == 0) {
            usage();
            exit(0);
        }
        if (!value)
            die("an option lacks its value; see --help", NULL);
        if (strcmp(name, "--corpus") == 0)
            o->corpus = value;
        else if (strcmp(name, "--file") == 0)
            o->file = value;
        else if (strcmp(name, "--brokers") == 0)
            o->brokers = value;
        else if (strcmp(name, "--compression") == 0)
            o->compression = value;
        else if (strcmp(name, "--lines") == 0)
            o->lines = strtoull(value, NULL, 10);
        else if (strcmp(name, "--rate") == 0)
            o->rate = strtoull(value, NULL, 10);
        else if (strcmp(name, "--partitions") == 0)
            o->partitions = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(name, "--batch-bytes") == 0)
            o->batch_bytes = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(name, "--memory") == 0)
            o->memory = strtoull(value, NULL, 10);
        else if (strcmp(name, "--queue") == 0)
            o->queue = strtoull(value, NULL, 10);
        else
            die("unknown option; see --help", NULL);
    }
    if (!o->corpus == !o->file)
        die("give either --corpus or --file; see --help", NULL);
}

int main(int argc, char **argv)
{
    struct options o = {.partitions = 4, .compression = "lz4", .queue = 8 << 20};
    struct result r = {0};
    struct tel_error err;
    char dir[] = "/tmp/bench-sidecar-XXXXXX", topic[64];
    struct tel_buf path = {0}, text = {0};
    uint64_t bytes;
    parse(argc, argv, &o);
    tel_log_set_level(TEL_LOG_WARN);
    if (!mkdtemp(dir))
        die("cannot make a temporary folder", NULL);
    tel_buf_printf(&path, "%s/in", dir);
    if (mkdir(tel_buf_cstr(&path), 0700) != 0)
        die("cannot make a temporary folder", NULL);
    TEL_BUF_ADD_LIT(&path, "/bench.log");
    tel_buf_printf(&text, "%s/%s", dir, o.rate ? "corpus" : "in/bench.log");
    uint64_t lines = write_corpus(&o, tel_buf_cstr(&text), &bytes);
    snprintf(topic, sizeof(topic), "bench-sidecar-%d", (int)getpid());
    if (o.brokers)
        make_topic(&o, topic);
    in_child(&o, dir, topic, tel_buf_cstr(&text), tel_buf_cstr(&path), lines, &r);
    printf("{\"lines\":%llu,\"delivered\":%llu,\"bytes\":%llu,\"seconds\":%.3f,\"cpu_seconds\":%.3f,"
           "\"cpu_us_per_line\":%.3f,\"lines_per_second\":%.0f,\"peak_rss_bytes\":%llu,"
           "\"queue\":\"%s\",\"compression\":\"%s\"}\n",
           (unsigned long long)lines, (unsigned long long)r.delivered, (unsigned long long)bytes,
           r.seconds, r.cpu_seconds, r.cpu_seconds * 1e6 / (double)lines,
           (double)lines / r.seconds, (unsigned long long)r.peak_rss,
           o.brokers ? "kafka" : "journal", o.brokers ? o.compression : "none");
    if (tel_fs_remove_all(tel_fs_system(), dir, &err) != TEL_OK)
        die("cleaning up", &err);
    tel_buf_free(&path);
    tel_buf_free(&text);
    return r.delivered == lines ? 0 : 1;
}
