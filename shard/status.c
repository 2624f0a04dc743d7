/* What a shard server holds, for routers and `telescope status`. */
#include "common/base/mem.h"
#include "shard/server_private.h"

static char *error_text(const struct partition_status *s, const struct store_stats *st)
{
    if (s->error[0])
        return tel_strdup(s->error);
    if (s->paused)
        return tel_strdup("paused: the disk or the memory is full");
    if (st->broken_days || st->damaged_segments) {
        struct tel_buf buf = {0};
        tel_buf_printf(&buf, "damaged: %llu days, %llu segments",
                       (unsigned long long)st->broken_days,
                       (unsigned long long)st->damaged_segments);
        char *text = tel_strndup(tel_buf_span(&buf));
        tel_buf_free(&buf);
        return text;
    }
    return tel_strdup("");
}

static Telescope__Shard__V1__PartitionInfo *describe(struct partition *partition)
{
    struct partition_status s;
    struct store_stats st;
    partition_status(partition, &s);
    store_stats_get(partition_store(partition), &st);

    Telescope__Shard__V1__PartitionState *state = tel_malloc(sizeof(*state));
    telescope__shard__v1__partition_state__init(state);
    state->partition = partition_id(partition);
    state->watermark = s.visible.offset;
    state->high = s.high;
    state->lag_ms = s.lag_ms;
    state->missing = tel_strdup("");

    Telescope__Shard__V1__PartitionInfo *info = tel_malloc(sizeof(*info));
    telescope__shard__v1__partition_info__init(info);
    info->state = state;
    info->events = st.events + s.memory_rows;
    info->stored_bytes = st.stored_bytes;
    info->raw_bytes = st.raw_bytes;
    info->memory_bytes = s.memory_bytes;
    if (info->events) {
        info->first_time_ns =
            TEL_MIN(st.min_time_ns, s.memory_rows ? s.first_time_ns : INT64_MAX);
        info->last_time_ns = TEL_MAX(st.max_time_ns, s.memory_rows ? s.last_time_ns : INT64_MIN);
    }
    info->gap_messages = s.counters.gap_messages;
    info->dead_letters = s.counters.dead_letters;
    info->repeats_dropped = s.counters.repeats_dropped;
    info->error = error_text(&s, &st);
    return info;
}

Telescope__Shard__V1__StatusResponse *
shard_status(struct shard_server *s, const Telescope__Shard__V1__StatusRequest *request)
{
    (void)request; /* sizes are of all tenants */
    Telescope__Shard__V1__StatusResponse *r = tel_malloc(sizeof(*r));
    telescope__shard__v1__status_response__init(r);
    r->node = tel_strdup(s->node);
    r->version = tel_strdup(TEL_VERSION);
    r->partitions = tel_calloc(s->partition_count, sizeof(*r->partitions));
    r->n_partitions = s->partition_count;
    for (size_t i = 0; i < s->partition_count; i++)
        r->partitions[i] = describe(s->partitions[i]);
    return r;
}
