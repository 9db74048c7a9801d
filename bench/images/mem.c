/* mem MIB [STEP]: holds MIB of memory; with STEP it takes that much more every second. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **words) {
    long held = 0, step = count > 2 ? atol(words[2]) : 0;
    for (long more = count > 1 ? atol(words[1]) : 10; more > 0; more = step) {
        char *block = malloc(more << 20);
        if (!block) return 3;
        memset(block, 1, more << 20);
        held += more;
        printf("holding %ld MiB\n", held);
        fflush(stdout);
        sleep(1);
    }
    for (;;) pause();
}
