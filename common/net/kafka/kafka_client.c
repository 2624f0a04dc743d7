/*
 * Configuration, log lines and errors of librdkafka, brought into ours.
 *
 * librdkafka quotes a refused value in its message, and that value may be a password: only the
 * property's name goes into an error.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEL_LOG_COMPONENT "kafka"
#include "common/base/log.h"
#include "common/net/kafka/kafka_internal.h"
#include "common/net/kafka/tsan_threads.h"

/* ---- errors -------------------------------------------------------------------------------- */

tel_code tel_kafka_code(rd_kafka_resp_err_t e)
{
    switch ((int)e) {
    case RD_KAFKA_RESP_ERR_NO_ERROR: return TEL_OK;

    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT: return TEL_ERR_TIMEOUT;

    case RD_KAFKA_RESP_ERR__QUEUE_FULL: return TEL_ERR_AGAIN;

    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE: return TEL_ERR_LIMIT;

    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: return TEL_ERR_GAP;

    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR__SSL: return TEL_ERR_UNAUTHENTICATED;

    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED: return TEL_ERR_DENIED;

    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED: return TEL_ERR_FENCED;

    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR__DESTROY: return TEL_ERR_CLOSED;

    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS: return TEL_ERR_EXISTS;

    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION: return TEL_ERR_CORRUPT;

    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION: return TEL_ERR_INVALID;

    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION: return TEL_ERR_UNSUPPORTED;

    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__FAIL:
    case RD_KAFKA_RESP_ERR__STATE: return TEL_ERR_INTERNAL;

    /* Brokers away, topics and leaders not there yet, and whatever newer brokers say: it may pass. */
    default: return TEL_ERR_UNAVAILABLE;
    }
}

tel_code tel_kafka_error(struct tel_error *err, rd_kafka_resp_err_t e, const char *detail,
                         const char *fmt, ...)
{
    char what[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    tel_code code = tel_kafka_code(e);
    if (detail && *detail)
        return tel_error_set(err, code, "%s: %s (%s)", what, detail, rd_kafka_err2name(e));
    return tel_error_set(err, code, "%s: %s", what, rd_kafka_err2str(e));
}

/* ---- log lines ----------------------------------------------------------------------------- */

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct tel_kv client = tel_kv_str("client", rk ? rd_kafka_name(rk) : "");
    /* What has to do with connections (FAIL) and odd properties (CONFWARN) comes through error callbacks
     * and errors too. */
    if (strcmp(facility, "FAIL") == 0 || strcmp(facility, "CONFWARN") == 0)
        level = 7;
    if (level <= 3)
        tel_log_error("librdkafka", tel_kv_str("facility", facility), tel_kv_str("text", text), client);
    else if (level == 4)
        tel_log_warn("librdkafka", tel_kv_str("facility", facility), tel_kv_str("text", text), client);
    else
        tel_log_debug("librdkafka", tel_kv_str("facility", facility), tel_kv_str("text", text), client);
}

/* ---- configuration ------------------------------------------------------------------------- */

static tel_code set_all(rd_kafka_conf_t *conf, const char *const *set, struct tel_error *err)
{
    char ignored[256];
    for (; set && set[0]; set += 2) {
        if (!set[1])
            return tel_error_set(err, TEL_ERR_INVALID, "Kafka property %s has no value", set[0]);
        switch (rd_kafka_conf_set(conf, set[0], set[1], ignored, sizeof ignored)) {
        case RD_KAFKA_CONF_OK: break;
        case RD_KAFKA_CONF_UNKNOWN:
            return tel_error_set(err, TEL_ERR_INVALID, "Kafka property %s is not known", set[0]);
        case RD_KAFKA_CONF_INVALID:
            return tel_error_set(err, TEL_ERR_INVALID, "Kafka property %s: not a value for it", set[0]);
        }
    }
    return TEL_OK;
}

const char *tel_kafka_property(const struct tel_kafka_client *client, const char *name)
{
    const char *found = NULL;
    for (const char *const *p = client->properties; p && p[0] && p[1]; p += 2)
        if (strcmp(p[0], name) == 0)
            found = p[1];
    return found;
}

tel_code tel_kafka_conf(const struct tel_kafka_client *client, const char *const *set,
                        rd_kafka_conf_t **ret, struct tel_error *err)
{
    const char *const first[] = {
        /* A broker that comes back is found within a second or two. */
        "reconnect.backoff.ms", "50", "reconnect.backoff.max.ms", "1000",
        /* New topics and partitions are seen within seconds, not five minutes. */
        "topic.metadata.refresh.interval.ms", "5000", "socket.keepalive.enable", "true",
        "log.connection.close", "false", NULL};
    const char *const reach[] = {"bootstrap.servers", client->brokers ? client->brokers : "",
                                 "client.id", client->client_id ? client->client_id : "telescope",
                                 NULL};
    if (tel_kafka_property(client, "transactional.id"))
        return tel_error_set(err, TEL_ERR_INVALID, "Kafka property transactional.id is not for this client");
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    tel_code rc = set_all(conf, first, err);
    if (rc == TEL_OK)
        rc = set_all(conf, client->properties, err);
    if (rc == TEL_OK)
        rc = set_all(conf, reach, err);
    if (rc == TEL_OK)
        rc = set_all(conf, set, err);
    if (rc != TEL_OK) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    *ret = conf;
    return TEL_OK;
}

tel_code tel_kafka_handle(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret,
                          struct tel_error *err)
{
    char text[256];
#ifdef __SANITIZE_THREAD__
    tel_kafka_tsan_threads();
#endif
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return tel_error_set(err, TEL_ERR_INVALID, "Kafka client: %s", text);
    }
    *ret = rk;
    return TEL_OK;
}
