/* How the programs here read their arguments, and what they say when they cannot go on. Whoever includes it has PROGRAM and USAGE. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what) {
  if (errno) fprintf(stderr, PROGRAM ": %s: %s\n", what, strerror(errno));
  else fprintf(stderr, PROGRAM ": %s\n", what);
  exit(1);
}

static void usage(const char *what, const char *text) {
  fprintf(stderr, PROGRAM ": %s%s%s\n%s", what, text ? ": " : "", text ? text : "", USAGE);
  exit(2);
}

static double number(const char *name, const char *text, double min, double max) {
  char *end;
  double v = text ? strtod(text, &end) : 0;
  if (!text || end == text || *end || !(v >= min && v <= max)) usage(name, text);
  return v;
}
