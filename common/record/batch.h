/*
 * The record in memory: a batch of events of one source, as one Kafka message carries it
 * (schemas/log_batch.avsc). All spans point into memory that the maker of the batch names: the
 * message's bytes, or an arena.
 */
#ifndef TEL_RECORD_BATCH_H
#define TEL_RECORD_BATCH_H

#include <stdint.h>

#include "common/base/span.h"

struct tel_field {
    struct tel_span name, value;
};

/* OpenTelemetry's severity numbers: 1..4 TRACE, 5..8 DEBUG, 9..12 INFO, 13..16 WARN, 17..20 ERROR,
 * 21..24 FATAL; 0 is "not given". */
#define TEL_SEVERITY_MAX 24

struct tel_event {
    int64_t timestamp_ns;  /* since the Unix epoch */
    uint64_t position;     /* in the source; grows strictly within a source */
    uint32_t severity;     /* 0..TEL_SEVERITY_MAX */
    uint32_t attribute_count;
    const struct tel_field *attributes; /* names are unique and not empty */
    struct tel_span body;
    struct tel_span trace_id, span_id; /* lower-case hex text, or empty */
};

struct tel_batch {
    struct tel_span tenant; /* [A-Za-z0-9._:-]{1,64} */
    struct tel_span source; /* names the sidecar and the thing that was read */
    const struct tel_field *resource; /* stream labels, sorted by name, names unique */
    uint32_t resource_count;
    uint32_t event_count;
    const struct tel_event *events;
};

/* Caps on what a batch may hold; encoder and decoder both enforce them before allocating. */
#define TEL_BATCH_BYTES_MAX     (16u << 20)
#define TEL_BATCH_EVENTS_MAX    100000u
#define TEL_BODY_BYTES_MAX      (2u << 20)
#define TEL_ATTRIBUTES_MAX      4096u    /* of an event */
#define TEL_BATCH_FIELDS_MAX    1000000u /* attributes of all events of a batch */
#define TEL_NAME_BYTES_MAX      1024u
#define TEL_RESOURCE_LABELS_MAX 256u
#define TEL_SOURCE_BYTES_MAX    1024u
#define TEL_TENANT_BYTES_MAX    64u

#endif
