/* Convolutions (isa/kernel.py): which groups an input reaches, and through which rows.

   Rows lie part by part, tap by tap, channel by channel: of a row the columns of all blocks of its
   part side by side. */

static const Kernel *kernel_at(const Program *p, int place) { return p->constants[-1 - place]; }

/* An input: its line, column and channel. */
typedef struct { int y, x, c; } Place;

static inline Place place_of(const Kernel *k, int j) {
    int plane = k->height * k->width;
    if (k->planar) return (Place){j % plane / k->width, j % k->width, j / plane};
    return (Place){j / (k->width * k->channels), j / k->channels % k->width, j % k->channels};
}

/* For each position that input `j` reaches: its first block of the input's part, counted from the first
   of the groups in question, and the row. `body` may use both. */
#define EACH_REACHED(k, j, body)                                                                    \
    do {                                                                                            \
        const int32_t *above_ = (const int32_t *)(k) + (k)->above, *beside_ = (const int32_t *)(k) + (k)->beside; \
        Place at_ = place_of(k, j);                                                                 \
        int part_ = at_.c / (k)->depth, channel_ = at_.c % (k)->depth;                              \
        const int32_t *ys_ = above_ + (k)->height + 1, *xs_ = beside_ + (k)->width + 1;             \
        for (int a_ = above_[at_.y]; a_ < above_[at_.y + 1]; a_ += 2)                               \
            for (int b_ = beside_[at_.x]; b_ < beside_[at_.x + 1]; b_ += 2) {                       \
                int group = (ys_[a_] * (k)->columns + xs_[b_]) * (k)->blocks                        \
                          + part_ * (k)->of_part - (k)->start;                                      \
                size_t row = ((size_t)part_ * (k)->taps + ys_[a_ + 1] * (k)->x_taps + xs_[b_ + 1])  \
                           * (k)->depth + channel_;                                                 \
                if (group >= (k)->groups || group + (k)->of_part <= 0) continue;                    \
                body                                                                                \
            }                                                                                       \
    } while (0)

/* Add a row of some blocks where they begin among `n` columns, times a value. */
#define ADD_BLOCKS(S)                                                                               \
    static inline void add_blocks_##S(int##S##_t *restrict to, int n, const int32_t *restrict row,  \
                                      int at, int columns, int##S##_t value) {                      \
        int from = at < 0 ? -at : 0, until = n - at < columns ? n - at : columns;                   \
        to += at;                                                                                   \
        if (value == 1) for (int i = from; i < until; i++) to[i] += row[i];                         \
        else for (int i = from; i < until; i++) to[i] += row[i] * value;                            \
    }                                                                                               \
    static void convolve_##S(int##S##_t *to, int n, const Kernel *k, const int32_t *rows,           \
                             int lanes, int j, int##S##_t value) {                                  \
        int columns = k->of_part * lanes;                                                           \
        EACH_REACHED(k, j, {                                                                        \
            add_blocks_##S(to, n, rows + row * columns, group * lanes, columns, value);             \
        });                                                                                         \
    }
ADD_BLOCKS(32)
ADD_BLOCKS(64)

/* One more row for each group that an input reaches, in lane `l`. */
static void count_reached(const Kernel *k, int j, int32_t *rows, int lanes, int l) {
    EACH_REACHED(k, j, {
        (void)row;
        for (int q = group < 0 ? 0 : group; q < group + k->of_part && q < k->groups; q++)
            rows[(size_t)q * lanes + l]++;
    });
}
