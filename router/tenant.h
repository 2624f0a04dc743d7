/* Which tenant a request over HTTP is of. */
#ifndef ROUTER_TENANT_H
#define ROUTER_TENANT_H

#include "common/net/http/http_server.h"

/* From X-Scope-OrgID, or from AccountID and ProjectID ("A:P"; 0:0 is VictoriaLogs' own default);
 * "default" without any of them. Lives as long as the request. TEL_ERR_INVALID: a header has no such
 * value; the text names it. */
TEL_MUST_USE tel_code tenant_read(struct tel_http_request *req, struct tel_span *ret,
                                  struct tel_error *err);

#endif
