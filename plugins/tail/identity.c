#include "plugins/tail/identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* FNV-1a over 64 bits (Fowler, Noll and Vo): it need not be fast for a kilobyte, nor withstand an
 * adversary: whoever writes the log can rewrite all of it anyway. */
static uint64_t hash_bytes(const unsigned char *p, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

void identity_id(const struct identity *identity, char out[IDENTITY_ID_MAX])
{
    snprintf(out, IDENTITY_ID_MAX, "%" PRIx64 "-%" PRIx64 "-%" PRIx64 "-%" PRIx64, identity->dev,
             identity->ino, identity->generation, identity->head_hash);
}

bool identity_hash_head(int fd, uint32_t len, uint64_t *ret_hash)
{
    unsigned char head[HEAD_BYTES];
    size_t have = 0;
    if (len > HEAD_BYTES)
        return false;
    while (have < len) {
        ssize_t n = pread(fd, head + have, len - have, (off_t)have);
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    *ret_hash = hash_bytes(head, len);
    return true;
}

bool identity_head_matches(const struct identity *identity, int fd)
{
    uint64_t hash;
    return identity_hash_head(fd, identity->head_len, &hash) && hash == identity->head_hash;
}

size_t file_state_write(const struct file_state *state, char out[FILE_STATE_MAX])
{
    const struct identity *id = &state->identity;
    int n = snprintf(out, FILE_STATE_MAX,
                     "tail1 %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIx64 " %" PRIu64
                     " %" PRId64 " %.*s",
                     id->dev, id->ino, id->generation, id->head_len, id->head_hash,
                     state->start, state->missing_since_s, (int)state->path_len, state->path);
    return n > 0 && n < FILE_STATE_MAX ? (size_t)n : 0;
}

bool file_state_read(const char *text, size_t len, struct file_state *ret)
{
    char copy[FILE_STATE_MAX];
    struct file_state s = {0};
    int at = 0;
    if (len >= sizeof(copy) || memchr(text, '\0', len))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    int fields = sscanf(copy,
                        "tail1 %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNx64
                        " %" SCNu64 " %" SCNd64 "%n",
                        &s.identity.dev, &s.identity.ino, &s.identity.generation,
                        &s.identity.head_len, &s.identity.head_hash, &s.start,
                        &s.missing_since_s, &at);
    if (fields != 7 || at <= 0 || copy[at] != ' ' || s.identity.head_len > HEAD_BYTES)
        return false;
    s.path = text + at + 1;
    s.path_len = len - (size_t)at - 1;
    *ret = s;
    return s.path_len > 0;
}

bool head_is_binary(const unsigned char *head, size_t len)
{
    static const struct {
        const char *magic;
        size_t len;
    } formats[] = {
        {"\x1f\x8b", 2},         {"\x28\xb5\x2f\xfd", 4}, {"\xfd" "7zXZ", 5},
        {"BZh", 3},              {"\x04\x22\x4d\x18", 4}, {"PK\x03\x04", 4},
        {"LPKSHHRH", 8},         {"\x7f" "ELF", 4},       {"SQLite format 3", 15},
        {"\x89PNG", 4},
    };
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (len >= formats[i].len && memcmp(head, formats[i].magic, formats[i].len) == 0)
            return true;
    /* Zeros at the very beginning are what a writer leaves that goes on at its old place after its
     * log was truncated; behind them stands text. */
    size_t from = 0, odd = 0;
    while (from < len && head[from] == 0)
        from++;
    for (size_t i = from; i < len; i++)
        odd += head[i] < 0x20 && !(head[i] >= '\t' && head[i] <= '\r') && head[i] != 0x1b;
    return odd * 10 > (len - from) * 3;
}
