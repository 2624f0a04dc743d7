#include "common/base/rand.h"

#include <errno.h>
#include <sys/random.h>

#include "common/base/check.h"
#include "common/base/hash.h"

void tel_rand_init(struct tel_rand *r, uint64_t seed)
{
    /* SplitMix64, as the authors of xoshiro advise: no seed gives the all-zero state. */
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        r->s[i] = tel_hash_u64(seed);
    }
}

void tel_rand_secure(void *out, size_t len)
{
    char *p = out;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        TEL_CHECK(n > 0);
        p += n;
        len -= (size_t)n;
    }
}

uint64_t tel_rand_seed(void)
{
    uint64_t seed;
    tel_rand_secure(&seed, sizeof seed);
    return seed;
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t tel_rand_u64(struct tel_rand *r)
{
    uint64_t result = rotl(r->s[1] * 5, 7) * 9;
    uint64_t t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rotl(r->s[3], 45);
    return result;
}

/* Lemire, "Fast random integer generation in an interval" (2019). */
uint64_t tel_rand_below(struct tel_rand *r, uint64_t n)
{
    TEL_CHECK(n > 0);
    unsigned __int128 m = (unsigned __int128)tel_rand_u64(r) * n;
    if ((uint64_t)m < n) {
        uint64_t threshold = -n % n;
        while ((uint64_t)m < threshold)
            m = (unsigned __int128)tel_rand_u64(r) * n;
    }
    return (uint64_t)(m >> 64);
}

double tel_rand_double(struct tel_rand *r)
{
    return (double)(tel_rand_u64(r) >> 11) * 0x1p-53;
}
