// Generalized requests of MPI that stand for calls.
//
// STATES of a request: open (in the list below, MPI knows it as active) -> ended (the call has, its
// reply is written, MPI has been told) -> gone (MPI has called freed(), in the wait or test that
// has seen the end, or after MPI_Request_free).

#include "requests.hpp"

#include "agreement.hpp"
#include "attachment.hpp"
#include "c/error_classes.hpp"
#include "request_path.hpp"
#include <sublet/c.hpp>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace sublet::mpi {
namespace {

using Kind = RequestPath::Kind;

/// What MPI hands to the functions of a request. Owner: MPI, until freed().
struct OpenRequest {
  Call call;
  Delivery delivery;
  MPI_Request handle = MPI_REQUEST_NULL;
  Reply reply{};
  std::string error;
  bool ended = false;
  bool listed = false;
  unsigned polls = 0;  ///< In vain.
  OpenRequest* previous = nullptr;
  OpenRequest* next = nullptr;

  /// Takes the end of the call, or gives it to its lease when it has none yet.
  void end() noexcept {
    if (call.poll()) {
      reply = call.wait();
      if (!reply.ok()) note_error();
    } else {
      reply = Reply{.status = Status::kClosed};
      hand_over();
    }
    call = Call();
    ended = true;
    if (delivery.to != nullptr) delivery.write(delivery.to, reply);
  }

  /// Nobody wants to know its end any more. Its memory is in use until then, as ever.
  void hand_over() noexcept {
    call.then([](const Reply&) {});
  }

 private:
  void note_error() noexcept {
    try {
      error = call.error();
    } catch (const std::bad_alloc&) {
      error.clear();
    }
  }
};

/// The requests of this process that are open, as MPI is the process's. Requests are made and ended
/// by the thread that calls MPI; where several do, under `mutex_`.
class OpenRequests {
 public:
  static OpenRequests& instance() {
    static OpenRequests requests;
    return requests;
  }

  OpenRequests() = default;
  OpenRequests(const OpenRequests&) = delete;
  OpenRequests& operator=(const OpenRequests&) = delete;
  ~OpenRequests() { stop_helper(); }  // of a program that ends without MPI_Finalize

  Result<MPI_Request> open(Call& call, Delivery delivery) {
    const Result<RequestPath>& path = request_path_of_process();
    if (!path) return tl::unexpected<Error>(path.error());
    std::call_once(prepared_, [&] {
      path_ = *path;
      if (!path_.threads) thread_ = &mark_of_thread;
      make_classes();
    });
    if (!watched_.load(std::memory_order_acquire)) {
      if (auto watched = Attachment::watch_finalize(); !watched) {
        return tl::unexpected<Error>(std::move(watched.error()));
      }
      watched_.store(true, std::memory_order_release);
    }
    if (path_.threads) call.share_lease();
    if (path_.kind == Kind::kHelper) start_helper();

    auto request = std::make_unique<OpenRequest>();
    request->delivery = delivery;
    const int code = start(*request);
    if (code != MPI_SUCCESS) {
      return tl::unexpected<Error>(mpi_error(code, "starting a request for a call"));
    }
    request->call = std::move(call);
    const MPI_Request handle = request->handle;
    const auto lock = lock_list();
    add(*request.release());
    if (path_.kind == Kind::kProgress && !std::exchange(called_, true)) {
      path_.start_calling(&progress);
    }
    if (path_.kind == Kind::kHelper) wake_.notify_one();
    return handle;
  }

  void close() noexcept {
    stop_helper();
    for (;;) {
      OpenRequest* request = nullptr;
      {
        const auto lock = lock_list();
        request = first_;
        if (request == nullptr) {
          if (std::exchange(called_, false)) path_.stop_calling(&progress);
          return;
        }
        remove(*request);
      }
      request->end();
      MPI_Grequest_complete(request->handle);
    }
  }

 private:
  [[nodiscard]] std::unique_lock<std::mutex> lock_list() {
    return path_.threads ? std::unique_lock(mutex_) : std::unique_lock<std::mutex>();
  }

  int start(OpenRequest& request) noexcept {
#ifdef MPICH_VERSION
    if (path_.kind == Kind::kPoll) {
      return MPIX_Grequest_start(&asked, &freed, &cancelled, &polled, &waited, &request,
                                 &request.handle);
    }
#endif
    return MPI_Grequest_start(&asked, &freed, &cancelled, &request, &request.handle);
  }

  void add(OpenRequest& request) noexcept {
    request.listed = true;
    request.previous = last_;
    (last_ == nullptr ? first_ : last_->next) = &request;
    last_ = &request;
  }

  void remove(OpenRequest& request) noexcept {
    request.listed = false;
    (request.previous == nullptr ? first_ : request.previous->next) = request.next;
    (request.next == nullptr ? last_ : request.next->previous) = request.previous;
    request.previous = request.next = nullptr;
  }

  /// Ends the requests whose calls have, and tells MPI. How many.
  int end_some(std::unique_lock<std::mutex> lock) noexcept {
    OpenRequest* ended = nullptr;
    for (OpenRequest* request = first_; request != nullptr;) {
      OpenRequest* const next = request->next;
      if (request->call.try_poll()) {
        remove(*request);
        request->end();
        request->next = std::exchange(ended, request);
      }
      request = next;
    }
    if (lock.owns_lock()) lock.unlock();
    int count = 0;
    for (; ended != nullptr; ++count) {
      OpenRequest* const request = std::exchange(ended, ended->next);
      request->next = nullptr;
      MPI_Grequest_complete(request->handle);  // which may call freed()
    }
    return count;
  }

  // ---- Open MPI's progress function ----

  /// Called in each wait and test of MPI's while requests are open, and once when none is.
  static int progress() {
    OpenRequests& self = instance();
    std::unique_lock<std::mutex> lock;
    if (self.path_.threads) {
      lock = std::unique_lock(self.mutex_, std::try_to_lock);
      if (!lock.owns_lock()) return 0;
    } else if (self.thread_ != &mark_of_thread) {
      return 0;
    }
    if (self.first_ == nullptr) {
      // Not as soon as the last one has ended: the next one is often not far.
      if (std::exchange(self.called_, false)) self.path_.stop_calling(&progress);
      return 0;
    }
    return self.end_some(std::move(lock));
  }

  // ---- MPICH's functions of each request ----

  /// MPI_Wait for one request does nothing but call polled() in MPICH 4.0: so many calls in vain,
  /// and it looks after messages in MPI's place.
  static constexpr unsigned kPollsPerProbe = 32;
  static constexpr unsigned kPollsPerYield = 256;

  [[maybe_unused]] static int polled(void* state, MPI_Status*) {
    auto& request = *static_cast<OpenRequest*>(state);
    OpenRequests& self = instance();
    if (request.ended) return MPI_SUCCESS;
    if (!request.call.try_poll()) {
      if (++request.polls % kPollsPerProbe != 0) return MPI_SUCCESS;
      int found = 0;
      return MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_SELF, &found, MPI_STATUS_IGNORE);
    }
    {
      const auto lock = self.lock_list();
      self.remove(request);
    }
    request.end();
    return MPI_Grequest_complete(request.handle);
  }

  [[maybe_unused]] static int waited(int count, void** states, double, MPI_Status* status) {
    for (int i = 0; i < count; ++i) {
      const auto& request = *static_cast<const OpenRequest*>(states[i]);
      while (!request.ended) {
        const int code = polled(states[i], status);
        if (code != MPI_SUCCESS) return code;
        if (request.polls % kPollsPerYield == 0) std::this_thread::yield();
      }
    }
    return MPI_SUCCESS;
  }

  // ---- The helper thread ----

  static constexpr int kLooksAwake = 1000;
  static constexpr std::chrono::microseconds kNap{50};

  void start_helper() {
    const std::lock_guard lock(mutex_);
    if (helper_.joinable()) return;
    stop_ = false;
    helper_ = std::thread([this] { help(); });
  }

  void stop_helper() noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (!helper_.joinable()) return;
      stop_ = true;
      wake_.notify_one();
    }
    helper_.join();
  }

  /// Looks all the time for a moment, then now and then; sleeps while no request is open.
  void help() noexcept {
    for (int idle = 0;; ++idle) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || first_ != nullptr; });
      if (stop_) return;
      if (end_some(std::move(lock)) > 0) idle = 0;
      if (idle < kLooksAwake) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(kNap);
      }
    }
  }

  // ---- What MPI asks of a request ----

  /// Those that the functions below may have to name: there MPI makes none.
  static void make_classes() noexcept {
    for (int code = SUBLET_ERR_REFUSED; code < SUBLET_SUCCESS; ++code) (void)error_class_of(code);
    (void)error_class_of(SUBLET_ERR_NOT_CANCELLED);
  }

  static int asked(void* state, MPI_Status* status) {
    const auto& request = *static_cast<const OpenRequest*>(state);
    MPI_Status_set_elements_x(status, MPI_BYTE,
                              static_cast<MPI_Count>(request.reply.ok() ? request.reply.size : 0));
    MPI_Status_set_cancelled(status, 0);
    status->MPI_SOURCE = MPI_UNDEFINED;
    status->MPI_TAG = MPI_UNDEFINED;
    status->MPI_ERROR = MPI_SUCCESS;
    if (request.reply.ok()) return MPI_SUCCESS;
    const int code = c::code_of(request.reply.status);
    sublet_set_last_error(code, request.error.empty() ? nullptr : request.error.c_str());
    status->MPI_ERROR = error_class_of(code);
    return status->MPI_ERROR;
  }

  static int freed(void* state) {
    const std::unique_ptr<OpenRequest> request(static_cast<OpenRequest*>(state));
    if (request->ended) return MPI_SUCCESS;
    // MPI_Request_free before the end. (Open MPI keeps the request until then.)
    if (request->listed) {
      OpenRequests& self = instance();
      const auto lock = self.lock_list();
      self.remove(*request);
    }
    request->hand_over();
    return MPI_SUCCESS;
  }

  static int cancelled(void*, int complete) {
    if (complete != 0) return MPI_SUCCESS;
    sublet_set_last_error(SUBLET_ERR_NOT_CANCELLED,
                          "MPI_Cancel: a call that has begun goes on to its end; wait for it, or "
                          "give its function a timeout");
    return error_class_of(SUBLET_ERR_NOT_CANCELLED);
  }

  static inline thread_local char mark_of_thread = 0;

  std::once_flag prepared_;
  std::atomic<bool> watched_ = false;  ///< MPI tells of its end.
  RequestPath path_{};
  const char* thread_ = nullptr;  ///< The one that makes requests, where only one may call MPI.
  std::mutex mutex_;
  OpenRequest* first_ = nullptr;
  OpenRequest* last_ = nullptr;
  bool called_ = false;  ///< progress() is.
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread helper_;
};

}  // namespace

Result<MPI_Request> open_request(Call& call, Delivery delivery) {
  return OpenRequests::instance().open(call, delivery);
}

void close_requests() noexcept {
  OpenRequests::instance().close();
}

}  // namespace sublet::mpi
