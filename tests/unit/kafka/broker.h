/* A real broker for C tests: the shared one of ctest's fixture, or one of the test's own. */
#ifndef TESTS_KAFKA_BROKER_H
#define TESTS_KAFKA_BROKER_H

#include "common/net/kafka/kafka_admin.h"

/* Address of the shared broker (TEL_KAFKA_BOOTSTRAP_FILE). Fails the test when there is none. */
const char *broker_address(void);
/* A new topic there; the name is static until the next call. */
const char *broker_new_topic(const char *address, uint32_t partitions, const char *const *config);
/* Runs tests/tools/kafka/kafka-cluster with these arguments; fails the test unless it exits 0. */
void broker_command(const char *fmt, ...) TEL_PRINTF(1, 2);
/* Folder of the shared cluster. */
const char *broker_folder(void);
/* First line of a file. */
void broker_read_line(const char *path, char *out, size_t size);

#endif
