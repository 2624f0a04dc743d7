/* A server with an importer over a journal of one partition, and what comes out of the journal. */
#ifndef TESTS_UNIT_INSERT_FIXTURE_H
#define TESTS_UNIT_INSERT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/net/http/http_server.h"
#include "common/transport/transport_journal.h"
#include "sidecar/insert/insert.h"

struct fixture {
    char dir[64];
    struct tel_transport *transport;
    struct tel_insert *insert;
    struct tel_http_server *server;
    const char *address;
};

/* dir is made when it is empty; a second start on it goes on where the first was. */
void fixture_start(struct fixture *f, uint64_t budget, uint64_t body_max, uint32_t send_timeout_ms);
void fixture_stop(struct fixture *f);
void fixture_remove(struct fixture *f);
/* POSTs and checks the status; the answer's body is for the caller to free. */
char *fixture_post(struct fixture *f, const char *path, const char *headers, const void *body,
                   size_t len, int status);
/* All events so far, one a line: "tenant|label=value,...|time|body|name=value,...". Checks that the
 * positions of each source grow. */
char *fixture_dump(struct fixture *f);

#endif
