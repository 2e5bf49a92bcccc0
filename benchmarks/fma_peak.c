/* Register-only FMA loop: the FP32 GFLOP/s (multiply and add count as 2) that THREADS threads reach together, printed twice:
   by the wall clock, then by the CPU time that the threads were given, which other programs do not lower.
   Usage: fma_peak THREADS SECONDS. Nothing but registers is touched, so this is the machine's true peak. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define LANES (BYTES / 4)
#define CHAINS 12 /* independent accumulators: more than latency x throughput of any current core, fewer than its registers */
#define BLOCK 100000

typedef float vector __attribute__((vector_size(BYTES)));

static double seconds_wanted;
static pthread_barrier_t start;

struct rates {
    double wall, cpu;
};

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void *run(void *result) {
    vector sum[CHAINS], scale = (vector){0} + 0.999f, shift = (vector){0} + 0.001f;
    for (int i = 0; i < CHAINS; i++) sum[i] = (vector){0} + (float)i;
    long blocks = 0;
    pthread_barrier_wait(&start);
    double cpu = now(CLOCK_THREAD_CPUTIME_ID), begin = now(CLOCK_MONOTONIC), end;
    do {
        for (int n = 0; n < BLOCK; n++)
#pragma GCC unroll 12
            for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * scale + shift;
        blocks++;
        end = now(CLOCK_MONOTONIC);
    } while (end - begin < seconds_wanted);
    cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    volatile float sink = 0;
    for (int i = 0; i < CHAINS; i++) sink += sum[i][0];
    double gflop = 2e-9 * LANES * CHAINS * (double)BLOCK * blocks;
    *(struct rates *)result = (struct rates){gflop / (end - begin), gflop / cpu};
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int count = atoi(argv[1]);
    seconds_wanted = atof(argv[2]);
    if (count < 1 || count > 1024) return 2;
    pthread_t threads[1024];
    struct rates rates[1024], total = {0, 0};
    pthread_barrier_init(&start, NULL, count);
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, run, &rates[i])) return 1;
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < count; i++) total.wall += rates[i].wall, total.cpu += rates[i].cpu;
    printf("%.3f %.3f\n", total.wall, total.cpu);
    return 0;
}
