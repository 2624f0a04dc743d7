/* What explain tells of a search on this server. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "shard/query/search.h"

static void add_segments(struct segment_explain *to, const struct segment_explain *part)
{
    to->by_stream += part->by_stream;
    to->by_words += part->by_words;
    to->by_templates += part->by_templates;
    to->by_filter += part->by_filter;
    to->counted += part->counted;
    to->read += part->read;
    to->templates += part->templates;
    to->templates_skipped += part->templates_skipped;
    to->templates_whole += part->templates_whole;
}

void search_explain_add(struct search_explain *to, const struct search_explain *part)
{
    add_segments(&to->segments, &part->segments);
    to->kept += part->kept;
    to->chunks += part->chunks;
    to->readers_open += part->readers_open;
    to->readers_opened += part->readers_opened;
    to->threads++;
}

Telescope__Shard__V1__SearchExplain *search_explain_message(const struct search *s)
{
    const struct search_explain *e = s->explain;
    Telescope__Shard__V1__SearchExplain *m = tel_malloc(sizeof(*m));
    telescope__shard__v1__search_explain__init(m);
    m->days = e->store.days;
    m->days_outside = e->store.days_outside;
    m->segments_other_tenants = e->store.other_tenants;
    m->segments_outside = e->store.outside;
    m->segments_older = s->pruned;
    m->segments_by_stream = e->segments.by_stream;
    m->segments_by_words = e->segments.by_words;
    m->segments_by_templates = e->segments.by_templates;
    m->segments_by_filter = e->segments.by_filter;
    m->segments_counted = e->segments.counted;
    m->segments_kept = e->kept;
    m->segments_read = e->segments.read;
    m->templates = e->segments.templates;
    m->templates_skipped = e->segments.templates_skipped;
    m->templates_whole = e->segments.templates_whole;
    m->chunks = e->chunks;
    m->readers_open = e->readers_open;
    m->readers_opened = e->readers_opened;
    m->bytes_unpacked = s->counters.bytes_unpacked;
    m->plan_ns = (uint64_t)(e->scan_ns - e->begun_ns);
    m->scan_ns = (uint64_t)(e->scanned_ns - e->scan_ns);
    m->send_ns = (uint64_t)(tel_mono_ns(tel_clock_system()) - e->scanned_ns);
    m->threads = e->threads;
    return m;
}
