// Between images as users have them and the float planes that a network reads, on the device.
//
// The same numbers as restore_sdk/image/layout.py, operation by operation, but for `enlarge`: every one is rounded as IEEE 754 says,
// none is fused, and half floats are converted by integer arithmetic. Strides and positions are in bytes and pixels; any stride, also negative.

typedef long long i64;

enum { UINT8 = 1, UINT16 = 2, FLOAT16 = 3, FLOAT32 = 4 };

__device__ static inline float half_to_float(unsigned bits) {
    unsigned sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, mantissa = bits & 0x3ffu;
    if (exponent == 31u) return __uint_as_float(sign | 0x7f800000u | (mantissa << 13));
    if (exponent) return __uint_as_float(sign | ((exponent + 112u) << 23) | (mantissa << 13));
    float magnitude = __fmul_rn((float)mantissa, 5.9604644775390625e-8f);  // 2^-24: exact
    return __uint_as_float(sign | __float_as_uint(magnitude));
}

__device__ static inline unsigned float_to_half(float value) {
    unsigned bits = __float_as_uint(value), sign = (bits >> 16) & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return sign | 0x7e00u | ((bits >> 13) & 0x3ffu);            // NaN
    if (bits >= 0x477ff000u) return sign | 0x7c00u;                                     // 65520 and more: infinity
    if (bits >= 0x38800000u) return sign | ((bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13);
    if (bits <= 0x33000000u) return sign;                                               // half of the smallest, to even
    unsigned shift = 126u - (bits >> 23), mantissa = (bits & 0x7fffffu) | 0x800000u;    // subnormal
    unsigned kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1u), middle = 1u << (shift - 1u);
    return sign | (kept + (rest > middle || (rest == middle && (kept & 1u))));
}

// A position beyond the bottom or right border shows the image's reflection without its border pixel: np.pad(mode="reflect").
__device__ static inline i64 reflected(i64 position, i64 length) {
    if (position < length) return position;
    i64 period = length > 1 ? 2 * (length - 1) : 1;
    position %= period;
    return position < period - position ? position : period - position;
}

__device__ static inline float load(const char* place, i64 kind, float white) {
    if (kind == UINT8) return __fdiv_rn((float)*(const unsigned char*)place, white);
    if (kind == UINT16) return __fdiv_rn((float)*(const unsigned short*)place, white);
    if (kind == FLOAT16) return half_to_float(*(const unsigned short*)place);
    return *(const float*)place;
}

__device__ static inline void store(char* place, i64 kind, float value, float white, float least, float most) {
    if (kind == UINT8 || kind == UINT16) {
        int level = __float2int_rn(__fmul_rn(value > 1.0f ? 1.0f : value, white));  // half to even; NaN gives 0
        level = level < 0 ? 0 : level;
        if (kind == UINT8) *(unsigned char*)place = (unsigned char)level;
        else *(unsigned short*)place = (unsigned short)level;
        return;
    }
    value = value < least ? least : value > most ? most : value;  // NaN passes
    if (kind == FLOAT16) *(unsigned short*)place = (unsigned short)float_to_half(value);
    else *(float*)place = value;
}

// Pixels of a tile at (top, left) of the padded image into `planes` contiguous float planes of rows x columns.
// Gray images (`colours` 1) fill every plane; `reversed` says that blue comes first. Values end in units of [low, low + span].
extern "C" __global__ void gather(
    const char* image, i64 stride_y, i64 stride_x, i64 stride_c, i64 height, i64 width, i64 colours, i64 reversed, i64 kind,
    float white, float low, float span, float* tile, i64 top, i64 left, i64 rows, i64 columns, i64 planes) {
    i64 pixels = rows * columns, step = (i64)gridDim.x * blockDim.x;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < pixels; i += step) {
        const char* pixel = image + reflected(top + i / columns, height) * stride_y + reflected(left + i % columns, width) * stride_x;
        for (i64 plane = 0; plane < planes; ++plane) {
            i64 channel = colours == 1 ? 0 : reversed ? 2 - plane : plane;
            float value = load(pixel + channel * stride_c, kind, white);
            if (low != 0.0f || span != 1.0f) value = __fadd_rn(__fmul_rn(value, span), low);
            tile[plane * pixels + i] = value;
        }
    }
}

// The inverse for rows x columns pixels: from (first_row, first_column) of a tile of tile_rows x tile_columns to (top, left) of the
// result. Three planes become gray as their mean. `alpha`, unless null, is the image's fourth channel, of the same kind.
extern "C" __global__ void scatter(
    const float* tile, i64 tile_rows, i64 tile_columns, i64 first_row, i64 first_column, i64 planes, float low, float span,
    char* result, i64 stride_y, i64 stride_x, i64 stride_c, i64 colours, i64 reversed, i64 kind, float white, float least,
    float most, i64 top, i64 left, i64 rows, i64 columns, const char* alpha, i64 alpha_stride_y, i64 alpha_stride_x) {
    i64 pixels = rows * columns, size = tile_rows * tile_columns, step = (i64)gridDim.x * blockDim.x;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < pixels; i += step) {
        i64 y = i / columns, x = i % columns;
        const float* source = tile + (first_row + y) * tile_columns + first_column + x;
        char* pixel = result + (top + y) * stride_y + (left + x) * stride_x;
        float values[3];
        for (i64 plane = 0; plane < planes; ++plane) {
            float value = source[plane * size];
            values[plane] = low != 0.0f || span != 1.0f ? __fdiv_rn(__fsub_rn(value, low), span) : value;
        }
        if (colours == 1) {
            if (planes == 3) {  // written so that three equal planes give their very value
                float mean = __fadd_rn(__fsub_rn(values[1], values[0]), __fsub_rn(values[2], values[0]));
                values[0] = __fadd_rn(__fdiv_rn(mean, 3.0f), values[0]);
            }
            store(pixel, kind, values[0], white, least, most);
        } else {
            for (i64 c = 0; c < 3; ++c) store(pixel + (reversed ? 2 - c : c) * stride_c, kind, values[c], white, least, most);
        }
        if (alpha) {
            const char* from = alpha + (top + y) * alpha_stride_y + (left + x) * alpha_stride_x;
            char* to = pixel + 3 * stride_c;
            if (kind == UINT8) *to = *from;
            else if (kind == FLOAT32) *(float*)to = *(const float*)from;
            else *(unsigned short*)to = *(const unsigned short*)from;
        }
    }
}

// Floats in the order of their values as unsigned integers, for atomicMin and atomicMax.
__device__ static inline unsigned sortable(float value) {
    unsigned bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ static inline float unsorted(unsigned key) {
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

// `range` becomes empty: the least is the highest key, the most is the lowest.
extern "C" __global__ void start_range(unsigned* range) {
    range[0] = 0xffffffffu;
    range[1] = 0u;
}

// The least and the greatest value of height x width pixels, NaN not counted; `range` was started.
extern "C" __global__ void find_range(
    const char* plane, i64 stride_y, i64 stride_x, i64 height, i64 width, i64 kind, unsigned* range) {
    i64 pixels = height * width, step = (i64)gridDim.x * blockDim.x;
    unsigned least = 0xffffffffu, most = 0u;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < pixels; i += step) {
        float value = load(plane + i / width * stride_y + i % width * stride_x, kind, 1.0f);
        unsigned key = sortable(value);
        if (value == value && key < least) least = key;
        if (value == value && key > most) most = key;
    }
    if (least <= most) {
        atomicMin(range, least);
        atomicMax(range + 1, most);
    }
}

// Bicubic weights (A = -0.75, as OpenCV has it) of the four pixels around a place that lies `x` of the way from the second to the third.
__device__ static inline void cubic(float x, float* weights) {
    const float A = -0.75f;
    float y = 1.0f - x;
    weights[0] = ((A * (x + 1.0f) - 5.0f * A) * (x + 1.0f) + 8.0f * A) * (x + 1.0f) - 4.0f * A;
    weights[1] = ((A + 2.0f) * x - (A + 3.0f)) * x * x + 1.0f;
    weights[2] = ((A + 2.0f) * y - (A + 3.0f)) * y * y + 1.0f;
    weights[3] = 1.0f - weights[0] - weights[1] - weights[2];
}

__device__ static inline i64 inside(i64 position, i64 length) {
    return position < 0 ? 0 : position < length ? position : length - 1;
}

// A plane of height x width pixels, `scale` times as large in each direction, pixel centres aligned, the border repeated. What
// overshoots `range`, the plane's least and greatest value, is cut off.
extern "C" __global__ void enlarge(
    const char* plane, i64 stride_y, i64 stride_x, i64 height, i64 width, i64 kind, i64 scale, const unsigned* range, char* result,
    i64 result_y, i64 result_x) {
    i64 columns = width * scale, pixels = height * scale * columns, step = (i64)gridDim.x * blockDim.x;
    float least = unsorted(range[0]), most = unsorted(range[1]);
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < pixels; i += step) {
        i64 y = i / columns, x = i % columns;
        i64 down = 2 * (y % scale) + 1 - scale, right = 2 * (x % scale) + 1 - scale;  // in halves of a pixel of the result
        i64 top = y / scale - (down < 0), left = x / scale - (right < 0);
        float rows[4], across[4], value = 0.0f;
        cubic((float)(down < 0 ? down + 2 * scale : down) / (float)(2 * scale), rows);
        cubic((float)(right < 0 ? right + 2 * scale : right) / (float)(2 * scale), across);
        for (i64 r = 0; r < 4; ++r) {
            const char* row = plane + inside(top + r - 1, height) * stride_y;
            float sum = 0.0f;
            for (i64 c = 0; c < 4; ++c) sum += load(row + inside(left + c - 1, width) * stride_x, kind, 1.0f) * across[c];
            value += sum * rows[r];
        }
        value = value < least ? least : value > most ? most : value;
        char* place = result + y * result_y + x * result_x;
        if (kind == UINT8) *(unsigned char*)place = (unsigned char)__float2int_rn(value);
        else if (kind == UINT16) *(unsigned short*)place = (unsigned short)__float2int_rn(value);
        else store(place, kind, value, 1.0f, least, most);
    }
}

// Writes `number` to `found` if one of `count` values is NaN or infinite, unless `number` stands at `excuse` (null: no excuse).
// Both may lie in the host's memory. All threads write the same, so it does not matter which comes first.
extern "C" __global__ void find_not_finite(const float* values, i64 count, const i64* excuse, i64* found, i64 number) {
    i64 step = (i64)gridDim.x * blockDim.x;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        if ((__float_as_uint(values[i]) & 0x7f800000u) != 0x7f800000u) continue;
        if (!excuse || *(const volatile i64*)excuse != number) {
            *(volatile i64*)found = number;
            __threadfence_system();
        }
        return;
    }
}
