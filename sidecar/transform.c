#include "sidecar/transform.h"

#include "sidecar/sidecar.h"
#include "sidecar/time_head.h"

struct timestamp_state {
    struct time_head head;
    int64_t last_ns; /* 0: none yet */
};

static void timestamp_events(void *state, struct transform_events *ev)
{
    struct timestamp_state *s = state;
    for (size_t i = 0; i < ev->count; i++) {
        struct tel_event *e = &ev->events[i];
        if (e->timestamp_ns)
            continue;
        if (time_head_parse(&s->head, e->body, ev->now_ns, &e->timestamp_ns))
            s->last_ns = e->timestamp_ns;
        else
            e->timestamp_ns = s->last_ns;
    }
}

const struct transform_ops transform_timestamp = {
    .name = "timestamp",
    .state_size = sizeof(struct timestamp_state),
    .events = timestamp_events,
};

static void labels_source(const struct sidecar_input *input, transform_labels *labels,
                          struct tel_arena *arena)
{
    (void)arena;
    for (size_t d = 0; d < input->drop_label_count; d++)
        for (size_t i = labels->len; i-- > 0;)
            if (tel_span_eq(labels->items[i].name, input->drop_labels[d]))
                labels->items[i] = labels->items[--labels->len];
    for (size_t a = 0; a < input->label_count; a++) {
        size_t i = 0;
        while (i < labels->len && !tel_span_eq(labels->items[i].name, input->labels[a].name))
            i++;
        if (i < labels->len)
            labels->items[i] = input->labels[a];
        else
            tel_vec_push(labels, input->labels[a]);
    }
}

const struct transform_ops transform_labels_ops = {
    .name = "labels",
    .source = labels_source,
};

void transform_chain(const struct sidecar_input *input,
                     const struct transform_ops *ret[TRANSFORMS_MAX + 1])
{
    size_t n = 0;
    if (!input->keep_timestamps)
        ret[n++] = &transform_timestamp;
    ret[n++] = &transform_labels_ops;
    ret[n] = NULL;
}
