/* The admin client: librdkafka's asynchronous calls, each waited for on a queue of its own. */
#include "common/net/kafka/kafka_admin.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/kafka/kafka_internal.h"

struct tel_kafka_admin {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
};

tel_code tel_kafka_admin_new(const struct tel_kafka_client *client, struct tel_kafka_admin **ret,
                             struct tel_error *err)
{
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    tel_code rc = tel_kafka_conf(client, NULL, &conf, err);
    if (rc == TEL_OK)
        rc = tel_kafka_handle(RD_KAFKA_PRODUCER, conf, &rk, err);
    if (rc != TEL_OK)
        return rc;
    struct tel_kafka_admin *a = TEL_NEW(struct tel_kafka_admin);
    a->rk = rk;
    a->queue = rd_kafka_queue_new(rk);
    *ret = a;
    return TEL_OK;
}

void tel_kafka_admin_free(struct tel_kafka_admin *a)
{
    if (!a)
        return;
    rd_kafka_queue_destroy(a->queue);
    rd_kafka_destroy(a->rk);
    free(a);
}

static rd_kafka_AdminOptions_t *options_of(struct tel_kafka_admin *a, rd_kafka_admin_op_t op,
                                           int timeout_ms)
{
    char ignored[128];
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(a->rk, op);
    rd_kafka_AdminOptions_set_request_timeout(o, timeout_ms, ignored, sizeof ignored);
    if (op == RD_KAFKA_ADMIN_OP_CREATETOPICS || op == RD_KAFKA_ADMIN_OP_DELETETOPICS)
        rd_kafka_AdminOptions_set_operation_timeout(o, timeout_ms, ignored, sizeof ignored);
    return o;
}

/* The answer, which rd_kafka_event_destroy frees; NULL with an error when there is none. */
static tel_code wait_answer(struct tel_kafka_admin *a, int timeout_ms, const char *topic,
                            rd_kafka_event_t **ret, struct tel_error *err)
{
    rd_kafka_event_t *ev = rd_kafka_queue_poll(a->queue, timeout_ms + 2000);
    if (!ev)
        return tel_error_set(err, TEL_ERR_TIMEOUT, "topic %s: no answer", topic);
    rd_kafka_resp_err_t e = rd_kafka_event_error(ev);
    if (e != RD_KAFKA_RESP_ERR_NO_ERROR) {
        tel_code rc = tel_kafka_error(err, e, rd_kafka_event_error_string(ev), "topic %s", topic);
        rd_kafka_event_destroy(ev);
        return rc;
    }
    *ret = ev;
    return TEL_OK;
}

static tel_code topic_verdict(const rd_kafka_topic_result_t **results, size_t count,
                              const char *topic, struct tel_error *err)
{
    if (count != 1)
        return tel_error_set(err, TEL_ERR_INTERNAL, "topic %s: %zu results", topic, count);
    rd_kafka_resp_err_t e = rd_kafka_topic_result_error(results[0]);
    if (e == RD_KAFKA_RESP_ERR_NO_ERROR)
        return TEL_OK;
    if (e == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return tel_error_set(err, TEL_ERR_NOTFOUND, "topic %s is not there", topic);
    return tel_kafka_error(err, e, rd_kafka_topic_result_error_string(results[0]), "topic %s", topic);
}

tel_code tel_kafka_admin_create(struct tel_kafka_admin *a, const struct tel_kafka_topic_spec *spec,
                                int timeout_ms, struct tel_error *err)
{
    char text[256] = "";
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(
        spec->name, (int)spec->partitions, spec->replication ? (int)spec->replication : -1, text, sizeof text);
    if (!topic)
        return tel_error_set(err, TEL_ERR_INVALID, "topic %s: %s", spec->name, text);
    for (const char *const *c = spec->config; c && c[0]; c += 2)
        rd_kafka_NewTopic_set_config(topic, c[0], c[1]);
    rd_kafka_AdminOptions_t *o = options_of(a, RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout_ms);
    rd_kafka_CreateTopics(a->rk, &topic, 1, o, a->queue);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_event_t *ev;
    tel_code rc = wait_answer(a, timeout_ms, spec->name, &ev, err);
    if (rc != TEL_OK)
        return rc;
    size_t count = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &count);
    rc = topic_verdict(results, count, spec->name, err);
    rd_kafka_event_destroy(ev);
    return rc;
}

tel_code tel_kafka_admin_delete(struct tel_kafka_admin *a, const char *name, int timeout_ms,
                                struct tel_error *err)
{
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_AdminOptions_t *o = options_of(a, RD_KAFKA_ADMIN_OP_DELETETOPICS, timeout_ms);
    rd_kafka_DeleteTopics(a->rk, &topic, 1, o, a->queue);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_DeleteTopic_destroy(topic);
    rd_kafka_event_t *ev;
    tel_code rc = wait_answer(a, timeout_ms, name, &ev, err);
    if (rc != TEL_OK)
        return rc;
    size_t count = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(ev), &count);
    rc = topic_verdict(results, count, name, err);
    rd_kafka_event_destroy(ev);
    return rc;
}

tel_code tel_kafka_admin_describe(struct tel_kafka_admin *a, const char *name, int timeout_ms,
                                  struct tel_kafka_topic_info *ret, struct tel_error *err)
{
    /* All topics are asked for: a producer's question for one topic by name would have it made where
     * the broker makes topics by itself. */
    const struct rd_kafka_metadata *md;
    rd_kafka_resp_err_t e = rd_kafka_metadata(a->rk, 1, NULL, &md, timeout_ms);
    if (e != RD_KAFKA_RESP_ERR_NO_ERROR)
        return tel_kafka_error(err, e, NULL, "topic %s", name);
    tel_code rc = tel_error_set(err, TEL_ERR_NOTFOUND, "topic %s is not there", name);
    for (int i = 0; i < md->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *t = &md->topics[i];
        if (strcmp(t->topic, name) != 0 || t->partition_cnt == 0)
            continue;
        struct tel_kafka_topic_info info = {.partitions = (uint32_t)t->partition_cnt,
                                            .replicas_min = UINT32_MAX, .in_sync_min = UINT32_MAX};
        for (int p = 0; p < t->partition_cnt; p++) {
            info.replicas_min = TEL_MIN(info.replicas_min, (uint32_t)t->partitions[p].replica_cnt);
            info.in_sync_min = TEL_MIN(info.in_sync_min, (uint32_t)t->partitions[p].isr_cnt);
            info.leaderless += t->partitions[p].leader < 0;
        }
        *ret = info;
        rc = TEL_OK;
        tel_error_clear(err);
    }
    rd_kafka_metadata_destroy(md);
    return rc;
}

static tel_code find_entry(const rd_kafka_ConfigResource_t *resource, const char *name,
                           struct tel_buf *ret, struct tel_error *err)
{
    rd_kafka_resp_err_t e = rd_kafka_ConfigResource_error(resource);
    if (e == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return tel_error_set(err, TEL_ERR_NOTFOUND, "the topic is not there");
    if (e != RD_KAFKA_RESP_ERR_NO_ERROR)
        return tel_kafka_error(err, e, rd_kafka_ConfigResource_error_string(resource), "settings");
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0 && value) {
            tel_buf_add_span(ret, tel_span_cstr(value));
            return TEL_OK;
        }
    }
    return tel_error_set(err, TEL_ERR_NOTFOUND, "no setting %s", name);
}

tel_code tel_kafka_admin_config(struct tel_kafka_admin *a, const char *topic, const char *name,
                                int timeout_ms, struct tel_buf *ret, struct tel_error *err)
{
    rd_kafka_ConfigResource_t *ask = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_AdminOptions_t *o = options_of(a, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout_ms);
    rd_kafka_DescribeConfigs(a->rk, &ask, 1, o, a->queue);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_ConfigResource_destroy(ask);
    rd_kafka_event_t *ev;
    tel_code rc = wait_answer(a, timeout_ms, topic, &ev, err);
    if (rc != TEL_OK)
        return rc;
    size_t count = 0;
    const rd_kafka_ConfigResource_t **resources =
        rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ev), &count);
    rc = count == 1 ? find_entry(resources[0], name, ret, err)
                    : tel_error_set(err, TEL_ERR_INTERNAL, "%zu results", count);
    rd_kafka_event_destroy(ev);
    if (rc != TEL_OK)
        tel_error_wrap(err, rc, "topic %s", topic);
    return rc;
}
