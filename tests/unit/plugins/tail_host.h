/* A host for one plugin, by hand: it takes a random number of records at a time, or none, and checks what
 * the ABI asks of plugins. */
#ifndef TESTS_TAIL_HOST_H
#define TESTS_TAIL_HOST_H

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/base/rand.h"
#include "sidecar/plugin.h"

struct host_source {
    char id[512];
    struct tel_buf text, state; /* text: what was taken, a line end behind each whole line */
    uint64_t position, acked;
    bool open, forgotten;
    void *user;
};

struct telescope_host {
    struct plugin plugin;
    struct plugin_values values;
    void *instance;
    struct host_source *sources[64];
    size_t source_count;
    struct tel_rand rand;
    unsigned full_percent;
    unsigned times_full;
};

/* Loads the plugin with settings "key", "value", ..., NULL; a key given again makes a list. */
void host_open(struct telescope_host *h, uint64_t seed, const char *const *settings);
/* Opens an instance and restores what was acknowledged; what was taken beyond is taken back, as a crash
 * would. */
void host_begin(struct telescope_host *h);
void host_work(struct telescope_host *h);
/* Acknowledges up to a random position of each source. */
void host_ack(struct telescope_host *h);
void host_end(struct telescope_host *h); /* closes the instance; sources are kept */
void host_done(struct telescope_host *h);

#endif
