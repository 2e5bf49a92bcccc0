// What all functions of the stand-in share: what is alive, this thread's contexts, who captures, which calls are to fail.
#pragma once

#include "device.hpp"

#include <cstdio>
#include <string>
#include <tuple>
#include <utility>

namespace {

struct Failure {
    Code code;
    int after;  // how many calls succeed before
};

struct State {
    std::mutex mutex;
    std::map<void*, std::shared_ptr<Stream>> streams;
    std::map<void*, std::unique_ptr<Event>> events;
    std::map<void*, std::shared_ptr<UserObject>> objects;
    std::set<Stream*> captures;
    std::map<std::string, Failure> failures;  // of functions that are to fail once
    int retained = 0;
};

State& state() {
    static auto* one = new State;
    return *one;
}

char context_place;
void* const CONTEXT = &context_place;
thread_local std::vector<void*> contexts;  // this thread's stack

Code failing(const char* function) {
    Lock lock(state().mutex);
    auto found = state().failures.find(function);
    if (found == state().failures.end() || found->second.after-- > 0) return SUCCESS;
    Code code = found->second.code;
    state().failures.erase(found);
    return code;
}

Code entered(const char* function) {
    if (contexts.empty() || !contexts.back() || !state().retained) return INVALID_CONTEXT;
    if (Code fault = device().fault) return fault;
    return failing(function);
}

void invalidate(Stream* stream) {
    Lock lock(stream->mutex);
    stream->invalidated = true;
}

// Calls that CUDA forbids while a stream is captured: `everywhere`, or by the thread that captures unless in relaxed mode.
Code unsafe(bool everywhere = false) {
    Lock lock(state().mutex);
    for (auto* stream : state().captures) {
        bool mine = stream->mode == 1 && stream->captor == std::this_thread::get_id();
        if (!everywhere && !mine && stream->mode != 0) continue;
        invalidate(stream);
        return CAPTURE_UNSUPPORTED;
    }
    return SUCCESS;
}

std::shared_ptr<Stream> opened(unsigned flags) {
    auto stream = std::make_shared<Stream>();
    stream->flags = flags;
    stream->start();
    return stream;
}

std::shared_ptr<Stream> stream_of(void* handle) {
    if (reinterpret_cast<size_t>(handle) <= 2) {
        static auto* legacy = new std::shared_ptr<Stream>(opened(0));
        return *legacy;
    }
    Lock lock(state().mutex);
    auto found = state().streams.find(handle);
    return found == state().streams.end() ? nullptr : found->second;
}

Event* event_of(void* handle) {
    Lock lock(state().mutex);
    auto found = state().events.find(handle);
    return found == state().events.end() ? nullptr : found->second.get();
}

std::shared_ptr<Flag> flag_of(Event* event) {
    Lock lock(state().mutex);
    return event->flag;
}

Code waited(const std::shared_ptr<Flag>& flag) {
    if (flag) flag->wait();
    return device().fault;
}

Code all_done() {
    std::vector<std::shared_ptr<Stream>> all{stream_of(nullptr)};
    {
        Lock lock(state().mutex);
        for (auto& [handle, stream] : state().streams) all.push_back(stream);
    }
    for (auto& stream : all) stream->mark()->wait();
    return device().fault;
}

Code copied(void* to, const void* from, size_t bytes, void* handle, bool into, bool out_of) {
    auto stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    return stream->put([=] {
        if ((into && !device().holds(to, bytes)) || (out_of && !device().holds(from, bytes))) device().fault = ILLEGAL_ADDRESS;
        else std::memcpy(to, from, bytes);
    });
}

}  // namespace

#define ENTER(function) \
    if (Code refused = entered(#function)) return refused
#define SAFE(...) \
    if (Code refused = unsafe(__VA_ARGS__)) return refused
