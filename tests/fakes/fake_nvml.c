/* A libnvidia-ml.so.1 whose devices draw a square wave of power, with the exact integral as their energy
 * counter, so that the true energy between any two moments of CLOCK_BOOTTIME is known (fake_nvml.py has the
 * same formula). Set up by the environment when the library is loaded:
 *   FAKE_NVML_DEVICES   number of devices (2)
 *   FAKE_NVML_LOW_MW, FAKE_NVML_HIGH_MW, FAKE_NVML_PERIOD_MS   the wave: high in the first half of a period
 *   FAKE_NVML_MIG       index of a device in MIG mode (none)
 *   FAKE_NVML_OTHER     index of a device of another model than the others (none)
 *   FAKE_NVML_CONTROL   a directory whose files switch faults on while they exist:
 *                       hang, hang-init, no-energy, frozen, no-power, no-use, lost-<index>, foreign-<index>, unloaded,
 *                       and DEATH-load, DEATH-init, DEATH (at each query) and DEATH-once (at the next query), where
 *                       DEATH is abort, crash or exit
 * A device is 75 percent busy in the high half and 25 percent in the low one.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, NOT_LOADED = 9, LOST = 15 };

typedef struct { int index; int slice; int start; } device;

/* Devices of each start of the library, the later ones over and over in the same place. */
static device known[8][2][64], *devices = known[0][0], *slices = known[0][1];
static int started, starts;

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

static int fault(const char *name) {
    const char *folder = getenv("FAKE_NVML_CONTROL");
    char path[4096];
    if (!folder || !*folder) return 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static int fault_of(const char *what, int index) {
    char name[32];
    snprintf(name, sizeof name, "%s-%d", what, index);
    return fault(name);
}
static int lost(const device *d) { return fault_of("lost", d->index); }

static void die(const char *how) {
    int *nowhere = NULL;
    if (strcmp(how, "abort") == 0) abort();
    if (strcmp(how, "exit") == 0) exit(5);
    *(volatile int *)nowhere = 1;
}

/* End the process where the fault DEATH<moment> is on. */
static void die_at(const char *moment) {
    const char *deaths[] = {"abort", "crash", "exit"};
    char name[32], path[4096];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", deaths[i], moment);
        if (!fault(name)) continue;
        snprintf(path, sizeof path, "%s/%s", getenv("FAKE_NVML_CONTROL"), name);
        if (strcmp(moment, "-once") == 0) unlink(path);
        die(deaths[i]);
    }
}

__attribute__((constructor)) static void load(void) { die_at("-load"); }

static void wait_while(const char *name) {
    for (int i = 0; i < 3000 && fault(name); i++) usleep(10000);
}

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int check(const device *d) {
    if (fault("unloaded")) { started = 0; return NOT_LOADED; }
    if (!started) return UNINITIALIZED;
    /* a handle from before the library was started anew is void */
    if (d->start != starts) return INVALID;
    wait_while("hang");
    die_at("");
    die_at("-once");
    return lost(d) ? LOST : SUCCESS;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    wait_while("hang-init");
    die_at("-init");
    if (fault("unloaded")) return NOT_LOADED;
    starts++;
    devices = known[starts % 8][0];
    slices = known[starts % 8][1];
    for (int i = 0; i < 64; i++) {
        devices[i].index = slices[i].index = i;
        slices[i].slice = 1;
        devices[i].start = slices[i].start = starts;
    }
    started = 1;
    return SUCCESS;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { int was = started; started = 0; return was ? SUCCESS : UNINITIALIZED; }

const char *nvmlErrorString(int code) {
    switch (code) {
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_LOADED: return "Driver Not Loaded";
    case LOST: return "GPU is lost";
    case UNINITIALIZED: return "Uninitialized";
    default: return "Other";
    }
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!started) return UNINITIALIZED;
    *count = (unsigned)number("FAKE_NVML_DEVICES", 2);
    return SUCCESS;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **d) {
    if (!started) return UNINITIALIZED;
    if (index >= number("FAKE_NVML_DEVICES", 2)) return INVALID;
    if (fault_of("foreign", (int)index)) return NO_PERMISSION;
    if (lost(&devices[index])) return LOST;
    *d = &devices[index];
    return SUCCESS;
}
static void uuid_of(const device *d, char *text, unsigned size) {
    snprintf(text, size, "%s-%08x-1111-2222-3333-44445555%04x", d->slice ? "MIG" : "GPU", 0xaa00 + d->index, d->index);
}
int nvmlDeviceGetUUID(const device *d, char *text, unsigned size) { uuid_of(d, text, size); return SUCCESS; }
int nvmlDeviceGetName(const device *d, char *text, unsigned size) {
    snprintf(text, size, number("FAKE_NVML_OTHER", -1) == d->index ? "Fake L4" : "Fake H100");
    return SUCCESS;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, device **d) {
    char text[96];
    if (!started) return UNINITIALIZED;
    for (int i = 0; i < number("FAKE_NVML_DEVICES", 2); i++)
        for (int slice = 0; slice < 2; slice++) {
            *d = slice ? &slices[i] : &devices[i];
            uuid_of(*d, text, sizeof text);
            if (strcmp(text, uuid) == 0) return lost(*d) ? LOST : SUCCESS;
        }
    return NOT_FOUND;
}
int nvmlDeviceGetMigMode(const device *d, unsigned *current, unsigned *pending) {
    long index = number("FAKE_NVML_MIG", -1);
    if (index < 0) return NOT_SUPPORTED;
    *current = *pending = index == d->index;
    return SUCCESS;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(const device *d, device **parent) {
    if (!d->slice) return INVALID;
    *parent = &devices[d->index];
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(const device *d, unsigned *milliwatts) {
    int code = check(d);
    if (code) return code;
    if (fault("no-power")) return NOT_SUPPORTED;
    long long period = number("FAKE_NVML_PERIOD_MS", 1000) * 1000000LL;
    *milliwatts = (unsigned)(now_ns() % period < period / 2 ? number("FAKE_NVML_HIGH_MW", 300000)
                                                            : number("FAKE_NVML_LOW_MW", 100000));
    return SUCCESS;
}
int nvmlDeviceGetEnforcedPowerLimit(const device *d, unsigned *milliwatts) {
    int code = check(d);
    if (code) return code;
    *milliwatts = 400000;
    return SUCCESS;
}
int nvmlDeviceGetTotalEnergyConsumption(const device *d, unsigned long long *millijoules) {
    int code = check(d);
    if (code) return code;
    if (fault("no-energy")) return NOT_SUPPORTED;
    if (fault("frozen")) {
        *millijoules = 16430;
        return SUCCESS;
    }
    long long period = number("FAKE_NVML_PERIOD_MS", 1000) * 1000000LL, t = now_ns();
    long long low = number("FAKE_NVML_LOW_MW", 100000), high = number("FAKE_NVML_HIGH_MW", 300000);
    long long whole = t / period, part = t % period, half = period / 2;
    long long high_ns = whole * half + (part < half ? part : half);
    *millijoules = (unsigned long long)((high_ns / 1000 * high + (t - high_ns) / 1000 * low) / 1000000);
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(const device *d, unsigned percent[2]) {
    int code = check(d);
    if (code) return code;
    if (fault("no-use")) return NOT_SUPPORTED;
    long long period = number("FAKE_NVML_PERIOD_MS", 1000) * 1000000LL;
    percent[0] = now_ns() % period < period / 2 ? 75 : 25;
    percent[1] = 0;
    return SUCCESS;
}
