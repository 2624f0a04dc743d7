/* A client of raw bytes, so that tests can break the rules on purpose. */
#ifndef TESTS_UNIT_HTTP_RAW_H
#define TESTS_UNIT_HTTP_RAW_H

#include "common/base/buf.h"

int raw_connect(const char *address);
void raw_send(int fd, const void *data, size_t len);
void raw_send_str(int fd, const char *text);
/* Reads until the peer closes or `until` bytes came, 10 s at most; NUL behind the end. */
void raw_read(int fd, struct tel_buf *out);
/* Sends one request with Connection: close and reads the whole answer. */
char *raw_ask(const char *address, const char *request, const void *body, size_t body_len);
int raw_status(const char *answer);
const char *raw_body(const char *answer);

#endif
