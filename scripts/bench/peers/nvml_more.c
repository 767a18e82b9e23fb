/* The lab's libnvidia-ml.so.1 and what trackers other than ours ask of it besides: architecture, limits,
 * temperature, field values. A device without an energy counter (fault NOT_SUPPORTED) says it is a Pascal. */
#include "nvml.c"

enum { PASCAL = 4, HOPPER = 9, POWER_AVERAGE = 185, POWER_INSTANT = 186, UNSIGNED_INT = 1 };

typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType;
    nvmlReturn_t nvmlReturn;
    union { double d; unsigned ui; unsigned long long ull; } value;
} nvmlFieldValue_t;

API nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t d, unsigned *architecture)
{
    nvmlReturn_t code = check_device(d);
    if (!code)
        *architecture = read_faults().no_energy ? PASCAL : HOPPER;
    return code;
}

API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t d, int count, nvmlFieldValue_t *values)
{
    nvmlReturn_t code = check_device(d);
    for (int i = 0; !code && i < count; i++) {
        nvmlFieldValue_t *v = &values[i];
        unsigned power_mw = 0;
        v->nvmlReturn = v->fieldId == POWER_INSTANT || v->fieldId == POWER_AVERAGE
                            ? nvmlDeviceGetPowerUsage(d, &power_mw) : NOT_SUPPORTED;
        v->timestamp = boottime_ns() / 1000;
        v->latencyUsec = 0;
        v->valueType = UNSIGNED_INT;
        v->value.ull = power_mw;
    }
    return code;
}

API nvmlReturn_t nvmlDeviceGetC2cModeInfoV(nvmlDevice_t d, void *info)
{
    (void)info;
    nvmlReturn_t code = check_device(d);
    return code ? code : NOT_SUPPORTED;
}

API nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t d, unsigned *mode)
{
    nvmlReturn_t code = check_device(d);
    if (!code)
        *mode = 0;
    return code;
}

API nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, unsigned sensor, unsigned *celsius)
{
    (void)sensor;
    nvmlReturn_t code = check_device(d);
    if (!code)
        *celsius = 45;
    return code;
}

API nvmlReturn_t nvmlDeviceGetPowerManagementDefaultLimit(nvmlDevice_t d, unsigned *limit_mw)
{
    return nvmlDeviceGetPowerManagementLimit(d, limit_mw);
}

API nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t d, unsigned *least_mw, unsigned *most_mw)
{
    *least_mw = 200000;
    return nvmlDeviceGetPowerManagementLimit(d, most_mw);
}

API nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t d, unsigned *mode)
{
    nvmlReturn_t code = check_device(d);
    if (!code)
        *mode = 1;
    return code;
}

API nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t d, unsigned *count, void *processes)
{
    return nvmlDeviceGetComputeRunningProcesses_v3(d, count, processes);
}
