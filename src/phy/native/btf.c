/* What the kernel calls its types and functions by: BTF (Linux bpf/btf.rst), as far as finding one function takes. */
#include "program.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct header { uint16_t magic; uint8_t version, flags; uint32_t bytes, types, types_bytes, names, names_bytes; };
struct type { uint32_t name, info, size; };
enum { MAGIC = 0xeb9f, KIND_FUNCTION = 12, KINDS = 20 };

/* Bytes after a type: as such, and for each of its members. */
static const uint8_t AFTER[KINDS] = { [1] = 4, [3] = 12, [14] = 4, [17] = 4 };
static const uint8_t EACH[KINDS] = { [4] = 12, [5] = 12, [6] = 8, [13] = 8, [15] = 12, [19] = 12 };

static int find(const uint8_t *all, size_t bytes, const char *name) {
  const struct header *h = (const void *)all;
  if (bytes < sizeof *h || h->magic != MAGIC || h->version != 1) return 0;
  if ((uint64_t)h->bytes + h->types + h->types_bytes > bytes || (uint64_t)h->bytes + h->names + h->names_bytes > bytes) return 0;
  const uint8_t *at = all + h->bytes + h->types, *end = at + h->types_bytes, *names = all + h->bytes + h->names;
  size_t length = strlen(name) + 1;
  for (int id = 1; end - at >= (ptrdiff_t)sizeof(struct type); id++) {
    struct type t;
    memcpy(&t, at, sizeof t);
    uint32_t kind = t.info >> 24 & 31, members = t.info & 0xffff;
    if (kind >= KINDS) return 0;
    if (kind == KIND_FUNCTION && (uint64_t)t.name + length <= h->names_bytes && memcmp(names + t.name, name, length) == 0) return id;
    at += sizeof t + AFTER[kind] + EACH[kind] * members;
  }
  return 0;
}

int find_kernel_function(const char *name) {
  int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC), id = 0;
  struct stat file;
  if (fd < 0) return 0;
  if (fstat(fd, &file) == 0 && file.st_size > 0) {
    /* Linux before 6.16 does not map it. */
    uint8_t *all = mmap(NULL, file.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all != MAP_FAILED) {
      off_t got = 0;
      ssize_t more;
      while (got < file.st_size && (more = read(fd, all + got, file.st_size - got)) > 0) got += more;
      id = find(all, got, name);
      munmap(all, file.st_size);
    }
  }
  close(fd);
  return id;
}
