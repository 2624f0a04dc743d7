/* telescope-sidecar's configuration: the table of config.def, and the inputs, whose keys are known only
 * when their plugins have been loaded. */
#ifndef SIDECAR_CONFIG_H
#define SIDECAR_CONFIG_H

#include "common/conf/conf.h"
#include "sidecar/sidecar.h"

struct sidecar_config {
#define CONF TEL_CONF_MEMBER
#include "sidecar/config.def"
#undef CONF
};

extern const struct tel_conf_table sidecar_conf_table;

/* The inputs of a configuration, in conf's arena; one a group. What is wrong with their shape is added to
 * mistakes. */
void config_inputs(const struct sidecar_config *config, struct tel_conf *conf,
                   struct tel_conf_mistakes *mistakes, const struct sidecar_input **ret,
                   size_t *ret_count);

/* Loads each input's plugin and has it look at its options. For --check and for every start. */
void config_check(const void *config, struct tel_conf *conf, struct tel_conf_mistakes *mistakes);

/* Everything but inputs; points into config. */
void config_options(const struct sidecar_config *config, struct sidecar_options *ret);

/* A page about the plugins in the default folder, for --print-docs. */
void config_doc_plugins(struct tel_buf *out);

#endif
