#include "common/net/http/http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"

#define TEXT_MAX (1u << 20)

struct tel_http_client {
    CURL *curl;
    char *ca_file, *auth; /* "Authorization: Bearer ..." */
    uint32_t connect_timeout_ms;
};

/* A call under way. */
struct running {
    CURL *curl;
    const struct tel_http_call *call;
    struct tel_buf *text;
    bool stopped;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_library(void)
{
    TEL_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
}

struct tel_http_client *tel_http_client_new(const struct tel_http_client_options *o)
{
    pthread_once(&once, init_library);
    struct tel_http_client *c = TEL_NEW(struct tel_http_client);
    c->curl = curl_easy_init();
    TEL_CHECK(c->curl);
    c->ca_file = o->ca_file ? tel_strdup(o->ca_file) : NULL;
    c->connect_timeout_ms = o->connect_timeout_ms ? o->connect_timeout_ms : 5000;
    if (o->bearer) {
        struct tel_buf b = {0};
        tel_buf_printf(&b, "Authorization: Bearer %s", o->bearer);
        c->auth = tel_strdup(tel_buf_cstr(&b));
        tel_buf_free(&b);
    }
    return c;
}

void tel_http_client_free(struct tel_http_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    if (c->auth)
        explicit_bzero(c->auth, strlen(c->auth));
    free(c->auth);
    free(c->ca_file);
    free(c);
}

static unsigned status_of(CURL *curl)
{
    long status = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return (unsigned)status;
}

static size_t on_body(char *data, size_t one, size_t len, void *ctx)
{
    (void)one;
    struct running *r = ctx;
    unsigned status = status_of(r->curl);
    if (r->call->on_data && status >= 200 && status < 300) {
        if (r->call->on_data(r->call->ctx, tel_span_make(data, len)))
            return len;
        r->stopped = true;
        return 0;
    }
    if (r->text && r->text->len < TEXT_MAX)
        tel_buf_add(r->text, data, TEL_MIN(len, TEXT_MAX - r->text->len));
    return len;
}

static size_t on_header(char *data, size_t one, size_t len, void *ctx)
{
    (void)one;
    struct running *r = ctx;
    struct tel_span value = {data, len};
    struct tel_span name = tel_span_split(&value, ':');
    char lower[128];
    if (!r->call->on_header || name.len == len || name.len > sizeof(lower))
        return len;
    for (size_t i = 0; i < name.len; i++)
        lower[i] = name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? (char)(name.ptr[i] + 32) : name.ptr[i];
    r->call->on_header(r->call->ctx, tel_span_make(lower, name.len), tel_span_trim(value));
    return len;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    struct running *r = ctx;
    if (!r->call->stop || !r->call->stop(r->call->ctx))
        return 0;
    r->stopped = true;
    return 1;
}

static tel_code explain(CURLcode rc, const struct running *r, const char *text, struct tel_error *err)
{
    if (rc == CURLE_OK)
        return TEL_OK;
    if (!text[0])
        text = curl_easy_strerror(rc);
    if (r->stopped)
        return tel_error_set(err, TEL_ERR_CANCELLED, "stopped");
    bool begun = status_of(r->curl) != 0;
    if (rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST)
        return tel_error_set(err, TEL_ERR_UNAVAILABLE, "%s: %s", r->call->url, text);
    if (rc == CURLE_OPERATION_TIMEDOUT)
        return tel_error_set(err, TEL_ERR_TIMEOUT, "%s: %s", r->call->url, text);
    if (rc == CURLE_URL_MALFORMAT || rc == CURLE_UNSUPPORTED_PROTOCOL)
        return tel_error_set(err, TEL_ERR_INVALID, "%s: %s", r->call->url, text);
    if (begun)
        return tel_error_set(err, TEL_ERR_TRUNCATED, "the answer broke off: %s", text);
    return tel_error_set(err, TEL_ERR_UNAVAILABLE, "%s: %s", r->call->url, text);
}

/* A proxy stands between here and the world, not between here and here. */
static bool is_loopback(const char *url)
{
    const char *host = strstr(url, "://");
    static const char *const names[] = {"localhost", "127.", "[::1]"};
    for (size_t i = 0; host && i < TEL_ARRAY_LEN(names); i++)
        if (strncmp(host + 3, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

tel_code tel_http_client_call(struct tel_http_client *c, const struct tel_http_call *call,
                              unsigned *ret_status, struct tel_buf *ret_text, struct tel_error *err)
{
    struct running r = {.curl = c->curl, .call = call, .text = ret_text};
    char text[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    CURL *h = c->curl;
    curl_easy_reset(h);
    for (const char *const *p = call->headers; p && *p; p++)
        headers = curl_slist_append(headers, *p);
    if (c->auth)
        headers = curl_slist_append(headers, c->auth);
    headers = curl_slist_append(headers, "Expect:"); /* no round trip before a body */
    if (call->content_type) {
        char type[160];
        snprintf(type, sizeof(type), "Content-Type: %s", call->content_type);
        headers = curl_slist_append(headers, type);
    }
    curl_easy_setopt(h, CURLOPT_URL, call->url);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h, CURLOPT_USERAGENT, "telescope/" TEL_VERSION);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_timeout_ms);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, &r);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, &r);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, call->stop ? 0L : 1L);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, &r);
    if (is_loopback(call->url))
        curl_easy_setopt(h, CURLOPT_PROXY, "");
    if (c->ca_file)
        curl_easy_setopt(h, CURLOPT_CAINFO, c->ca_file);
    if (strcmp(call->method, "GET") != 0) {
        curl_easy_setopt(h, CURLOPT_POST, 1L);
        curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, call->method);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, call->body.len ? call->body.ptr : "");
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
    }
    CURLcode rc = curl_easy_perform(h);
    tel_code code = explain(rc, &r, text, err);
    if (code == TEL_OK)
        *ret_status = status_of(h);
    curl_slist_free_all(headers);
    return code;
}
