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

/* Sums of rows: of active events (four rows a pass), and times values. Rows are of 16 or 32 bits. */
#define ROWS(B, W, S)                                                                               \
    static void add_rows_##B##_##S(int##S##_t *restrict to, const W *restrict rows, int n,          \
                                   const uint16_t *active, int count) {                             \
        int k = 0;                                                                                  \
        for (; k + 4 <= count; k += 4) {                                                            \
            const W *a = rows + (size_t)active[k] * n, *b = rows + (size_t)active[k + 1] * n;       \
            const W *c = rows + (size_t)active[k + 2] * n, *d = rows + (size_t)active[k + 3] * n;   \
            for (int i = 0; i < n; i++) to[i] += (int##S##_t)a[i] + b[i] + c[i] + d[i];             \
        }                                                                                           \
        for (; k < count; k++) {                                                                    \
            const W *a = rows + (size_t)active[k] * n;                                              \
            for (int i = 0; i < n; i++) to[i] += a[i];                                              \
        }                                                                                           \
    }                                                                                               \
    static void multiply_rows_##B##_##S(int##S##_t *restrict to, const W *restrict rows, int n,     \
                                        const int32_t *values, int count) {                         \
        int k = 0;                                                                                  \
        for (; k + 2 <= count; k += 2) {                                                            \
            const W *a = rows + (size_t)k * n, *b = a + n;                                          \
            int##S##_t v = values[k], w = values[k + 1];                                            \
            for (int i = 0; i < n; i++) to[i] += a[i] * v + b[i] * w;                               \
        }                                                                                           \
        for (; k < count; k++) {                                                                    \
            const W *a = rows + (size_t)k * n;                                                      \
            int##S##_t v = values[k];                                                               \
            for (int i = 0; i < n; i++) to[i] += a[i] * v;                                          \
        }                                                                                           \
    }
ROWS(16, int16_t, 32)
ROWS(16, int16_t, 64)
ROWS(32, int32_t, 32)
ROWS(32, int32_t, 64)
