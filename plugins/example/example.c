/* An input in forty lines: one record per interval, with a count. The guide is plugins/README.md. */
#include <stdio.h>
#include <stdlib.h>

#include "plugins/telescope_input.h"

enum { TEXT, INTERVAL };
static const struct telescope_option options[] = {
    [TEXT] = {"text", TELESCOPE_STRING, 0, "tick", 0, 0, "What each record says."},
    [INTERVAL] = {"interval", TELESCOPE_DURATION, 0, "1s", 1, 3600000, "Time between records."},
};

struct example {
    const struct telescope_host_api *api;
    const struct telescope_value *values;
    struct telescope_source *source;
    uint64_t position;
};

static enum telescope_result example_open(struct telescope_host *host,
                                          const struct telescope_host_api *api,
                                          const struct telescope_value *values, void **ret_instance,
                                          struct telescope_error *err)
{
    struct example *e = calloc(1, sizeof(*e));
    *e = (struct example){.api = api, .values = values};
    struct telescope_source_spec spec = {.id = {"ticks", 5}};
    e->source = api->source_open(host, &spec, &e->position, err); /* goes on where it was */
    *ret_instance = e;
    return e->source ? TELESCOPE_OK : (free(e), TELESCOPE_FAILED);
}

static enum telescope_result example_work(void *instance, struct telescope_wait *ret_wait,
                                          struct telescope_error *err)
{
    struct example *e = instance;
    char body[256];
    int n = snprintf(body, sizeof(body), "%.200s %llu", e->values[TEXT].text.ptr,
                     (unsigned long long)e->position + 1);
    struct telescope_record record = {.position = e->position + 1, .body = {body, (size_t)n}};
    size_t taken;
    enum telescope_result rc = e->api->emit(e->source, &record, 1, &taken, err);
    e->position += taken; /* not taken: the host is full, and the next work() tries again */
    int32_t pause = (int32_t)e->values[INTERVAL].number;
    *ret_wait = (struct telescope_wait){taken ? pause : 0, pause};
    return rc == TELESCOPE_FAILED ? rc : TELESCOPE_OK;
}

static const struct telescope_plugin_ops ops = {
    .open = example_open, .work = example_work, .close = free};
static const struct telescope_plugin example = {
    TELESCOPE_PLUGIN_ABI, .name = "example", .version = "1", .doc = "Counts.",
    .options = options, .option_count = 2, .ops = &ops};

const struct telescope_plugin *telescope_input_plugin(void)
{
    return &example;
}
