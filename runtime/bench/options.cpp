#include "options.hpp"

#include "benchmarks.hpp"

#include <boost/program_options.hpp>

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>

namespace sublet::bench {
namespace {

namespace po = boost::program_options;

/// A whole decimal number within [min, max]. Read as text: the option parser would take "-1" for a
/// huge number and "8k" for 8.
Result<std::uint64_t> parse_number(const std::string& option, const std::string& text,
                                   std::uint64_t min, std::uint64_t max) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) {
    return fail(ErrorKind::kInvalid, option + ": '" + text + "' is no whole number");
  }
  if (error != std::errc{} || value < min || value > max) {
    return fail(ErrorKind::kInvalid, option + ": " + text + " is not between " +
                                         std::to_string(min) + " and " + std::to_string(max));
  }
  return value;
}

template <class T>
Result<std::vector<T>> parse_list(const std::string& option, const std::string& text,
                                  std::uint64_t max) {
  std::vector<T> values;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    auto value = parse_number(option, text.substr(at, comma - at), 1, max);
    if (!value) return tl::unexpected<Error>(std::move(value.error()));
    values.push_back(static_cast<T>(*value));
    at = comma + 1;
  }
  if (values.size() > kMaxRows) {
    return fail(ErrorKind::kInvalid, option + ": " + std::to_string(values.size()) +
                                         " values are more than the " + std::to_string(kMaxRows) +
                                         " of one run");
  }
  return values;
}

Result<Mode> parse_mode(const std::string& text) {
  if (text == "hot") return Mode::kHot;
  if (text == "warm") return Mode::kWarm;
  if (text == "cold") return Mode::kCold;
  return fail(ErrorKind::kInvalid, "--mode: '" + text + "' is none of hot, warm, cold");
}

Result<transport::Kind> parse_transport(const std::string& text) {
  if (const auto kind = transport::kind_named(text)) return *kind;
  return fail(ErrorKind::kInvalid,
              "--transport: '" + text + "' is none of " + transport::kind_names());
}

/// Those of all benchmarks.
po::options_description common_description() {
  po::options_description options("Options");
  options.add_options()                                                                     //
      ("cpus", po::value<std::string>()->value_name("A,B"),                                 //
       "core of the client, core of the worker (default: two this process may use)")        //
      ("iterations", po::value<std::string>()->value_name("N"), "timed calls per row")      //
      ("warmup", po::value<std::string>()->value_name("N"), "calls before the timed ones")  //
      ("json", po::value<std::string>()->value_name("FILE"),                                //
       "write the figures there as JSON; - for standard output")                            //
      ("transport", po::value<std::string>()->value_name("NAME"),                           //
       ("one of " + transport::kind_names() + " (default shm)").c_str())                    //
      ("help,h", "explain the options");
  return options;
}

/// Those of benchmarks that call workers.
po::options_description calls_description() {
  po::options_description options = common_description();
  options.add_options()                                             //
      ("manager", po::value<std::string>()->value_name("ADDRESS"),  //
       "resource manager (default: $SUBLET_MANAGER, else a private one)");
  return options;
}

po::options_description latency_description() {
  po::options_description options = calls_description();
  options.add_options()                                                                      //
      ("mode", po::value<std::string>()->value_name("MODE"), "hot (default), warm or cold")  //
      ("sizes", po::value<std::string>()->value_name("LIST"),                                //
       "payload bytes, separated by commas (default 8,1024,65536)")                          //
      ("compare", po::bool_switch(), "measure Open MPI's send/recv on the same cores too");
  return options;
}

po::options_description rate_description() {
  po::options_description options = calls_description();
  options.add_options()                                              //
      ("windows", po::value<std::string>()->value_name("LIST"),      //
       "calls in flight, separated by commas (default 1,2,4,8,16)")  //
      ("size", po::value<std::string>()->value_name("BYTES"), "payload of a call (default 8)");
  return options;
}

po::options_description bandwidth_description() {
  po::options_description options = calls_description();
  options.add_options()                                               //
      ("sizes", po::value<std::string>()->value_name("LIST"),         //
       "payload bytes, separated by commas (default 65536,1048576)")  //
      ("window", po::value<std::string>()->value_name("N"), "calls in flight (default 16)");
  return options;
}

po::options_description isolation_description() {
  po::options_description options = common_description();
  options.add_options()                                         //
      ("image", po::value<std::string>()->value_name("IMAGE"),  //
       "measure containers of this image too, with podman");
  return options;
}

po::options_description connect_description() {
  po::options_description options = common_description();
  options.add_options()                                         //
      ("counts", po::value<std::string>()->value_name("LIST"),  //
       "connections to open, separated by commas (default 8,16,32,64)");
  return options;
}

po::options_description wide_description() {
  po::options_description options = calls_description();
  options.add_options()                                                                       //
      ("cores", po::value<std::string>()->value_name("N"), "of the wide worker (default 2)")  //
      ("options", po::value<std::string>()->value_name("N"),                                  //
       "priced by a call (default 4000000)");
  return options;
}

/// The options of one benchmark as given; each is read by one call, the first error is kept.
class Words {
 public:
  static Result<Words> parse(const std::vector<std::string>& words,
                             const po::options_description& description) {
    Words result;
    try {
      auto parsed = po::command_line_parser(words).options(description).run();
      for (const auto& option : parsed.options) {
        if (option.position_key >= 0) {
          return fail(ErrorKind::kInvalid, "unexpected argument '" + option.value.front() + "'");
        }
      }
      po::store(parsed, result.map_);
    } catch (const po::error& error) {
      return fail(ErrorKind::kInvalid, error.what());
    }
    return result;
  }

  [[nodiscard]] bool has(const char* name) const { return map_.count(name) != 0; }
  [[nodiscard]] std::string text(const char* name) const { return map_[name].as<std::string>(); }
  [[nodiscard]] bool flag(const char* name) const { return map_[name].as<bool>(); }

  /// Reads an option through `parse` into `target`, when it was given.
  template <class T, class Parse>
  void read(const char* name, T& target, Parse parse_text) {
    if (error_ || !has(name)) return;
    auto value = parse_text(text(name));
    if (value) {
      target = static_cast<T>(*value);
    } else {
      error_ = std::move(value.error());
    }
  }

  /// Unless something was wrong before.
  void refuse(const std::string& why) {
    if (!error_) error_ = Error(ErrorKind::kInvalid, why);
  }

  void read_number(const char* name, std::uint64_t& target, std::uint64_t min) {
    read(name, target, [&](const std::string& value) {
      return parse_number(std::string("--") + name, value, min, kMaxIterations);
    });
  }

  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  po::variables_map map_;
  std::optional<Error> error_;
};

Result<void> read_common(Words& words, CommonOptions& options) {
  auto allowed = allowed_cpus();
  if (!allowed) return tl::unexpected<Error>(std::move(allowed.error()));
  options.cpus_given = words.has("cpus");
  auto cpus =
      options.cpus_given ? parse_cpu_pair(words.text("cpus"), *allowed) : choose_cpu_pair(*allowed);
  if (!cpus) return tl::unexpected<Error>(std::move(cpus.error()));
  options.cpus = *cpus;
  if (words.has("json")) {
    options.json_file = words.text("json");
    if (options.json_file.empty()) return fail(ErrorKind::kInvalid, "--json: no file name given");
  }
  if (words.has("manager")) options.manager = words.text("manager");
  words.read("transport", options.transport, parse_transport);
  return {};
}

/// What the options of a benchmark have of their own is read by its `read`.
template <class Options>
Result<BenchOptions> parse_as(const std::string& benchmark,
                              const po::options_description& description,
                              const std::vector<std::string>& arguments,
                              void (*read)(Words& words, Options& options)) {
  auto words = Words::parse(arguments, description);
  if (!words) return tl::unexpected<Error>(std::move(words.error()));
  if (words->has("help")) {
    std::ostringstream text;
    text << "Usage: sublet bench " << benchmark << " [options]\n\n" << description;
    return HelpText{text.str()};
  }
  Options options;
  read(*words, options);
  words->read_number("iterations", options.iterations, 1);
  words->read_number("warmup", options.warmup, 0);
  if (auto common = read_common(*words, options); !common) {
    return tl::unexpected<Error>(std::move(common.error()));
  }
  if (words->error()) return tl::unexpected<Error>(*words->error());
  return options;
}

void read_latency(Words& words, LatencyOptions& options) {
  words.read("mode", options.mode, parse_mode);
  words.read("sizes", options.sizes, [](const std::string& text) {
    return parse_list<std::size_t>("--sizes", text, kMaxSize);
  });
  if (options.mode == Mode::kCold) {  // a thousand times dearer than a call
    options.iterations = ColdOptions{}.iterations;
    options.warmup = ColdOptions{}.warmup;
  }
  options.compare = words.flag("compare");
  if (options.compare && options.mode == Mode::kCold) {
    words.refuse("--compare: Open MPI has nothing like a cold start");
  }
}

void read_cold(Words&, ColdOptions&) {}

void read_isolation(Words& words, IsolationOptions& options) {
  if (words.has("image")) options.image = words.text("image");
}

void read_rate(Words& words, RateOptions& options) {
  words.read("windows", options.windows, [](const std::string& text) {
    return parse_list<std::uint32_t>("--windows", text, kMaxWindow);
  });
  words.read("size", options.size,
             [](const std::string& text) { return parse_number("--size", text, 1, kMaxSize); });
}

void read_bandwidth(Words& words, BandwidthOptions& options) {
  words.read("sizes", options.sizes, [](const std::string& text) {
    return parse_list<std::size_t>("--sizes", text, kMaxSize);
  });
  words.read("window", options.window,
             [](const std::string& text) { return parse_number("--window", text, 1, kMaxWindow); });
  const std::size_t largest = *std::max_element(options.sizes.begin(), options.sizes.end());
  if (largest * options.window > kMaxUnderWay) {
    words.refuse("--window: " + std::to_string(options.window) + " calls of " +
                 std::to_string(largest) + " bytes are more than the " +
                 std::to_string(kMaxUnderWay) + " bytes that may be under way");
  }
}

void read_wide(Words& words, WideOptions& options) {
  words.read("cores", options.cores, [](const std::string& text) {
    return parse_number("--cores", text, 2, wire::kMaxCoresPerPart);
  });
  words.read_number("options", options.options, 1);
  if (words.has("cpus")) words.refuse("--cpus: the client of this one needs no core of its own");
}

void read_connect(Words& words, ConnectOptions& options) {
  words.read("counts", options.counts, [](const std::string& text) {
    return parse_list<std::uint32_t>("--counts", text, kMaxConnections);
  });
}

void read_single_source(Words&, SingleSourceOptions&) {}

}  // namespace

const char* to_string(Mode mode) {
  switch (mode) {
    case Mode::kHot:
      return "hot";
    case Mode::kWarm:
      return "warm";
    case Mode::kCold:
      return "cold";
  }
  return "?";
}

std::vector<Benchmark> benchmarks() {
  return {
      {"latency", "round trip of a call: --mode hot, warm or cold, --sizes LIST",
       latency_description()},
      {"cold", "from asking for a lease to the first result, beside fork+exec+wait",
       calls_description()},
      {"isolation", "cold starts of processes, sandboxes and containers: --image IMAGE",
       isolation_description()},
      {"rate", "calls per second with several in flight: --windows LIST", rate_description()},
      {"bandwidth", "bytes per second of large inputs: --sizes LIST, --window N",
       bandwidth_description()},
      {"connect", "opening channels to many workers, together and one by one: --counts LIST",
       connect_description()},
      {"wide", "an OpenMP function on a worker of several cores: --cores N", wide_description()},
      {"single-source", "functions of the program itself beside those of a library",
       calls_description()},
  };
}

std::string bench_help() {
  constexpr std::size_t kWidth = 15;
  std::string text =
      "Usage: sublet bench BENCHMARK [options]\n\n"
      "Benchmarks, each with the same work done without Sublet beside it:\n";
  for (const Benchmark& each : benchmarks()) {
    text += "  " + each.name + std::string(kWidth - each.name.size(), ' ') + each.summary + "\n";
  }
  return text +
         "  ledger         how long a grant takes to be on disk: --clients LIST\n"
         "  manager        how fast leases are granted and taken back: --nodes LIST\n"
         "  connection     what proving who asks adds to opening a connection\n"
         "  observe        what it costs the resource manager to be looked at over HTTP\n\n"
         "sublet bench BENCHMARK --help explains its options.\n";
}

Result<BenchOptions> parse_bench(const std::vector<std::string>& words) {
  if (words.empty()) {
    return fail(ErrorKind::kInvalid,
                "name a benchmark: latency, cold, isolation, rate, bandwidth, connect, wide or "
                "single-source");
  }
  const std::vector<std::string> arguments(words.begin() + 1, words.end());
  if (words[0] == "latency")
    return parse_as("latency", latency_description(), arguments, read_latency);
  if (words[0] == "cold") return parse_as("cold", calls_description(), arguments, read_cold);
  if (words[0] == "isolation")
    return parse_as("isolation", isolation_description(), arguments, read_isolation);
  if (words[0] == "rate") return parse_as("rate", rate_description(), arguments, read_rate);
  if (words[0] == "bandwidth")
    return parse_as("bandwidth", bandwidth_description(), arguments, read_bandwidth);
  if (words[0] == "connect")
    return parse_as("connect", connect_description(), arguments, read_connect);
  if (words[0] == "wide") return parse_as("wide", wide_description(), arguments, read_wide);
  if (words[0] == "single-source")
    return parse_as("single-source", calls_description(), arguments, read_single_source);
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") return HelpText{bench_help()};
  return fail(
      ErrorKind::kInvalid,
      "'" + words[0] +
          "' is none of the benchmarks latency, cold, isolation, rate, bandwidth, connect, wide, "
          "single-source");
}

}  // namespace sublet::bench
