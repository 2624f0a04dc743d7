/*
 * What there is: streams and their labels, fields, and values of fields, each with the number of
 * events, most first. Streams and values are counted by `stats`, which shards answer from their
 * dictionaries; names of fields by the pipe of that name.
 */
#include "common/base/map.h"
#include "common/logsql/filter.h"
#include "common/logsql/print.h"
#include "router/select_internal.h"

/* `stats by (<field>) count() as hits` */
static bool count_field(struct select *s, struct tel_http_request *req, struct select_args *args,
                        struct tel_span field, struct select_hits *ret)
{
    struct tel_buf pipe = {0};
    TEL_BUF_ADD_LIT(&pipe, "stats by (");
    tel_print_token(&pipe, field);
    TEL_BUF_ADD_LIT(&pipe, ") count() as hits");
    *ret = (struct select_hits){.arena = tel_http_arena(req), .field = field};
    struct tel_query rows;
    select_events(args->tree, &rows);
    args->params.text = select_query_with(req, &rows, "%s", tel_buf_cstr(&pipe));
    tel_buf_free(&pipe);
    return select_run(s, req, &args->params, select_hits_sink, ret);
}

static void answer_field(struct select *s, struct tel_http_request *req, struct tel_span field,
                         bool with_empty)
{
    struct select_args args;
    struct select_hits hits;
    if (!select_args_read(s, req, true, &args))
        return;
    uint64_t limit = args.params.limit;
    args.params.limit = args.params.offset = 0;
    if (count_field(s, req, &args, field, &hits)) {
        select_hits_sort(&hits);
        hits.with_empty = with_empty;
        select_hits_reply(req, &hits, limit);
    }
    select_args_done(&args);
}

void select_streams_handler(void *ctx, struct tel_http_request *req)
{
    answer_field(ctx, req, TEL_SPAN(TEL_FIELD_STREAM), false);
}

void select_stream_ids_handler(void *ctx, struct tel_http_request *req)
{
    answer_field(ctx, req, TEL_SPAN(TEL_FIELD_STREAM_ID), false);
}

void select_field_values_handler(void *ctx, struct tel_http_request *req)
{
    struct tel_span field;
    if (select_arg_required(req, "field", &field))
        answer_field(ctx, req, field, true);
}

void select_field_names_handler(void *ctx, struct tel_http_request *req)
{
    struct select *s = ctx;
    struct select_args args;
    struct select_hits hits;
    if (!select_args_read(s, req, true, &args))
        return;
    uint64_t limit = args.params.limit;
    args.params.limit = args.params.offset = 0;
    hits = (struct select_hits){.arena = tel_http_arena(req), .field = TEL_SPAN("name")};
    struct tel_query rows;
    select_events(args.tree, &rows);
    args.params.text = select_query_with(req, &rows, "field_names");
    if (select_run(s, req, &args.params, select_hits_sink, &hits)) {
        select_hits_sort(&hits);
        select_hits_reply(req, &hits, limit);
    }
    select_args_done(&args);
}

/* Counts the labels of all streams: their names, or the values of the one called `label`. */
static void answer_labels(struct select *s, struct tel_http_request *req, struct tel_span label)
{
    struct select_args args;
    struct select_hits streams, found = {.arena = tel_http_arena(req)};
    if (!select_args_read(s, req, true, &args))
        return;
    uint64_t limit = args.params.limit;
    args.params.limit = args.params.offset = 0;
    if (!count_field(s, req, &args, TEL_SPAN(TEL_FIELD_STREAM), &streams)) {
        select_args_done(&args);
        return;
    }
    struct tel_map counts;
    tel_map_init(&counts);
    for (size_t i = 0; i < streams.len; i++) {
        struct tel_label *labels;
        size_t n;
        if (!tel_stream_labels(streams.items[i].value, tel_http_arena(req), &labels, &n))
            continue;
        for (size_t k = 0; k < n; k++)
            if (!label.ptr || tel_span_eq(labels[k].name, label))
                *tel_map_put(&counts, label.ptr ? labels[k].value : labels[k].name, NULL) +=
                    streams.items[i].hits;
    }
    struct tel_map_slot *slot;
    for (size_t i = 0; (slot = tel_map_next(&counts, &i));)
        select_hits_add(&found, slot->key, slot->value);
    tel_map_free(&counts);
    select_hits_sort(&found);
    select_hits_reply(req, &found, limit);
    select_args_done(&args);
}

void select_stream_field_names_handler(void *ctx, struct tel_http_request *req)
{
    answer_labels(ctx, req, (struct tel_span){0});
}

void select_stream_field_values_handler(void *ctx, struct tel_http_request *req)
{
    struct tel_span field;
    if (select_arg_required(req, "field", &field))
        answer_labels(ctx, req, field);
}
