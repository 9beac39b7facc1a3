/* Arithmetic over vectors: isa/arithmetic.py, in 32 bits where the bounds of its operands allow it
   and in 64 elsewhere. A vector holds n elements of each of `lanes` samples; an operand whose stride
   is 0 is the same for all. */

#define VECTOR1(name, T, ...)                                                                       \
    static void name(T *restrict to, const T *restrict from, int stride, int n, int lanes,          \
                     int64_t low, int64_t high) {                                                   \
        (void)low, (void)high;                                                                      \
        for (int l = 0; l < lanes; l++, to += n, from += stride)                                    \
            for (int i = 0; i < n; i++) { T x = from[i]; to[i] = (__VA_ARGS__); }                   \
    }
#define VECTOR2(name, T, ...)                                                                       \
    static void name(T *restrict to, const T *restrict a, int sa, const T *restrict b, int sb,      \
                     int n, int lanes) {                                                            \
        for (int l = 0; l < lanes; l++, to += n, a += sa, b += sb)                                  \
            for (int i = 0; i < n; i++) { T x = a[i], y = b[i]; to[i] = (__VA_ARGS__); }            \
    }
#define VECTOR3(name, T, ...)                                                                       \
    static void name(T *restrict to, const T *restrict a, int sa, const T *restrict b, int sb,      \
                     const T *restrict c, int sc, int n, int lanes) {                               \
        for (int l = 0; l < lanes; l++, to += n, a += sa, b += sb, c += sc)                         \
            for (int i = 0; i < n; i++) { T x = a[i], y = b[i], z = c[i]; to[i] = (__VA_ARGS__); }  \
    }
#define SATURATE(name, T)                                                                           \
    static int64_t name(T *restrict to, const T *restrict from, int stride, int n, int lanes,       \
                        T low, T high) {                                                            \
        int64_t all = 0;                                                                            \
        for (int l = 0; l < lanes; l++, to += n, from += stride) {                                  \
            T changed = 0;                                                                          \
            for (int i = 0; i < n; i++) {                                                           \
                T x = from[i], y = x < low ? low : x;                                               \
                y = y > high ? high : y;                                                            \
                to[i] = y;                                                                          \
                changed += y != x;                                                                  \
            }                                                                                       \
            all += changed;                                                                         \
        }                                                                                           \
        return all;                                                                                 \
    }
/* (x + half) >> right, or x << left: `low` is how far right, `high` how far left. Beyond 2^62
   products stay there (isa/arithmetic.py, WIDEST). */
static inline int64_t widened(int64_t x, int left) {
    int64_t limit = (INT64_C(1) << 62) >> left;
    return left ? (int64_t)((uint64_t)(x > limit ? limit : x < -limit ? -limit : x) << left) : x;
}
#define FAMILY(B, T, U)                                                                             \
    VECTOR2(add##B, T, x + y)                                                                       \
    VECTOR2(subtract##B, T, x - y)                                                                  \
    VECTOR2(multiply##B, T, x * y)                                                                  \
    VECTOR2(larger##B, T, x > y ? x : y)                                                            \
    VECTOR2(reached##B, T, x >= y)                                                                  \
    VECTOR3(select##B, T, x ? y : z)                                                                \
    VECTOR1(right##B, T, (x + (((T)1 << low) >> 1)) >> low)                                         \
    SATURATE(saturate##B, T)
FAMILY(32, int32_t, uint32_t)
FAMILY(64, int64_t, uint64_t)
VECTOR1(left32, int32_t, (int32_t)((uint32_t)x << high))
VECTOR1(left64, int64_t, widened(x, (int)high))
VECTOR3(shifts32, int32_t, (int32_t)((uint32_t)((x + ((1 << y) >> 1)) >> y) << z))
VECTOR3(shifts64, int64_t, widened((x + ((INT64_C(1) << y) >> 1)) >> y, (int)z))

static void widen(int64_t *restrict to, const int32_t *restrict from, int n) {
    for (int i = 0; i < n; i++) to[i] = from[i];
}

static void narrow(int32_t *restrict to, const int64_t *restrict from, int n) {
    for (int i = 0; i < n; i++) to[i] = (int32_t)from[i];
}

/* Sums of rows (isa/engines/tables.py): of active events, and times values. A table's columns come
   in sixteens; those beyond the last are zero, so what they are added to stays as it is. */
typedef int16_t Shorts __attribute__((vector_size(32), aligned(2), may_alias));

#define ADD_SHORTS(S)                                                                               \
    static void add_shorts_##S(int##S##_t *restrict to, const int16_t *restrict rows, int n,        \
                               const uint16_t *active, int count) {                                 \
        int16_t sums[64];                                                                           \
        Shorts *s = (Shorts *)sums;                                                                 \
        int i = 0;                                                                                  \
        for (; i + 64 <= n; i += 64) {                                                              \
            Shorts a = {0}, b = {0}, c = {0}, d = {0};                                              \
            for (int k = 0; k < count; k++) {                                                       \
                const Shorts *row = (const Shorts *)(rows + (size_t)active[k] * n + i);             \
                a += row[0], b += row[1], c += row[2], d += row[3];                                 \
            }                                                                                       \
            s[0] = a, s[1] = b, s[2] = c, s[3] = d;                                                 \
            for (int j = 0; j < 64; j++) to[i + j] += sums[j];                                      \
        }                                                                                           \
        for (; i < n; i += 16) {                                                                    \
            Shorts a = {0};                                                                         \
            for (int k = 0; k < count; k++)                                                         \
                a += *(const Shorts *)(rows + (size_t)active[k] * n + i);                           \
            s[0] = a;                                                                               \
            for (int j = 0; j < 16; j++) to[i + j] += sums[j];                                      \
        }                                                                                           \
    }
ADD_SHORTS(32)
ADD_SHORTS(64)

/* Products of two interleaved rows with a pair of values, of eight columns. */
typedef int32_t Eight32 __attribute__((vector_size(32), aligned(4), may_alias));
#if defined __AVX2__
#include <immintrin.h>
static inline Eight32 products(const int16_t *rows, int32_t pair) {
    return (Eight32)_mm256_madd_epi16(_mm256_loadu_si256((const void *)rows), _mm256_set1_epi32(pair));
}
#else
static inline Eight32 products(const int16_t *rows, int32_t pair) {
    int16_t v = pair, w = pair >> 16;
    Eight32 made;
    for (int i = 0; i < 8; i++) made[i] = rows[2 * i] * v + rows[2 * i + 1] * w;
    return made;
}
#endif

static inline void add_products_32(int32_t *to, const int16_t *rows, int next, const int32_t *pair,
                                   int count) {
    Eight32 *sums = (Eight32 *)to, a = sums[0], b = sums[1];
    for (int k = 0; k < count; k++, rows += next)
        a += products(rows, pair[k]), b += products(rows + 16, pair[k]);
    sums[0] = a, sums[1] = b;
}

static inline void add_products_64(int64_t *to, const int16_t *rows, int next, const int32_t *pair,
                                   int count) {
    for (int k = 0; k < count; k++, rows += next) {
        int32_t made[16];
        ((Eight32 *)made)[0] = products(rows, pair[k]);
        ((Eight32 *)made)[1] = products(rows + 16, pair[k]);
        for (int i = 0; i < 16; i++) to[i] += made[i];
    }
}

#define MULTIPLY_PAIRS(S)                                                                           \
    static void multiply_pairs_##S(int##S##_t *restrict to, const int16_t *restrict rows, int n,    \
                                   const int32_t *values, int count) {                              \
        for (int from = 0; from < count; from += 64) {                                              \
            int32_t pair[32];                                                                       \
            int many = count - from < 64 ? count - from : 64;                                       \
            for (int k = 0; k < many; k += 2) {                                                     \
                uint32_t second = k + 1 < many ? values[from + k + 1] : 0;                          \
                pair[k / 2] = (uint16_t)values[from + k] | second << 16;                            \
            }                                                                                       \
            const int16_t *first = rows + (size_t)from * n;                                         \
            for (int i = 0; i < n; i += 16, first += 32)                                            \
                add_products_##S(to + i, first, 2 * n, pair, (many + 1) / 2);                       \
        }                                                                                           \
    }
MULTIPLY_PAIRS(32)
MULTIPLY_PAIRS(64)

/* The same of rows of 32 bits. */
#define INTS(S)                                                                                     \
    static void add_ints_##S(int##S##_t *restrict to, const int32_t *restrict rows, int n,          \
                             const uint16_t *active, int count) {                                   \
        for (int k = 0; k < count; k++) {                                                           \
            const int32_t *row = rows + (size_t)active[k] * n;                                      \
            for (int i = 0; i < n; i++) to[i] += row[i];                                            \
        }                                                                                           \
    }                                                                                               \
    static void multiply_ints_##S(int##S##_t *restrict to, const int32_t *restrict rows, int n,     \
                                  const int32_t *values, int count) {                               \
        for (int k = 0; k < count; k++, rows += n) {                                                \
            int##S##_t value = values[k];                                                           \
            for (int i = 0; i < n; i++) to[i] += rows[i] * value;                                   \
        }                                                                                           \
    }
INTS(32)
INTS(64)

/* Numbers of the active elements among n bytes of 0 and 1; how many there are. */
static uint16_t places[256][8];

__attribute__((constructor)) static void fill_places(void) {
    for (int byte = 0; byte < 256; byte++)
        for (int bit = 0, k = 0; bit < 8; bit++)
            if (byte >> bit & 1) places[byte][k++] = bit;
}

static int list_bytes(uint16_t *restrict list, const uint8_t *restrict bytes, int n) {
    int count = 0, i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t eight;
        memcpy(&eight, bytes + i, 8);
        unsigned bits = eight * UINT64_C(0x0102040810204080) >> 56;  /* the first byte lowest */
        for (int k = 0; k < 8; k++) list[count + k] = places[bits][k] + i;
        count += __builtin_popcount(bits);
    }
    for (; i < n; i++)
        if (bytes[i]) list[count++] = i;
    return count;
}

/* Whether all of n inputs lie between two numbers; they go where they belong. */
#define TAKE_INPUT(name, F, T)                                                                      \
    static int name(T *restrict to, const F *restrict from, int n, int64_t low, int64_t high) {     \
        int out = 0, least = low, most = high;                                                      \
        for (int i = 0; i < n; i++) {                                                               \
            out |= (from[i] < least) | (from[i] > most);                                            \
            to[i] = from[i];                                                                        \
        }                                                                                           \
        return !out;                                                                                \
    }
TAKE_INPUT(byte_events, uint8_t, uint8_t)
TAKE_INPUT(word_events, int32_t, uint8_t)
TAKE_INPUT(byte_values, uint8_t, int32_t)
TAKE_INPUT(word_values, int32_t, int32_t)
