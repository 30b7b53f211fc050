// Loops, in <sublet/loop.h>.

#include <sublet/detail/loop.hpp>
#include <sublet/loop.h>

#include <c/error.hpp>
#include <c/handles.hpp>
#include <c/text_fields.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace sublet::c {
namespace {

/// A function of a library as the body of a loop.
class FunctionLoop final : public sublet::detail::LoopBody {
 public:
  FunctionLoop(const Function& function, const sublet_loop& loop)
      : function_(function), loop_(loop), lease_(function.lease()) {}

  void compute(std::size_t first, std::size_t count) override {
    if (loop_.combine == nullptr) {
      loop_.here(first, count, in_of(first), out_of(first), loop_.context);
      return;
    }
    partial_.resize(loop_.out_item);
    loop_.here(first, count, in_of(first), partial_.data(), loop_.context);
    loop_.combine(partial_.data(), loop_.context);
  }

  std::unique_ptr<sublet::detail::LoopPart> start(std::size_t worker, std::size_t first,
                                                  std::size_t count, Status& status) override {
    auto part = std::make_unique<Part>(*this, first, count);
    status = part->submit(worker);
    if (status != Status::kOk) return nullptr;
    return part;
  }

  void failed(Status status) noexcept override { code_ = code_of(status); }
  /// SUBLET_SUCCESS unless a call was the end of the loop.
  [[nodiscard]] int code() const noexcept { return code_; }

 private:
  /// The memory of a part: the application's where workers see it, else a copy in the arena.
  class Part final : public sublet::detail::LoopPart {
   public:
    Part(FunctionLoop& loop, std::size_t first, std::size_t count) : loop_(loop) {
      const sublet_loop& all = loop.loop_;
      if (all.in_item == 0) {
        range_ = {first, count};
        in_ = range_.data();
        in_size_ = sizeof range_;
      } else {
        in_ = loop.in_of(first);
        in_size_ = count * all.in_item;
        if (!seen(in_, in_size_)) {
          in_copy_ = Buffer<std::byte>(loop.lease_.arena(), in_size_);
          std::memcpy(in_copy_.data(), in_, in_size_);
          in_ = in_copy_.data();
        } else {
          stands_alone_ = false;
        }
      }
      out_size_ = all.combine != nullptr ? all.out_item : count * all.out_item;
      target_ = all.combine != nullptr ? nullptr : loop.out_of(first);
      out_ = target_;
      if (out_size_ > 0 && (target_ == nullptr || !seen(target_, out_size_))) {
        out_copy_ = Buffer<std::byte>(loop.lease_.arena(), out_size_);
        out_ = out_copy_.data();
      } else if (out_size_ > 0) {
        stands_alone_ = false;
      }
    }
    ~Part() override { call = Call(); }  // before the memory that it uses
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

    Status submit(std::size_t worker) noexcept {
      return loop_.function_.try_async(worker, in_, in_size_, out_, out_size_, call);
    }
    Result<void> finish(const Reply& reply) override {
      if (reply.size != out_size_) {
        loop_.code_ = SUBLET_ERR_OUTPUT_SIZE;
        return fail(ErrorKind::kInvalid, "function '" + loop_.function_.name() + "' returned " +
                                             std::to_string(reply.size) +
                                             " bytes for a part of a loop where " +
                                             std::to_string(out_size_) + " were expected");
      }
      if (loop_.loop_.combine != nullptr) {
        loop_.loop_.combine(out_, loop_.loop_.context);
      } else if (out_ != target_) {
        std::memcpy(target_, out_, out_size_);
      }
      return {};
    }
    [[nodiscard]] bool stands_alone() const noexcept override { return stands_alone_; }

   private:
    [[nodiscard]] bool seen(const void* memory, std::size_t size) const noexcept {
      return sublet::detail::SingleSource::sees(loop_.lease_, memory, size);
    }

    FunctionLoop& loop_;
    std::array<std::uint64_t, 2> range_{};
    Buffer<std::byte> in_copy_;
    Buffer<std::byte> out_copy_;
    const void* in_ = nullptr;
    std::size_t in_size_ = 0;
    void* target_ = nullptr;  ///< Where the application wants the output.
    void* out_ = nullptr;
    std::size_t out_size_ = 0;
    bool stands_alone_ = true;
  };

  [[nodiscard]] const void* in_of(std::size_t first) const noexcept {
    if (loop_.in_item == 0) return nullptr;
    return static_cast<const std::byte*>(loop_.in) + first * loop_.in_item;
  }
  [[nodiscard]] void* out_of(std::size_t first) const noexcept {
    if (loop_.out_item == 0) return nullptr;
    return static_cast<std::byte*>(loop_.out) + first * loop_.out_item;
  }

  Function function_;
  const sublet_loop& loop_;
  Lease lease_;
  std::vector<std::byte> partial_;
  int code_ = SUBLET_SUCCESS;
};

int check(const sublet_loop& loop) {
  if (loop.count > kMostBytes) return bad_size("count", loop.count);
  if (loop.least_items > kMostBytes) return bad_size("least_items", loop.least_items);
  const std::size_t count = std::max<std::size_t>(loop.count, 1);
  if (loop.in_item > kMostBytes / count) return bad_size("in_item", loop.in_item);
  if (loop.out_item > kMostBytes / count) return bad_size("out_item", loop.out_item);
  if (loop.count == 0) return SUBLET_SUCCESS;
  if (loop.in == nullptr && loop.in_item > 0) return null_pointer("in");
  const bool writes = loop.out_item > 0 && loop.combine == nullptr;
  if (loop.out == nullptr && writes) return null_pointer("out");
  return SUBLET_SUCCESS;
}

sublet_loop_report to_c(const OffloadReport& report) {
  sublet_loop_report made{report.here,  report.on_workers,      report.again,
                          report.calls, report.stopped ? 1 : 0, {}};
  copy_text(report.why, made.why);
  return made;
}

}  // namespace
}  // namespace sublet::c

using namespace sublet::c;

int sublet_offload_for(sublet_function* function, const sublet_loop* loop,
                       sublet_loop_report* report) {
  if (function == nullptr) return null_handle("function");
  if (loop == nullptr) return null_pointer("loop");
  if (const int code = check(*loop); code != SUBLET_SUCCESS) return code;
  int code = SUBLET_SUCCESS;
  const int thrown = guarded("sharing out a loop", [&]() -> sublet::Result<void> {
    FunctionLoop body(function->function, *loop);
    sublet::Lease lease = function->function.lease();
    auto done = sublet::detail::share_out(
        lease, body, loop->count,
        {.least_items = loop->least_items, .computes_here = loop->here != nullptr});
    code = body.code();
    if (!done) return tl::unexpected<sublet::Error>(std::move(done.error()));
    if (report != nullptr) *report = to_c(*done);
    return {};
  });
  return thrown != SUBLET_SUCCESS && code != SUBLET_SUCCESS ? code : thrown;
}
