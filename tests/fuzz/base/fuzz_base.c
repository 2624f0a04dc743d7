/* Times, numbers, UTF-8, JSON and escapes from any bytes: nothing crashes, and what can be said two
 * ways is the same both ways. */
#include <stdint.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/timefmt.h"
#include "common/base/utf8.h"
#include "common/base/varint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_time(struct tel_span s)
{
    int64_t ns, again;
    size_t len;
    bool prefix = tel_time_parse_prefix(s, &ns, &len);
    if (prefix)
        TEL_CHECK(len >= 10 && len <= s.len);
    bool whole = tel_time_parse(s, &again);
    TEL_CHECK(whole == (prefix && len == s.len));
    if (!prefix)
        return;
    /* The last days of the range may be written with a zone and then lie outside it in UTC. */
    char text[TEL_TIME_TEXT_MAX];
    struct tel_span formatted = tel_span_make(text, tel_time_format(text, ns));
    if (tel_time_parse(formatted, &again))
        TEL_CHECK(again == ns);
    else
        TEL_CHECK(memcmp(text, "1677-12-31", 10) == 0 || memcmp(text, "2262-01-01", 10) == 0);
}

static void fuzz_text(struct tel_span s)
{
    struct tel_buf json = {0}, escaped = {0};
    bool valid = true;
    for (size_t pos = 0; pos < s.len;) {
        uint32_t cp;
        char back[4];
        size_t used = tel_utf8_decode(tel_span_slice(s, pos, s.len), &cp);
        TEL_CHECK(used >= 1 && used <= s.len - pos);
        if (cp == UINT32_MAX)
            valid = false;
        else
            TEL_CHECK(tel_utf8_encode(cp, back) == used && memcmp(back, s.ptr + pos, used) == 0);
        tel_utf8_is_word(cp);
        tel_utf8_lower(cp);
        pos += used;
    }
    TEL_CHECK(tel_utf8_valid(s) == valid);
    tel_buf_add_json(&json, s);
    TEL_CHECK(tel_utf8_valid(tel_buf_span(&json)) && json.len >= 2);
    for (size_t i = 0; i < json.len; i++)
        TEL_CHECK((unsigned char)json.ptr[i] >= 0x20);
    tel_buf_add_escaped(&escaped, s, 100);
    TEL_CHECK(tel_utf8_valid(tel_buf_span(&escaped)) && escaped.len <= 403);
    for (size_t i = 0; i < escaped.len; i++)
        TEL_CHECK((unsigned char)escaped.ptr[i] >= 0x20);
    struct tel_error err;
    tel_error_set(&err, TEL_ERR_PARSE, "%.*s", TEL_SPAN_ARG(s));
    TEL_CHECK(tel_utf8_valid(tel_span_cstr(err.text)));
    tel_buf_free(&json);
    tel_buf_free(&escaped);
}

static void fuzz_numbers(struct tel_span s)
{
    unsigned long long u;
    long long i;
    double d;
    bool is_u = tel_span_to_u64(s, &u), is_i = tel_span_to_i64(s, &i), is_d = tel_span_to_double(s, &d);
    if (is_u && is_i)
        TEL_CHECK((unsigned long long)i == u);
    if ((is_u || is_i) && s.len < 400)
        TEL_CHECK(is_d);
    if (is_d) {
        char *text = strndup(s.ptr, s.len), *end;
        double want = strtod(text, &end);
        TEL_CHECK(*end == '\0' && memcmp(&want, &d, sizeof d) == 0);
        free(text);
    }
    const char *pos = s.ptr;
    uint64_t v;
    while (tel_varint_get(&pos, s.ptr + s.len, &v))
        TEL_CHECK(pos <= s.ptr + s.len && tel_zigzag(tel_unzigzag(v)) == v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tel_span s = tel_span_make(data, size);
    fuzz_time(s);
    fuzz_text(s);
    if (size)
        fuzz_numbers(s);
    return 0;
}
