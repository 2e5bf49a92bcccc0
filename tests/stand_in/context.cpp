// The library, the device, its context, memory.
#include "state.hpp"

extern "C" {

void stand_in_fail(const char* function, Code code, int after) {
    Lock lock(state().mutex);
    state().failures[function] = {code, after};
}
void stand_in_heal() { device().fault = SUCCESS; Lock lock(state().mutex); state().failures.clear(); }
size_t stand_in_alive() {  // what is not given back: memory, streams, events, graphs, captures
    Lock lock(state().mutex);
    Lock own(device().mutex);
    return device().memory.size() + device().pinned.size() + state().streams.size() + state().events.size() + Graph::alive + state().captures.size();
}

Code cuInit(unsigned) { return SUCCESS; }
Code cuDriverGetVersion(int* version) { *version = 13000; return SUCCESS; }
Code cuGetErrorName(Code code, const char** name) {
    switch (code) {
        case SUCCESS: *name = "CUDA_SUCCESS"; break;
        case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
        case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
        case NOT_SUPPORTED: *name = "CUDA_ERROR_NOT_SUPPORTED"; break;
        case CAPTURE_UNSUPPORTED: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
        case CAPTURE_INVALIDATED: *name = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"; break;
        default: *name = "CUDA_ERROR_OF_THE_STAND_IN";
    }
    return SUCCESS;
}
Code cuGetErrorString(Code code, const char** text) {
    *text = code == OUT_OF_MEMORY ? "out of memory" : code == ILLEGAL_ADDRESS ? "an illegal memory access was encountered" : "an error";
    return SUCCESS;
}
Code cuGetExportTable(const void** table, const void*) { *table = nullptr; return NOT_FOUND; }  // NVRTC asks, and goes on without
Code cuDeviceGetCount(int* count) { *count = 1; return SUCCESS; }
Code cuDeviceGet(int* ordinal, int index) { *ordinal = index; return index ? INVALID_DEVICE : SUCCESS; }
Code cuDeviceGetName(char* name, int length, int) { std::snprintf(name, length, "Stand-in (host)"); return SUCCESS; }
Code cuDeviceGetUuid(char* uuid, int) { std::memset(uuid, 7, 16); return SUCCESS; }
Code cuDeviceTotalMem(size_t* bytes, int) { *bytes = TOTAL; return SUCCESS; }
Code cuDeviceGetAttribute(int* value, int attribute, int) {
    *value = attribute == 75 ? 9 : 0;  // compute capability 9.0; nothing else is promised
    return SUCCESS;
}
Code cuDevicePrimaryCtxRetain(void** context, int) { Lock lock(state().mutex); ++state().retained; *context = CONTEXT; return SUCCESS; }
Code cuDevicePrimaryCtxRelease(int) { Lock lock(state().mutex); return state().retained-- > 0 ? SUCCESS : INVALID_CONTEXT; }
Code cuCtxGetCurrent(void** context) { *context = contexts.empty() ? nullptr : contexts.back(); return SUCCESS; }
Code cuCtxSetCurrent(void* context) {
    if (!contexts.empty()) contexts.pop_back();
    if (context) contexts.push_back(context);
    return SUCCESS;
}
Code cuCtxPushCurrent(void* context) { contexts.push_back(context); return context == CONTEXT ? SUCCESS : INVALID_CONTEXT; }
Code cuCtxPopCurrent(void** context) {
    if (contexts.empty()) return INVALID_CONTEXT;
    if (context) *context = contexts.back();
    contexts.pop_back();
    return SUCCESS;
}
Code cuCtxGetDevice(int* ordinal) { *ordinal = 0; return contexts.empty() ? INVALID_CONTEXT : SUCCESS; }
Code cuCtxGetStreamPriorityRange(int* least, int* greatest) { *least = *greatest = 0; return SUCCESS; }
Code cuCtxSynchronize() { ENTER(cuCtxSynchronize); SAFE(true); return all_done(); }

// Memory

Code cuMemGetInfo(size_t* free, size_t* total) {
    ENTER(cuMemGetInfo);
    Lock lock(device().mutex);
    *total = TOTAL, *free = TOTAL - device().used;
    return SUCCESS;
}
Code cuMemAlloc(void** place, size_t bytes) { ENTER(cuMemAlloc); SAFE(); return device().allocate(place, bytes, true); }
Code cuMemFree(void* place) {
    ENTER(cuMemFree);
    SAFE();
    if (Code fault = all_done()) return fault;  // as CUDA's does in practice
    return device().release(place, true);
}
Code cuMemHostAlloc(void** place, size_t bytes, unsigned) { ENTER(cuMemHostAlloc); SAFE(); return device().allocate(place, bytes, false); }
Code cuMemFreeHost(void* place) { ENTER(cuMemFreeHost); SAFE(); return device().release(place, false); }
Code cuMemAllocAsync(void** place, size_t bytes, void* handle) {
    ENTER(cuMemAllocAsync);
    return stream_of(handle) ? device().allocate(place, bytes, true) : INVALID_HANDLE;
}
Code cuMemFreeAsync(void* place, void* handle) {
    ENTER(cuMemFreeAsync);
    auto stream = stream_of(handle);
    return stream ? stream->put([=] { device().release(place, true); }) : INVALID_HANDLE;
}
Code cuMemcpyHtoDAsync(void* to, const void* from, size_t bytes, void* stream) {
    ENTER(cuMemcpyHtoDAsync);
    return copied(to, from, bytes, stream, true, false);
}
Code cuMemcpyDtoHAsync(void* to, const void* from, size_t bytes, void* stream) {
    ENTER(cuMemcpyDtoHAsync);
    return copied(to, from, bytes, stream, false, true);
}
Code cuMemcpyDtoDAsync(void* to, const void* from, size_t bytes, void* stream) {
    ENTER(cuMemcpyDtoDAsync);
    return copied(to, from, bytes, stream, true, true);
}
Code cuPointerGetAttribute(void* value, int attribute, void* place) {
    ENTER(cuPointerGetAttribute);
    if (attribute != 9 || !device().holds(place, 0)) return INVALID_VALUE;  // the device's ordinal
    *static_cast<int*>(value) = 0;
    return SUCCESS;
}
}
