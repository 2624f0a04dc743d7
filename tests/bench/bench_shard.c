/*
 * bench_shard: encoded messages in memory through the shard's ingest path, as its partition thread
 * runs it: decoding, repeats, memory, segments, LevelDB, and then the merges that follow. Prints one
 * JSON object on its last line. The store that it leaves under --data can be queried.
 *
 * CPU seconds are those of all threads of the process (LevelDB's own among them), from the first
 * message to the end of the last merge. Resident memory is the peak meanwhile, less the messages. The
 * longest message is one that waited for a flush.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/record/codec.h"
#include "common/sys/fs.h"
#include "common/sys/limits.h"
#include "common/transport/transport.h"
#include "shard/shard.h"
#include "shard/service.h"
#include "tests/bench/corpus.h"

struct messages {
    struct tel_buf bytes;
    TEL_VEC(size_t) ends;
};

static void die(const struct tel_error *err)
{
    fprintf(stderr, "bench_shard: %s\n", err->text);
    exit(1);
}

/* How the corpus is spread, beyond what it is by itself. */
struct spread {
    uint64_t days, tenants; /* 1: as it is */
};

/* An event's time, moved back by days that differ from one event to the next. */
static int64_t spread_time(const struct spread *spread, int64_t time_ns, uint64_t number)
{
    uint64_t day = number * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return time_ns - (int64_t)(day % spread->days) * TEL_NS_PER_DAY;
}

/* The corpus as messages, with positions that grow within a source. */
static void encode(const struct corpus *c, const struct spread *spread, struct messages *m)
{
    struct tel_record_framing framing = {.frame = TEL_RECORD_SINGLE_OBJECT};
    uint64_t *positions = tel_calloc(c->sources.len, sizeof(*positions));
    struct tel_event *events = NULL;
    for (size_t i = 0; i < c->messages.len; i++) {
        const struct corpus_message *cm = &c->messages.items[i];
        const struct corpus_source *cs = &c->sources.items[cm->source];
        char source[160], tenant[32];
        int len = snprintf(source, sizeof(source), "%.*s@%.*s", TEL_SPAN_ARG(cs->labels[0].value),
                           TEL_SPAN_ARG(cs->labels[1].value));
        events = tel_realloc_array(events, cm->event_count, sizeof(*events));
        for (uint32_t e = 0; e < cm->event_count; e++) {
            const struct corpus_event *ce = &c->events.items[c->ordered.items[cm->first + e]];
            int64_t time_ns = spread_time(spread, ce->time_ns, cm->first + e);
            events[e] = (struct tel_event){.timestamp_ns = time_ns,
                                           .position = ++positions[cm->source],
                                           .severity = ce->severity,
                                           .body = {c->text.ptr + ce->body, ce->len}};
        }
        int tenant_len = spread->tenants > 1 ? snprintf(tenant, sizeof(tenant), "t%" PRIu64,
                                                        (uint64_t)i % spread->tenants)
                                             : snprintf(tenant, sizeof(tenant), "default");
        struct tel_batch batch = {.tenant = tel_span_make(tenant, (size_t)tenant_len),
                                  .source = tel_span_make(source, (size_t)len),
                                  .resource = cs->labels,
                                  .resource_count = 2,
                                  .event_count = cm->event_count,
                                  .events = events};
        struct tel_error err;
        if (tel_record_encode(&batch, &framing, &m->bytes, &err) != TEL_OK)
            die(&err);
        tel_vec_push(&m->ends, m->bytes.len);
    }
    free(events);
    free(positions);
}

/* VmHWM begins anew. */
static void reset_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, "5", 1) != 1)
            fprintf(stderr, "bench_shard: cannot reset the peak\n");
        close(fd);
    }
}

struct result {
    double cpu, wall, longest; /* longest: of a message, which waits for a flush now and then */
    uint64_t peak, stored, events;
};

static void ingest(const struct messages *m, const char *dir, struct result *r)
{
    uint32_t partition = 0;
    struct shard_options options = {.dir = dir,
                                    .partitions = &partition,
                                    .partition_count = 1,
                                    .disk_reserve_bytes = UINT64_MAX,
                                    .future_policy = SHARD_KEEP};
    struct shard_server *server;
    struct tel_error err = {0};
    uint64_t before = tel_process_rss_bytes();
    reset_peak();
    double start = corpus_cpu_seconds();
    int64_t began = tel_mono_ns(tel_clock_system()), last = began;
    if (shard_server_new(&options, NULL, &server, &err) != TEL_OK)
        die(&err);
    for (size_t i = 0, at = 0; i < m->ends.len; at = m->ends.items[i++]) {
        struct tel_message message = {.partition = 0,
                                      .offset = (int64_t)i,
                                      .timestamp_ns = tel_wall_ns(tel_clock_system()),
                                      .value = {m->bytes.ptr + at, m->ends.items[i] - at}};
        if (shard_server_feed(server, &message, &err) != TEL_OK)
            die(&err);
        int64_t now = tel_mono_ns(tel_clock_system());
        r->longest = TEL_MAX(r->longest, (double)(now - last) / 1e9);
        last = now;
    }
    r->wall = (double)(last - began) / 1e9;
    if (shard_server_settle(server, &err) != TEL_OK)
        die(&err);
    r->cpu = corpus_cpu_seconds() - start;
    uint64_t peak = tel_process_peak_rss_bytes();
    r->peak = peak > before ? peak - before : 0;
    Telescope__Shard__V1__StatusResponse *status = shard_status(server, NULL);
    r->stored = status->partitions[0]->stored_bytes;
    r->events = status->partitions[0]->events;
    protobuf_c_message_free_unpacked(&status->base, NULL);
    shard_server_free(server);
}

static void usage(FILE *out)
{
    fprintf(out, "usage: bench_shard --corpus FILE.jsonl [--data DIR] [--max EVENTS] "
                 "[--batch EVENTS] [--days N] [--tenants N]\n"
                 "Feeds the corpus through a shard's ingest path and prints what it took.\n"
                 "--data DIR keeps the store there; without it a temporary one is deleted.\n"
                 "--days N spreads the events' times over N days, --tenants N the messages over N "
                 "tenants.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"corpus", required_argument, NULL, 'c'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"max", required_argument, NULL, 'm'},
                                            {"batch", required_argument, NULL, 'b'},
                                            {"days", required_argument, NULL, 'D'},
                                            {"tenants", required_argument, NULL, 'T'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *path = NULL, *dir = NULL;
    uint64_t max = 0;
    size_t batch = 500;
    struct spread spread = {1, 1};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'c')
            path = optarg;
        else if (o == 'd')
            dir = optarg;
        else if (o == 'm')
            max = strtoull(optarg, NULL, 10);
        else if (o == 'b')
            batch = (size_t)strtoull(optarg, NULL, 10);
        else if (o == 'D')
            spread.days = strtoull(optarg, NULL, 10);
        else if (o == 'T')
            spread.tenants = strtoull(optarg, NULL, 10);
        else {
            usage(o == 'h' ? stdout : stderr);
            return o == 'h' ? 0 : 2;
        }
    }
    if (!path || batch == 0 || spread.days == 0 || spread.tenants == 0) {
        usage(stderr);
        return 2;
    }
    char temporary[] = "/tmp/bench-shard-XXXXXX";
    if (!dir && !mkdtemp(temporary)) {
        perror("bench_shard");
        return 1;
    }
    tel_log_set_level(TEL_LOG_WARN);
    struct corpus corpus = {0};
    struct messages messages = {0};
    struct result result = {0};
    corpus_load(&corpus, path, max, batch);
    uint64_t zstd_bytes;
    double zstd_cpu = corpus_zstd1(&corpus, &zstd_bytes);
    encode(&corpus, &spread, &messages);
    uint64_t raw = corpus.raw_bytes, events = corpus.events.len;
    free(corpus.text.ptr);
    tel_vec_free(&corpus.events);
    tel_vec_free(&corpus.ordered);
    ingest(&messages, dir ? dir : temporary, &result);
    if (!dir && tel_fs_remove_all(tel_fs_system(), temporary, NULL) != TEL_OK)
        fprintf(stderr, "bench_shard: cannot delete %s\n", temporary);
    if (result.events != events) {
        fprintf(stderr, "bench_shard: %" PRIu64 " of %" PRIu64 " events\n", result.events, events);
        return 1;
    }
    printf("{\"events\":%" PRIu64 ",\"raw_bytes\":%" PRIu64 ",\"cpu_seconds\":%.3f,"
           "\"events_per_cpu_second\":%.0f,\"stored_bytes\":%" PRIu64 ",\"stored_ratio\":%.4f,"
           "\"peak_rss_bytes\":%" PRIu64 ",\"zstd1_cpu_seconds\":%.3f,\"zstd1_ratio\":%.4f,"
           "\"feed_seconds\":%.3f,\"longest_message_seconds\":%.3f}\n",
           events, raw, result.cpu, (double)events / result.cpu, result.stored,
           (double)result.stored / (double)raw, result.peak, zstd_cpu,
           (double)zstd_bytes / (double)raw, result.wall, result.longest);
    return 0;
}
