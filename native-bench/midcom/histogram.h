/*
 * Latencies in nanoseconds, in constant memory: 1024 steps for each power of two, so that a percentile is right to a
 * thousandth (the layout of HdrHistogram).
 */
#include <stdint.h>
#include <string.h>

#define STEP_BITS 10
#define STEPS (1u << STEP_BITS)
/* Up to 2^40 ns, a quarter of an hour; what is longer counts as that. */
#define HISTOGRAM_SLOTS ((40 - STEP_BITS + 1) * STEPS)

typedef struct { uint64_t count, max, slots[HISTOGRAM_SLOTS]; } Histogram;

static inline uint32_t histogram_slot(uint64_t ns) {
  if (ns < STEPS) return (uint32_t)ns;
  if (ns >> 40) return HISTOGRAM_SLOTS - 1;
  int shift = 63 - __builtin_clzll(ns) - STEP_BITS;
  return ((uint32_t)shift + 1) * STEPS + (uint32_t)(ns >> shift) - STEPS;
}

/* The highest value of a slot. */
static inline uint64_t histogram_value(uint32_t slot) {
  if (slot < STEPS) return slot;
  uint32_t shift = slot / STEPS - 1;
  return (((uint64_t)(slot % STEPS) + STEPS + 1) << shift) - 1;
}

static inline void histogram_add(Histogram *h, uint64_t ns) {
  h->count++;
  if (ns > h->max) h->max = ns;
  h->slots[histogram_slot(ns)]++;
}

/* Nearest rank. */
static inline uint64_t histogram_percentile(const Histogram *h, double part) {
  if (h->count == 0) return 0;
  uint64_t rank = (uint64_t)((double)(h->count - 1) * part), seen = 0;
  for (uint32_t slot = 0; slot < HISTOGRAM_SLOTS; slot++) {
    seen += h->slots[slot];
    if (seen > rank) {
      uint64_t value = histogram_value(slot);
      return value < h->max ? value : h->max;
    }
  }
  return h->max;
}

static inline void histogram_clear(Histogram *h) { memset(h, 0, sizeof *h); }
