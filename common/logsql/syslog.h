/* Syslog messages: RFC 5424 and RFC 3164, with and without <PRI>, and CEF inside. */
#ifndef TEL_LOGSQL_SYSLOG_H
#define TEL_LOGSQL_SYSLOG_H

#include <stdint.h>

#include "common/logsql/json.h"

/* The fields of a message: format, priority, facility, facility_keyword, severity, level,
 * timestamp, hostname, app_name, proc_id, msg_id, message, and those of structured data. now_ns
 * tells the year of RFC 3164's times, which are in a zone offset_ns ahead of UTC. Takes any text.
 */
void tel_syslog_parse(struct tel_span text, int64_t now_ns, int64_t offset_ns,
                      struct tel_arena *arena, struct tel_json_fields *out);

#endif
