#pragma once

#include <cli/options.hpp>

#include <string>
#include <vector>

namespace sublet::cli {

/// The options of a daemon, which it can read again while it runs: flags and environment stay what
/// they were, the file may have changed.
///
/// Owner: the daemon's command; one thread.
class Configuration {
 public:
  Configuration(const CommandLine& line, std::vector<std::string> words,
                boost::program_options::variables_map values);

  [[nodiscard]] const boost::program_options::variables_map& values() const { return values_; }

  /// What they would be now. kInvalid: something in the file is wrong.
  [[nodiscard]] Result<boost::program_options::variables_map> read_again() const;

  struct Change {
    std::string option;
    bool reloadable = false;  ///< Else it holds until the daemon is started again.
  };
  /// Which options differ from values().
  [[nodiscard]] std::vector<Change> changes(
      const boost::program_options::variables_map& values) const;

  /// From now on values() has those of them that can change while the daemon runs.
  void use(const boost::program_options::variables_map& values);

 private:
  const CommandLine& line_;
  std::vector<std::string> words_;
  boost::program_options::variables_map values_;
};

}  // namespace sublet::cli
