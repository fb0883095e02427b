/* A stand-in for NVIDIA's libnvidia-ml.so.1, as far as batchtui asks it.
 *
 * Names and structures are those of nvml.h, so that the real pynvml loads it. One thread calls
 * at a time, as in the sampler: there is no lock.
 */
#define _GNU_SOURCE
#include "control.h"

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
       INSUFFICIENT_SIZE = 7, VERSION_MISMATCH = 25 };

/* The calls on no device in particular. */
#define SESSION                                                                                  \
    int code = enter(__func__, -1, -1);                                                          \
    if (code != OK || sessions == 0)                                                             \
        return code != OK ? code : UNINITIALIZED;

/* A handle is 1 + the card's number, and 1 + the slice's number above the 16th bit. */
typedef void *Handle;

static int device_of(Handle handle, const char *function, Device **device, int *is_slice) {
    int gpu = (int)((uintptr_t)handle & 0xffff) - 1, slice = (int)((uintptr_t)handle >> 16) - 1;
    int code = enter(function, gpu, slice);
    *is_slice = slice >= 0;
    if (code != OK || sessions == 0)
        return code != OK ? code : UNINITIALIZED;
    if (gpu < 0 || gpu >= state.gpu_count || slice >= state.gpus[gpu].slice_count)
        return INVALID_ARGUMENT;
    *device = slice >= 0 ? &state.gpus[gpu].slices[slice] : &state.gpus[gpu].self;
    return OK;
}

/* For calls on a device: the return codes of all that can be wrong with it. */
#define DEVICE(handle, device)                                                                   \
    Device *device;                                                                              \
    int is_slice, code = device_of(handle, __func__, &device, &is_slice);                        \
    if (code != OK)                                                                              \
        return code;
#define NOT_ON_A_SLICE                                                                           \
    if (is_slice)                                                                                \
        return NOT_SUPPORTED;

/* ------------------------------------------------------------- the session and its cards */

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = enter(__func__, -1, -1);
    sessions += code == OK;
    return code;
}

int nvmlShutdown(void) {
    SESSION
    sessions--;
    return OK;
}

const char *nvmlErrorString(int code) {
    return code == OK ? "Success" : code == 27 ? "Not Ready" : "Some Other Error";
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    SESSION
    snprintf(version, length, "%s", state.driver);
    return OK;
}

int nvmlSystemGetCudaDriverVersion(int *version) {
    SESSION
    *version = state.cuda;
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    SESSION
    *count = (unsigned)state.gpu_count;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle *handle) {
    Device *device;
    int is_slice;
    *handle = (Handle)(uintptr_t)(index + 1);
    return device_of(*handle, __func__, &device, &is_slice);
}

int nvmlDeviceGetMigMode(Handle handle, unsigned *current, unsigned *pending) {
    DEVICE(handle, device)
    NOT_ON_A_SLICE
    *current = *pending = ((Gpu *)device)->slice_count > 0;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(Handle handle, unsigned *count) {
    DEVICE(handle, device)
    *count = MAX_SLICES;
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(Handle handle, unsigned index, Handle *slice) {
    DEVICE(handle, device)
    NOT_ON_A_SLICE
    if ((int)index >= ((Gpu *)device)->slice_count)
        return NOT_FOUND;
    *slice = (Handle)((uintptr_t)handle | (uintptr_t)(index + 1) << 16);
    return OK;
}

/* ---------------------------------------------------------------------- what a card says */

int nvmlDeviceGetName(Handle handle, char *name, unsigned length) {
    DEVICE(handle, device)
    snprintf(name, length, "%s", device->name);
    return OK;
}

int nvmlDeviceGetUUID(Handle handle, char *uuid, unsigned length) {
    DEVICE(handle, device)
    snprintf(uuid, length, "%s", device->uuid);
    return OK;
}

struct Memory { unsigned long long total, free, used; };
struct Memory2 { unsigned version; unsigned long long total, reserved, free, used; };

/* Version 1 counts what the driver reserves as used. */
int nvmlDeviceGetMemoryInfo(Handle handle, struct Memory *memory) {
    DEVICE(handle, device)
    memory->total = device->total;
    memory->used = device->used == NOT_AVAILABLE ? NOT_AVAILABLE : device->used + device->reserved;
    memory->free = device->total - memory->used;
    return OK;
}

int nvmlDeviceGetMemoryInfo_v2(Handle handle, struct Memory2 *memory) {
    DEVICE(handle, device)
    if (memory->version != (sizeof *memory | 2 << 24))
        return VERSION_MISMATCH;
    memory->total = device->total;
    memory->reserved = device->reserved;
    memory->used = device->used;
    memory->free = device->total - device->reserved - device->used;
    return OK;
}

int nvmlDeviceGetUtilizationRates(Handle handle, unsigned rates[2]) {
    DEVICE(handle, device)
    NOT_ON_A_SLICE
    rates[0] = rates[1] = (unsigned)device->utilization;
    return OK;
}

int nvmlDeviceGetTemperature(Handle handle, int sensor, unsigned *temperature) {
    DEVICE(handle, device)
    NOT_ON_A_SLICE
    (void)sensor;
    *temperature = (unsigned)device->temperature;
    return OK;
}

struct Temperature { unsigned version; int sensor; int temperature; };

int nvmlDeviceGetTemperatureV(Handle handle, struct Temperature *temperature) {
    DEVICE(handle, device)
    NOT_ON_A_SLICE
    if (temperature->version != (sizeof *temperature | 1 << 24))
        return VERSION_MISMATCH;
    temperature->temperature = (int)device->temperature;
    return OK;
}

int nvmlDeviceGetPowerUsage(Handle handle, unsigned *milliwatts) {
    DEVICE(handle, device)
    NOT_ON_A_SLICE
    *milliwatts = (unsigned)device->power;
    return OK;
}

int nvmlDeviceGetEnforcedPowerLimit(Handle handle, unsigned *milliwatts) {
    DEVICE(handle, device)
    NOT_ON_A_SLICE
    *milliwatts = (unsigned)device->power_limit;
    return OK;
}

struct Process { unsigned pid; unsigned long long used; unsigned instance, compute_instance; };

static int list_users(const Device *device, int graphics, unsigned *count, struct Process *list) {
    unsigned found = 0;
    for (int i = 0; i < device->user_count; i++) {
        const User *user = &device->users[i];
        if (user->graphics != graphics)
            continue;
        unsigned pid = user->pid == CHILD ? first_child() : user->pid;
        if (pid == 0 && user->pid == CHILD)
            continue;
        if (found < *count && list != NULL)
            list[found] = (struct Process){pid, user->bytes, -1u, -1u};
        found++;
    }
    int fits = found == 0 || (list != NULL && found <= *count);
    *count = found;
    return fits ? OK : INSUFFICIENT_SIZE;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Handle handle, unsigned *count, struct Process *list) {
    DEVICE(handle, device)
    return list_users(device, 0, count, list);
}

int nvmlDeviceGetComputeRunningProcesses_v2(Handle handle, unsigned *count, struct Process *list) {
    DEVICE(handle, device)
    return list_users(device, 0, count, list);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(Handle handle, unsigned *count, struct Process *list) {
    DEVICE(handle, device)
    return list_users(device, 1, count, list);
}

/* As the real one does on an idle card: success, and no sample. pynvml raises NVMLError(0). */
int nvmlDeviceGetProcessUtilization(Handle handle, void *samples, unsigned *count,
                                    unsigned long long since) {
    DEVICE(handle, device)
    (void)samples, (void)since;
    *count = 0;
    return OK;
}
