// `sublet bench connection`: what it costs to open a connection to a manager over a network.

#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <common/async.hpp>
#include <wire/handshake.hpp>
#include <wire/munge.hpp>

#include <bench/report.hpp>
#include <bench/statistics.hpp>
#include <boost/program_options.hpp>
#include <kj/async-io.h>
#include <nlohmann/json.hpp>
#include <sodium/core.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sublet::cli {
namespace {

namespace po = boost::program_options;
using TrustPtr = std::shared_ptr<const wire::Trust>;

}  // namespace

CommandLine connection_bench_command_line() {
  CommandLine line;
  line.name = "bench connection";
  line.arguments = "[OPTIONS]";
  line.about =
      "Measures how long it takes to open a connection over the loopback interface until a first "
      "word\n"
      "has gone there and back: plain, and with each end proving who it is by a key file and, "
      "where\n"
      "munged runs, by MUNGE. The kinds take turns. Both ends are in one thread, so that their "
      "work "
      "adds up.";
  line.options.add_options()("rounds", po::value<std::uint32_t>()->default_value(500),
                             "connections of each kind")(
      "json", po::value<std::string>()->default_value(""),
      "write the figures to this file; - for standard output in place of the table");
  return line;
}

namespace {

/// How a connection is opened, and how long each took, in us.
struct Samples {
  std::string proof;
  TrustPtr trust;  ///< Null: plain.
  std::vector<double> samples{};
};

using Stream = kj::Own<kj::AsyncIoStream>;

kj::Promise<Stream> opened(kj::Promise<Result<wire::SecuredStream>> secured) {
  return secured.then([](Result<wire::SecuredStream>&& result) -> Stream {
    if (!result) kj::throwFatalException(KJ_EXCEPTION(FAILED, result.error().what()));
    return kj::mv(result->stream);
  });
}

class Connections {
 public:
  Connections()
      : io_(kj::setupAsyncIo()),
        receiver_(
            io_.provider->getNetwork().parseAddress("127.0.0.1").wait(io_.waitScope)->listen()),
        address_(io_.provider->getNetwork()
                     .parseAddress(kj::str("127.0.0.1:", receiver_->getPort()))
                     .wait(io_.waitScope)) {}

  void one(Samples& kind) {
    const auto begin = std::chrono::steady_clock::now();
    auto server = receiver_->accept()
                      .then([&kind](Stream stream) -> kj::Promise<Stream> {
                        if (kind.trust == nullptr) return kj::mv(stream);
                        return opened(wire::secure_as_server(kj::mv(stream), kind.trust));
                      })
                      .then([](Stream stream) {
                        auto word = kj::heap<std::array<char, 8>>();
                        auto echoed = stream->tryRead(word->data(), word->size(), word->size())
                                          .then([&stream = *stream, &word = *word](std::size_t) {
                                            return stream.write(word.data(), word.size());
                                          });
                        return echoed.attach(kj::mv(word), kj::mv(stream));
                      })
                      .eagerlyEvaluate(nullptr);
    std::array<char, 8> word{'s', 'u', 'b', 'l', 'e', 't', '?', '\n'};
    auto client =
        address_->connect()
            .then([&kind](Stream stream) -> kj::Promise<Stream> {
              if (kind.trust == nullptr) return kj::mv(stream);
              return opened(wire::secure_as_client(kj::mv(stream), kind.trust, "here"));
            })
            .then([&word](Stream stream) {
              auto answered =
                  stream->write(word.data(), word.size()).then([&stream = *stream, &word] {
                    return stream.tryRead(word.data(), word.size(), word.size());
                  });
              return answered.attach(kj::mv(stream));
            });
    client.wait(io_.waitScope);
    kind.samples.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
            .count());
    server.wait(io_.waitScope);
  }

 private:
  kj::AsyncIoContext io_;
  kj::Own<kj::ConnectionReceiver> receiver_;
  kj::Own<kj::NetworkAddress> address_;
};

/// A key of this run alone.
Result<TrustPtr> with_a_key() {
  std::string directory = (std::filesystem::temp_directory_path() / "sublet-bench-XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) {
    return fail(ErrorKind::kInvalid, "no directory can be made for a key; set TMPDIR");
  }
  const std::string path = directory + "/key";
  auto made = wire::Key::make(path);
  auto trust = wire::Trust::load({.key_files = {path}});
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  if (!made) return tl::unexpected<Error>(std::move(made.error()));
  if (auto good = trust->problem(); !good) return tl::unexpected<Error>(std::move(good.error()));
  return trust;
}

Result<std::vector<Samples>> kinds() {
  std::vector<Samples> all;
  all.push_back({"none", nullptr});
  auto key = with_a_key();
  if (!key) return tl::unexpected<Error>(std::move(key.error()));
  all.push_back({"key", std::move(*key)});
  if (auto munge = wire::munge_available(); !munge) {
    std::fprintf(stderr, "sublet bench: MUNGE is left out: %s\n", munge.error().what());
    return all;
  }
  all.push_back({"munge", wire::Trust::load({.keys = false})});
  return all;
}

double added(const Samples& kind, const Samples& plain) {
  return bench::percentile(kind.samples, 0.5) - bench::percentile(plain.samples, 0.5);
}

std::string tenths(double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

std::string connections_table(const std::vector<Samples>& all) {
  std::vector<std::vector<std::string>> cells = {{"PROOF", "p50 us", "p99 us", "ADDED us"}};
  for (const Samples& kind : all) {
    cells.push_back({kind.proof, tenths(bench::percentile(kind.samples, 0.5)),
                     tenths(bench::percentile(kind.samples, 0.99)), tenths(added(kind, all[0]))});
  }
  return format_table(std::move(cells));
}

std::string connections_json(const std::vector<Samples>& all) {
  auto values = nlohmann::json::array();
  for (const Samples& kind : all) {
    values.push_back({{"proof", kind.proof},
                      {"p50_us", bench::percentile(kind.samples, 0.5)},
                      {"p99_us", bench::percentile(kind.samples, 0.99)},
                      {"added_p50_us", added(kind, all[0])}});
  }
  return values.dump(2) + "\n";
}

Result<void> measure_connections(const po::variables_map& values) {
  const auto rounds = values["rounds"].as<std::uint32_t>();
  if (rounds < 1 || rounds > 1'000'000) {
    return fail(ErrorKind::kInvalid,
                "--rounds is " + std::to_string(rounds) + "; allowed are 1 to 1000000");
  }
  const auto& json = values["json"].as<std::string>();
  auto file = bench::JsonFile::open(json);
  if (!file) return tl::unexpected<Error>(file.error());
  if (::sodium_init() < 0) return fail(ErrorKind::kInternal, "libsodium does not start");
  auto all = kinds();
  if (!all) return tl::unexpected<Error>(all.error());
  Connections connections;
  for (std::uint32_t i = 0; i < rounds; ++i) {
    for (Samples& kind : *all) connections.one(kind);
  }
  std::cout << (json == "-" ? connections_json(*all) : connections_table(*all)) << std::flush;
  return file->write(connections_json(*all));
}

}  // namespace

int connection_bench_command(const std::vector<std::string>& words) {
  return run_command(connection_bench_command_line(), words,
                     [](const Values& values) -> Result<void> {
                       try {
                         return measure_connections(values);
                       } catch (const kj::Exception& exception) {
                         return fail(ErrorKind::kInternal, manager::text_of(exception));
                       }
                     });
}

}  // namespace sublet::cli
