/*
 * Sources: choosing the replica to ask, asking, competing, and what becomes of a source when it
 * speaks, ends or fails. fanout.h has the drawing.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "router/fanout_internal.h"

#define BUDGET_START 100
#define BUDGET_MAX   200
#define BUDGET_COST  10
#define KEY_BYTES_MAX (64u << 10) /* replies to longer requests are not kept */
#define NEAR_NS      (5 * TEL_NS_PER_MS) /* before the deadline there is no time for another try */

void fanout_budget_init(struct fanout_budget *budget)
{
    atomic_store(&budget->tokens, BUDGET_START);
}

void fanout_budget_earn(struct fanout_budget *b)
{
    if (b && atomic_load(&b->tokens) < BUDGET_MAX)
        atomic_fetch_add(&b->tokens, 1);
}

static bool budget_spend(struct fanout_budget *b)
{
    if (!b)
        return true;
    if (atomic_fetch_sub(&b->tokens, BUDGET_COST) >= BUDGET_COST)
        return true;
    atomic_fetch_add(&b->tokens, BUDGET_COST);
    return false;
}

/* ---- choosing replicas ----------------------------------------------------------------------- */

static uint32_t part_replica(const struct fanout *f, const struct part *p, uint32_t i)
{
    return (uint32_t)((f->o.turn + i) % p->replicas->count);
}

static bool is_avoided(const struct fanout *f, const char *address)
{
    for (size_t i = 0; i < f->avoid.len; i++)
        if (f->avoid.items[i] == address)
            return true;
    return false;
}

/* The next replica that was not asked, one that is not avoided if there is one, or NULL; does not
 * mark it. */
static const char *part_next(const struct fanout *f, const struct part *p, uint32_t *ret_bit)
{
    const char *last_choice = NULL;
    for (uint32_t i = 0; i < p->replicas->count; i++) {
        const char *address = p->replicas->addresses[part_replica(f, p, i)];
        if (p->tried & 1u << i || (last_choice && is_avoided(f, address)))
            continue;
        *ret_bit = 1u << i;
        if (!is_avoided(f, address))
            return address;
        last_choice = address;
    }
    return last_choice;
}

static void address_bad(struct fanout *f, const char *address)
{
    if (f->o.health)
        replica_health_bad(f->o.health, address);
}

void fanout_part_why(struct part *p, const char *text)
{
    free(p->why);
    p->why = tel_strdup(text);
}

/* ---- sources --------------------------------------------------------------------------------- */

void fanout_source_clear(struct fanout_source *s)
{
    for (size_t i = s->head; i < s->queue.len; i++)
        rows_free(s->queue.items[i]);
    tel_vec_clear(&s->queue);
    s->head = 0;
    s->queued_bytes = 0;
}

void fanout_source_free(struct fanout_source *s)
{
    fanout_source_clear(s);
    tel_vec_free(&s->queue);
    tel_vec_free(&s->parts);
    tel_buf_free(&s->key);
    reply_unref(s->kept);
    reply_unref(s->record);
    free(s->why);
    if (s->end)
        protobuf_c_message_free_unpacked(&s->end->base, NULL);
    free(s);
}

void fanout_source_kill(struct fanout_source *s)
{
    if (s->search)
        s->fanout->o.client->ops->cancel(s->search);
    fanout_source_clear(s);
    s->dead = true;
    s->ended = true;
    s->rival_of = NULL;
}

static int64_t needed_watermark(const struct fanout *f, uint32_t partition)
{
    for (size_t i = 0; i < f->o.mark_count; i++)
        if (f->o.marks[i].partition == partition)
            return f->o.marks[i].offset;
    return INT64_MIN;
}

static const struct shard_events source_events;

/* Looks whether the reply to this request was kept, and asks whether it is the answer still. The key is
 * the request as this server gets it, but for the moment: the generation says what that comes to. */
static void source_recall(struct fanout_source *s, Telescope__Shard__V1__SearchRequest *request)
{
    Telescope__Shard__V1__SearchRequest asked = *request;
    asked.now_ns = 0;
    asked.map_version = 0;
    asked.explain = false;
    size_t bytes = protobuf_c_message_get_packed_size(&asked.base);
    if (bytes > KEY_BYTES_MAX)
        return;
    tel_buf_add(&s->key, s->address, strlen(s->address) + 1);
    tel_buf_reserve(&s->key, bytes);
    protobuf_c_message_pack(&asked.base, (uint8_t *)s->key.ptr + s->key.len);
    s->key.len += bytes;
    bool record;
    s->kept = reply_cache_find(s->fanout->o.cache, tel_buf_span(&s->key), &record);
    s->record = record ? reply_new() : NULL;
    s->fanout->totals.recalled++;
    if (s->kept)
        request->generation = (ProtobufCBinaryData){s->kept->generation_len, s->kept->generation};
}

static struct fanout_source *source_start(struct fanout *f, const char *address,
                                          struct part **parts, size_t count)
{
    struct fanout_source *s = TEL_NEW(struct fanout_source);
    s->fanout = f;
    s->address = address;
    s->started_ns = fanout_now_ns();
    for (size_t i = 0; i < count; i++)
        tel_vec_push(&s->parts, parts[i]);
    s->next = f->sources;
    if (s->next)
        s->next->prev = s;
    f->sources = s;
    uint32_t *partitions = tel_calloc(count, sizeof(*partitions));
    int64_t *watermarks = tel_calloc(count, sizeof(*watermarks));
    for (size_t i = 0; i < count; i++) {
        partitions[i] = parts[i]->replicas->partition;
        watermarks[i] = needed_watermark(f, partitions[i]);
    }
    Telescope__Shard__V1__SearchRequest request = f->o.request;
    request.map_version = shard_map_version(f->o.map);
    request.n_partitions = count;
    request.partitions = partitions;
    request.n_watermarks = f->o.mark_count ? count : 0;
    request.watermarks = watermarks;
    if (f->o.cache && !request.before && !f->o.mark_count)
        source_recall(s, &request);
    int64_t left_ms = (f->o.deadline_ns - s->started_ns) / TEL_NS_PER_MS;
    s->search = f->o.client->ops->search(f->gather, address, &request, left_ms, &source_events, s);
    f->totals.searches++;
    free(partitions);
    free(watermarks);
    return s;
}

void fanout_plan(struct fanout *f, struct part **parts, size_t count,
                 struct fanout_source *rival_of)
{
    const char **addresses = tel_calloc(count, sizeof(*addresses));
    struct part **group = tel_calloc(count, sizeof(*group));
    for (size_t i = 0; i < count; i++) {
        uint32_t bit;
        addresses[i] = part_next(f, parts[i], &bit);
        if (addresses[i])
            parts[i]->tried |= bit;
        else
            parts[i]->missing = true;
    }
    for (size_t i = 0; i < count; i++) {
        if (!addresses[i])
            continue;
        const char *address = addresses[i];
        size_t n = 0;
        for (size_t k = i; k < count; k++) {
            if (addresses[k] == address) { /* the same text is the same pointer */
                group[n++] = parts[k];
                addresses[k] = NULL;
            }
        }
        source_start(f, address, group, n)->rival_of = rival_of;
    }
    free(group);
    free(addresses);
}

/* ---- rivals ---------------------------------------------------------------------------------- */

/* s has spoken: whoever competes with it loses. */
static void source_wins(struct fanout_source *s)
{
    if (s->spoke)
        return;
    s->spoke = true;
    s->first_ns = fanout_now_ns();
    struct fanout_source *primary = s->rival_of;
    if (!primary) {
        for (struct fanout_source *r = s->fanout->sources; r; r = r->next)
            if (r->rival_of == s)
                fanout_source_kill(r);
        return;
    }
    for (struct fanout_source *r = s->fanout->sources; r; r = r->next)
        if (r->rival_of == primary)
            r->rival_of = NULL;
    address_bad(s->fanout, primary->address); /* it was asked long before, and is silent still */
    fanout_source_kill(primary);
}

/* True if others go on in its place. */
static bool source_loses(struct fanout_source *s)
{
    struct fanout_source *primary = s->rival_of;
    bool others = false;
    for (struct fanout_source *r = s->fanout->sources; r; r = r->next) {
        if (primary && r->rival_of == primary && r != s) {
            fanout_source_kill(r); /* all the rivals together, or none */
        } else if (!primary && r->rival_of == s) {
            r->rival_of = NULL;
            others = true;
        }
    }
    return primary || others;
}

/* Asks the next replicas of what a silent server holds, if there are some for all of it. That costs
 * budget, which there may be a little later; but not if the server is known to be silent by now and
 * the others are not: then this is no second search, but the first that works. */
static void source_hedge(struct fanout_source *s)
{
    struct fanout *f = s->fanout;
    bool is_known = f->o.health && replica_health_avoid(f->o.health, s->address);
    for (size_t i = 0; i < s->parts.len; i++) {
        uint32_t bit;
        const char *next = part_next(f, s->parts.items[i], &bit);
        if (!next) {
            s->hedged = true;
            return;
        }
        is_known = is_known && !replica_health_avoid(f->o.health, next);
    }
    if (!is_known && !budget_spend(f->o.budget))
        return;
    s->hedged = true;
    f->totals.hedges++;
    fanout_plan(f, s->parts.items, s->parts.len, s);
}

void fanout_hedge(struct fanout *f)
{
    if (f->o.hedge_after_ms <= 0)
        return;
    int64_t before = fanout_now_ns() - f->o.hedge_after_ms * TEL_NS_PER_MS;
    for (struct fanout_source *s = f->sources, *next; s; s = next) {
        next = s->next;
        if (!s->ended && !s->spoke && !s->hedged && !s->rival_of && s->started_ns < before)
            source_hedge(s);
    }
}

/* ---- what comes back ------------------------------------------------------------------------- */

/* An error that every replica would repeat. */
static bool is_the_query(tel_code code)
{
    return code == TEL_ERR_INVALID || code == TEL_ERR_PARSE || code == TEL_ERR_LIMIT ||
           code == TEL_ERR_UNSUPPORTED || code == TEL_ERR_DENIED || code == TEL_ERR_UNAUTHENTICATED;
}

static void source_failed(struct fanout_source *s, tel_code code, const char *text)
{
    struct fanout *f = s->fanout;
    if (f->o.explain && !s->why)
        s->why = tel_strdup(text);
    /* A server that gives up at the deadline may call it what it likes. */
    bool over = fanout_now_ns() >= f->o.deadline_ns - NEAR_NS;
    char late[TEL_ERROR_TEXT_MAX];
    snprintf(late, sizeof(late), "%s: deadline exceeded", s->address);
    s->ended = true;
    for (size_t i = 0; i < s->parts.len; i++) {
        fanout_part_why(s->parts.items[i], over ? late : text);
        s->parts.items[i]->late = over || code == TEL_ERR_TIMEOUT;
    }
    address_bad(f, s->address);
    if (source_loses(s)) {
        fanout_source_kill(s);
        return;
    }
    if (s->consumed) { /* its rows are in the answer and cannot be taken back */
        for (size_t i = 0; i < s->parts.len; i++)
            s->parts.items[i]->missing = true;
        fanout_source_clear(s);
        return;
    }
    fanout_source_kill(s);
    if (over) {
        for (size_t i = 0; i < s->parts.len; i++)
            s->parts.items[i]->missing = true;
        return;
    }
    f->totals.failovers++;
    fanout_plan(f, s->parts.items, s->parts.len, NULL);
}

static void source_queue(struct fanout_source *s, struct rows *rows)
{
    s->rows_got += rows->block.rows;
    s->batches_got++;
    s->bytes_got += rows->bytes;
    tel_vec_push(&s->queue, rows);
    s->queued_bytes += rows->bytes;
}

static void on_rows(void *user, struct shard_search *search, Telescope__Shard__V1__RowBatch *batch)
{
    struct fanout_source *s = user;
    struct fanout *f = s->fanout;
    if (s->dead) {
        protobuf_c_message_free_unpacked(&batch->base, NULL);
        return;
    }
    struct rows *rows;
    struct tel_error err;
    if (rows_open(batch, &rows, &err) != TEL_OK) {
        char text[TEL_ERROR_TEXT_MAX + 64];
        snprintf(text, sizeof(text), "%s: %s", s->address, err.text);
        f->o.client->ops->cancel(search);
        source_failed(s, TEL_ERR_CORRUPT, text);
        s->dead = true;
        return;
    }
    source_wins(s);
    if (s->record && !reply_add(s->record, rows->batch)) {
        reply_unref(s->record);
        s->record = NULL;
    }
    source_queue(s, rows);
    if (s->queued_bytes > f->o.queue_bytes && !s->paused) {
        s->paused = true;
        f->o.client->ops->pause(search);
    }
}

static void totals_add(struct fanout_totals *t, const Telescope__Shard__V1__SearchEnd *end)
{
    const Telescope__Shard__V1__SearchStats *st = end->stats;
    if (st) {
        t->segments += st->segments;
        t->segments_pruned += st->segments_pruned;
        t->rows_scanned += st->rows_scanned;
        t->rows_matched += st->rows_matched;
        t->bytes_read += st->bytes_read;
        t->cpu_ns += st->cpu_ns;
    }
    for (size_t i = 0; i < end->n_partitions; i++)
        t->lag_ms = TEL_MAX(t->lag_ms, end->partitions[i]->lag_ms);
}

/* What the server says about a partition that it was asked for. */
static const char *end_missing(const Telescope__Shard__V1__SearchEnd *end, uint32_t partition,
                               int64_t *ret_watermark)
{
    for (size_t i = 0; i < end->n_partitions; i++) {
        if (end->partitions[i]->partition == partition) {
            *ret_watermark = end->partitions[i]->watermark;
            return end->partitions[i]->missing;
        }
    }
    return "the server does not say what it searched";
}

/* Nothing has changed: the kept reply is the server's. */
static void source_replay(struct fanout_source *s)
{
    Telescope__Shard__V1__RowBatch *batch;
    struct rows *rows;
    for (size_t at = 0; (batch = reply_next(s->kept, &at));) {
        tel_code rc = rows_open(batch, &rows, NULL);
        TEL_CHECK(rc == TEL_OK); /* it was opened before it was kept */
        source_queue(s, rows);
    }
    s->unchanged = true;
    s->fanout->totals.unchanged++;
    reply_cache_used(s->fanout->o.cache, tel_buf_span(&s->key));
}

static void source_keep(struct fanout_source *s, const Telescope__Shard__V1__SearchEnd *end)
{
    if (!s->record || end->generation.len == 0 || end->generation.len > REPLY_GENERATION_MAX)
        return;
    for (size_t i = 0; i < s->parts.len; i++)
        if (s->parts.items[i]->missing)
            return;
    s->record->generation_len = end->generation.len;
    memcpy(s->record->generation, end->generation.data, end->generation.len);
    reply_cache_put(s->fanout->o.cache, tel_span_cstr(s->fanout->o.request.tenant),
                    tel_buf_span(&s->key), s->record);
    s->record = NULL;
}

/* The server has ended well, but perhaps without some of its partitions. If another replica may
 * have those, and no row was taken yet, all is thrown away: the good ones are asked here again, the
 * missing ones elsewhere. */
static void source_end(struct fanout_source *s, const Telescope__Shard__V1__SearchEnd *end)
{
    struct fanout *f = s->fanout;
    bool again = false;
    uint32_t bit;
    for (size_t i = 0; i < s->parts.len; i++) {
        struct part *p = s->parts.items[i];
        const char *why = end_missing(end, p->replicas->partition, &p->watermark);
        if (!why[0])
            continue;
        char text[TEL_ERROR_TEXT_MAX];
        snprintf(text, sizeof(text), "%s: %s", s->address, why);
        fanout_part_why(p, text);
        p->missing = true;
        again |= !s->consumed && part_next(f, p, &bit) != NULL;
    }
    s->ended = true;
    if (!again) {
        for (size_t i = 0; i < s->parts.len; i++)
            s->parts.items[i]->done = !s->parts.items[i]->missing;
        totals_add(&f->totals, end);
        if (end->unchanged)
            source_replay(s);
        else
            source_keep(s, end);
        return;
    }
    f->totals.failovers++;
    TEL_VEC(struct part *) good = {0}, bad = {0};
    for (size_t i = 0; i < s->parts.len; i++) {
        struct part *p = s->parts.items[i];
        if (!p->missing)
            tel_vec_push(&good, p);
        else
            tel_vec_push(&bad, p);
        p->missing = false;
    }
    fanout_source_kill(s);
    if (good.len > 0)
        source_start(f, s->address, good.items, good.len)->hedged = true;
    fanout_plan(f, bad.items, bad.len, NULL);
    tel_vec_free(&good);
    tel_vec_free(&bad);
}

static void on_end(void *user, struct shard_search *search, tel_code code,
                   Telescope__Shard__V1__SearchEnd *end, const struct tel_error *err)
{
    (void)search;
    struct fanout_source *s = user;
    struct fanout *f = s->fanout;
    s->search = NULL;
    s->ended_ns = fanout_now_ns();
    if (s->dead) {
        /* nobody waits for it */
    } else if (code == TEL_OK && end->unchanged && !s->kept) {
        char text[TEL_ERROR_TEXT_MAX];
        snprintf(text, sizeof(text), "%s: says that nothing has changed since it was never asked",
                 s->address);
        source_failed(s, TEL_ERR_CORRUPT, text);
    } else if (code == TEL_OK) {
        source_wins(s);
        if (f->o.health)
            replica_health_good(f->o.health, s->address);
        source_end(s, end);
    } else if (is_the_query(code)) {
        s->ended = true;
        if (f->error.code == TEL_OK)
            f->error = *err;
    } else {
        source_failed(s, code, err->text);
    }
    if (end && f->o.explain)
        s->end = end;
    else if (end)
        protobuf_c_message_free_unpacked(&end->base, NULL);
}

static const struct shard_events source_events = {.rows = on_rows, .end = on_end};
