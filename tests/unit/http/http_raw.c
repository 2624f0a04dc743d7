#include "tests/unit/http/http_raw.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"

int raw_connect(const char *address)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    const char *colon = strrchr(address, ':');
    TEL_CHECK(colon);
    a.sin_port = htons((uint16_t)atoi(colon + 1));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    TEL_CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void raw_send(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server closed: the answer tells */
        p += n;
        len -= (size_t)n;
    }
}

void raw_send_str(int fd, const char *text)
{
    raw_send(fd, text, strlen(text));
}

void raw_read(int fd, struct tel_buf *out)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        TEL_CHECK(poll(&p, 1, 10000) == 1);
        tel_buf_reserve(out, 65536);
        ssize_t n = recv(fd, out->ptr + out->len, 65535, 0);
        if (n <= 0)
            break;
        out->len += (size_t)n;
    }
    (void)tel_buf_cstr(out);
}

char *raw_ask(const char *address, const char *request, const void *body, size_t body_len)
{
    int fd = raw_connect(address);
    TEL_CHECK(fd >= 0);
    raw_send_str(fd, request);
    char head[128];
    snprintf(head, sizeof(head), "Host: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", body_len);
    raw_send_str(fd, head);
    raw_send(fd, body, body_len);
    struct tel_buf out = {0};
    raw_read(fd, &out);
    close(fd);
    return out.ptr;
}

int raw_status(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : -1;
}

const char *raw_body(const char *answer)
{
    const char *p = strstr(answer, "\r\n\r\n");
    return p ? p + 4 : "";
}
