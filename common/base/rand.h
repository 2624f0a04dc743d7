/* Randomness with a seed (xoshiro256**, Blackman and Vigna), for tests, jitter and simulations. Not for secrets. */
#ifndef TEL_BASE_RAND_H
#define TEL_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

struct tel_rand {
    uint64_t s[4];
};

void tel_rand_init(struct tel_rand *r, uint64_t seed);
/* A seed from the operating system. */
uint64_t tel_rand_seed(void);
/* Bytes fit for secrets and unique ids (getrandom). */
void tel_rand_secure(void *out, size_t len);
uint64_t tel_rand_u64(struct tel_rand *r);
/* Uniform in [0, n), n > 0. */
uint64_t tel_rand_below(struct tel_rand *r, uint64_t n);
/* Uniform in [0, 1). */
double tel_rand_double(struct tel_rand *r);

#endif
