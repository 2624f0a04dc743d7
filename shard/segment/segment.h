/*
 * A segment: an immutable, searchable set of events of one tenant and one UTC day. A builder takes
 * events in the log's order and makes sections (byte strings, numbered); the store keeps them; a
 * reader opens them again and finds rows. What the sections hold is shard/FORMAT.md.
 *
 * Builder and reader each belong to one thread at a time. Readers of the same segment are
 * independent of each other.
 */
#ifndef SHARD_SEGMENT_SEGMENT_H
#define SHARD_SEGMENT_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/logsql/block.h"
#include "common/record/batch.h"

struct tel_buf;
struct tel_filter;
struct tel_pattern;

/* ---- building ----------------------------------------------------------------------------- */

struct segment_builder;
struct segment_learnt; /* what is learnt about a shard's streams and lives on between segments */

struct segment_learnt *segment_learnt_new(void);
void segment_learnt_free(struct segment_learnt *learnt);

#define SEGMENT_LEARNT_BYTES (1u << 20)

/* Appends what is learnt, of which what was used last, in at most SEGMENT_LEARNT_BYTES. */
void segment_learnt_save(struct segment_learnt *learnt, struct tel_buf *out);
/* Puts what was saved in place of what is learnt. TEL_ERR_CORRUPT, TEL_ERR_UNSUPPORTED: it cannot be
 * read, and nothing is learnt now. Not while a builder has events. */
TEL_MUST_USE tel_code segment_learnt_load(struct segment_learnt *learnt, struct tel_span bytes,
                                          struct tel_error *err);
/* How much was learnt since the last save or load; 0: nothing is to be saved. */
uint64_t segment_learnt_changes(const struct segment_learnt *learnt);
/* Tells the time, and forgets what was not used for two weeks, or what there is too much of. Not while
 * a builder has events. */
void segment_learnt_age(struct segment_learnt *learnt, int64_t wall_ns);

struct segment_section {
    uint32_t id;
    struct tel_span bytes; /* owned by the builder, valid until its next reset */
};

struct segment_image {
    const struct segment_section *sections;
    size_t section_count;
    uint64_t rows, raw_bytes, stored_bytes;
    int64_t min_time_ns, max_time_ns;
    uint64_t template_rows; /* whose body has a template */
};

struct segment_builder *segment_builder_new(struct segment_learnt *learnt);
void segment_builder_free(struct segment_builder *builder);

/* Called before anything is added: the next segment keeps bodies as they are, in no templates. For few
 * events, which will be in a larger segment soon: a quarter of the CPU, and as small. */
void segment_builder_plain(struct segment_builder *builder);

/* The number of a stream (a set of labels, sorted by name) in this segment. */
uint32_t segment_builder_stream(struct segment_builder *builder, const struct tel_field *labels,
                                uint32_t label_count);

/* Adds an event; what it keeps it copies, so that the event's spans may go when this returns. */
void segment_builder_add(struct segment_builder *builder, const struct tel_row_key *key,
                         uint32_t stream, const struct tel_event *event);
uint64_t segment_builder_rows(const struct segment_builder *builder);
/* Bytes of memory that its events take, about. */
uint64_t segment_builder_bytes(const struct segment_builder *builder);
/* Must be finished before more is added: at some 500,000 rows or 256 MB of text. */
bool segment_builder_full(const struct segment_builder *builder);

/* Makes the sections. compression: zstd level, 1 for hot data. */
TEL_MUST_USE tel_code segment_builder_finish(struct segment_builder *builder, int compression,
                                             struct segment_image *ret, struct tel_error *err);
/* Ready for the next segment; keeps its memory. */
void segment_builder_reset(struct segment_builder *builder);

/* ---- reading ------------------------------------------------------------------------------ */

struct segment_reader;

/* How a reader gets at its sections. read gives bytes that stay valid while the reader is in use:
 * those of data sections until its search ends, those of others until it is closed. They have passed
 * the store's checksum and are still not to be trusted. */
struct segment_io {
    void *ctx;
    tel_code (*read)(void *ctx, uint32_t section, struct tel_span *ret, struct tel_error *err);
};

struct segment_info {
    uint64_t rows, raw_bytes;
    int64_t min_time_ns, max_time_ns;
};

TEL_MUST_USE tel_code segment_reader_open(const struct segment_io *io, struct segment_reader **ret,
                                          struct tel_error *err);
/* The same in two steps. The first reads the head alone, which is enough for an outline (outline.h);
 * the second makes the reader good for everything else. */
TEL_MUST_USE tel_code segment_reader_begin(const struct segment_io *io, struct segment_reader **ret,
                                           struct tel_error *err);
TEL_MUST_USE tel_code segment_reader_ready(struct segment_reader *reader, struct tel_error *err);
/* Frees what it can do without until it is used again. */
void segment_reader_rest(struct segment_reader *reader);
void segment_reader_close(struct segment_reader *reader);
/* Bytes of memory that it holds, beside the sections that it was given. */
uint64_t segment_reader_bytes(const struct segment_reader *reader);
const struct segment_info *segment_reader_info(const struct segment_reader *reader);

/* What a search of one segment asks for. */
struct segment_query {
    const struct tel_filter *filter;
    int64_t start_ns, end_ns; /* start <= time < end */
    uint64_t newest;          /* only the newest so many matching rows; 0: all */
    const struct tel_row_key *before; /* only rows with smaller keys; NULL: all */
    /* Values of _msg need only be alike to this pattern (tel_query_excerpt); NULL: they are whole. */
    const struct tel_pattern *excerpt;
    bool any_order; /* rows may come in any order and without keys */
    /* Asked now and then; true ends the search with TEL_ERR_CANCELLED or TEL_ERR_TIMEOUT. */
    tel_code (*stop)(void *ctx);
    void *stop_ctx;
};

/* What became of the segments that were searched, for whoever wants to know why. */
struct segment_explain {
    /* No row can match, as was told by: the streams' labels, the filter of words, the templates, or
     * several conditions together. */
    uint64_t by_stream, by_words, by_templates, by_filter;
    uint64_t counted; /* the templates' numbers of rows were the answer */
    uint64_t read;    /* columns were looked at */
    uint64_t templates, templates_skipped, templates_whole; /* of these */
};

struct segment_counters {
    uint64_t rows_scanned, rows_matched, bytes_read, bytes_unpacked;
    struct segment_explain *explain; /* NULL: nobody wants to know */
};

/* The rows that match, in ascending key order (unless any will do), as a block source whose columns are
 * decoded when they are asked for. *ret lives in arena, and needs the reader to stay open and *counters to stay
 * where it is: what is decoded later is counted too. Rows 0 is no error.
 * A filter that proves that nothing can match costs no reading of columns. */
TEL_MUST_USE tel_code segment_select(struct segment_reader *reader, const struct segment_query *query,
                                     struct tel_arena *arena, struct tel_block_source **ret,
                                     struct segment_counters *counters, struct tel_error *err);

/* What rows are counted by. Rows alike in all of it are one. */
struct tel_bucket;
struct segment_grouping {
    const struct tel_span *fields; /* names, no wildcards, without _time */
    size_t field_count;
    const struct tel_bucket *bucket; /* of _time; NULL: it does not matter */
};

/* The rows that match as groups: a block with hits (block.h), whose keys, if there is a bucket, have
 * some time of it; values may occur in several rows. *ret_source is NULL then. Rows that have too
 * many or no few known values come as a source, as of segment_select. */
TEL_MUST_USE tel_code segment_group(struct segment_reader *reader, const struct segment_query *query,
                                    const struct segment_grouping *grouping,
                                    struct tel_arena *arena, struct tel_block *ret,
                                    struct tel_block_source **ret_source,
                                    struct segment_counters *counters, struct tel_error *err);

/* How many rows match, without making them where statistics tell. */
TEL_MUST_USE tel_code segment_count(struct segment_reader *reader, const struct segment_query *query,
                                    uint64_t *ret, struct segment_counters *counters,
                                    struct tel_error *err);

#endif
