/*
 * Who may read and write which tenants: users with a token and lists of tenants, from the section
 * `users` of the configuration. With no users everybody may do everything, as on one's own machine.
 * The list may be changed while requests run (SIGHUP): each request is judged by the list that there
 * is when it comes. Tokens are compared in constant time, and never logged. Any thread.
 */
#ifndef ROUTER_USERS_H
#define ROUTER_USERS_H

#include <stdbool.h>

#include "common/base/span.h"
#include "common/conf/conf.h"
#include "common/net/http/http_server.h"

extern const struct tel_conf_table users_conf_table;

struct users;

/* Of the sections: two users of one name or token, a name or tenant that is none. */
void users_conf_check(const struct tel_conf_sections *sections, struct tel_conf_mistakes *mistakes);

/* A copy of what the sections say (NULL: nobody). */
struct users *users_new(const struct tel_conf_sections *sections);
void users_set(struct users *users, const struct tel_conf_sections *sections);
void users_free(struct users *users); /* NULL is fine */

enum users_need { USERS_READ, USERS_WRITE, USERS_ANY /* no tenant is asked for */ };
enum users_verdict { USERS_MAY, USERS_UNKNOWN /* 401 */, USERS_MAY_NOT /* 403 */ };

/* authorization: the header's value, "Bearer T" or "Basic base64(name:T)"; empty: none came. */
enum users_verdict users_judge(struct users *users, struct tel_span authorization,
                               struct tel_span tenant, enum users_need need);

/* For tel_http_server_options: ctx is the users. /healthz, /readyz and /metrics are for everybody,
 * /insert and its aliases are writes, and all else reads, of the tenant that the headers name. */
bool users_http_authorize(void *users, struct tel_http_request *req);

#endif
