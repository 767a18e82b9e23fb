/* A libnvidia-ml.so.1 for one lab node: two GPUs whose power is the closed form of waveform.h.
 *
 * Built once per node with -DLAB_NODE="n1" and -DLAB_FAULTS="path". That file is read at each call; each of
 * its lines is one fault, by name:
 *   NOT_SUPPORTED        the energy counter is not supported (power still is)
 *   NO_POWER             neither energy nor power is supported
 *   GPU_IS_LOST K        every query of device K fails
 *   DRIVER_NOT_LOADED    nothing works, init included
 *   NO_PERMISSION        energy and power are forbidden
 *   hang S               each energy or power query sleeps S seconds first
 * Only what job and energy tools ask for is here; other symbols are absent, as in an old driver. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "waveform.h"

#define API __attribute__((visibility("default")))
typedef int nvmlReturn_t;
typedef struct { const struct gpu *gpu; const struct domain *domain; } *nvmlDevice_t;
enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
       INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, UNKNOWN = 999 };

typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;
typedef struct { unsigned gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } nvmlMemory_v2_t;

struct faults { int driver, lost, no_energy, no_power, forbidden; double hang_s; };
static struct { const struct gpu *gpu; const struct domain *domain; } devices[8];
static int device_count, users;

static struct faults read_faults(void)
{
    struct faults found = {0, -1, 0, 0, 0, 0};
    char text[512] = "", *rest = 0;
    int file = open(LAB_FAULTS, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return found;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(0, "\n", &rest)) {
        if (!strcmp(line, "NOT_SUPPORTED"))
            found.no_energy = 1;
        else if (!strcmp(line, "NO_POWER"))
            found.no_energy = found.no_power = 1;
        else if (!strcmp(line, "NO_PERMISSION"))
            found.forbidden = 1;
        else if (!strcmp(line, "DRIVER_NOT_LOADED"))
            found.driver = 1;
        else if (!strncmp(line, "GPU_IS_LOST ", 12))
            found.lost = atoi(line + 12);
        else if (!strncmp(line, "hang ", 5))
            found.hang_s = atof(line + 5);
    }
    return found;
}

static nvmlReturn_t check(void)
{
    return read_faults().driver ? DRIVER_NOT_LOADED : users ? OK : UNINITIALIZED;
}

static nvmlReturn_t check_device(nvmlDevice_t d)
{
    nvmlReturn_t code = check();
    if (code)
        return code;
    for (int i = 0; i < device_count; i++)
        if ((void *)d == (void *)&devices[i])
            return read_faults().lost == i ? GPU_IS_LOST : OK;
    return INVALID_ARGUMENT;
}

static nvmlReturn_t check_sensor(nvmlDevice_t d, int energy)
{
    struct faults faults = read_faults();
    if (faults.hang_s > 0)
        usleep((useconds_t)(faults.hang_s * 1e6));
    nvmlReturn_t code = check_device(d);
    if (code)
        return code;
    if (energy ? faults.no_energy : faults.no_power)
        return NOT_SUPPORTED;
    return faults.forbidden ? NO_PERMISSION : OK;
}

static nvmlReturn_t put(char *to, unsigned size, const char *text)
{
    if (!to)
        return INVALID_ARGUMENT;
    if (strlen(text) >= size)
        return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return OK;
}

API nvmlReturn_t nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    if (read_faults().driver)
        return DRIVER_NOT_LOADED;
    device_count = 0;
    for (int i = 0; i < COUNT(DEVICES); i++)
        for (int k = 0; k < COUNT(DOMAINS); k++)
            if (!strcmp(DEVICES[i].node, LAB_NODE) && !strcmp(DOMAINS[k].node, LAB_NODE)
                && !strcmp(DOMAINS[k].name, DEVICES[i].domain)) {
                devices[device_count].gpu = &DEVICES[i];
                devices[device_count++].domain = &DOMAINS[k];
            }
    users++;
    return OK;
}
API nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API nvmlReturn_t nvmlInit(void) { return nvmlInitWithFlags(0); }

API nvmlReturn_t nvmlShutdown(void)
{
    if (!users)
        return UNINITIALIZED;
    users--;
    return OK;
}

API const char *nvmlErrorString(nvmlReturn_t code)
{
    switch (code) {
    case OK: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    default: return "Unknown Error";
    }
}

API nvmlReturn_t nvmlSystemGetDriverVersion(char *to, unsigned size)
{
    nvmlReturn_t code = check();
    return code ? code : put(to, size, "535.183.06");
}

API nvmlReturn_t nvmlSystemGetNVMLVersion(char *to, unsigned size)
{
    nvmlReturn_t code = check();
    return code ? code : put(to, size, "12.535.183.06");
}

API nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count)
{
    nvmlReturn_t code = check();
    if (!code)
        *count = (unsigned)device_count;
    return code;
}
API nvmlReturn_t nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }

API nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *d)
{
    nvmlReturn_t code = check();
    if (code)
        return code;
    if (index >= (unsigned)device_count)
        return INVALID_ARGUMENT;
    *d = (nvmlDevice_t)(void *)&devices[index];
    return read_faults().lost == (int)index ? GPU_IS_LOST : OK;
}
API nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *d)
{
    return nvmlDeviceGetHandleByIndex_v2(index, d);
}

API nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *d)
{
    nvmlReturn_t code = check();
    if (code)
        return code;
    for (int i = 0; i < device_count; i++)
        if (!strcmp(devices[i].gpu->uuid, uuid))
            return nvmlDeviceGetHandleByIndex_v2((unsigned)i, d);
    return NOT_FOUND;
}

API nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *to, unsigned size)
{
    nvmlReturn_t code = check_device(d);
    return code ? code : put(to, size, d->gpu->uuid);
}

API nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *to, unsigned size)
{
    nvmlReturn_t code = check_device(d);
    return code ? code : put(to, size, d->gpu->name);
}

API nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t d, unsigned *index)
{
    nvmlReturn_t code = check_device(d);
    if (!code)
        *index = (unsigned)d->gpu->index;
    return code;
}

API nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t d, unsigned *minor)
{
    return nvmlDeviceGetIndex(d, minor);
}

API nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t *pci)
{
    nvmlReturn_t code = check_device(d);
    if (code)
        return code;
    memset(pci, 0, sizeof *pci);
    pci->bus = 0x17 + 0x20 * (unsigned)d->gpu->index;
    pci->pciDeviceId = 0x233010de;
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "0000:%02X:00.0", pci->bus & 0xffU);
    snprintf(pci->busId, sizeof pci->busId, "00000000:%02X:00.0", pci->bus);
    return OK;
}
API nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t d, nvmlPciInfo_t *pci)
{
    return nvmlDeviceGetPciInfo_v3(d, pci);
}

API nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *energy_mj)
{
    nvmlReturn_t code = check_sensor(d, 1);
    if (!code)
        *energy_mj = counter_uj(d->domain, boottime_ns()) / 1000;
    return code;
}

API nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned *power_mw)
{
    nvmlReturn_t code = check_sensor(d, 0);
    if (!code)
        *power_mw = (unsigned)(power_uw(d->domain, boottime_ns()) / 1000);
    return code;
}

API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, nvmlUtilization_t *rates)
{
    nvmlReturn_t code = check_device(d);
    if (!code)
        *rates = power_uw(d->domain, boottime_ns()) > 200000000 ? (nvmlUtilization_t){100, 60}
                                                                : (nvmlUtilization_t){0, 0};
    return code;
}

API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *memory)
{
    nvmlReturn_t code = check_device(d);
    if (!code)
        *memory = (nvmlMemory_t){80ULL << 30, 60ULL << 30, 20ULL << 30};
    return code;
}

API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, nvmlMemory_v2_t *memory)
{
    nvmlReturn_t code = check_device(d);
    if (!code)
        *memory = (nvmlMemory_v2_t){memory->version, 80ULL << 30, 0, 60ULL << 30, 20ULL << 30};
    return code;
}

API nvmlReturn_t nvmlDeviceGetPowerManagementLimit(nvmlDevice_t d, unsigned *limit_mw)
{
    nvmlReturn_t code = check_device(d);
    if (!code)
        *limit_mw = 700000;
    return code;
}
API nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t d, unsigned *limit_mw)
{
    return nvmlDeviceGetPowerManagementLimit(d, limit_mw);
}

API nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned *now, unsigned *pending)
{
    (void)now, (void)pending;
    nvmlReturn_t code = check_device(d);
    return code ? code : NOT_SUPPORTED;
}

/* No process is ever on the simulated GPUs. */
API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned *count, void *processes)
{
    (void)processes;
    nvmlReturn_t code = check_device(d);
    if (!code)
        *count = 0;
    return code;
}
API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t d, unsigned *count, void *processes)
{
    return nvmlDeviceGetComputeRunningProcesses_v3(d, count, processes);
}
