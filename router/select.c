/* The routes of the reading face. */
#include "router/select.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "router/select_internal.h"

#define BODY_MAX (2u << 20) /* a form with a long query */

static const struct {
    const char *path;
    tel_http_handler *handler;
} routes[] = {
    {"/select/logsql/query", select_query_handler},
    {"/select/logsql/patterns", select_patterns_handler},
    {"/select/logsql/tail", select_tail_handler},
    {"/select/logsql/hits", select_hits_handler},
    {"/select/logsql/facets", select_facets_handler},
    {"/select/logsql/stats_query", select_stats_handler},
    {"/select/logsql/stats_query_range", select_stats_range_handler},
    {"/select/logsql/streams", select_streams_handler},
    {"/select/logsql/stream_ids", select_stream_ids_handler},
    {"/select/logsql/stream_field_names", select_stream_field_names_handler},
    {"/select/logsql/stream_field_values", select_stream_field_values_handler},
    {"/select/logsql/field_names", select_field_names_handler},
    {"/select/logsql/field_values", select_field_values_handler},
    {"/select/status", select_status_handler},
    {"/", select_page_handler},
    {"/page.js", select_page_handler},
    {"/page.css", select_page_handler},
};

struct select *select_new(struct router *router, const struct tel_clock *clock)
{
    struct select *s = TEL_NEW(struct select);
    s->router = router;
    s->clock = clock ? clock : tel_clock_system();
    return s;
}

void select_add_routes(struct select *s, struct tel_http_server *server)
{
    for (size_t i = 0; i < TEL_ARRAY_LEN(routes); i++)
        tel_http_server_route(server, &(struct tel_http_route){.methods = "GET POST",
                                                               .path = routes[i].path,
                                                               .handler = routes[i].handler,
                                                               .ctx = s,
                                                               .body_max = BODY_MAX});
}

void select_free(struct select *s)
{
    free(s);
}
