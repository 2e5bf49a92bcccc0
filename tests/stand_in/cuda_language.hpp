// What CUDA's language has and C++ has not, for kernels as functions of the host: place() says which thread of which block runs,
// of two times two.
#pragma once

#include <cmath>
#include <cstring>
struct Place { unsigned x; };
static thread_local Place blockIdx, blockDim, gridDim, threadIdx;
#define __global__
#define __device__
static inline float __uint_as_float(unsigned bits) { float value; std::memcpy(&value, &bits, 4); return value; }
static inline unsigned __float_as_uint(float value) { unsigned bits; std::memcpy(&bits, &value, 4); return bits; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline void __threadfence_system() {}
static inline void atomicMin(unsigned* place, unsigned value) { if (value < *place) *place = value; }
static inline void atomicMax(unsigned* place, unsigned value) { if (value > *place) *place = value; }
static inline int __float2int_rn(float value) {
    if (value != value) return 0;
    if (value >= 2147483648.0f) return 2147483647;
    if (value < -2147483648.0f) return -2147483647 - 1;
    return (int)std::nearbyint(value);
}
extern "C" void place(unsigned block, unsigned thread) {
    blockIdx.x = block; threadIdx.x = thread; blockDim.x = 2; gridDim.x = 2;
}
