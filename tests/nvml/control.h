/* What the stand-in answers: the control file of README.md, read again whenever it changes. */
#ifndef CONTROL_H
#define CONTROL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_GPUS = 16, MAX_SLICES = 7, MAX_USERS = 32, MAX_FAULTS = 64 };
#define NOT_AVAILABLE 0xffffffffffffffffULL
#define CHILD 0xffffffffu /* the first child of the process that asks */

typedef struct { unsigned pid; unsigned long long bytes; int graphics; } User;

typedef struct {
    char name[192], uuid[192];
    unsigned long long total, used, reserved, utilization, temperature, power, power_limit;
    User users[MAX_USERS];
    int user_count;
} Device;

typedef struct { Device self, slices[MAX_SLICES]; int slice_count; } Gpu;

/* What happens to a function ("*": to all) on one device, or on any (-1). */
typedef struct { char function[64]; int gpu, slice, code, delay_ms; char print[128]; } Fault;

static struct {
    Gpu gpus[MAX_GPUS];
    int gpu_count;
    Fault faults[MAX_FAULTS];
    int fault_count;
    char driver[192];
    int cuda;
} state;

static int sessions; /* nvmlInit less nvmlShutdown */

static unsigned long long number(const char *text) {
    return strcmp(text, "unknown") == 0 ? NOT_AVAILABLE : strtoull(text, NULL, 10);
}

static void read_user(Device *device, const char *rest, int graphics) {
    char pid[32] = "", bytes[32] = "";
    if (sscanf(rest, "%31s %31s", pid, bytes) != 2 || device->user_count == MAX_USERS)
        return;
    unsigned who = strcmp(pid, "child") == 0 ? CHILD : (unsigned)number(pid);
    device->users[device->user_count++] = (User){who, number(bytes), graphics};
}

static void read_fault(const char *word, const char *rest, int gpu, int slice) {
    Fault fault = {.gpu = gpu, .slice = slice};
    char value[128] = "";
    if (sscanf(rest, "%63s %127[^\n]", fault.function, value) != 2 ||
        state.fault_count == MAX_FAULTS)
        return;
    if (strcmp(word, "fail") == 0)
        fault.code = atoi(value);
    else if (strcmp(word, "delay") == 0)
        fault.delay_ms = atoi(value);
    else
        memcpy(fault.print, value, sizeof value);
    state.faults[state.fault_count++] = fault;
}

static void read_property(Device *device, const char *word, const char *rest) {
    const struct { const char *word; unsigned long long *place; } numbers[] = {
        {"total", &device->total},
        {"used", &device->used},
        {"reserved", &device->reserved},
        {"utilization", &device->utilization},
        {"temperature", &device->temperature},
        {"power", &device->power},
        {"power_limit", &device->power_limit},
    };
    if (strcmp(word, "name") == 0)
        strcpy(device->name, rest);
    else if (strcmp(word, "uuid") == 0)
        strcpy(device->uuid, rest);
    else if (strcmp(word, "process") == 0 || strcmp(word, "graphics") == 0)
        read_user(device, rest, word[0] == 'g');
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (strcmp(word, numbers[i].word) == 0)
            *numbers[i].place = number(rest);
}

/* Read one line; `gpu` and `slice` say whose block it stands in, -1 for none. */
static void read_line(const char *line, int *gpu, int *slice) {
    char word[32] = "", rest[192] = "";
    if (sscanf(line, " %31s %191[^\n]", word, rest) < 1 || word[0] == '#')
        return;
    if (strcmp(word, "driver") == 0)
        strcpy(state.driver, rest);
    else if (strcmp(word, "cuda") == 0)
        state.cuda = atoi(rest);
    else if (strcmp(word, "gpu") == 0 && state.gpu_count < MAX_GPUS)
        *gpu = state.gpu_count++, *slice = -1;
    else if (strcmp(word, "slice") == 0 && *gpu >= 0 && state.gpus[*gpu].slice_count < MAX_SLICES)
        *slice = state.gpus[*gpu].slice_count++;
    else if (strcmp(word, "fail") == 0 || strcmp(word, "delay") == 0 || strcmp(word, "print") == 0)
        read_fault(word, rest, *gpu, *slice);
    else if (*gpu >= 0)
        read_property(*slice >= 0 ? &state.gpus[*gpu].slices[*slice] : &state.gpus[*gpu].self,
                      word, rest);
}

static void refresh(void) {
    static struct stat seen;
    const char *path = getenv("FAKE_NVML");
    struct stat now;
    if (path == NULL || stat(path, &now) != 0)
        return; /* none, or just being replaced: the last answers stand */
    if (now.st_ino == seen.st_ino && now.st_size == seen.st_size &&
        now.st_mtim.tv_sec == seen.st_mtim.tv_sec && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
        return;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return;
    seen = now;
    memset(&state, 0, sizeof state);
    char line[256];
    int gpu = -1, slice = -1;
    while (fgets(line, sizeof line, file) != NULL) {
        char *comment = strstr(line, " #"), *end = comment != NULL ? comment : strchr(line, '\0');
        while (end > line && strchr(" \t\r\n", end[-1]) != NULL)
            end--;
        *end = '\0';
        read_line(line, &gpu, &slice);
    }
    fclose(file);
}

static int applies(const Fault *fault, const char *function, int gpu, int slice) {
    return (strcmp(fault->function, "*") == 0 || strcmp(fault->function, function) == 0) &&
           (fault->gpu == -1 || fault->gpu == gpu) && (fault->slice == -1 || fault->slice == slice);
}

/* Begin a call: print, wait and return the code that the control file wants of it. A wait ends
 * early when it is taken out of the file, as with a driver that comes back. */
static int enter(const char *function, int gpu, int slice) {
    for (int waited = 0;; waited += 10) {
        int code = 0, delay = 0;
        refresh();
        for (int i = 0; i < state.fault_count; i++) {
            const Fault *fault = &state.faults[i];
            if (!applies(fault, function, gpu, slice))
                continue;
            code = fault->code != 0 ? fault->code : code;
            delay = fault->delay_ms > delay ? fault->delay_ms : delay;
            if (fault->print[0] != '\0' && waited == 0)
                dprintf(2, "%s\n", fault->print);
        }
        if (waited >= delay)
            return code;
        usleep(10000);
    }
}

static unsigned first_child(void) {
    char path[64];
    unsigned pid = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", getpid(), getpid());
    FILE *file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%u", &pid) != 1)
        pid = 0;
    if (file != NULL)
        fclose(file);
    return pid;
}

#endif
