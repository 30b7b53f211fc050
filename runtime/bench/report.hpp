#pragma once

#include "bandwidth.hpp"
#include "cold.hpp"
#include "connect.hpp"
#include "isolation.hpp"
#include "latency.hpp"
#include "rate.hpp"
#include "single_source.hpp"
#include "wide.hpp"
#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <string>

namespace sublet::bench {

// What a benchmark found, for people (OSU's style: comment lines, then columns) and for programs.

[[nodiscard]] std::string to_table(const LatencyReport& report);
[[nodiscard]] std::string to_table(const ColdReport& report);
[[nodiscard]] std::string to_table(const IsolationReport& report);
[[nodiscard]] std::string to_table(const RateReport& report);
[[nodiscard]] std::string to_table(const BandwidthReport& report);
[[nodiscard]] std::string to_table(const ConnectReport& report);
[[nodiscard]] std::string to_table(const SingleSourceReport& report);
[[nodiscard]] std::string to_table(const WideReport& report);

[[nodiscard]] std::string to_json(const LatencyReport& report);
[[nodiscard]] std::string to_json(const ColdReport& report);
[[nodiscard]] std::string to_json(const IsolationReport& report);
[[nodiscard]] std::string to_json(const RateReport& report);
[[nodiscard]] std::string to_json(const BandwidthReport& report);
[[nodiscard]] std::string to_json(const ConnectReport& report);
[[nodiscard]] std::string to_json(const SingleSourceReport& report);
[[nodiscard]] std::string to_json(const WideReport& report);

/// Cold starts in the form of the other latencies: fork+exec+wait is the raw exchange.
[[nodiscard]] LatencyReport as_latency(const ColdReport& report);

/// The file that --json names, opened before anything is measured so that a bad name costs no
/// run. Its old content stays until write(); a file that had not been there goes when there is
/// nothing to write.
class JsonFile {
 public:
  JsonFile() = default;
  JsonFile(JsonFile&&) noexcept = default;
  JsonFile& operator=(JsonFile&&) = delete;
  JsonFile(const JsonFile&) = delete;
  JsonFile& operator=(const JsonFile&) = delete;
  ~JsonFile();

  /// "" and "-" open nothing. kInvalid when the file cannot be written.
  static Result<JsonFile> open(const std::string& path);

  Result<void> write(const std::string& text);

 private:
  std::string path_;
  base::Fd fd_;
  bool created_ = false;
};

}  // namespace sublet::bench
