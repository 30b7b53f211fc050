#include <base/log.hpp>
#include <base/printable_text.hpp>
#include <common/async.hpp>
#include <executor_manager/executor_output.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sublet::manager {
namespace {

/// Read in one turn of the loop.
constexpr std::size_t kTurn = 16u << 10;

}  // namespace

ExecutorOutput::ExecutorOutput(kj::UnixEventPort& port, base::Fd pipe)
    : pipe_(std::move(pipe)),
      observer_(port, pipe_.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ) {
  ::fcntl(pipe_.get(), F_SETFL, ::fcntl(pipe_.get(), F_GETFL) | O_NONBLOCK);
  reading_ = read_on().eagerlyEvaluate([](kj::Exception&& exception) {
    base::log().warn("what executors print is not read any more: {}", text_of(exception));
  });
}

kj::Promise<void> ExecutorOutput::read_on() {
  std::array<char, kTurn> text{};
  const ssize_t size = ::read(pipe_.get(), text.data(), text.size());
  if (size == 0) return kj::READY_NOW;  // the zygote and all executors have gone
  if (size > 0) {
    take(text.data(), static_cast<std::size_t>(size));
    return kj::evalLater([this] { return read_on(); });
  }
  if (errno == EINTR) return read_on();
  return observer_.whenBecomesReadable().then([this] { return read_on(); });
}

void ExecutorOutput::take(const char* text, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    if (text[i] != '\n' && line_.size() < kMostLine) line_ += text[i];
    if (text[i] == '\n') tell();
  }
}

void ExecutorOutput::tell() {
  const auto now = std::chrono::steady_clock::now();
  if (now - second_ >= std::chrono::seconds(1)) {
    if (left_out_ > 0) base::log().warn("executors printed {} more lines", left_out_);
    second_ = now;
    lines_ = 0;
    left_out_ = 0;
  }
  if (lines_ < kMostLines) {
    ++lines_;
    base::log().info("executor: {}", base::printable(line_));
  } else {
    ++left_out_;
  }
  line_.clear();
}

}  // namespace sublet::manager
