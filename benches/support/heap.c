/* Makes a worker hold HEAP_MIB of memory, for `end_to_end heap`: preloaded by the bench, so that the product needs no switch for it. Only the worker itself:
 * the zygote that it starts, and the tasks, find the variable gone. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

__attribute__((constructor)) static void hold(void) {
  const char *mib = getenv("HEAP_MIB");
  size_t bytes = mib ? (size_t)atol(mib) << 20 : 0;
  unsetenv("LD_PRELOAD");
  unsetenv("HEAP_MIB");
  if (bytes) {
    /* In small blocks, or it would be one mapping and not heap. */
    for (size_t done = 0; done < bytes; done += 65536) {
      char *block = malloc(65536);
      if (block) memset(block, 1, 65536);
    }
  }
}
