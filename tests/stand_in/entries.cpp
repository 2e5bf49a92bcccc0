// libcuda.so.1 as far as cuda-core, cuda-bindings and restore_sdk ask for it, on the host; device.hpp says what it does.
//
// Written from the driver API's reference, https://docs.nvidia.com/cuda/cuda-driver-api/. cuda-bindings looks up all functions at
// once, by name and version. What is not here answers 801 (not supported), and its name is told, once.
#include "context.cpp"
#include "kernels.cpp"
#include "streams.cpp"

#include <array>
#include <dlfcn.h>

namespace {
constexpr size_t MOST_MISSING = 700;
std::array<std::string, MOST_MISSING> missing_names;
std::array<std::atomic<bool>, MOST_MISSING> told;
std::map<std::string, size_t> missing;

template <size_t Number>
Code not_here() {
    if (!told[Number].exchange(true)) std::fprintf(stderr, "the stand-in driver has no %s\n", missing_names[Number].c_str());
    return NOT_SUPPORTED;
}

template <size_t... Number>
std::array<void*, MOST_MISSING> all_missing(std::index_sequence<Number...>) {
    return {reinterpret_cast<void*>(&not_here<Number>)...};
}

void* missing_of(const std::string& name) {
    static auto functions = all_missing(std::make_index_sequence<MOST_MISSING>());
    Lock lock(state().mutex);
    auto [entry, added] = missing.emplace(name, missing.size());
    if (entry->second >= MOST_MISSING) return nullptr;
    missing_names[entry->second] = name;
    return functions[entry->second];
}

void* self() {
    Dl_info info;
    static void* one = dladdr(reinterpret_cast<void*>(&cuInit), &info) ? dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : nullptr;
    return one;
}
}  // namespace

extern "C" {
Code cuMemcpyDtoDAsync_v2(void* to, const void* from, size_t bytes, void* stream) { return cuMemcpyDtoDAsync(to, from, bytes, stream); }

Code cuGetProcAddress_v2(const char* name, void** function, int version, unsigned long long, int* status) {
    std::string wanted(name);
    if (wanted == "cuStreamGetCtx" && version >= 12050) wanted += "_v2";
    *function = wanted.rfind("cu", 0) == 0 ? dlsym(self(), wanted.c_str()) : nullptr;
    if (!*function) *function = missing_of(wanted);
    if (status) *status = 0;
    return SUCCESS;
}
}
