// Streams, events, graphs.
#include "state.hpp"

namespace {

struct Instantiation {  // CUDA_GRAPH_INSTANTIATE_PARAMS
    unsigned long long flags;
    void *upload, *failed;
    int result;
};

}  // namespace

extern "C" {

Code cuStreamCreateWithPriority(void** handle, unsigned flags, int) {
    ENTER(cuStreamCreateWithPriority);
    auto stream = opened(flags);
    Lock lock(state().mutex);
    *handle = stream.get();
    state().streams[*handle] = stream;
    return SUCCESS;
}
Code cuStreamCreate(void** handle, unsigned flags) { return cuStreamCreateWithPriority(handle, flags, 0); }
Code cuStreamDestroy(void* handle) {
    auto stream = stream_of(handle);
    if (!stream || reinterpret_cast<size_t>(handle) <= 2) return INVALID_HANDLE;
    stream->close();
    Lock lock(state().mutex);
    state().streams.erase(handle);
    return SUCCESS;
}
Code cuStreamSynchronize(void* handle) {
    ENTER(cuStreamSynchronize);
    auto stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    if (stream->capturing) { invalidate(stream.get()); return CAPTURE_UNSUPPORTED; }
    return waited(stream->mark());
}
Code cuStreamQuery(void* handle) {
    ENTER(cuStreamQuery);
    auto stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    return stream->mark()->is_reached() ? SUCCESS : NOT_READY;
}
Code cuStreamGetFlags(void* handle, unsigned* flags) {
    auto stream = stream_of(handle);
    if (stream) *flags = stream->flags;
    return stream ? SUCCESS : INVALID_HANDLE;
}
Code cuStreamGetPriority(void*, int* priority) { *priority = 0; return SUCCESS; }
Code cuStreamGetDevice(void*, int* ordinal) { *ordinal = 0; return SUCCESS; }
Code cuStreamGetCtx(void*, void** context) { *context = CONTEXT; return SUCCESS; }
Code cuStreamGetCtx_v2(void*, void** context, void** green) { *context = CONTEXT; if (green) *green = nullptr; return SUCCESS; }
Code cuLaunchHostFunc(void* handle, void (*function)(void*), void* given) {
    ENTER(cuLaunchHostFunc);
    auto stream = stream_of(handle);
    return stream ? stream->put([=] { function(given); }) : INVALID_HANDLE;
}
Code cuEventCreate(void** handle, unsigned) {
    ENTER(cuEventCreate);
    auto event = std::make_unique<Event>();
    Lock lock(state().mutex);
    *handle = event.get();
    state().events[*handle] = std::move(event);
    return SUCCESS;
}
Code cuEventDestroy(void* handle) { Lock lock(state().mutex); return state().events.erase(handle) ? SUCCESS : INVALID_HANDLE; }
Code cuEventRecord(void* handle, void* on) {
    ENTER(cuEventRecord);
    auto stream = stream_of(on);
    auto* event = event_of(handle);
    if (!stream || !event) return INVALID_HANDLE;
    if (stream->capturing) { invalidate(stream.get()); return CAPTURE_UNSUPPORTED; }
    auto flag = stream->mark();
    Lock lock(state().mutex);
    event->flag = flag;
    return SUCCESS;
}
Code cuEventQuery(void* handle) {
    ENTER(cuEventQuery);
    SAFE();
    auto* event = event_of(handle);
    if (!event) return INVALID_HANDLE;
    auto flag = flag_of(event);
    return !flag || flag->is_reached() ? SUCCESS : NOT_READY;
}
Code cuEventSynchronize(void* handle) {
    ENTER(cuEventSynchronize);
    auto* event = event_of(handle);
    return event ? waited(flag_of(event)) : INVALID_HANDLE;
}
Code cuStreamWaitEvent(void* handle, void* on, unsigned) {
    ENTER(cuStreamWaitEvent);
    auto stream = stream_of(handle);
    auto* event = event_of(on);
    if (!stream || !event) return INVALID_HANDLE;
    auto flag = flag_of(event);
    return flag ? stream->put([=] { flag->wait(); }) : SUCCESS;
}

// Graphs

Code cuStreamBeginCapture(void* handle, int mode) {
    ENTER(cuStreamBeginCapture);
    auto stream = stream_of(handle);
    if (!stream || reinterpret_cast<size_t>(handle) <= 2 || stream->capturing) return INVALID_VALUE;
    Lock lock(state().mutex);
    state().captures.insert(stream.get());
    Lock own(stream->mutex);
    stream->capturing = new Graph, stream->mode = mode, stream->captor = std::this_thread::get_id();
    return SUCCESS;
}
Code cuStreamEndCapture(void* handle, void** graph) {
    ENTER(cuStreamEndCapture);
    auto stream = stream_of(handle);
    if (!stream || !stream->capturing) return INVALID_VALUE;
    Lock lock(state().mutex);
    state().captures.erase(stream.get());
    Lock own(stream->mutex);
    auto* made = std::exchange(stream->capturing, nullptr);
    *graph = made;
    if (!std::exchange(stream->invalidated, false)) return SUCCESS;
    delete made;
    *graph = nullptr;
    return CAPTURE_INVALIDATED;
}
Code cuStreamIsCapturing(void* handle, int* status) {
    auto stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    *status = stream->capturing ? (stream->invalidated ? 2 : 1) : 0;
    return SUCCESS;
}
Code cuStreamGetCaptureInfo(void* handle, int* status, unsigned long long* id, void** graph, void*, void*, size_t* count) {
    if (id) *id = 1;
    if (count) *count = 0;
    if (graph) *graph = stream_of(handle) ? stream_of(handle)->capturing : nullptr;
    return cuStreamIsCapturing(handle, status);
}
Code cuGraphInstantiateWithParams(void** made, Graph* graph, Instantiation* how) {
    ENTER(cuGraphInstantiateWithParams);
    *made = new Graph(*graph);
    how->result = 0;
    return SUCCESS;
}
Code cuGraphInstantiateWithFlags(void** made, Graph* graph, unsigned long long) { *made = new Graph(*graph); return SUCCESS; }
Code cuGraphUpload(void*, void*) { return SUCCESS; }
Code cuGraphLaunch(Graph* graph, void* handle) {
    ENTER(cuGraphLaunch);
    auto stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    return stream->put([works = graph->works] {
        for (auto& work : works) work();
    });
}
Code cuGraphExecDestroy(Graph* graph) { delete graph; return SUCCESS; }
Code cuGraphDestroy(Graph* graph) { delete graph; return SUCCESS; }
Code cuUserObjectCreate(void** handle, void* object, void (*destroy)(void*), unsigned, unsigned) {
    std::shared_ptr<UserObject> made(new UserObject{object, destroy});
    Lock lock(state().mutex);
    state().objects[*handle = made.get()] = made;
    return SUCCESS;
}
Code cuUserObjectRelease(void* handle, unsigned) {
    Lock lock(state().mutex);
    auto released = state().objects.extract(handle);
    lock.unlock();  // what goes with it may call us
    return released ? SUCCESS : INVALID_VALUE;
}
Code cuGraphRetainUserObject(Graph* graph, void* handle, unsigned, unsigned flags) {
    Lock lock(state().mutex);
    auto found = state().objects.find(handle);
    if (found == state().objects.end()) return INVALID_VALUE;
    graph->kept.push_back(found->second);
    if (flags & 1) state().objects.erase(found);  // the caller's reference moves into the graph
    return SUCCESS;
}
Code cuGraphReleaseUserObject(Graph* graph, void* handle, unsigned) {
    for (auto kept = graph->kept.begin(); kept != graph->kept.end(); ++kept) {
        if (kept->get() != handle) continue;
        auto released = *kept;  // goes after it has left the list
        graph->kept.erase(kept);
        return SUCCESS;
    }
    return INVALID_VALUE;
}
}
