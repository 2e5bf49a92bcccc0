// Between images as users have them and the float planes that a network reads, on the device.
//
// The same numbers as restore_sdk/image/layout.py, operation by operation: every one is rounded as IEEE 754 says, none is fused,
// and half floats are converted by integer arithmetic. Strides and positions are in bytes and pixels; any stride, also negative.

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
