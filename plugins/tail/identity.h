/*
 * Who a file is. A path is only where it lies: logs are renamed, truncated, deleted and made anew,
 * and the system gives an inode number away again. So a file is known by
 *
 *     device and inode     which survive a rename;
 *     a hash of its head   (up to HEAD_BYTES first bytes), which a truncation that is followed by
 *                          other text does not survive, and neither does a new file on an old inode;
 *     a generation         the time when it was first seen, so that no two sources ever share an id.
 *
 * The hash is taken over as many bytes as there were, and taken again over more when the file has
 * grown; how many it covers stands beside it.
 */
#ifndef TELESCOPE_TAIL_IDENTITY_H
#define TELESCOPE_TAIL_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_BYTES 1024u

struct identity {
    uint64_t dev, ino;
    uint64_t generation;  /* ns since the epoch when it was first seen; 0: not set yet */
    uint32_t head_len;    /* bytes that head_hash covers; 0: the file was empty */
    uint64_t head_hash;
};

#define IDENTITY_ID_MAX 96

/* "dev-inode-generation-hash", all in hexadecimal: the id of a source that begins now. It stays as it
 * is when a longer head is hashed later. */
void identity_id(const struct identity *identity, char out[IDENTITY_ID_MAX]);

/* Hashes the first `len` bytes (at most HEAD_BYTES) of fd. False if it has fewer or cannot be read. */
bool identity_hash_head(int fd, uint32_t len, uint64_t *ret_hash);

/* Does the head of fd still have the hash? */
bool identity_head_matches(const struct identity *identity, int fd);

/* What is stored with a source so that its file is found again. */
struct file_state {
    struct identity identity;
    uint64_t start;          /* where reading began: what stood before was never wanted */
    int64_t missing_since_s; /* when it was first found to be gone; 0: it was there */
    const char *path;
    size_t path_len;
};

#define FILE_STATE_MAX 4096

/* Text: "tail1 dev ino generation head_len head_hash start missing path". Returns the length,
 * 0 if the path is too long. */
size_t file_state_write(const struct file_state *state, char out[FILE_STATE_MAX]);
/* path points into text. False if it is not such a text. */
bool file_state_read(const char *text, size_t len, struct file_state *ret);

/* Do the first bytes of a file look like a format that is not lines of text (compressed, a journal,
 * an image, login records)? */
bool head_is_binary(const unsigned char *head, size_t len);

#endif
