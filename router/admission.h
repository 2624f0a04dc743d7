/*
 * Who may run a query now. A number of queries run at once; more wait for a turn, and when too many
 * wait, they are turned away. Of those that wait, the next is the first of the tenant that has the
 * fewest running, so that one tenant's thousand do not starve another's one. Any thread.
 */
#ifndef ROUTER_ADMISSION_H
#define ROUTER_ADMISSION_H

#include <pthread.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/span.h"

struct admission;

struct admission *admission_new(unsigned running_max, unsigned waiting_max);
void admission_free(struct admission *a); /* NULL is fine */

/* Waits up to wait_ms. TEL_ERR_AGAIN: too many wait, or the wait was in vain. */
TEL_MUST_USE tel_code admission_enter(struct admission *a, struct tel_span tenant, int wait_ms,
                                      struct tel_error *err);
void admission_leave(struct admission *a, struct tel_span tenant);

void admission_counts(struct admission *a, unsigned *ret_running, unsigned *ret_waiting);

#endif
