/* See segment_text.h. */
#include "tests/unit/segment/segment_text.h"

#include <stdio.h>

static const char *const words[] = {
    "error",  "failed", "user",   "request", "GET",     "connection", "from",  "block", "blk",
    "status", "Dec",    "Mon",    "Jan",     "timeout", "INFO",       "WARN",  "the",   "of",
    "cache",  "lost",   "opened", "closed",  "retry",   "deadline",   "naïve", "привет", "世界",
    "bob",    "alice",  "eve",    "a",       "b",       "x_y",        "École", "١٢٣",
};

struct tel_span segment_text_word(struct tel_rand *r)
{
    return tel_span_cstr(words[tel_rand_below(r, TEL_ARRAY_LEN(words))]);
}

static void word(struct tel_rand *r, struct tel_buf *out)
{
    tel_buf_add_span(out, segment_text_word(r));
}

static void number(struct tel_rand *r, struct tel_buf *out)
{
    static const char *const formats[] = {"%llu", "%05llu", "-%llu", "%llx", "0%llu", "%llu.%llu"};
    uint64_t v = tel_rand_u64(r) >> tel_rand_below(r, 64);
    unsigned long long a = v, b = v % 1000;
    char text[64];
    int n = snprintf(text, sizeof(text), formats[tel_rand_below(r, TEL_ARRAY_LEN(formats))], a, b);
    tel_buf_add(out, text, (size_t)n);
}

static void random_bytes(struct tel_rand *r, struct tel_buf *out, size_t max, unsigned mask)
{
    size_t n = tel_rand_below(r, max);
    for (size_t i = 0; i < n; i++)
        tel_buf_add_char(out, (char)(tel_rand_u64(r) & mask));
}

static void id(struct tel_rand *r, struct tel_buf *out)
{
    static char last[8][33];
    char *s = last[tel_rand_below(r, 8)];
    if (s[0] == 0 || tel_rand_below(r, 4) == 0) {
        for (size_t i = 0; i < 32; i++)
            s[i] = "0123456789abcdef"[tel_rand_below(r, 16)];
    } else if (tel_rand_below(r, 3) == 0) {
        s[tel_rand_below(r, 32)] = "0123456789abcdef"[tel_rand_below(r, 16)];
    }
    tel_buf_add(out, s, tel_rand_below(r, 3) ? 16 : 8 + tel_rand_below(r, 25));
}

static void log_line(struct tel_rand *r, struct tel_buf *out)
{
    unsigned long long a = tel_rand_below(r, 100000), b = tel_rand_below(r, 60);
    switch (tel_rand_below(r, 12)) {
    case 0:
        tel_buf_printf(out, "081109 2036%02llu %llu INFO dfs.DataNode$PacketResponder: Received "
                            "block blk_", b, a);
        id(r, out);
        tel_buf_printf(out, " of size %llu from /10.%llu.%llu.7", a * 7, b, b * 3);
        break;
    case 1:
        tel_buf_printf(out, "Dec %2llu 06:55:%02llu LabSZ sshd[%llu]: Failed password for ", b % 31,
                       b, a);
        word(r, out);
        tel_buf_printf(out, " from 173.234.%llu.186 port %llu ssh2", b, a);
        break;
    case 2:
        tel_buf_printf(out, "10.0.%llu.1 - - [01/Jan/2026:00:00:%02llu +0000] \"GET /api/", b, b);
        word(r, out);
        tel_buf_printf(out, "?q=%llu HTTP/1.1\" %llu %llu \"-\" \"curl/8.%llu\"", a, 200 + b, a, b);
        break;
    case 3:
        tel_buf_printf(out, "{\"ts\":%llu,\"level\":\"info\",\"msg\":\"", a);
        word(r, out);
        TEL_BUF_ADD_LIT(out, " \\\"quoted\\\" ");
        word(r, out);
        tel_buf_printf(out, "\",\"tags\":[\"a\",%llu],\"user\":null}", b);
        break;
    case 4:
        tel_buf_printf(out, "level=info user=");
        word(r, out);
        tel_buf_printf(out, " dur=%llu.%llums path=/v1/%llu msg=\"", b, b, a);
        word(r, out);
        TEL_BUF_ADD_LIT(out, "\" empty= last=");
        number(r, out);
        break;
    case 5:
        tel_buf_printf(out, "request req-");
        id(r, out);
        TEL_BUF_ADD_LIT(out, " by ");
        word(r, out);
        TEL_BUF_ADD_LIT(out, "@example.com done");
        break;
    case 6:
        TEL_BUF_ADD_LIT(out, "boom\n\tat com.example.");
        word(r, out);
        tel_buf_printf(out, "(X.java:%llu)\n", b);
        break;
    case 7:
        tel_buf_printf(out, "values %llu,%llu,%llu,%llu,%llu end", a, b, a, b, a);
        break;
    case 8:
        tel_buf_printf(out, "code %llu%s", b, b % 2 ? "%" : "");
        break;
    default:
        tel_buf_printf(out, "session opened for ");
        word(r, out);
        TEL_BUF_ADD_LIT(out, " by ");
        word(r, out);
        tel_buf_printf(out, " (uid=%llu)", b);
        break;
    }
}

void segment_text_line(struct tel_rand *r, struct tel_buf *out)
{
    tel_buf_clear(out);
    uint64_t kind = tel_rand_below(r, 100);
    if (kind < 70) {
        log_line(r, out);
    } else if (kind < 78) {
        for (uint64_t n = tel_rand_below(r, 30); n; n--) {
            word(r, out);
            tel_buf_add_char(out, " \t,.;:=\"'()[]{}<>|/@#-$"[tel_rand_below(r, 23)]);
        }
    } else if (kind < 84) {
        for (uint64_t n = tel_rand_below(r, 12); n; n--) {
            number(r, out);
            tel_buf_add_char(out, " ,.:-/=\"\n"[tel_rand_below(r, 9)]);
        }
    } else if (kind < 87) {
        random_bytes(r, out, 100, 255);
    } else if (kind < 90) {
        random_bytes(r, out, 200, 127);
    } else if (kind < 93) {
        for (size_t i = 0, n = tel_rand_below(r, 150); i < n; i++)
            tel_buf_add_char(out, "ABCDabcd0123456789+/=" [tel_rand_below(r, 21)]);
    } else if (kind < 96) {
        for (uint64_t n = tel_rand_below(r, 40); n; n--)
            tel_buf_add_char(out, "\"\\=:a1,"[tel_rand_below(r, 7)]);
    } else if (kind == 96 && tel_rand_below(r, 30) == 0) {
        for (size_t i = 0, n = tel_rand_below(r, 130000); i < n; i++)
            tel_buf_add_char(out, (char)('a' + (i * i + n) % 7));
    } else if (kind < 98) {
        tel_buf_clear(out); /* the empty line */
    } else {
        log_line(r, out);
        random_bytes(r, out, 10, 255);
    }
}
