/*
 * The sidecar's admin address: /metrics, /healthz, /readyz, and what operators know from Kafka Connect:
 *
 *     GET  /connectors                               names of the inputs
 *     GET  /connectors/NAME                          its plugin and configuration, secrets masked
 *     GET  /connectors/NAME/status                   RUNNING, FAILED with the reason, counts
 *     GET  /connector-plugins                        plugins in the folder, with their options
 *     PUT  /connector-plugins/NAME/config/validate   options as form fields or parameters -> mistakes
 *
 * One owner thread; requests are answered on threads of the server, from atomics and locked texts.
 */
#ifndef SIDECAR_ADMIN_H
#define SIDECAR_ADMIN_H

#include "common/base/error.h"
#include "common/metrics/registry.h"

struct admin;
struct sidecar;

extern const struct tel_metric_table sidecar_metric_table;

/* The sidecar outlives it. */
TEL_MUST_USE tel_code admin_new(struct sidecar *sidecar, const char *address, struct admin **ret,
                                struct tel_error *err);
const char *admin_address(const struct admin *admin);
void admin_free(struct admin *admin); /* NULL is fine */

#endif
