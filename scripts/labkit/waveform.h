/* The closed form of waveform.py in C, over the table that hardware.py prints into hardware.h. */
#ifndef LAB_WAVEFORM_H
#define LAB_WAVEFORM_H
#include <stdint.h>
#include <time.h>

struct wave { int kind; int64_t power_uw, period_ns, on_ns, phase_ns; };
struct domain { const char *node, *name, *zone; int first_wave, waves; uint64_t offset_uj, range_uj; };
struct gpu { const char *node; int index; const char *uuid, *domain, *name; };
#include "hardware.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define NS 1000000000LL
typedef unsigned __int128 wide;
enum { STEADY, SQUARE, TRIANGLE };

static inline int64_t boottime_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * NS + now.tv_nsec;
}

static inline uint64_t wave_energy_uj(const struct wave *w, int64_t t)
{
    wide power = (wide)w->power_uw;
    if (w->kind == STEADY)
        return (uint64_t)(power * (wide)t / NS);
    t += w->phase_ns;
    wide periods = (wide)(t / w->period_ns);
    int64_t within = t % w->period_ns, rest = w->period_ns - within;
    if (w->kind == SQUARE)
        return (uint64_t)(power * (periods * (wide)w->on_ns + (wide)(within < w->on_ns ? within : w->on_ns))
                          / NS);
    wide area = power * (wide)w->period_ns / 2;
    wide part = within <= rest ? power * (wide)within * (wide)within / (wide)w->period_ns
                               : area - power * (wide)rest * (wide)rest / (wide)w->period_ns;
    return (uint64_t)((periods * area + part) / NS);
}

static inline uint64_t counter_uj(const struct domain *d, int64_t t)
{
    wide sum = d->offset_uj;
    for (int i = 0; i < d->waves; i++)
        sum += wave_energy_uj(&WAVES[d->first_wave + i], t);
    return (uint64_t)(sum % ((wide)d->range_uj + 1));
}

static inline int64_t power_uw(const struct domain *d, int64_t t)
{
    int64_t sum = 0;
    for (int i = 0; i < d->waves; i++) {
        const struct wave *w = &WAVES[d->first_wave + i];
        int64_t within = (t + w->phase_ns) % w->period_ns, rest = w->period_ns - within;
        if (w->kind == STEADY)
            sum += w->power_uw;
        else if (w->kind == SQUARE)
            sum += within < w->on_ns ? w->power_uw : 0;
        else
            sum += (int64_t)((wide)w->power_uw * 2 * (wide)(within <= rest ? within : rest)
                             / (wide)w->period_ns);
    }
    return sum;
}
#endif
