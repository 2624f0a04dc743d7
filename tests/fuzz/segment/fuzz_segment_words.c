/* The filter: every word that was added is found again; any bytes can be opened as a filter. */
#include <stdlib.h>

#include "common/base/check.h"
#include "common/logsql/words.h"
#include "shard/segment/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct words_writer w; /* all zero is an empty one */
    struct words_filter filter = {0};
    struct tel_buf section = {0};
    struct tel_span word, text = tel_span_make(data, size);
    if (words_filter_open(text, &filter))
        words_filter_may(&filter, 0, TEL_SPAN("some"));
    char *copy = calloc(1, size + 16);
    TEL_CHECK(copy);
    if (size)
        memcpy(copy, data, size);
    text = tel_span_make(copy, size);
    words_writer_reset(&w, 1000);
    words_add_text(&w, text);
    words_put(&w, &section);
    TEL_CHECK(words_filter_open(tel_buf_span(&section), &filter));
    for (size_t pos = 0; tel_words_next(text, &pos, &word);)
        TEL_CHECK(words_filter_may(&filter, 0, word));
    tel_buf_free(&section);
    tel_vec_free(&w.hashes);
    tel_vec_free(&w.sorted);
    free(copy);
    return 0;
}
