#include "sidecar/sink.h"

#include "common/base/clock.h"

#define TEL_LOG_COMPONENT "sink"
#include "common/base/log.h"

#define POLL_MS              100
#define PARTITIONS_WAIT_MS   1000  /* for the first answer, at a time */
#define PARTITIONS_LOOK_MS   20    /* when the answer is only wanted to be fresh */
#define PARTITIONS_RETRY_NS  (5 * TEL_NS_PER_S)
#define PARTITIONS_FRESH_NS  (60 * TEL_NS_PER_S)

/* A topic may grow: new sources shall use its new partitions. */
static bool ask_partitions(struct sink *sink, int timeout_ms)
{
    struct tel_error err;
    uint32_t count = 0;
    if (tel_transport_partitions(sink->transport, timeout_ms, &count, &err) != TEL_OK) {
        if (!atomic_load(&sink->partitions))
            tel_log_warn("the topic's partitions are not known yet", tel_kv_error(&err));
        return false;
    }
    uint32_t before = atomic_exchange(&sink->partitions, count);
    if (before == count)
        return true;
    tel_log_info("topic found", tel_kv_u64("partitions", count), tel_kv_u64("before", before));
    sink->changed(sink->ctx);
    return true;
}

static void run(void *arg)
{
    struct sink *sink = arg;
    const struct tel_clock *clock = tel_clock_system();
    int64_t asked_ns = 0;
    bool heard = false;
    while (!atomic_load(&sink->stopping)) {
        int64_t now = tel_mono_ns(clock), pause = heard ? PARTITIONS_FRESH_NS : PARTITIONS_RETRY_NS;
        bool known = atomic_load(&sink->partitions) != 0;
        if (!known || now - asked_ns > pause) {
            heard |= ask_partitions(sink, known ? PARTITIONS_LOOK_MS : PARTITIONS_WAIT_MS);
            asked_ns = now;
            if (!heard && !known && sink->recalled) {
                atomic_store(&sink->partitions, sink->recalled);
                sink->changed(sink->ctx);
            }
        }
        tel_producer_poll(sink->producer, POLL_MS);
    }
}

tel_code sink_start(struct sink *sink, struct tel_transport *transport, void (*changed)(void *ctx),
                    void *ctx, struct tel_error *err)
{
    sink->transport = transport;
    sink->changed = changed;
    sink->ctx = ctx;
    tel_code rc = tel_transport_producer(transport, &sink->producer, err);
    return rc != TEL_OK ? rc : tel_thread_start(&sink->thread, "sink", run, sink, err);
}

void sink_stop(struct sink *sink)
{
    atomic_store(&sink->stopping, true);
    tel_thread_join(&sink->thread);
    tel_producer_free(sink->producer);
    sink->producer = NULL;
}
