/* Values as people write them. */
#ifndef TEL_CONF_VALUE_H
#define TEL_CONF_VALUE_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/span.h"

/* "4096", "64MiB", "1.5GB": B, KB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB of 1024. */
bool tel_conf_parse_size(struct tel_span s, int64_t *ret_bytes);
/* "500ms", "5s", "1h30m", "7d", "0": ms, s, m, h, d, w. */
bool tel_conf_parse_duration(struct tel_span s, int64_t *ret_ms);
/* The shortest exact text: "64MiB", "1500ms". */
void tel_conf_format_size(struct tel_buf *out, int64_t bytes);
void tel_conf_format_duration(struct tel_buf *out, int64_t ms);
/* "host:port", "[::1]:port", ":port"; a port is 0 to 65535. */
bool tel_conf_is_host_port(struct tel_span s);

/* Appends s with every ${env:NAME} and ${file:/path} replaced. On an error *out is unchanged. */
TEL_MUST_USE tel_code tel_conf_expand(struct tel_span s, struct tel_buf *out, struct tel_error *err);
bool tel_conf_has_reference(struct tel_span s);

#endif
