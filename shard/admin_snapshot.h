/* POST /snapshot on a shard's admin address: makes a snapshot and says, line by line, how far it is. */
#ifndef SHARD_ADMIN_SNAPSHOT_H
#define SHARD_ADMIN_SNAPSHOT_H

#include "common/net/http/http_server.h"

struct shard_server;

/* The header that a request must have, so that no web page can make a browser on this machine send it. */
#define SHARD_SNAPSHOT_HEADER "X-Telescope-Admin"

/* ctx of the handler; outlives the HTTP server. */
struct admin_snapshot {
    struct shard_server *server;
    const char *dir; /* where snapshots may go; "": anywhere, but only for callers on this machine */
    uint64_t bytes_per_s; /* unless the caller asks for less; 0: no limit */
};

/* Parameters: dest (a name in dir, or an absolute path), partition (may be there several times), rate
 * (bytes a second). The answer's last line is "done ..." or "error ..."; the caller's going away ends
 * the snapshot. */
void admin_snapshot_handle(void *ctx, struct tel_http_request *req);

#endif
