#include <base/log.hpp>
#include <base/printable_text.hpp>
#include <common/async.hpp>
#include <executor_manager/executor_output.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

namespace sublet::manager {
namespace {

/// Read in one turn of the loop.
constexpr std::size_t kTurn = 16u << 10;

/// A date, as the log's lines begin, or an object of JSON.
bool looks_like_the_log(std::string_view line) {
  const auto digit = [](char letter) { return letter >= '0' && letter <= '9'; };
  return line.starts_with('{') ||
         (line.size() > 4 && line[4] == '-' && std::all_of(line.begin(), line.begin() + 4, digit));
}

/// False where that would have to wait, or nobody reads.
bool print(std::string line) {
  line += '\n';
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  if (::poll(&out, 1, 0) != 1 || (out.revents & POLLOUT) == 0) return false;
  return ::write(out.fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
}

}  // namespace

ExecutorOutput::ExecutorOutput(kj::UnixEventPort& port, base::Fd pipe)
    : pipe_(std::move(pipe)),
      observer_(port, pipe_.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ) {
  ::fcntl(pipe_.get(), F_SETFL, ::fcntl(pipe_.get(), F_GETFL) | O_NONBLOCK);
  reading_ = read_on().eagerlyEvaluate([](kj::Exception&& exception) {
    base::log().warn("what executors print is not read any more: {}", text_of(exception));
  });
}

std::string ExecutorOutput::last_line() {
  constexpr int kMostReads = 8;
  for (int i = 0; i < kMostReads && read_some(); ++i) {
  }
  return last_line_;
}

/// False when there is nothing now (errno EAGAIN), or never again (0).
bool ExecutorOutput::read_some() {
  std::array<char, kTurn> text{};
  ssize_t size = 0;
  do {
    size = ::read(pipe_.get(), text.data(), text.size());
  } while (size < 0 && errno == EINTR);
  if (size == 0) errno = 0;
  if (size > 0) take(text.data(), static_cast<std::size_t>(size));
  return size > 0;
}

kj::Promise<void> ExecutorOutput::read_on() {
  if (read_some()) return kj::evalLater([this] { return read_on(); });
  if (errno == 0) return kj::READY_NOW;  // the zygote and all executors have gone
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
  if (lines_ == kMostLines) {
    ++left_out_;
  } else if (looks_like_the_log(line_)) {
    ++lines_;
    base::log().info("executor: {}", base::printable(line_));
  } else {
    ++(print(base::printable(line_)) ? lines_ : left_out_);
  }
  last_line_ = base::printable(line_);
  line_.clear();
}

}  // namespace sublet::manager
