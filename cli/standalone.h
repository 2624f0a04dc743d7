/* All of Telescope in one process. Internal to cli/. */
#ifndef CLI_STANDALONE_H
#define CLI_STANDALONE_H

#include "common/conf/conf.h"

struct standalone_config {
#define CONF TEL_CONF_MEMBER
#include "cli/standalone.def"
#undef CONF
};

extern const struct tel_conf_table standalone_conf_table;

struct shard_client;
struct shard_server;

/* The shard server of this process, as the router asks it: without a network. */
#define STANDALONE_SHARD "standalone"
TEL_MUST_USE tel_code standalone_shard_client(struct shard_server *server, struct shard_client **ret,
                                              struct tel_error *err);

#endif
