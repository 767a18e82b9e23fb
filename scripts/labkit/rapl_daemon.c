/* Keeps the energy_uj files of all nodes at their closed-form value, one pwrite a file every 5 ms.
 *
 *   rapl_daemon run LIVE_DIR        files LIVE_DIR/<node>/powercap/intel-rapl/<zone>/energy_uj
 *   rapl_daemon print BOOTTIME_NS   every counter at that moment, for comparison with waveform.py
 *
 * Each write has the same width (digits, then newlines) and nothing is truncated or renamed, so a reader that
 * keeps its file open never sees an empty file and a reader that opens it anew never misses it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "waveform.h"

#define WIDTH 16
#define PERIOD_NS 5000000L

static void show(int file, const struct domain *d, int64_t t)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%" PRIu64, counter_uj(d, t));
    memset(text + length, '\n', sizeof text - (size_t)length);
    if (pwrite(file, text, WIDTH, 0) != WIDTH) {
        perror(d->zone);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "print")) {
        for (int i = 0; i < COUNT(DOMAINS); i++)
            printf("%s %s %" PRIu64 "\n", DOMAINS[i].node, DOMAINS[i].name,
                   counter_uj(&DOMAINS[i], atoll(argv[2])));
        return 0;
    }
    if (argc != 3 || strcmp(argv[1], "run")) {
        fprintf(stderr, "usage: rapl_daemon run LIVE_DIR | print BOOTTIME_NS\n");
        return 2;
    }
    int files[COUNT(DOMAINS)];
    for (int i = 0; i < COUNT(DOMAINS); i++) {
        char path[4096];
        files[i] = -1;
        if (!DOMAINS[i].zone)
            continue;
        snprintf(path, sizeof path, "%s/%s/powercap/intel-rapl/%s/energy_uj", argv[2], DOMAINS[i].node,
                 DOMAINS[i].zone);
        files[i] = open(path, O_WRONLY | O_CLOEXEC);
        if (files[i] < 0) {
            perror(path);
            return 1;
        }
    }
    /* Counters of hardware do not wait for a processor: this comes before ordinary processes. */
    struct sched_param first = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &first))
        setpriority(PRIO_PROCESS, 0, -20);
    for (;;) {
        for (int i = 0; i < COUNT(DOMAINS); i++)
            if (files[i] >= 0)
                show(files[i], &DOMAINS[i], boottime_ns());
        struct timespec pause = {0, PERIOD_NS};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, 0);
    }
}
