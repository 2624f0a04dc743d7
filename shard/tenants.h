/* The list retention.tenants of a configuration, as telescope-shard and standalone have it. */
#ifndef SHARD_TENANTS_H
#define SHARD_TENANTS_H

#include "common/conf/conf.h"
#include "shard/store/retention.h"

/* The table of one entry, for a CONF line of type SECTIONS. */
extern const struct tel_conf_table shard_tenants_table;

/* Adds to mistakes what is wrong with the entries: names that no tenant can have, and double ones. */
void shard_tenants_check(const struct tel_conf_sections *sections,
                         struct tel_conf_mistakes *mistakes);

/* The entries as rules; an array of sections->len for the caller to free, whose texts are the
 * configuration's. */
struct retention_tenant *shard_tenants_rules(const struct tel_conf_sections *sections);

#endif
