#include "trace_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace sublet::mpi {
namespace {

/// Small enough for the stack: nothing may fail between two messages.
constexpr std::size_t kPieceBytes = 64u << 10;
constexpr int kTag = 1;  // Sublet's own communicator: nobody else sends on it.

/// {"traceEvents":[ ... ]} with the ranks' events in between. Errors are kept, not thrown, and end
/// all writing: the ranks' messages have to be received to the last one in any case.
class TraceFile {
 public:
  explicit TraceFile(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "wb")) {
    if (!file_) remember();
    write("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
  }

  void begin_rank(bool has_events) {
    if (has_events && !std::exchange(first_, false)) write(",\n");
  }

  void write(std::string_view text) {
    if (error_ == 0 && std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size()) {
      remember();
    }
  }

  Result<void> finish() {
    write("]}\n");
    if (error_ == 0 && std::fflush(file_.get()) != 0) remember();
    if (error_ == 0) return {};
    return fail(ErrorKind::kInvalid,
                "writing the timeline to '" + path_ + "' failed: " + std::strerror(error_), error_);
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };
  void remember() { error_ = errno != 0 ? errno : EIO; }

  const std::string& path_;
  std::unique_ptr<std::FILE, Close> file_;
  int error_ = 0;
  bool first_ = true;
};

void send(MPI_Comm comm, Outcome& outcome, std::string_view events) {
  std::uint64_t left = events.size();
  outcome.note_mpi(MPI_Send(&left, 1, MPI_UINT64_T, 0, kTag, comm), "sending the timeline");
  while (left > 0 && outcome.ok()) {
    const auto piece = events.substr(events.size() - left, kPieceBytes);
    outcome.note_mpi(
        MPI_Send(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, 0, kTag, comm),
        "sending the timeline");
    left -= piece.size();
  }
}

void receive(MPI_Comm comm, Outcome& outcome, int rank, TraceFile& file) {
  std::uint64_t left = 0;
  const std::string what = "receiving the timeline of rank " + std::to_string(rank);
  outcome.note_mpi(MPI_Recv(&left, 1, MPI_UINT64_T, rank, kTag, comm, MPI_STATUS_IGNORE),
                   what.c_str());
  file.begin_rank(left > 0);
  std::array<char, kPieceBytes> piece;
  while (left > 0) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left, kPieceBytes));
    const int code = MPI_Recv(piece.data(), static_cast<int>(size), MPI_BYTE, rank, kTag, comm,
                              MPI_STATUS_IGNORE);
    outcome.note_mpi(code, what.c_str());
    if (code != MPI_SUCCESS) return;
    file.write({piece.data(), size});
    left -= size;
  }
}

}  // namespace

Result<void> gather_trace(const Attachment& attachment, Outcome outcome, const std::string& events,
                          const std::string& path) {
  const std::string_view mine = outcome.ok() ? std::string_view(events) : std::string_view();
  if (attachment.rank() != 0) {
    send(attachment.comm(), outcome, mine);
  } else {
    TraceFile file(path);
    file.begin_rank(!mine.empty());
    file.write(mine);
    for (int rank = 1; rank < attachment.size(); ++rank) {
      receive(attachment.comm(), outcome, rank, file);
    }
    outcome.attempt("writing the timeline", [&] { return file.finish(); });
  }
  return outcome.agree(attachment.comm());
}

}  // namespace sublet::mpi
