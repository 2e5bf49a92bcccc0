// What a CUDA device does, done by the host: memory that is counted, streams that are threads, events, graphs, kernels as C++.
//
// Streams order nothing that CUDA does not promise: each is a thread of its own, the default stream too. A copy out of bounds ends
// the context as on a GPU: error 700 to every call from then on.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

using Code = int;
enum : Code {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
    NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901
};
using Work = std::function<void()>;
using Lock = std::unique_lock<std::mutex>;

constexpr size_t TOTAL = size_t(16) << 30;  // bytes of "device memory"
constexpr size_t MOST_FILLED = size_t(1) << 26;

struct Device {
    std::mutex mutex;
    std::map<char*, size_t> memory, pinned;
    size_t used = 0;
    std::atomic<Code> fault{SUCCESS};  // sticky, as CUDA's

    Code allocate(void** place, size_t bytes, bool on_device) {
        Lock lock(mutex);
        if (!bytes) return INVALID_VALUE;
        if (on_device && bytes > TOTAL - used) return OUT_OF_MEMORY;
        auto made = static_cast<char*>(std::aligned_alloc(512, (bytes + 511) / 512 * 512));
        if (!made) return OUT_OF_MEMORY;
        if (bytes <= MOST_FILLED) std::memset(made, 0xA5, bytes);
        (on_device ? memory : pinned)[made] = bytes;
        if (on_device) used += bytes;
        *place = made;
        return SUCCESS;
    }

    Code release(void* place, bool on_device) {
        Lock lock(mutex);
        auto& table = on_device ? memory : pinned;
        auto found = table.find(static_cast<char*>(place));
        if (found == table.end()) return INVALID_VALUE;
        if (on_device) used -= found->second;
        if (found->second <= MOST_FILLED) std::memset(place, 0xDD, found->second);
        std::free(place);
        table.erase(found);
        return SUCCESS;
    }

    bool holds(const void* place, size_t bytes) {
        Lock lock(mutex);
        auto at = static_cast<const char*>(place);
        auto after = memory.upper_bound(const_cast<char*>(at));
        if (after == memory.begin()) return false;
        auto [start, length] = *std::prev(after);
        return at + bytes <= start + length;
    }
};

inline Device& device() {
    static auto* one = new Device;  // never destroyed: threads of streams may outlive main()
    return *one;
}

struct Flag {  // reached, or not yet
    std::mutex mutex;
    std::condition_variable changed;
    bool reached = false;

    void reach() {
        Lock lock(mutex);
        reached = true;
        changed.notify_all();
    }
    void wait() {
        Lock lock(mutex);
        changed.wait(lock, [&] { return reached; });
    }
    bool is_reached() {
        Lock lock(mutex);
        return reached;
    }
};

struct UserObject {  // something of the caller's that a graph keeps alive
    void* object;
    void (*destroy)(void*);
    ~UserObject() { destroy(object); }
};

struct Graph {
    std::vector<Work> works;
    std::vector<std::shared_ptr<UserObject>> kept;
    static inline std::atomic<size_t> alive{0};

    Graph() { ++alive; }
    Graph(const Graph& other) : works(other.works), kept(other.kept) { ++alive; }
    ~Graph() { --alive; }
};

struct Event {
    std::shared_ptr<Flag> flag;  // of the newest record; none: never recorded, which counts as reached
};

struct Stream : std::enable_shared_from_this<Stream> {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Work> queue;
    unsigned flags = 0;
    bool closing = false, ended = false;
    Graph* capturing = nullptr;
    bool invalidated = false;
    std::thread::id captor;
    int mode = 0;  // 0 global, 1 thread-local, 2 relaxed

    void start() {
        std::thread([self = shared_from_this()] { self->run(); }).detach();
    }
    void run() {
        for (;;) {
            Work work;
            {
                Lock lock(mutex);
                changed.wait(lock, [&] { return closing || !queue.empty(); });
                if (queue.empty()) {
                    ended = true;
                    return;
                }
                work = std::move(queue.front());
                queue.pop_front();
            }
            work();
        }
    }
    Code put(Work work) {
        Lock lock(mutex);
        if (invalidated) return CAPTURE_INVALIDATED;
        if (capturing) {
            capturing->works.push_back(std::move(work));
            return SUCCESS;
        }
        queue.push_back([work = std::move(work)] {
            if (!device().fault) work();
        });
        changed.notify_all();
        return SUCCESS;
    }
    std::shared_ptr<Flag> mark() {  // what is reached when all that is queued by now is done, also after a fault
        auto flag = std::make_shared<Flag>();
        Lock lock(mutex);
        if (ended) flag->reached = true;
        queue.push_back([flag] { flag->reach(); });
        changed.notify_all();
        return flag;
    }
    void close() {
        Lock lock(mutex);
        closing = true;
        changed.notify_all();
    }
};
